import type { LogindSession } from './logind.ts';
import { type LeftOut, notRemote, type Selection, type Session, withClient } from './session.ts';
import type { Connection } from './sshd/connections.ts';
import type { Kind } from './sshd/title.ts';
import { clientIn, isAddress, isRemote, withoutMark } from './w/from.ts';
import type { Row } from './w/parse.ts';

/** What to compare the rows of w with. */
export interface Sources {
  /** The connections before w ran. */
  readonly before: readonly Connection[];
  /** The connections after w ran. */
  readonly after: readonly Connection[];
  /** logind's sessions. Only called if w lists a login from a remote host that sshd does not serve. */
  readonly logindSessions: () => readonly LogindSession[];
}

/** What belongs together. */
export interface Matching {
  readonly rows: readonly Row[];
  readonly after: readonly Connection[];
  /** The connection that made a row. */
  readonly connections: ReadonlyMap<Row, Connection>;
  /** The service that made a row, if it is known and is not sshd. */
  readonly services: ReadonlyMap<Row, string>;
  readonly unclaimed: Unclaimed;
}

/**
 * Finds out what made each row: by its terminal or, if it has none, by elimination.
 *
 * @param rows each an object of its own
 */
export function match(rows: readonly Row[], { before, after, logindSessions }: Sources): Matching {
  const unclaimed = new Unclaimed(before, after);
  const connections = new Map<Row, Connection>();
  const candidates = sort(rows.filter(({ user }) => unclaimed.hasUser(user)));
  for (const row of candidates) assign(row, unclaimed.takeTerminal(row));
  const remote = rows.filter((row) => !connections.has(row) && isAddress(row.from));
  const known = unclaimed.areTooFewFor(remote) ? logindSessions() : [];
  const names = findOtherNames(rows, [...before, ...after], known);
  if (names.size > 0) {
    const rename = (list: readonly Connection[]) =>
      list.map((each) => ({ ...each, userInW: names.get(each.user) ?? each.userInW }));
    return match(rows, { before: rename(before), after: rename(after), logindSessions: () => known });
  }
  const services = findServices(remote, known);
  for (const row of candidates) {
    if (row.tty === '' && !services.has(row)) assign(row, unclaimed.take(row));
  }
  return { rows, after, connections, services, unclaimed };

  function assign(row: Row, connection: Connection | undefined): void {
    if (connection) connections.set(row, connection);
  }
}

/**
 * The names that w has for users instead of their own: logind knows one account per user ID, and w of Debian 13 lists
 * the logins of all others under its name.
 */
function findOtherNames(
  rows: readonly Row[],
  connections: readonly Connection[],
  logindSessions: readonly LogindSession[],
): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  if (logindSessions.length === 0) return names;
  const users = new Set(rows.map(({ user }) => user));
  const byId = new Map(logindSessions.map(({ uid, user }) => [uid, user]));
  for (const { user, userInW, uid } of connections) {
    const name = byId.get(String(uid));
    if (!users.has(userInW) && name !== undefined && users.has(name)) names.set(user, name);
  }
  return names;
}

/** Whether rows and connections explain each other, so that no second look is needed. */
export function isComplete({ rows, after, connections, services, unclaimed }: Matching): boolean {
  return (
    after.every((connection) => unclaimed.terminalsOf(connection).length === 0) &&
    rows.every((row) => connections.has(row) || reasonToLeaveOut(row, services.get(row)) !== undefined)
  );
}

/** The sessions are those that w lists, in its order, then the others, in the order of the connections. */
export interface Reconciliation extends Selection {
  /** Connections that w lists in no row. */
  readonly unlisted: Readonly<Record<Kind, number>>;
  /** How many SSH sessions only w knows. */
  readonly unverified: number;
}

/**
 * The SSH sessions: the rows of w that sshd serves or that come from a remote host, and the terminals and connections
 * of sshd that have no row. Each row and each terminal is counted once.
 *
 * @param clientOf the client of a connection, if it is known; only called if w does not show it
 * @param all count the other rows as sessions as well
 */
