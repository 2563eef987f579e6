import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { selectSessions, withoutArguments } from '../src/session.ts';
import type { Row } from '../src/w/parse.ts';
import { READ } from './support/w.ts';

const row: Row = { ...READ, what: 'vim  secret plan' };

function select(rows: readonly Row[], all = false, hasFrom = true) {
  return selectSessions({ hasFrom, rows, unreadable: [] }, all).sessions;
}

describe('an SSH session, judged by w only,', () => {
  const remote = [
    '10.0.0.5',
    '127.0.0.1',
    '::1',
    'fe80::1%eth0',
    '2001:db8:1234:5678:9abc:def0:1234:5678',
    '2001:db8:1234:56',
    '::ffff:10.0.0.5',
    'localhost',
    'host.example.org',
    'tty.example.org',
    'login',
    'a-rather-long-ho',
  ];
  for (const from of remote) {
    it(`comes from ${from}`, () =>
      assert.deepEqual(
        select([{ ...row, from }]).map((session) => session.from),
        [from],
      ));
  }

  const local = [
    ['', 'nothing, as procps before 3.3.10 prints it'],
    ['-', 'nothing'],
    [':0', 'a display'],
    [':1.0', 'a screen of a display'],
    ['localhost:10.0', 'a forwarded display'],
    ['10.0.0.5:0', 'a display elsewhere'],
    ['tmux(1234).%0', 'a pane of tmux'],
    ['tmux(123456789).', 'a pane of tmux, cut'],
    ['10.0.0.5:S.0', 'a window of screen'],
    [':S.12', 'a window of screen without a client'],
    [':pts/1:S.0', 'a window of screen on a terminal'],
    ['2001:db8::1:S.3', 'a window of screen behind an IPv6 client'],
    ['tty2', 'the terminal of a seat'],
    ['login-', 'the greeter of a seat ("login screen")'],
  ] as const;
  for (const [from, what] of local) {
    it(`does not come from "${from}": ${what}`, () => {
      const { sessions, leftOut } = selectSessions(
        { hasFrom: true, rows: [{ ...row, from }], unreadable: [] },
        false,
      );
      assert.deepEqual(sessions, []);
      assert.deepEqual(leftOut, [{ row: { ...row, from }, reason: `"${from}" is not a remote host` }]);
      assert.equal(select([{ ...row, from }], true).length, 1, 'but --all has it');
    });
  }

  it('of mosh comes from its client, without the "-" that w appends', () => {
    assert.equal(select([{ ...row, from: '10.0.0.5-' }])[0]?.from, '10.0.0.5');
    assert.equal(select([{ ...row, from: '-' }], true)[0]?.from, '');
  });
});

describe('sessions', () => {
  it('keep the order of w, what w prints, and repetitions', () => {
    const rows = [row, { ...row, user: 'ana', login: '?', idle: '' }, row];
    assert.deepEqual(select(rows), rows);
  });

  it('lose the arguments of their command with --no-args', () => {
    const what = (text: string) => [...withoutArguments([{ ...row, what: text }])][0]?.what;
    assert.equal(what('vim  secret plan'), 'vim');
    assert.equal(what('-bash'), '-bash');
    assert.equal(what('sshd: pi@notty'), 'sshd:');
    assert.equal(what('curl\u00a0--user me:secret'), 'curl');
    assert.equal(what(''), '');
  });

  it('cannot be recognised without FROM', () => {
    assert.throws(() => select([row], false, false), /no FROM column.*w -i.*--all/);
    assert.equal(select([row], true, false).length, 1);
  });
});
