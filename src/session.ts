import { Failure } from './failure.ts';
import type { Listing, Row } from './w/parse.ts';
import { parseDuration, parseLogin } from './w/time.ts';

/** A login: the text that w prints, and the numbers that it stands for, undefined where w does not know. */
export interface Session extends Row {
  /** Unix time in seconds. */
  readonly loginTimestamp: number | undefined;
  readonly idleSeconds: number | undefined;
  readonly jcpuSeconds: number | undefined;
  readonly pcpuSeconds: number | undefined;
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
 * @param now when w was run: LOGIN@ is relative to it
 * @throws Failure when the rows do not say where a login came from and only SSH sessions are wanted
 */
export function selectSessions(listing: Listing, selection: Selection, now: Date): Session[] {
  if (!listing.hasFrom && !selection.all) {
    throw new Failure(
      'this output was made without FROM, so SSH sessions cannot be told from others; save it with w -i, or use --all',
    );
  }
  const rows = selection.all ? listing.rows : listing.rows.filter(isSsh);
  return rows.map((row) => toSession(row, selection.args, now));
}

/** What w shows in FROM for logins that came over no network: the terminal of a seat (gdm), a greeter. */
const LOCAL = /^(?:-?|tty\d+|login-)$/;
/** A window of tmux (`tmux(1234).%0`) or of screen (`10.0.0.5:S.0`), counted where its client logged in. */
const WINDOW = /^tmux\(|:S\.\d+$/;
/** An X display has one colon (`:0`, `localhost:10.0`); an IPv6 address, even a cut one, has more. */
const DISPLAY = /^[^:]*:[^:]*$/;

/** An SSH session is a login from a remote host; that of mosh is one too, for ssh started it. */
function isSsh({ from }: Row): boolean {
  return !LOCAL.test(from) && !WINDOW.test(from) && !DISPLAY.test(from);
}

function toSession(row: Row, args: boolean, now: Date): Session {
  const login = parseLogin(row.login, now);
  return {
    ...row,
    from: client(row.from),
    what: args ? row.what : commandName(row.what),
    loginTimestamp: login && login.getTime() / 1000,
    idleSeconds: parseDuration(row.idle),
    jcpuSeconds: parseDuration(row.jcpu),
    pcpuSeconds: parseDuration(row.pcpu),
  };
}

/**
 * w prints `-` for no client, and ends a FROM that holds a blank there with `-` (print_host in w.c):
 * `10.0.0.5 via mosh [123]` is printed as `10.0.0.5-`.
 */
function client(from: string): string {
  return from.replace(/-$/, '');
}

function commandName(what: string): string {
  return what.replace(/\s.*$/s, '');
}
