import { cleanText, unescapeName } from '../text.ts';

/** A login that sshd accepted. */
export interface Login {
  readonly user: string;
  /** The client's address; empty if it has none, because it came through a Unix socket. */
  readonly from: string;
  /** The last method of authentication, such as `publickey`. */
  readonly method: string;
  /** Fingerprint of the key, or of the client's host key for `hostbased`, such as `SHA256:…`; empty without a key. */
  readonly key: string;
}

/**
 * The last message about a connection that named a user and was not let in (OpenSSH's packet.c, auth.c, auth-pam.c).
 * There is exactly one per connection. The messages about a single attempt overlap: a wrong password can leave four of
 * them, and a wrong key leaves none.
 */
const REFUSED =
  'Connection (?:closed|reset) by (?:authenticating|invalid) user |' +
  'Disconnect(?:ed from|ing) (?:authenticating|invalid) user |' +
  'fatal: Access denied for user ';

/** What all messages that matter begin with, as PCRE for journalctl and as a regular expression of JavaScript. */
export const RELEVANT = `^(?:Accepted |Suppressed |${REFUSED})`;

const REFUSAL = new RegExp(`^(?:${REFUSED})`);

/** The methods of OpenSSH (auth2*.c) and of Debian's patch for GSSAPI. */
const METHODS = 'publickey|password|keyboard-interactive/\\w+|hostbased|gssapi-with-mic|gssapi-keyex|none';

/**
 * Of several places that look like the client's address the first one counts: sshd escapes nothing after the key's
 * type, where the comment of a certificate can hold any text. A colon after `ssh2` cannot be in the name of a user.
 */
const ACCEPTED = new RegExp(
  `^Accepted (${METHODS}) for (.*?) from (\\S+) port \\d+ ssh2(?:$|: (?:\\S+ (\\w+:\\S+))?)`,
  's',
);

/** sshd's word for the address of a client that has none. */
const NO_ADDRESS = 'UNKNOWN';

/**
 * Understands a message of sshd at its default LogLevel, such as
 * `Accepted publickey for pi from 203.0.113.7 port 4711 ssh2: ED25519 SHA256:…`.
 *
 * @param message bytes, one per character; remote users chose parts of it
 * @returns undefined if it is neither about a login nor the last one about a refused connection
 */
export function understandMessage(message: string): Login | 'refused' | undefined {
  if (REFUSAL.test(message)) return 'refused';
  const [, method, user, from, key = ''] = ACCEPTED.exec(message) ?? [];
  if (method === undefined || user === undefined || from === undefined) return undefined;
  return {
    user: cleanText(unescapeName(user)),
    from: from === NO_ADDRESS ? '' : cleanText(from),
    method,
    key: cleanText(key),
  };
}

/** What sshd, or journald about sshd, has logged. */
export interface LogEntry {
  /** Where to go on reading. */
  readonly cursor: string;
  /** The boot it is from: 32 hexadecimal digits. */
  readonly boot: string;
  /** When it was logged, in milliseconds of Unix time as the clock was set then. */
  readonly time: number;
  /** When it was logged, in seconds since the boot, without those that the machine was suspended. */
  readonly uptime: number;
  /** The process that logged it. */
  readonly pid: number;
  /** Bytes, one per character. */
  readonly message: string;
  /** How many messages of sshd journald says it has dropped; 0 for a message of sshd's own. */
  readonly dropped: number;
}

/** A kind of login, with the time of the newest one in milliseconds of Unix time. */
export interface LastLogin extends Login {
  readonly time: number;
}

/** What the log says up to some place in it. */
export interface LoginHistory {
  /** The boot that the numbers and the clients belong to: 32 hexadecimal digits. */
  readonly boot: string;
  /** Connections that named a user and were not let in. */
  readonly refused: number;
  /** Messages of sshd that journald has dropped. */
  readonly suppressed: number;
  /** Kinds of logins that were left out, because there were more than MAX_LOGINS. */
  readonly limit: number;
  /** One of each kind, the newest last. */
  readonly logins: readonly LastLogin[];
  /** Addresses of clients, by the process that logged the login. */
  readonly clients: ReadonlyMap<number, string>;
}

/** What both clocks show at one moment. */
export interface Clocks {
  /** In milliseconds of Unix time. */
  readonly now: number;
  /** In seconds since the boot. */
  readonly uptime: number;
}

export const MAX_LOGINS = 1000;
export const DAY = 24 * 60 * 60 * 1000;

/** In milliseconds: by how much two times may differ without the clock having been set. */
export const TOLERANCE = 60_000;

/** Adds what came after that place, oldest first. */
export function addEntries(
  history: LoginHistory,
  entries: readonly LogEntry[],
  clocks: Clocks,
): LoginHistory {
  let { refused, suppressed, limit } = history;
  const logins = new Map(history.logins.map((login) => [kindOf(login), login]));
  const clients = new Map(history.clients);
  for (const entry of entries) {
    const isOfThisBoot = entry.boot === history.boot;
    if (isOfThisBoot) suppressed += entry.dropped;
    const meaning = understandMessage(entry.message);
    if (meaning === 'refused') refused += Number(isOfThisBoot);
    else if (meaning) {
      if (isOfThisBoot) clients.set(entry.pid, meaning.from);
      // The newest are last.
      logins.delete(kindOf(meaning));
      logins.set(kindOf(meaning), { ...meaning, time: timeOf(entry, isOfThisBoot, clocks) });
      limit += dropOldest(logins, clocks.now);
    }
  }
  return { boot: history.boot, refused, suppressed, limit, logins: [...logins.values()], clients };
}

/** No value holds a tab. */
const kindOf = ({ user, from, method, key }: Login) => [user, from, method, key].join('\t');

/** @returns how many were dropped that are not older than a day */
function dropOldest(logins: Map<string, LastLogin>, now: number): number {
  if (logins.size <= MAX_LOGINS) return 0;
  for (const [kind, { time }] of logins) {
    logins.delete(kind);
    return Number(time > now - DAY);
  }
  return 0;
}

/**
 * When something was logged, by the clock as it is set now. An alert on new logins must fire for those from before the
 * clock was set, and not fire for ever because of one in the future. The time since the boot bounds the age. It is
 * longer than the age if the machine was suspended.
 */
function timeOf({ time, uptime }: LogEntry, isOfThisBoot: boolean, clocks: Clocks): number {
  const age = isOfThisBoot ? (clocks.uptime - uptime) * 1000 : Infinity;
  // In a container, the time since the boot can be that of the container.
  const earliest = age >= 0 ? clocks.now - age : -Infinity;
  if (time > clocks.now) return Number.isFinite(earliest) ? Math.floor(earliest) : clocks.now;
  return time < earliest - TOLERANCE ? Math.floor(earliest) : time;
}
