/** What is an SSH session, when both w and sshd are asked. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { LogindSession } from '../src/logind.ts';
import { isComplete, match, type Reconciliation, reconcile, type Sources } from '../src/reconcile.ts';
import type { Connection } from '../src/sshd/connections.ts';
import type { Kind } from '../src/sshd/title.ts';
import type { Row } from '../src/w/parse.ts';
import { READ } from './support/w.ts';

/** Words, of which "_" stands for a blank. */
const wordsOf = (text: string) => text.split(' ').map((word) => (word === '_' ? '' : word));

/** In short: "user tty from". */
function row(text: string): Row {
  const [user = '', tty = '', from = ''] = wordsOf(text);
  return { ...READ, user, tty, from };
}

const UIDS: Readonly<Record<string, number>> = {
  root: 0,
  toor: 0,
  pi: 1000,
  pi2: 1000,
  ana: 1001,
  bob: 1002,
};

let pids = 100;

/** In short: "user place", where the place is terminals, notty or nothing, as in the title that sshd writes. */
function connection(text: string, pid = pids++): Connection {
  const [user = '', place = ''] = text.split(' ');
  const kind: Kind = place === '' ? 'forward' : place === 'notty' ? 'notty' : 'terminal';
  const terminals = kind === 'terminal' ? place.split(',') : [];
  return { user, userInW: user, kind, terminals, pid, monitor: pid - 1, uid: UIDS[user] ?? 9999 };
}

/** In short: "user tty client service". */
function login(text: string): LogindSession {
  const [user = '', tty = '', client = '', service = ''] = wordsOf(text);
  return { user, uid: String(UIDS[user]), tty, client, service, leader: '1' };
}

/** A session in short; "?" if w does not list it. */
const short = ({ user, tty, from, unlisted }: Reconciliation['sessions'][number]) =>
  `${user} ${tty || '_'} ${from || '_'}${unlisted ? ' ?' : ''}`;

interface Case {
  readonly title: string;
  readonly w: readonly string[];
  readonly sshd: readonly string[];
  /** The connections after w ran, if they are not the same. */
  readonly later?: readonly string[];
  readonly logind?: readonly string[];
  readonly sessions: readonly string[];
  /** By kind: terminal, notty, forward. */
  readonly unlisted?: readonly [number, number, number];
  readonly unverified?: number;
}

/** The client of each connection, as logind or sshd's log has it. */
const CLIENT = '192.0.2.1';

