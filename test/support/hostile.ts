/** Logins as an attacker would have them, printed as procps' w prints logins. */
import fc from 'fast-check';
import { printW, TTY_LENGTH, type WLayout, type WRow } from './w.ts';

/** What a login is made of, as bytes, one to a character. */
export interface Login extends WRow {
  /** Whether it is an SSH session. */
  readonly isSsh: boolean;
}

/** The widths that the program asks of w. */
const LAYOUT: WLayout = { userLength: 32, fromLength: 256, from: true, wideWhat: false };

/** Text that imitates what surrounds it: w's columns, the text format, escapes, and what a shell would run. */
const IMITATIONS = [
  '"',
  '\\',
  '\\\\',
  '\\"',
  '\\n',
  '\\x0a',
  '"} 1',
  '"} 1\\nssh_sessions_total 0',
  '",user="root"} 1',
  'ssh_sessions_total 0',
  'ssh_session_info{user="root",tty="pts/9"} 1',
  '# HELP ssh_sessions_total Nobody is here.',
  '# TYPE ssh_session_info counter',
  '# EOF',
  '#',
  '} 1 1700000000000',
  ' 11:19    5.00s  0.01s  0.00s -bash',
  '23Nov26  12days  1:15m 31:55  sshd: root@pts/9',
  'root     pts/9    198.51.100.9     11:19    5.00s  0.01s  0.00s -bash',
  'USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU  WHAT',
  ' 11:20:00 up 1 day,  0 users,  load average: 0.00, 0.00, 0.00',
  'sshd: root@pts/9',
  '$(id)`id`;id|id&',
  '%s%n%d{{.Value}}',
  '-',
  '?',
  ':',
  ',',
  '=',
  '    ',
  '0',
  'NaN',
  '__proto__',
  'constructor',
];

const utf8 = (text: string) => Buffer.from(text).toString('latin1');

/** Right-to-left and isolating marks, joiners, a byte order mark, line ends of every kind, and no characters. */
const CHARACTERS = [
  ...['\u061c', '\u200e', '\u200f', '\u202a', '\u202e', '\u2066', '\u2069', '\u200b', '\u200d', '\ufeff'],
  ...['\u0085', '\u2028', '\u2029', '\u00a0', '\u3000', '\u0000', '\r', '\u000b', '\u000c', '\u001b[2J'],
  ...['\ufffd', '\ufffe', '\uffff', '\u{1f600}', '\u{10ffff}', 'ü', '日本', 'e\u0301', 'İ', 'ﬀ'],
  // The control characters above ASCII.
  ...Array.from({ length: 32 }, (_, index) => String.fromCharCode(0x80 + index)),
].map(utf8);

/** Not UTF-8: lone surrogates, overlong and cut sequences, bytes that never occur, beyond the last character. */
const BROKEN = [
  ...[
    '\xed\xa0\x80',
    '\xed\xbf\xbf',
    '\xed\xa0\xbd\xed\xb8\x80',
    '\xc0\xaf',
    '\xe0\x80\xaf',
    '\xf0\x80\x80\xaf',
  ],
  ...['\xc3', '\xe2\x82', '\xf0\x9f\x98', '\x80', '\xbf', '\xfe', '\xff', '\xf4\x90\x80\x80', '\xc0\x8a'],
];

const byte = fc.integer({ min: 0, max: 254 }).map((code) => String.fromCharCode(code < 10 ? code : code + 1));
const piece = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...IMITATIONS) },
  { weight: 3, arbitrary: byte },
  { weight: 2, arbitrary: fc.constantFrom(...CHARACTERS) },
  { weight: 1, arbitrary: fc.constantFrom(...BROKEN) },
);

/** @param max the largest number of pieces */
const text = (max: number) => fc.array(piece, { maxLength: max }).map((pieces) => pieces.join(''));
const long = fc.tuple(piece, fc.integer({ min: 1, max: 600 })).map(([part, times]) => part.repeat(times));

