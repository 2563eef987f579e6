/** What the FROM column of w names: print_from and print_host in procps' w.c. */

/** FROM of logins that came over no network: blank, or a greeter (gdm). */
const LOCAL = ['', '-', 'login-'];
/** The terminal of a seat (gdm). */
const SEAT = /^tty\d+$/;
/** A window of screen (`10.0.0.5:S.0`), counted where its client logged in. */
const SCREEN = /:S\.\d+$/;

/** Whether FROM names a remote host, judging by w only. mosh counts, because ssh started it. */
export function isRemote(from: string): boolean {
  return !LOCAL.includes(from) && !SEAT.test(from) && !isWindowOrDisplay(from);
}

const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;
const IPV6 = /^[\da-f]*:[\da-f]*:[\da-f:.]*(?:%.+)?$/i;

/** Whether FROM is an address, or mosh's, whose client may not have connected yet. Anything else is just a word. */
export function isAddress(from: string): boolean {
  const client = withoutMark(from);
  return from === 'mosh-' || IPV4.test(client) || IPV6.test(client);
}

/** What FROM names on a terminal of sshd: a client may be called what elsewhere is a seat. Empty if it names none. */
export function clientIn(from: string): string {
  return isWindowOrDisplay(from) ? '' : withoutMark(from);
}

/**
 * w prints `-` for no client, and ends a FROM that holds a blank there with `-` (print_host in w.c):
 * `10.0.0.5 via mosh [123]` is printed as `10.0.0.5-`.
 */
export function withoutMark(from: string): string {
  return from.endsWith('-') ? from.slice(0, -1) : from;
}

/**
 * A window of tmux (`tmux(1234).%0`) or of screen, or an X display, which has one colon (`:0`, `localhost:10.0`). An
 * IPv6 address, even a cut one, has more.
 */
function isWindowOrDisplay(from: string): boolean {
  if (from.startsWith('tmux(')) return true;
  const colon = from.indexOf(':');
  return colon >= 0 && (colon === from.lastIndexOf(':') || SCREEN.test(from));
}