const CASES: readonly Case[] = [
  {
    title: 'a terminal that both show is one session',
    w: ['pi pts/0 10.0.0.5'],
    sshd: ['pi pts/0'],
    sessions: ['pi pts/0 10.0.0.5'],
  },
  {
    title: 'every kind of connection is a session, as Debian 13 lists them',
    w: ['pi pts/0 10.0.0.5', 'pi _ 10.0.0.5', 'pi _ 10.0.0.5', 'pi pts/1 10.0.0.5'],
    sshd: ['pi pts/0', 'pi notty', 'pi', 'pi pts/1,pts/2'],
    sessions: [
      'pi pts/0 10.0.0.5',
      'pi _ 10.0.0.5',
      'pi _ 10.0.0.5',
      'pi pts/1 10.0.0.5',
      'pi pts/2 192.0.2.1 ?',
    ],
  },
  {
    title: 'every kind of connection is a session, as Debian 12 lists them',
    w: ['pi pts/0 10.0.0.5', 'pi pts/1 10.0.0.5', 'pi pts/2 10.0.0.5'],
    sshd: ['pi pts/0', 'pi notty', 'pi', 'pi pts/1,pts/2'],
    sessions: [
      'pi pts/0 10.0.0.5',
      'pi pts/1 10.0.0.5',
      'pi pts/2 10.0.0.5',
      'pi _ 192.0.2.1 ?',
      'pi _ 192.0.2.1 ?',
    ],
    unlisted: [0, 1, 1],
  },
  {
    title: 'connections are sessions though w lists nothing (logind masked, UsePAM no)',
    w: [],
    sshd: ['pi pts/0', 'root pts/1,pts/2', 'ana notty', 'bob'],
    sessions: [
      'pi pts/0 192.0.2.1 ?',
      'root pts/1 192.0.2.1 ?',
      'root pts/2 192.0.2.1 ?',
      'ana _ 192.0.2.1 ?',
      'bob _ 192.0.2.1 ?',
    ],
    unlisted: [2, 1, 1],
  },
  {
    title: 'a connection whose row is gone is a session (utempter, a killed monitor)',
    w: ['pi pts/0 10.0.0.5'],
    sshd: ['pi pts/0', 'pi pts/1'],
    sessions: ['pi pts/0 10.0.0.5', 'pi pts/1 192.0.2.1 ?'],
    unlisted: [1, 0, 0],
  },
  {
    title: 'a row of another user on its terminal is not the row of a connection',
    w: ['root pts/0 -'],
    sshd: ['pi pts/0'],
    sessions: ['pi pts/0 192.0.2.1 ?'],
    unlisted: [1, 0, 0],
  },
  {
    title: 'of two rows of a terminal, one is that of the connection, and the other is unverified',
    w: ['pi pts/0 -', 'pi pts/0 10.0.0.5', 'pi pts/0 10.0.0.6'],
    sshd: ['pi pts/0'],
    sessions: ['pi pts/0 10.0.0.5', 'pi pts/0 10.0.0.6'],
    unverified: 1,
  },
  {
    title:
      'of two rows of a terminal, the one with an address is that of the connection, or else the one with a name',
    w: ['pi pts/0 example.org', 'pi pts/0 fd00::1', 'ana pts/1 -', 'ana pts/1 example.org'],
    sshd: ['pi pts/0', 'ana pts/1'],
    sessions: ['pi pts/0 fd00::1', 'ana pts/1 example.org'],
  },
  {
    title: 'rows without TTY match connections of their user',
    w: ['pi _ 10.0.0.5', 'pi _ 10.0.0.6', 'ana _ 10.0.0.7'],
    sshd: ['pi pts/0', 'pi notty', 'ana pts/1'],
    sessions: ['pi _ 10.0.0.5', 'pi _ 10.0.0.6', 'ana _ 10.0.0.7'],
  },
  {
    title: 'a row does not match a connection of another user',
    w: ['pi _ 10.0.0.5'],
    sshd: ['ana notty'],
    sessions: ['pi _ 10.0.0.5', 'ana _ 192.0.2.1 ?'],
    unlisted: [0, 1, 0],
    unverified: 1,
  },
  {
    title: 'a connection has the row of another account that has its user ID, as Debian 13 lists it',
    w: ['pi pts/0 10.0.0.5', 'pi _ 10.0.0.6', 'pi pts/2 10.0.0.8'],
    sshd: ['pi2 pts/0', 'pi2 notty', 'pi pts/2'],
    logind: ['pi _ 10.0.0.5 sshd'],
    sessions: ['pi pts/0 10.0.0.5', 'pi _ 10.0.0.6', 'pi pts/2 10.0.0.8'],
  },
  {
    title: 'a connection has the row of its own account, though another one has its user ID, on Debian 12',
    w: ['pi2 pts/0 10.0.0.5', 'pi pts/1 10.0.0.6', 'ana pts/9 10.0.0.7'],
    sshd: ['pi2 pts/0', 'pi pts/1', 'toor notty'],
    logind: ['pi _ 10.0.0.5 sshd', 'root _ 10.0.0.7 sshd'],
    sessions: ['pi2 pts/0 10.0.0.5', 'pi pts/1 10.0.0.6', 'ana pts/9 10.0.0.7', 'toor _ 192.0.2.1 ?'],
    unlisted: [0, 1, 0],
    unverified: 1,
  },
  {
    title: 'a client may have the name of a seat, a greeter or mosh (UseDNS yes)',
    w: ['pi pts/0 tty1', 'pi pts/1 login-', 'pi pts/2 mosh', 'pi pts/3 host.example'],
    sshd: ['pi pts/0', 'pi pts/1', 'pi pts/2', 'pi pts/3'],
    sessions: ['pi pts/0 tty1', 'pi pts/1 login', 'pi pts/2 mosh', 'pi pts/3 host.example'],
  },
  {
    title: 'the client comes from logind if FROM names none (a unix socket, a made-up row)',
    w: ['pi pts/0 -', 'pi pts/1 _', 'pi pts/2 :0', 'pi pts/3 tmux(12).%0', 'pi pts/4 10.0.0.5:S.0'],
    sshd: ['pi pts/0', 'pi pts/1', 'pi pts/2', 'pi pts/3', 'pi pts/4'],
    sessions: [0, 1, 2, 3, 4].map((number) => `pi pts/${number} 192.0.2.1`),
  },
  {
    title: 'the client comes from logind if FROM is an impossible IPv4 address (a cut IPv6 one)',
    w: ['pi pts/0 253.0.0.1', 'pi pts/1 239.0.0.1'],
    sshd: ['pi pts/0', 'pi pts/1'],
    sessions: ['pi pts/0 192.0.2.1', 'pi pts/1 239.0.0.1'],
  },
  {
    title: 'a remote login that sshd does not serve is unverified (mosh, dropbear, a made-up entry)',
    w: ['pi pts/0 10.0.0.5-', 'pi pts/1 mosh-', 'pi pts/2 2001:db8::1', 'pi _ ::ffff:10.0.0.5'],
    sshd: [],
    sessions: ['pi pts/0 10.0.0.5', 'pi pts/1 mosh', 'pi pts/2 2001:db8::1', 'pi _ ::ffff:10.0.0.5'],
    unverified: 4,
  },
  {
    title: 'a word in FROM is no client if sshd does not serve the row (guake, telnetd, a display)',
    w: ['pi pts/0 d', 'pi pts/1 debian', 'pi tty1 :0', 'pi tty7 tty7', 'pi pts/2 mosh'],
    sshd: [],
    sessions: [],
  },
  {
    title: 'logins of xrdp, cockpit and telnetd are found by terminal, or by user and client',
    w: ['pi _ ::ffff:10.0.0.5', 'ana web%20cons 10.0.0.6', 'bob pts/3 ::1'],
    sshd: [],
    logind: ['pi _ ::ffff:10.0.0.5 xrdp-sesman', 'ana _ 10.0.0.6 cockpit', 'bob pts/3 localhost login'],
    sessions: [],
  },
  {
    title: 'a user of xrdp can have an SSH session from the same client',
    w: ['pi _ 10.0.0.5', 'pi _ 10.0.0.5'],
    sshd: ['pi notty'],
    logind: ['pi _ 10.0.0.5 xrdp-sesman', 'pi _ 10.0.0.5 sshd'],
    sessions: ['pi _ 10.0.0.5'],
  },
  {
    title: 'one login of xrdp explains one row',
    w: ['pi _ 10.0.0.5', 'pi _ 10.0.0.5'],
    sshd: [],
    logind: ['pi _ 10.0.0.5 xrdp-sesman'],
    sessions: ['pi _ 10.0.0.5'],
    unverified: 1,
  },
  {
    title: 'a session of logind that any user can open (su) explains no row',
    w: ['pi pts/0 10.0.0.5'],
    sshd: [],
    logind: ['pi pts/0 10.0.0.5 su'],
    sessions: ['pi pts/0 10.0.0.5'],
    unverified: 1,
  },
  {
    title: 'a login of xrdp can explain a row, but cannot hide a connection of its user',
    w: ['pi _ 10.0.0.5'],
    sshd: ['pi pts/0'],
    logind: ['pi _ 10.0.0.5 xrdp-sesman'],
    sessions: ['pi pts/0 192.0.2.1 ?'],
    unlisted: [1, 0, 0],
  },
  {
    title: 'a row without a client does not match a connection that has a row or a terminal',
    w: ['pi _ -', 'pi _ 10.0.0.5'],
    sshd: ['pi notty', 'pi pts/0'],
    sessions: ['pi _ 10.0.0.5', 'pi pts/0 192.0.2.1 ?'],
    unlisted: [1, 0, 0],
  },
  {
    title: 'a row without a client matches a command (over a unix socket)',
    w: ['pi _ -'],
    sshd: ['pi notty'],
    sessions: ['pi _ 192.0.2.1'],
  },
  {
    title: 'a login that came after w ran is a session, and is not unlisted',
    w: [],
    sshd: [],
    later: ['pi pts/0'],
    sessions: ['pi pts/0 192.0.2.1 ?'],
  },
  {
    title: 'a login that came while w ran is one session',
    w: ['pi pts/0 10.0.0.5'],
    sshd: [],
    later: ['pi pts/0'],
    sessions: ['pi pts/0 10.0.0.5'],
  },
  {
    title: 'a login that ended before w ran is no session',
    w: [],
    sshd: ['pi pts/0'],
    later: [],
    sessions: [],
  },
  {
    title: 'a login that ended after w ran is a session, as w lists it',
    w: ['pi pts/0 10.0.0.5', 'pi _ 10.0.0.6'],
    sshd: ['pi pts/0', 'pi notty'],
    later: [],
    sessions: ['pi pts/0 10.0.0.5', 'pi _ 10.0.0.6'],
  },
  {
    title: 'a connection that opened its terminal after w ran is one session',
    w: [],
    sshd: ['pi'],
    later: ['pi pts/0'],
    sessions: ['pi pts/0 192.0.2.1 ?'],
  },
  {
    title: 'a connection that opened its terminal just before w ran matches its row',
    w: ['pi pts/0 10.0.0.5'],
    sshd: ['pi'],
    later: ['pi pts/0'],
    sessions: ['pi pts/0 10.0.0.5'],
  },
  {
    title: 'a row matches the older of two connections, not one that came after w ran',
    w: ['pi _ 10.0.0.5'],
    sshd: ['pi notty'],
    later: ['pi notty', 'pi notty'],
    sessions: ['pi _ 10.0.0.5', 'pi _ 192.0.2.1 ?'],
  },
];

