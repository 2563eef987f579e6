import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { host as nodeHost } from '../src/host/node.ts';
import { clientOf, parseSession, readSessions, sessionOf } from '../src/logind.ts';
import { scratch } from './support/exporter.ts';

/** A session as systemd 252 and 257 write it. */
const SESSION = `# This is private data. Do not parse.
UID=1000
USER=pi
ACTIVE=1
STATE=active
REMOTE=1
TYPE=tty
TTY=pts/3
CLASS=user
SCOPE=session-c1.scope
FIFO=/run/systemd/sessions/c1.ref
REMOTE_HOST=203.0.113.77
SERVICE=sshd
POSITION=0
LEADER=142
REALTIME=1795639675582730
`;

/** Files of a test belong to whoever runs it, and those of logind to root. */
const host: typeof nodeHost = {
  ...nodeHost,
  inspect: (path) => {
    const status = nodeHost.inspect(path);
    return status && { ...status, uid: 0 };
  },
};

/** A directory of logind with a session, and the FIFO that it has next to each. */
function directory(context: TestContext, sessions: Readonly<Record<string, string>>): string {
  const root = scratch(context);
  for (const [id, text] of Object.entries(sessions)) {
    writeFileSync(join(root, id), text);
    execFileSync('mkfifo', [join(root, `${id}.ref`)]);
  }
  return root;
}

/** A process file system with the control group of process 150. */
function proc(context: TestContext, cgroup: string): string {
  const root = scratch(context);
  mkdirSync(join(root, '150'));
  writeFileSync(join(root, '150/cgroup'), cgroup);
  return root;
}

const connection = {
  user: 'pi',
  userInW: 'pi',
  kind: 'terminal',
  terminals: ['pts/3'],
  pid: 150,
  monitor: 142,
  uid: 1000,
} as const;
const SCOPE = '0::/user.slice/user-1000.slice/session-c1.scope\n';

describe('a session of logind', () => {
  it('is read from its file', () =>
    assert.deepEqual(parseSession(SESSION), {
      user: 'pi',
      uid: '1000',
      tty: 'pts/3',
      client: '203.0.113.77',
      service: 'sshd',
      leader: '142',
    }));

  it('lacks the values that its file does not give', () => {
    const nothing = { user: '', uid: '', tty: '', client: '', service: '', leader: '' };
    for (const text of [
      '',
      '\n\n',
      'REMOTE_HOST',
      '=1',
      'REMOTE_HOST="a b"',
      'REMOTE_HOST=a\\x20b',
      '\0\xff',
    ]) {
      assert.deepEqual(parseSession(text), nothing, text);
    }
    assert.equal(parseSession('REMOTE_HOST=a\u001b[2J').client, 'a\uFFFD[2J');
  });

  it('is found by the control group of a process', () => {
    assert.equal(sessionOf(SCOPE), 'c1');
    assert.equal(
      sessionOf('9:pids:/\n1:name=systemd:/user.slice/user-0.slice/session-12.scope\n0::/\n'),
      '12',
    );
    assert.equal(sessionOf('0::/../../user.slice/user-0.slice/session-12.scope\n'), '12');
    for (const text of [
      '',
      '0::/system.slice/ssh.service\n',
      '0::/a/session-../x.scope\n',
      '0::/session-1.scope/a',
    ]) {
      assert.equal(sessionOf(text), undefined, text);
    }
  });
});

describe('the sessions of logind', () => {
  it('are read from regular files of root only: opening a FIFO would never end', (context) => {
    const root = directory(context, { c1: SESSION, 7: SESSION.replace('=pi', '=ana') });
    mkdirSync(join(root, 'c2'));
    symlinkSync(join(root, 'c1'), join(root, 'c3'));
    const users = readSessions(host, root).map(({ user }) => user);
    assert.deepEqual(users.sort(), ['ana', 'pi']);
    const ofUser = {
      ...host,
      inspect: (path: string) => ({ ...(host.inspect(path) ?? assert.fail()), uid: 1000 }),
    };
    assert.deepEqual(readSessions(ofUser, root), []);
  });

  it('are none if logind does not run', (context) =>
    assert.deepEqual(readSessions(host, join(scratch(context), 'sessions')), []));
});

describe('the client of a connection', () => {
  it('is that of the session that sshd opened for it', (context) => {
    const sessions = directory(context, { c1: SESSION });
    assert.equal(clientOf(host, connection, proc(context, SCOPE), sessions), '203.0.113.77');
    const ofRoot = { ...connection, pid: 150, monitor: undefined, uid: 0 };
    const session = SESSION.replace('UID=1000', 'UID=0').replace('LEADER=142', 'LEADER=150');
    const file = directory(context, { c1: session });
    assert.equal(clientOf(host, ofRoot, proc(context, SCOPE), file), '203.0.113.77');
    const byHand = directory(context, { c1: session.replace('LEADER=150', 'LEADER=141') });
    assert.equal(clientOf(host, ofRoot, proc(context, SCOPE), byHand), undefined);
  });

  it('is that of the session even if the leader was killed', (context) => {
    const orphan = { ...connection, monitor: undefined };
    const sessions = directory(context, { c1: SESSION });
    assert.equal(clientOf(host, orphan, proc(context, SCOPE), sessions), '203.0.113.77');
  });

  const others = {
    'no session': {},
    'that of another user': { c1: SESSION.replace('UID=1000', 'UID=1001') },
    'that of another service': { c1: SESSION.replace('SERVICE=sshd', 'SERVICE=login') },
    'that in which someone started an sshd by hand': { c1: SESSION.replace('LEADER=142', 'LEADER=141') },
    'a session without a client': { c1: SESSION.replace(/REMOTE_HOST.*\n/, '') },
  };
  for (const [what, sessions] of Object.entries(others)) {
    it(`is not known from ${what}`, (context) =>
      assert.equal(
        clientOf(host, connection, proc(context, SCOPE), directory(context, sessions)),
        undefined,
      ));
  }

  it('is not known from a process that has ended, or that is in no session', (context) => {
    const sessions = directory(context, { c1: SESSION });
    assert.equal(clientOf(host, connection, scratch(context), sessions), undefined);
    const service = proc(context, '0::/system.slice/ssh.service\n');
    assert.equal(clientOf(host, connection, service, sessions), undefined);
  });
});
