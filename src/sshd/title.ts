import { cleanText, unescapeName } from '../text.ts';

/** What a connection is used for: a terminal; a command or sftp without one; neither, that is, forwarding only. */
export type Kind = 'terminal' | 'notty' | 'forward';

export const KINDS: readonly Kind[] = ['terminal', 'notty', 'forward'];

/** What the title of an sshd process means. */
export type Title =
  | { readonly role: 'serving'; readonly account: string; readonly kind: Kind; readonly terminals: string[] }
  | { readonly role: 'monitor'; readonly account: string }
  /** Not a connection of its own: the listener, an incomplete login, a second process for sftp. */
  | { readonly role: 'none' }
  /** Not a title that sshd writes. */
  | { readonly role: 'unknown' };

const NONE: Title = { role: 'none' };
const UNKNOWN: Title = { role: 'unknown' };

/** The longest title that sshd can make, in bytes: setproctitle.c. */
export const MAX_TITLE = 1023;

/** From OpenSSH 9.8 on, the processes of connections are sshd-session, and only the listener is sshd. */
const STARTS = ['sshd: ', 'sshd-session: '];

/** Suffix of a monitor's title; a monitor is root's process of a connection. */
const MONITORS = ['[priv]', '[postauth]'];
/** Suffixes of titles before authentication. */
const BEFORE_LOGIN = ['[accepted]', '[rexeced]', '[net]', '[preauth]', '[pam]'];

const TERMINAL = /^(?:pts\/\d+|tty\w+)$/;
/** A title has no more room than the arguments and the environment that sshd was started with. */
const CUT_TERMINALS = ['', 'p', 'pt', 'pts', 'pts/', 't', 'tt', 'tty'];
const CUT_NOTTY = ['n', 'no', 'not', 'nott'];

/**
 * Understands a title such as `sshd: pi@pts/0,pts/1`, `sshd-session: pi@notty`, `sshd: pi` or `sshd: pi [priv]`:
 * do_authenticated and session_proctitle in OpenSSH's session.c.
 *
 * @param title bytes, one per character
 * @param account the one that the monitor of this process serves, if known, in the same form as the result has it
 * @returns accounts as bytes, one per character
 */
export function understand(title: string, account?: string): Title {
  const start = STARTS.find((text) => title.startsWith(text));
  // A process that has no title yet still shows the command that started it.
  if (start === undefined) return NONE;
  if (title.length > MAX_TITLE) return UNKNOWN;
  const name = title.slice(start.length);
  if (isListener(name)) return NONE;
  if (name === account) return { role: 'serving', account: name, kind: 'forward', terminals: [] };
  const space = name.lastIndexOf(' ');
  const lastWord = name.slice(space + 1);
  if (space > 0 && isState(lastWord, MONITORS)) return { role: 'monitor', account: name.slice(0, space) };
  if (isState(lastWord, BEFORE_LOGIN)) return NONE;
  return name === '' ? UNKNOWN : understandPlace(name, account);
}

/** Whether a word is one of these, or begins as one of them and is cut short. */
const isState = (word: string, states: readonly string[]) =>
  word.startsWith('[') && states.some((state) => state.startsWith(word));

function understandPlace(name: string, known: string | undefined): Title {
  // The last @ counts, because an account name may contain one.
  const at = name.lastIndexOf('@');
  const place = at > 0 ? name.slice(at + 1) : undefined;
  const account = place === undefined ? name : name.slice(0, at);
  if (place === 'internal-sftp') return NONE;
  if (place === 'notty') return { role: 'serving', account, kind: 'notty', terminals: [] };
  const terminals = place === undefined ? undefined : understandTerminals(place);
  if (terminals && (terminals.length > 0 || account === known || known === undefined)) {
    return { role: 'serving', account, kind: 'terminal', terminals };
  }
  if (place !== undefined && account === known && CUT_NOTTY.includes(place)) {
    return { role: 'serving', account, kind: 'notty', terminals: [] };
  }
  return name.endsWith(']') ? UNKNOWN : { role: 'serving', account: name, kind: 'forward', terminals: [] };
}

/** @returns undefined if the place is none of terminals; a last one that is cut short is left out */
function understandTerminals(place: string): string[] | undefined {
  const terminals = place.split(',');
  const last = terminals.at(-1) ?? '';
  if (CUT_TERMINALS.includes(last)) terminals.pop();
  return terminals.every((terminal) => TERMINAL.test(terminal)) ? terminals : undefined;
}

/** The listener shows the command that started it: an absolute path, because it re-executes itself. */
const isListener = (name: string) => name.startsWith('/') || /\[listener\] \d/.test(name);

/** How many bytes of a name w prints: as many as utmp(5) has. */
const MAX_NAME_IN_W = 32;

/** @returns the account's name, and the same as w prints it */
export function names(account: string): { user: string; userInW: string } {
  const user = cleanText(account);
  return {
    user,
    userInW: account.length > MAX_NAME_IN_W ? cleanText(account.slice(0, MAX_NAME_IN_W)) : user,
  };
}

/**
 * The title among the bytes of /proc/PID/cmdline, its escapes resolved.
 *
 * @param bytes one per character
 */
export function readTitle(bytes: string): string {
  // setproctitle fills what the arguments took with zero bytes.
  const [title = ''] = bytes.split('\0', 1);
  return unescapeName(title);
}