function find(
  rows: readonly Row[],
  { clientOf, ...sources }: Sources & { clientOf: (connection: Connection) => string | undefined },
  all: boolean,
): Reconciliation {
  return reconcile(match(rows, sources), clientOf, all);
}

const agree = (rows: readonly Row[], list: readonly Connection[]) =>
  isComplete(match(rows, { before: list, after: list, logindSessions: () => [] }));

/** Connections in short, with the same process IDs before and after w: the first is the first. */
const connections = (texts: readonly string[]) =>
  texts.map((text, index) => connection(text, 500 + 2 * index));

describe('rows of w and connections of sshd', () => {
  for (const { title, w, sshd, later = sshd, logind = [], sessions, unlisted, unverified = 0 } of CASES) {
    it(title, () => {
      const rows = w.map((text) => {
        const { tty, ...rest } = row(text);
        return { ...rest, tty: tty.replace('%20', ' ') };
      });
      const sources = {
        before: connections(sshd),
        after: connections(later),
        clientOf: () => CLIENT,
        logindSessions: () => logind.map(login),
      };
      const result = find(rows, sources, false);
      assert.deepEqual(result.sessions.map(short), sessions);
      const [terminal, notty, forward] = unlisted ?? [0, 0, 0];
      assert.deepEqual(result.unlisted, { terminal, notty, forward });
      assert.equal(result.unverified, unverified);
      const listed = result.sessions.filter(({ unlisted }) => !unlisted).length;
      assert.equal(listed + result.leftOut.length, rows.length, 'each row is a session or is left out');
      const all = find(rows, sources, true);
      assert.equal(all.sessions.length, result.sessions.length + result.leftOut.length, '--all has all');
    });
  }

  it('need no logind if they explain each other', () => {
    const never = () => assert.fail();
    const rows = ['pi pts/0 10.0.0.5', 'pi _ 10.0.0.5', 'root tty1 -'].map(row);
    const all = connections(['pi pts/0', 'pi']);
    const sources = { before: all, after: all, clientOf: never, logindSessions: never };
    assert.equal(find(rows, sources, false).sessions.length, 2);
    assert.ok(agree(rows, all));
    assert.ok(!agree(rows.slice(1), all));
    assert.ok(!agree(rows, all.slice(1)));
  });

  it('match although w cuts a long name', () => {
    const user = 'firstname.lastname@directory.example.org';
    const long = { ...connection(`${user} pts/0`), userInW: user.slice(0, 32) };
    assert.ok(agree([row(`${user.slice(0, 32)} pts/0 10.0.0.5`)], [long]));
  });

  it('give the reason why a row is left out', () => {
    const rows = ['pi _ 10.0.0.5', 'pi pts/1 d', 'pi tty1 :0'].map(row);
    const logindSessions = () => [login('pi _ 10.0.0.5 cockpit')];
    const sources = { before: [], after: [], clientOf: () => undefined, logindSessions };
    assert.deepEqual(
      find(rows, sources, false).leftOut.map(({ reason }) => reason),
      [
        'it is a login of cockpit',
        'sshd does not serve "pts/1", and "d" is not an address',
        '":0" is not a remote host',
      ],
    );
  });
});

