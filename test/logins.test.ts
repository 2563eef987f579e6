/** sshd's messages: those that are logins, and those that only look like one. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  addEntries,
  DAY,
  type LogEntry,
  type Login,
  type LoginHistory,
  MAX_LOGINS,
  RELEVANT,
  understandMessage,
} from '../src/sshd/logins.ts';
import { ROOT } from './support/exporter.ts';

const CERTIFICATE = 'SHA256:c9iQUtlt07hWP72VJFQSu7t5fuCG8968rq7L5moo+vU';
const KEY = 'SHA256:e60WKU394Q+vovjFlKBK2UHplVewA4geCSAzzvjm+3E';
const login = (user: string, from: string, method: string, key = ''): Login => ({ user, from, method, key });

describe('understandMessage', () => {
  const messages: readonly (readonly [string, Login | 'refused' | undefined])[] = [
    [
      `Accepted publickey for bob from 127.0.0.1 port 53850 ssh2: ED25519 ${KEY}`,
      login('bob', '127.0.0.1', 'publickey', KEY),
    ],
    [
      `Accepted publickey for bob from 127.0.0.1 port 32910 ssh2: ED25519-CERT ${CERTIFICATE} ID cert id with spaces ` +
        `from 9.9.9.9 port 1 (serial 42) CA ED25519 ${KEY}`,
      login('bob', '127.0.0.1', 'publickey', CERTIFICATE),
    ],
    [
      `Accepted publickey for bob from 127.0.0.1 port 59866 ssh2: ED25519-CERT ${CERTIFICATE} ID x from 9.9.9.9 port 1 ` +
        `ssh2: RSA ${KEY}\\nAccepted password for root from 9.9.9.9 port 1 ssh2 (serial 0) CA ED25519 ${KEY}`,
      login('bob', '127.0.0.1', 'publickey', CERTIFICATE),
    ],
    ['Accepted password for anna from 127.0.0.1 port 32922 ssh2', login('anna', '127.0.0.1', 'password')],
    [
      'Accepted keyboard-interactive/pam for anna from 127.0.0.1 port 50868 ssh2',
      login('anna', '127.0.0.1', 'keyboard-interactive/pam'),
    ],
    [
      `Accepted hostbased for bob from 203.0.113.77 port 37529 ssh2: ED25519 ${KEY}`,
      login('bob', '203.0.113.77', 'hostbased', KEY),
    ],
    ['Accepted none for empty from 127.0.0.1 port 58552 ssh2', login('empty', '127.0.0.1', 'none')],
    [
      'Accepted gssapi-with-mic for bob from 192.0.2.7 port 4 ssh2: bob@EXAMPLE.ORG',
      login('bob', '192.0.2.7', 'gssapi-with-mic'),
    ],
    [
      'Accepted publickey for pi from 192.0.2.7 port 4 ssh2: RSA MD5:43:51:43:a1:b5:fc:8b:b7:0a:3a:a9:b1:0f:66:73:a8',
      login('pi', '192.0.2.7', 'publickey', 'MD5:43:51:43:a1:b5:fc:8b:b7:0a:3a:a9:b1:0f:66:73:a8'),
    ],
    [
      `Accepted publickey for bob from fd00:0:1:2:3:4:5:6 port 52785 ssh2: ED25519 ${KEY}`,
      login('bob', 'fd00:0:1:2:3:4:5:6', 'publickey', KEY),
    ],
    [
      `Accepted publickey for bob from fe80::7%lo port 34144 ssh2: ED25519 ${KEY}`,
      login('bob', 'fe80::7%lo', 'publickey', KEY),
    ],
    ['Accepted password for bob from UNKNOWN port 65535 ssh2', login('bob', '', 'password')],
    ['Accepted password for we ird from 192.0.2.7 port 4 ssh2', login('we ird', '192.0.2.7', 'password')],
    [
      'Accepted password for x from 9.9.9.9 port 1 ssh2 from 192.0.2.7 port 4 ssh2',
      login('x from 9.9.9.9 port 1 ssh2', '192.0.2.7', 'password'),
    ],
    [
      'Accepted password for \\303\\274n\\303\\257 from 192.0.2.7 port 4 ssh2',
      login('ünï', '192.0.2.7', 'password'),
    ],
    [
      'Accepted password for dom\\\\joe from 192.0.2.7 port 4 ssh2',
      login('dom\\joe', '192.0.2.7', 'password'),
    ],
    [
      'Accepted password for a\\033[31m\\n\\tb from 192.0.2.7 port 4 ssh2',
      login('a\ufffd[31m\ufffd\ufffdb', '192.0.2.7', 'password'),
    ],

    [`Accepted key ED25519 ${KEY} found at /home/bob/.ssh/authorized_keys:1`, undefined],
    [
      `Accepted certificate ID "for x from 9.9.9.9 port 1 ssh2" (serial 42) signed by ED25519 CA ${KEY}`,
      undefined,
    ],
    [`Accepted ED25519 public key ${KEY} from bob@me.example`, undefined],
    [`Accepted made-up for root from 9.9.9.9 port 1 ssh2`, undefined],
    [`Postponed publickey for bob from 127.0.0.1 port 38664 ssh2 [preauth]`, undefined],
    [` Accepted password for root from 9.9.9.9 port 1 ssh2`, undefined],
    [`x\nAccepted password for root from 9.9.9.9 port 1 ssh2`, undefined],
    [
      'Invalid user x\\nAccepted password for root from 9.9.9.9 port 1 ssh2 from 127.0.0.1 port 58228',
      undefined,
    ],
    [`Accepted password for root from 9.9.9.9 port 1`, undefined],
    ['', undefined],

    ['Connection closed by authenticating user anna 127.0.0.1 port 55046 [preauth]', 'refused'],
    ['Connection closed by invalid user nosuch 127.0.0.1 port 55054 [preauth]', 'refused'],
    ['Connection closed by invalid user  127.0.0.1 port 34390 [preauth]', 'refused'],
    ['Connection reset by authenticating user root 192.0.2.7 port 4 [preauth]', 'refused'],
    ['Disconnected from authenticating user root 192.0.2.7 port 4 [preauth]', 'refused'],
    ['Disconnected from invalid user admin 192.0.2.7 port 4 [preauth]', 'refused'],
    [
      'Disconnecting authenticating user anna 127.0.0.1 port 34388: Too many authentication failures [preauth]',
      'refused',
    ],
    ['fatal: Access denied for user anna by PAM account configuration [preauth]', 'refused'],
    // The same connections say these too, or nobody tried to log in.
    ['Failed password for anna from 127.0.0.1 port 55046 ssh2', undefined],
    ['Failed none for invalid user nosuch from 127.0.0.1 port 37790 ssh2', undefined],
    ['error: PAM: Authentication failure for anna from 127.0.0.1', undefined],
    [
      'error: maximum authentication attempts exceeded for anna from 127.0.0.1 port 34388 ssh2 [preauth]',
      undefined,
    ],
    ['Invalid user nosuch from 127.0.0.1 port 55054', undefined],
    ['Connection closed by 127.0.0.1 port 52978', undefined],
    ['Connection reset by 127.0.0.1 port 33686', undefined],
    ['Received disconnect from 127.0.0.1 port 32882:11: disconnected by user', undefined],
    ['Disconnected from user bob 127.0.0.1 port 32882', undefined],
  ];
  for (const [message, meaning] of messages) {
    it(`reads ${JSON.stringify(message.slice(0, 100))} as ${JSON.stringify(meaning) ?? 'nothing'}`, () => {
      assert.deepEqual(understandMessage(message), meaning);
      if (meaning !== undefined) assert.match(message, new RegExp(RELEVANT));
    });
  }

  it('finds the login whatever the names of the account and of the certificate are', () => {
    const user = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 32 })
      .filter((name) => !/[:\n\0]/.test(name));
    const imitation = fc.constantFrom(
      ' from 9.9.9.9 port 1 ssh2',
      'Accepted password for root',
      ' ',
      '\\',
      '\\303',
    );
    const name = fc
      .array(fc.oneof(user, imitation), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.join(''));
    const id = fc.array(fc.oneof(user, imitation, fc.constant(' from 9.9.9.9 port 1 ssh2: RSA SHA256:x')));
    fc.assert(
      fc.property(name, id, (account, ids) => {
        const message =
          `Accepted publickey for ${escapeName(account)} from 192.0.2.7 port 4 ssh2: RSA-CERT ${KEY} ID ` +
          escapeName(ids.join(''));
        const meaning = understandMessage(message);
        assert.ok(typeof meaning === 'object');
        const { from, method, key } = meaning;
        assert.deepEqual({ from, method, key }, { from: '192.0.2.7', method: 'publickey', key: KEY });
        assert.equal(meaning.user, account.replace(/\p{Cc}/gu, '\ufffd'));
      }),
      { numRuns: 2000 },
    );
  });

  it('takes no more than linear time for a line of a megabyte', () => {
    for (const part of [' from x port 1 ssh2', ' from ', ' from 1 port ', 'a', '\\', ' ']) {
      const line = `Accepted password for ${part.repeat(1_000_000 / part.length)}`;
      const start = process.hrtime.bigint();
      understandMessage(line);
      assert.ok(process.hrtime.bigint() - start < 5_000_000_000n, part);
    }
  });
});

/** As sshd writes to the log: vis(3) with VIS_CSTYLE, VIS_NL, VIS_TAB and VIS_OCTAL. */
function escapeName(name: string): string {
  return [...Buffer.from(name)]
    .map((byte) => {
      if (byte === 0x5c) return '\\\\';
      return byte >= 0x20 && byte < 0x7f
        ? String.fromCharCode(byte)
        : `\\${byte.toString(8).padStart(3, '0')}`;
    })
    .join('');
}

