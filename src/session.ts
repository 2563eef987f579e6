import { Failure } from './failure.ts';
import type { LogindSession } from './logind.ts';
import type { Connection } from './sshd/connections.ts';
import type { Kind } from './sshd/title.ts';
import type { Listing, Row } from './w/parse.ts';
import { type Moment, parseLogin } from './w/time.ts';

/** A login, with only its client in from. If w does not list it, only user, tty and from are known. */
export interface Login extends Row {
  /** Set if w lists it in no row. */
  readonly unlisted?: true;
}

export interface Session extends Login {
  /** Unix time of the login in seconds; undefined where it is not known. */
  readonly loginTimestamp: number | undefined;
}

/** What to compare the rows of w with. */
export interface Sources {
  /** The connections before w ran. */
  readonly before: readonly Connection[];
  /** The connections after w ran. */
  readonly after: readonly Connection[];
  /** The client of a connection, if it is known. Only called if w does not show it. */
  readonly clientOf: (connection: Connection) => string | undefined;
  /** logind's sessions. Only called if w lists a login from a remote host that sshd does not serve. */
  readonly logins: () => readonly LogindSession[];
}

export interface Reconciliation {
  /** Those that w lists, in its order, then the others, in the order of the connections. */
  readonly sessions: readonly Login[];
  /** Connections that w lists in no row. */
  readonly unlisted: Readonly<Record<Kind, number>>;
  /** How many SSH sessions only w knows. */
  readonly unverified: number;
  /** The rows that are no SSH session, and why not. */
  readonly leftOut: readonly { readonly row: Row; readonly reason: string }[];
}

/** A row of w, and what made it. */
interface Entry {
  readonly row: Row;
  /** How much its FROM tells. */
  readonly rank: number;
  connection?: Connection | undefined;
  /** If not sshd. */
  service?: string | undefined;
}

/**
 * The SSH sessions: the rows of w that sshd serves or that come from a remote host, and the terminals and connections
 * of sshd that have no row. Each row and each terminal is counted once.
 *
 * @param all count the other rows as sessions as well
 */
export function reconcile(rows: readonly Row[], sources: Sources, all: boolean): Reconciliation {
  const unclaimed = new Unclaimed(sources);
  const entries = explain(rows, unclaimed, sources);
  const sessions: Login[] = [];
  const leftOut: { row: Row; reason: string }[] = [];
  let unverified = 0;
  for (const entry of entries) {
    const { row, connection } = entry;
    const reason = connection ? undefined : reasonToLeaveOut(entry);
    if (reason !== undefined) leftOut.push({ row, reason });
    else if (!connection) unverified++;
    if (reason !== undefined && !all) continue;
    const from = connection ? clientOfRow(row, connection, sources) : withoutMark(row.from);
    // Without a copy where none is needed: 100,000 take 24 MiB.
    sessions.push(from === row.from ? row : { ...row, from });
  }
  const unlisted = { terminal: 0, notty: 0, forward: 0 };
  for (const connection of sources.after) {
    if (unclaimed.isWithoutRow(connection)) unlisted[connection.kind]++;
    const ttys = unclaimed.terminalsOf(connection);
    const from = ttys.length > 0 ? (sources.clientOf(connection) ?? '') : '';
    for (const tty of ttys) sessions.push({ ...NOTHING, user: connection.user, tty, from });
  }
  return { sessions, unlisted, unverified, leftOut };
}

/** Whether rows and connections explain each other, so that no second look is needed. */
export function agree(rows: readonly Row[], connections: readonly Connection[]): boolean {
  // As many rows as there are terminals, or no use trying.
  const places = connections.reduce((sum, { terminals }) => sum + Math.max(terminals.length, 1), 0);
  if (rows.length < places || rows.filter(({ from }) => isRemoteClient(from)).length > places) return false;
  const nothing = { clientOf: () => undefined, logins: () => [] };
  const { sessions, unverified } = reconcile(
    rows,
    { before: connections, after: connections, ...nothing },
    false,
  );
  return unverified === 0 && sessions.every(({ unlisted }) => !unlisted);
}

const NOTHING = { login: '', idle: '', jcpu: '', pcpu: '', what: '', unlisted: true } as const;

/** Finds out what made each row: by its terminal or, if it has none, by elimination. */
function explain(rows: readonly Row[], unclaimed: Unclaimed, sources: Sources): readonly Entry[] {
  const entries = rows.map((row): Entry => ({ row, rank: rank(row) }));
  // Of two rows that may belong to one connection, prefer the one that names a client.
  const candidates = entries.filter(({ row }) => unclaimed.hasUser(row.user)).sort(compare);
  for (const entry of candidates) entry.connection = unclaimed.takeTerminal(entry.row);
  const remote = entries.filter(({ rank, connection }) => !connection && rank === ADDRESS);
  if (unclaimed.areTooFewFor(remote)) nameServices(remote, sources.logins());
  for (const entry of candidates) {
    if (entry.row.tty === '' && !entry.service) entry.connection = unclaimed.take(entry.row);
  }
  return entries;
}