describe('whatever w and sshd show', () => {
  const user = fc.constantFrom('pi', 'root');
  const tty = fc.constantFrom('', 'pts/0', 'pts/1', 'pts/2', 'tty1');
  const from = fc.constantFrom('', '-', '10.0.0.5', '10.0.0.6', 'host', ':0', 'mosh-', '10.0.0.5-');
  const anyRow = fc.record({ user, tty, from }).map((cells) => ({ ...row('_ _ _'), ...cells }));
  /** Each terminal belongs to one connection, as in life. */
  const anyConnections = fc
    .array(fc.tuple(user, fc.constantFrom('', 'notty', 'pts'), fc.integer({ min: 1, max: 2 })), {
      maxLength: 6,
    })
    .map((list) => {
      let next = 0;
      return list.map(([name, place, count], index) => {
        const terminals = Array.from({ length: place === 'pts' ? count : 0 }, () => `pts/${next++}`);
        return connection(`${name} ${place === 'pts' ? terminals.join(',') : place}`, 500 + index);
      });
    });
  const service = fc.constantFrom('sshd', 'cockpit', 'su');
  const anyLogin = fc
    .record({ user, tty, client: from, service })
    .map((values) => ({ ...values, uid: String(UIDS[values.user]), leader: '1' }));
  const input = fc.record({
    rows: fc.array(anyRow, { maxLength: 8 }),
    connections: anyConnections,
    /** A terminal belongs to one login, as in life. */
    logindSessions: fc.uniqueArray(anyLogin, { maxLength: 4, selector: (each) => each.tty || each }),
  });
  const run = (
    {
      rows,
      connections,
      logindSessions,
    }: { rows: Row[]; connections: Connection[]; logindSessions: LogindSession[] },
    all = false,
  ) =>
    find(
      rows,
      {
        before: connections,
        after: connections,
        clientOf: () => undefined,
        logindSessions: () => logindSessions,
      },
      all,
    );
  const shownBy = ({ terminals }: Connection) => Math.max(terminals.length, 1);

  it('no row and no terminal is lost, and none is counted twice', () => {
    fc.assert(
      fc.property(input, (given) => {
        const { sessions, leftOut, unverified } = run(given);
        const listed = sessions.filter((session) => !session.unlisted);
        assert.equal(listed.length + leftOut.length, given.rows.length);
        const served = given.connections.reduce((sum, each) => sum + shownBy(each), 0);
        assert.equal(sessions.length, served + unverified, 'each terminal or connection once');
        for (const { user: name, terminals } of given.connections) {
          for (const terminal of terminals) {
            const own = sessions.filter((each) => each.user === name && each.tty === terminal);
            const blank = sessions.some((each) => each.user === name && each.tty === '');
            assert.ok(own.length > 0 || blank);
          }
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('--all adds what is left out, and nothing else', () => {
    fc.assert(
      fc.property(input, (given) => {
        const some = run(given);
        const all = run(given, true);
        assert.equal(all.sessions.length, some.sessions.length + some.leftOut.length);
        assert.deepEqual([all.unlisted, all.unverified], [some.unlisted, some.unverified]);
      }),
    );
  });

  it('the order of rows and connections changes no count', () => {
    const counts = ({ sessions, unlisted, unverified, leftOut }: Reconciliation) => [
      sessions.length,
      unlisted,
      unverified,
      leftOut.length,
    ];
    const shuffled = input.chain(({ rows, connections: list, logindSessions }) =>
      fc.record({
        given: fc.constant({ rows, connections: list, logindSessions }),
        other: fc.record({
          rows: fc.shuffledSubarray(rows, { minLength: rows.length }),
          connections: fc.shuffledSubarray(list, { minLength: list.length }),
          logindSessions: fc.shuffledSubarray(logindSessions, { minLength: logindSessions.length }),
        }),
      }),
    );
    fc.assert(
      fc.property(shuffled, ({ given, other }) => assert.deepEqual(counts(run(other)), counts(run(given)))),
      { numRuns: 3000 },
    );
  });

  it('a connection that w does not list is a session all the same, and is counted as unlisted', () => {
    fc.assert(
      fc.property(anyConnections, (list) => {
        const { sessions, unlisted } = run({ rows: [], connections: list, logindSessions: [] });
        assert.equal(
          sessions.length,
          list.reduce((sum, each) => sum + shownBy(each), 0),
        );
        assert.equal(unlisted.terminal + unlisted.notty + unlisted.forward, list.length);
      }),
    );
  });
});