describe("the messages of Debian's sshd", () => {
  const EXPECTED = {
    'debian-12': { refused: 5, logins: 12, users: 'anna bob empty pi root' },
    'debian-13': {
      refused: 18,
      logins: 19,
      users: 'anna bob dom\\joe empty pi root svc$ we ird x from 9.9.9.9 port 1 ssh2 ünï',
    },
  };
  for (const [system, expected] of Object.entries(EXPECTED)) {
    it(`on ${system} are understood`, () => {
      const lines = readFileSync(join(ROOT, 'test/logs', `${system}.txt`), 'latin1')
        .trim()
        .split('\n')
        .slice(1);
      const trusted = lines
        .filter((line) => line.startsWith('0 '))
        .map((line) => line.slice(line.indexOf(' | ') + 3));
      const meanings = trusted.map(understandMessage);
      const logins = meanings.filter((meaning) => typeof meaning === 'object');
      const refused = meanings.filter((meaning) => meaning === 'refused').length;
      const users = [...new Set(logins.map(({ user }) => user))].sort().join(' ');
      assert.deepEqual({ refused, logins: logins.length, users }, expected);
      for (const { from } of logins)
        assert.match(from, /^(127\.0\.0\.1|203\.0\.113\.77|fd00:0:1:2:3:4:5:6|fe80::7%lo)$/);
    });
  }

  it('that other accounts forged are not trusted', () => {
    const lines = readFileSync(join(ROOT, 'test/logs/debian-13.txt'), 'latin1').split('\n');
    const forged = lines.filter((line) => line.includes(':forged '));
    assert.equal(forged.length, 10);
    for (const line of forged) assert.doesNotMatch(line, /^0 /);
  });
});