/** Names of clients that the rules for displays, windows and seats could be fooled by. */
const remote = fc.oneof(
  fc.constantFrom('10.0.0.5', '203.0.113.77', 'fd00::1:2:3:4:5:6', 'fe80::1%eth0', '2001:db8::', 'localhost'),
  fc.constantFrom('10.0.0.5-', 'tty1.example.org', 'tmux.example.org', 'login-1', '::1', 'S.0.example.org'),
  text(6).map((name) => `host.${name.replaceAll(':', '')}`),
  text(3).map((name) => `::${name}:S`),
);
const local = fc.constantFrom('', '-', ':0', ':1.0', 'localhost:10.0', 'tty2', 'login-', 'tmux(1234).%0');

const login = fc.constantFrom('11:19', '00:00', '23:59', 'Mon11', '23Nov26', '29Feb24');
const duration = fc.constantFrom(
  ...[
    '  5.00s',
    ' 59.99s',
    ' 31:55 ',
    '  1:15m',
    ' 12days',
    ' 99days',
    ' 100days',
    ' 1000days',
    '   ?   ',
    '       ',
  ],
);

const anyLogin: fc.Arbitrary<Login> = fc
  .record({
    user: fc.oneof(text(3), fc.constantFrom('pi', 'root', utf8('jürgen'), utf8('用户'), ''), long),
    tty: fc.oneof(fc.constantFrom('pts/0', 'pts/12345', 'tty1', ''), text(2)),
    origin: fc.oneof(
      { weight: 9, arbitrary: remote.map((from) => ({ from, isSsh: true })) },
      { weight: 1, arbitrary: local.map((from) => ({ from, isSsh: false })) },
    ),
    login,
    idle: duration,
    jcpu: duration,
    pcpu: duration,
    what: fc.oneof({ weight: 9, arbitrary: text(12) }, { weight: 1, arbitrary: long }),
  })
  .map(({ origin, ...rest }) => ({ ...rest, ...origin }));

/** A terminal takes lines of at most 4 KiB, and a name is sent through one in base64. */
const MAX_NAME_LENGTH = 2_000;
const NEWLINES = [
  '\n',
  '\r\n',
  '\n\n',
  '\nroot     pts/9    198.51.100.9     11:19    5.00s  0.01s  0.00s -bash\n',
];

/** @returns that many names that a process can give itself, as bytes, newlines among them; the same for the same seed */
export function hostileNames(count: number, seed: number): string[] {
  const part = fc.oneof(
    { weight: 4, arbitrary: piece },
    { weight: 1, arbitrary: fc.constantFrom(...NEWLINES) },
  );
  const short = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''));
  const name = fc.oneof({ weight: 9, arbitrary: short }, { weight: 1, arbitrary: long });
  return fc
    .sample(name, { numRuns: count, seed })
    .map((text) => text.replaceAll('\0', '').slice(0, MAX_NAME_LENGTH));
}

/** @returns that many logins, the same ones for the same seed; every tenth is there twice */
export function hostileLogins(count: number, seed: number): Login[] {
  const logins = fc.sample(anyLogin, { numRuns: count, seed });
  return logins.map((one, index) => (index % 10 === 9 ? (logins[index - 1] ?? one) : one));
}

/** What w prints of them. */
export const printLogins = (logins: readonly Login[]): Buffer => printW(logins, LAYOUT, 'latin1');

/** The labels that ssh_session_info has for a login; no label is empty. */
export function expectedLabels(login: Login): Record<string, string> {
  const { isSsh: _, ...row } = login;
  const texts = {
    ...row,
    user: row.user.slice(0, LAYOUT.userLength),
    tty: row.tty.slice(0, TTY_LENGTH),
    from: row.from.slice(0, LAYOUT.fromLength),
  };
  const labels: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(texts)) {
    const value = readable(bytes);
    const label = name === 'from' && value.endsWith('-') ? value.slice(0, -1) : value;
    if (label !== '') labels[name] = label;
  }
  return labels;
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** The text without the blanks around it, where nothing is a control character. */
function readable(bytes: string): string {
  const trimmed = bytes.replace(/^ +/, '').replace(/ +$/, '');
  return decoder.decode(Buffer.from(trimmed, 'latin1')).replace(/\p{Cc}/gu, '\ufffd');
}