const ADDRESS = 0;

/** First addresses, then names, then what is neither. */
function rank({ from }: Row): number {
  if (isRemoteClient(from)) return ADDRESS;
  return clientIn(from) === '' ? 2 : 1;
}

/** Any fixed order of those that are alike. */
function compare(a: Entry, b: Entry): number {
  return a.rank - b.rank || compareText(a.row.from, b.row.from) || compareText(a.row.tty, b.row.tty);
}

const compareText = (a: string, b: string) => (a === b ? 0 : a < b ? -1 : 1);

/** To which kinds a row without a terminal belongs: first those that cannot have any other. */
const BLANK_ROWS: readonly Kind[] = ['notty', 'forward', 'terminal'];

/** The connections and terminals for which no row has been found yet. */
class Unclaimed {
  readonly #before: ReadonlyMap<number, Connection>;
  readonly #byTerminal = new Map<string, Connection>();
  /** Those without any row, by user as w prints it, in the order of BLANK_ROWS. */
  readonly #withoutRow = new Map<string, Set<Connection>>();
  readonly #claimed = new Map<Connection, Set<string>>();

  constructor({ before, after }: Sources) {
    this.#before = new Map(before.map((connection) => [connection.pid, connection]));
    const now = new Set(after.map(({ pid }) => pid));
    // Connections that are new since may not have existed when w ran.
    const connections = [
      ...after.filter(({ pid }) => this.#before.has(pid)),
      ...before.filter(({ pid }) => !now.has(pid)),
      ...after.filter(({ pid }) => !this.#before.has(pid)),
    ];
    for (const connection of connections) {
      const earlier = this.#before.get(connection.pid)?.terminals ?? [];
      for (const tty of [...connection.terminals, ...earlier]) {
        this.#byTerminal.set(key(connection.userInW, tty), connection);
      }
    }
    for (const connection of BLANK_ROWS.flatMap((kind) => connections.filter((each) => each.kind === kind))) {
      const ofUser = this.#withoutRow.get(connection.userInW);
      if (ofUser) ofUser.add(connection);
      else this.#withoutRow.set(connection.userInW, new Set([connection]));
    }
  }

  /** Whether a row of that user can belong to a connection. */
  hasUser(user: string): boolean {
    return this.#withoutRow.has(user);
  }

  /** The connection that the terminal of a row belongs to. */
  takeTerminal({ user, tty }: Row): Connection | undefined {
    const connection = this.#byTerminal.get(key(user, tty));
    if (connection) this.#claim(connection, tty);
    return connection;
  }

  /** A connection for a row without a terminal. Without a client, it is not that of a terminal: w knows its client. */
  take({ user, from }: Row): Connection | undefined {
    const [first] = this.#withoutRow.get(user) ?? [];
    if (!first || (first.kind === 'terminal' && clientIn(from) === '')) return undefined;
    this.#claim(first, first.terminals[0] ?? '');
    return first;
  }

  /** Whether, judging by their number, some of these rows are not sshd's. */
  areTooFewFor(entries: readonly Entry[]): boolean {
    const counts = new Map<string, number>();
    for (const { row } of entries) {
      if (row.tty !== '') return true;
      counts.set(row.user, (counts.get(row.user) ?? 0) + 1);
    }
    return [...counts].some(([user, count]) => {
      const others = [...(this.#withoutRow.get(user) ?? [])].filter(({ kind }) => kind !== 'terminal');
      return count > others.length;
    });
  }

  /** The terminals of a connection that have no row; an empty name if it has neither a terminal nor a row. */
  terminalsOf(connection: Connection): readonly string[] {
    const claimed = this.#claimed.get(connection);
    if (!claimed) return connection.terminals.length > 0 ? connection.terminals : [''];
    return connection.terminals.filter((tty) => !claimed.has(tty));
  }

  /** Whether w lists nothing of a connection that was the same before w ran. */
  isWithoutRow(connection: Connection): boolean {
    const before = this.#before.get(connection.pid);
    const isSame =
      before?.kind === connection.kind && String(before.terminals) === String(connection.terminals);
    return isSame && !this.#claimed.has(connection);
  }

  #claim(connection: Connection, tty: string): void {
    this.#byTerminal.delete(key(connection.userInW, tty));
    this.#withoutRow.get(connection.userInW)?.delete(connection);
    const claimed = this.#claimed.get(connection);
    if (claimed) claimed.add(tty);
    else this.#claimed.set(connection, new Set([tty]));
  }
}

const key = (user: string, place: string) => `${place} ${user}`;

/**
 * The services other than sshd that let users in from other hosts: xrdp, cockpit and telnetd. A user can have some
 * others, such as su, open a session that looks as wanted.
 */
const OTHER_SERVICES = ['xrdp-sesman', 'cockpit', 'login', 'remote'];

/** Finds the service of each row by its terminal, or else by user and client. A login explains one row. */
function nameServices(entries: readonly Entry[], logins: readonly LogindSession[]): void {
  let unused = logins.filter(({ service }) => OTHER_SERVICES.includes(service));
  if (unused.length === 0) return;
  const sorted = [...entries].sort(compare);
  for (const place of ['tty', 'client'] as const) {
    const byPlace = new Map<string, LogindSession[]>();
    for (const login of unused) {
      if (login[place] === '') continue;
      const same = byPlace.get(key(login.user, login[place]));
      if (same) same.push(login);
      else byPlace.set(key(login.user, login[place]), [login]);
    }
    const used = new Set<LogindSession>();
    for (const entry of sorted.filter(({ service }) => service === undefined)) {
      const login = byPlace.get(key(entry.row.user, place === 'tty' ? entry.row.tty : entry.row.from))?.pop();
      if (login) used.add(login);
      entry.service = login?.service;
    }
    unused = unused.filter((login) => !used.has(login));
  }
}

/** @returns undefined for an SSH session, which is one that sshd of this host does not serve: see `isRemoteClient` */
function reasonToLeaveOut({ row: { tty, from }, rank, service }: Entry): string | undefined {
  if (service !== undefined) return `it is a login of ${service}`;
  if (rank === ADDRESS) return undefined;
  if (isRemote(from)) return `sshd does not serve "${tty}", and "${from}" is not an address`;
  return notRemote(from);
}

const notRemote = (from: string) => `"${from}" is not a remote host`;

/** In w of Debian 12, the first four bytes of an IPv6 address that ends with zeros: no client has such an IPv4 one. */
const RESERVED = /^2(?:4\d|5[0-5])\./;

function clientOfRow({ from }: Row, connection: Connection, { clientOf }: Sources): string {
  const client = clientIn(from);
  return client === '' || RESERVED.test(client) ? (clientOf(connection) ?? client) : client;
}

/** What FROM names on a terminal of sshd: a client may be called what elsewhere is a seat. Empty if it names none. */
function clientIn(from: string): string {
  return from.startsWith('tmux(') || isDisplayOrScreen(from) ? '' : withoutMark(from);
}

const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;
const IPV6 = /^[\da-f]*:[\da-f]*:[\da-f:.]*(?:%.+)?$/i;

/** Whether FROM is an address, or mosh's, whose client may not have connected yet. Anything else is just a word. */
function isRemoteClient(from: string): boolean {
  const client = withoutMark(from);
  return from === 'mosh-' || IPV4.test(client) || IPV6.test(client);
}

/**
 * The sessions of a listing that cannot be compared with connections, in w's order.
 *
 * @param leaveOut called for each other row, with the reason
 * @throws Failure when the rows have no FROM column and only SSH sessions are wanted
 */
export function* selectLogins(
  { hasFrom, rows }: Listing,
  all: boolean,
  leaveOut: (row: Row, reason: string) => void,
): Generator<Login> {
  if (!hasFrom && !all) {
    throw new Failure(
      'this output has no FROM column, so SSH sessions cannot be recognised; save it with w -i, or use --all',
    );
  }
  for (const row of rows) {
    if (all || isRemote(row.from)) yield { ...row, from: withoutMark(row.from) };
    else leaveOut(row, notRemote(row.from));
  }
}

/** @param moment when w was run: LOGIN@ is relative to it */
export function* toSessions(logins: Iterable<Login>, args: boolean, moment: Moment): Generator<Session> {
  const timestamp = loginTimestamps(moment);
  for (const login of logins) {
    const what = args ? login.what : commandName(login.what);
    yield { ...login, what, loginTimestamp: timestamp(login.login) };
  }
}

/** FROM of logins that came over no network: blank, or a greeter (gdm). */
const LOCAL = ['', '-', 'login-'];
/** The terminal of a seat (gdm). */
const SEAT = /^tty\d+$/;
/** A window of screen (`10.0.0.5:S.0`), counted where its client logged in. */
const SCREEN = /:S\.\d+$/;

/** Whether FROM names a remote host, judging by w only. mosh counts, because ssh started it. */
export function isRemote(from: string): boolean {
  if (LOCAL.includes(from) || SEAT.test(from)) return false;
  // A window of tmux (`tmux(1234).%0`).
  return !from.startsWith('tmux(') && !isDisplayOrScreen(from);
}

/** An X display has one colon (`:0`, `localhost:10.0`); an IPv6 address, even a cut one, has more. */
function isDisplayOrScreen(from: string): boolean {
  const colon = from.indexOf(':');
  return colon >= 0 && (colon === from.lastIndexOf(':') || SCREEN.test(from));
}

/** Many rows share a login time, and local-time conversion is the most expensive part of a row. */
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
function withoutMark(from: string): string {
  return from.endsWith('-') ? from.slice(0, -1) : from;
}

function commandName(what: string): string {
  return what.replace(/\s.*$/s, '');
}