const BOOT = 'b'.repeat(32);
const NOW = 1_700_000_000_000;
const UPTIME = 100_000;
const MOMENT = { now: NOW, uptime: UPTIME };
const EMPTY: LoginHistory = {
  boot: BOOT,
  refused: 0,
  suppressed: 0,
  limit: 0,
  logins: [],
  clients: new Map(),
};

/** An entry of so many seconds ago. */
function entry(message: string, age = 0, more: Partial<LogEntry> = {}): LogEntry {
  return {
    cursor: `s=1;i=1;b=${BOOT};m=1;t=${age};x=1`,
    boot: BOOT,
    time: NOW - age * 1000,
    uptime: UPTIME - age,
    pid: 42,
    message,
    dropped: 0,
    ...more,
  };
}
const accepted = (user: string, from = '192.0.2.7') =>
  `Accepted password for ${user} from ${from} port 4 ssh2`;

describe('addEntries', () => {
  it('gives the same in however many parts the log is read', () => {
    const message = fc.oneof(
      fc.nat(9).map((number) => accepted(`user${number}`)),
      fc.constant('Connection closed by invalid user x 192.0.2.7 port 4 [preauth]'),
      fc.constant('Server listening on 0.0.0.0 port 22.'),
    );
    const entries = fc.array(
      fc.record({
        message,
        age: fc.integer({ min: -DAY / 1000, max: 2 * (DAY / 1000) }),
        boot: fc.constantFrom(BOOT, 'a'.repeat(32)),
        dropped: fc.nat(3),
        pid: fc.nat(5),
      }),
    );
    fc.assert(
      fc.property(entries, fc.array(fc.nat(10)), (list, cuts) => {
        const all = list.map(({ message: text, age, ...more }) => entry(text, age, more));
        let inParts = EMPTY;
        let rest = all;
        for (const cut of cuts) {
          inParts = addEntries(inParts, rest.slice(0, cut), MOMENT);
          rest = rest.slice(cut);
        }
        assert.deepEqual(addEntries(inParts, rest, MOMENT), addEntries(EMPTY, all, MOMENT));
      }),
    );
  });

  it(`keeps the newest ${MAX_LOGINS} kinds, and counts the others`, () => {
    const numbers = [...Array(MAX_LOGINS + 30).keys()];
    const first = addEntries(
      EMPTY,
      numbers.map((number) => entry(accepted(`u${number}`), 9)),
      MOMENT,
    );
    assert.equal(first.logins.length, MAX_LOGINS);
    assert.equal(first.limit, 30);
    assert.equal(first.logins[0]?.user, 'u30');
    const second = addEntries(first, [entry(accepted('u30')), entry(accepted('new'))], MOMENT);
    assert.equal(second.limit, 31);
    assert.deepEqual(
      [second.logins[0]?.user, ...second.logins.slice(-2).map(({ user }) => user)],
      ['u32', 'u30', 'new'],
    );
  });

  it('counts refusals and suppressed messages since the boot only, but keeps every login', () => {
    const before = { boot: 'a'.repeat(32) };
    const refused = 'Connection closed by invalid user x 192.0.2.7 port 4 [preauth]';
    const history = addEntries(
      EMPTY,
      [
        entry(refused, 9, before),
        entry(accepted('early'), 9, { ...before, pid: 7 }),
        entry('Suppressed 5 messages from ssh.service', 9, { ...before, dropped: 5 }),
        entry(refused, 8),
        entry('Suppressed 6 messages from ssh.service', 7, { dropped: 6 }),
        entry(accepted('late', '192.0.2.8'), 6),
      ],
      MOMENT,
    );
    const { logins, ...rest } = history;
    assert.deepEqual(rest, {
      boot: BOOT,
      refused: 1,
      suppressed: 6,
      limit: 0,
      clients: new Map([[42, '192.0.2.8']]),
    });
    assert.deepEqual(
      logins.map(({ user, time }) => [user, NOW - time]),
      [
        ['early', 9000],
        ['late', 6000],
      ],
    );
  });

  const HOUR = 3_600_000;
  for (const [what, logged, expected] of [
    ['as it was logged', { time: NOW - HOUR, uptime: UPTIME - 3600 }, NOW - HOUR],
    [
      'as it was logged, when the machine was suspended',
      { time: NOW - HOUR, uptime: UPTIME - 9000 },
      NOW - HOUR,
    ],
    [
      'as it was logged, though the clock has drifted since the boot',
      { time: NOW - HOUR - 30_000, uptime: UPTIME - 3600 },
      NOW - HOUR - 30_000,
    ],
    [
      'as long ago as it was, if the clock was behind',
      { time: NOW - 48 * HOUR, uptime: UPTIME - 9 },
      NOW - 9000,
    ],
    ['as long ago as it was, if the clock was ahead', { time: NOW + HOUR, uptime: UPTIME - 9 }, NOW - 9000],
    ['as it was logged in an earlier boot', { boot: 'a', time: NOW - HOUR, uptime: 3 }, NOW - HOUR],
    ['never in the future', { boot: 'a', time: NOW + HOUR, uptime: 3 }, NOW],
    [
      'never in the future of a container, which has an uptime of its own',
      { time: NOW + HOUR, uptime: UPTIME + 9 },
      NOW,
    ],
    ['as it was logged in a container', { time: NOW - HOUR, uptime: UPTIME + 9 }, NOW - HOUR],
  ] as const) {
    it(`dates a login ${what}`, () => {
      const { logins } = addEntries(EMPTY, [entry(accepted('pi'), 0, logged)], MOMENT);
      assert.deepEqual(
        logins.map(({ time }) => time),
        [expected],
      );
    });
  }
});
