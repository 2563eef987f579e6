import { Failure } from './failure.ts';
import type { Listing, Row } from './w/parse.ts';
import { type Moment, parseLogin } from './w/time.ts';

/** A login as w prints it, with its client alone in from. */
export interface Session extends Row {
  /** Unix time of the login in seconds; undefined where LOGIN@ does not tell. */
  readonly loginTimestamp: number | undefined;
}

export interface Selection {
  /** Every login rather than SSH sessions only. */
  readonly all: boolean;
  /** Keep the arguments of the command in WHAT. */
  readonly args: boolean;
}

/**
 * The sessions among w's rows, in w's order.
 *
 * @param moment when w was run: LOGIN@ is relative to it
 * @param leaveOut is given each other row
 * @throws Failure when the rows do not say where a login came from and only SSH sessions are wanted
 */
export function* selectSessions(
  listing: Listing,
  selection: Selection,
  moment: Moment,
  leaveOut: (row: Row) => void,
): Generator<Session> {
  if (!listing.hasFrom && !selection.all) {
    throw new Failure(
      'this output was made without FROM, so SSH sessions cannot be told from others; save it with w -i, or use --all',
    );
  }
  const timestamp = loginTimestamps(moment);
  for (const row of listing.rows) {
    if (!selection.all && !isSsh(row)) {
      leaveOut(row);
      continue;
    }
    yield {
      user: row.user,
      tty: row.tty,
      from: client(row.from),
      login: row.login,
      idle: row.idle,
      jcpu: row.jcpu,
      pcpu: row.pcpu,
      what: selection.args ? row.what : commandName(row.what),
      loginTimestamp: timestamp(row.login),
    };
  }
}

/** What w shows in FROM for logins that came over no network: nothing, or a greeter (gdm). */
const LOCAL = ['', '-', 'login-'];
/** The terminal of a seat (gdm). */
const SEAT = /^tty\d+$/;
/** A window of screen (`10.0.0.5:S.0`), counted where its client logged in. */
const SCREEN = /:S\.\d+$/;

/**
 * An SSH session is a login from a remote host; that of mosh is one too, for ssh started it. An address takes no
 * regular expression: each that is used takes as long to compile as to read a row.
 */
export function isSsh({ from }: Pick<Row, 'from'>): boolean {
  if (LOCAL.includes(from) || (from.startsWith('tty') && SEAT.test(from))) return false;
  // A window of tmux (`tmux(1234).%0`).
  if (from.startsWith('tmux(')) return false;
  const colon = from.indexOf(':');
  if (colon < 0) return true;
  // An X display has one colon (`:0`, `localhost:10.0`); an IPv6 address, even a cut one, has more.
  return colon !== from.lastIndexOf(':') && !SCREEN.test(from);
}

/** Of many rows few have a login time of their own, and working out local time is the dearest part of a row. */
function loginTimestamps(moment: Moment): (login: string) => number | undefined {
  const known = new Map<string, number | undefined>();
  return (login) => {
    if (!known.has(login)) known.set(login, parseLogin(login, moment));
    const milliseconds = known.get(login);
    return milliseconds === undefined ? undefined : milliseconds / 1000;
  };
}

/**
 * w prints `-` for no client, and ends a FROM that holds a blank there with `-` (print_host in w.c):
 * `10.0.0.5 via mosh [123]` is printed as `10.0.0.5-`.
 */
function client(from: string): string {
  return from.endsWith('-') ? from.slice(0, -1) : from;
}

function commandName(what: string): string {
  return what.replace(/\s.*$/s, '');
}