export function reconcile(
  { rows, after, connections, services, unclaimed }: Matching,
  clientOf: (connection: Connection) => string | undefined,
  all: boolean,
): Reconciliation {
  const sessions: Session[] = [];
  const leftOut: LeftOut[] = [];
  let unverified = 0;
  for (const row of rows) {
    const connection = connections.get(row);
    const reason = connection ? undefined : reasonToLeaveOut(row, services.get(row));
    if (reason !== undefined) leftOut.push({ row, reason });
    else if (!connection) unverified++;
    if (reason !== undefined && !all) continue;
    const from = connection ? clientOfRow(row, connection, clientOf) : withoutMark(row.from);
    sessions.push(withClient(row, from));
  }
  const unlisted = { terminal: 0, notty: 0, forward: 0 };
  for (const connection of after) {
    if (unclaimed.isWithoutRow(connection)) unlisted[connection.kind]++;
    const ttys = unclaimed.terminalsOf(connection);
    const from = ttys.length > 0 ? (clientOf(connection) ?? '') : '';
    for (const tty of ttys) sessions.push({ ...NOTHING, user: connection.user, tty, from });
  }
  return { sessions, unlisted, unverified, leftOut };
}

const NOTHING = { login: '', idle: '', jcpu: '', pcpu: '', what: '', unlisted: true } as const;

/** In any fixed order, but of two rows that may belong to one connection first the one that names a client. */
function sort(rows: readonly Row[]): readonly Row[] {
  const ranked = rows.map((row) => ({ row, rank: rank(row) }));
  ranked.sort(
    (a, b) => a.rank - b.rank || compareText(a.row.from, b.row.from) || compareText(a.row.tty, b.row.tty),
  );
  return ranked.map(({ row }) => row);
}

/** First addresses, then names, then what is neither. */
function rank({ from }: Row): number {
  if (isAddress(from)) return 0;
  return clientIn(from) === '' ? 2 : 1;
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

  constructor(before: readonly Connection[], after: readonly Connection[]) {
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
  areTooFewFor(rows: readonly Row[]): boolean {
    const counts = new Map<string, number>();
    for (const { user, tty } of rows) {
      if (tty !== '') return true;
      counts.set(user, (counts.get(user) ?? 0) + 1);
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

/** No name holds a tab (text.ts). */
const key = (user: string, place: string) => `${place}\t${user}`;

/**
 * The services other than sshd that let users in from other hosts: xrdp, cockpit and telnetd. A user can have some
 * others, such as su, open a session that looks as wanted.
 */
const OTHER_SERVICES = ['xrdp-sesman', 'cockpit', 'login', 'remote'];

/** Finds the service of each row by its terminal, or else by user and client. One of logind's sessions explains one row. */
function findServices(
  rows: readonly Row[],
  logindSessions: readonly LogindSession[],
): ReadonlyMap<Row, string> {
  const services = new Map<Row, string>();
  let unused = logindSessions.filter(({ service }) => OTHER_SERVICES.includes(service));
  if (unused.length === 0) return services;
  const sorted = sort(rows);
  for (const place of ['tty', 'client'] as const) {
    const byPlace = new Map<string, LogindSession[]>();
    for (const session of unused) {
      if (session[place] === '') continue;
      const same = byPlace.get(key(session.user, session[place]));
      if (same) same.push(session);
      else byPlace.set(key(session.user, session[place]), [session]);
    }
    const used = new Set<LogindSession>();
    for (const row of sorted) {
      if (services.has(row)) continue;
      const session = byPlace.get(key(row.user, place === 'tty' ? row.tty : row.from))?.pop();
      if (!session) continue;
      used.add(session);
      services.set(row, session.service);
    }
    unused = unused.filter((session) => !used.has(session));
  }
  return services;
}

/** @returns undefined for an SSH session, which is one that sshd of this host does not serve */
function reasonToLeaveOut({ tty, from }: Row, service: string | undefined): string | undefined {
  if (service !== undefined) return `it is a login of ${service}`;
  if (isAddress(from)) return undefined;
  if (isRemote(from)) return `sshd does not serve "${tty}", and "${from}" is not an address`;
  return notRemote(from);
}

/** In w of Debian 12, the first four bytes of an IPv6 address that ends with zeros: no client has such an IPv4 one. */
const RESERVED = /^2(?:4\d|5[0-5])\./;

function clientOfRow(
  { from }: Row,
  connection: Connection,
  clientOf: (connection: Connection) => string | undefined,
): string {
  const client = clientIn(from);
  return client === '' || RESERVED.test(client) ? (clientOf(connection) ?? client) : client;
}
