import { type MetricFamily, render } from './exposition.ts';
import { Failure } from './failure.ts';
import { type Host, reasonOf } from './host/host.ts';
import { type Log, logFailure } from './log.ts';
import { clientOf, readSessions } from './logind.ts';
import {
  CONNECTION_RULES,
  LOGIN_LOG_RULES,
  LOGIN_RULES,
  LOSS_RULES,
  REFUSAL_RULES,
  RUN_RULES,
  sessionRules,
  type Tally,
  tally,
  UNLISTED_RULES,
  UNVERIFIED_RULES,
} from './metrics.ts';
import type { Options } from './options.ts';
import { isComplete, type Matching, match, type Reconciliation, reconcile } from './reconcile.ts';
import { type LeftOut, type Session, selectSessions, withoutArguments } from './session.ts';
import { type Connection, type ConnectionList, connectionReader } from './sshd/connections.ts';
import { type LoginLog, readLogins } from './sshd/loginState.ts';
import { KINDS } from './sshd/title.ts';
import { replaceFile } from './textfile.ts';
import { requireOpenProc, runW } from './w/command.ts';
import { type Listing, parse, type Row } from './w/parse.ts';
import { readSaved } from './w/saved.ts';
import { loginTimes } from './w/time.ts';

const STANDARD_OUTPUT = 1;

/** A flood of unreadable rows must not become a flood of log lines. */
const MAX_WARNINGS = 10;
/** In characters. WHAT, which can hold secrets, begins later in the rows that w prints for this program. */
const MAX_QUOTED = 200;

/** The findings of a run. What could not be read is absent. */
interface Findings {
  readonly sessions?: Tally;
  readonly others?: readonly Tally[];
  readonly unparsedRows?: number;
}

/**
 * One run, from w to the .prom file. A failed run replaces the file as well, by one that says so: otherwise the old
 * sessions would be mistaken for current ones.
 *
 * @param version of this program
 * @param host the system, and the clock
 * @returns whether all went well; failures have been logged
 */
export function run(options: Options, version: string, host: Host, log: Log): boolean {
  log('debug', `ssh-sessions-exporter ${version}, ${host.name}, run by user ${host.uid()}`);
  const { input } = options;
  const findings =
    input === undefined
      ? investigate(options, host, log)
      : attempt(log, () => investigateRows(readSaved(host, input), options, host, log));
  const text = render(allFamilies(findings ?? {}, version, host));
  const written = attempt(log, () => write(options.output, text, host, log));
  if (!written || !findings?.sessions) return false;
  log('info', `${findings.sessions.count} sessions written to ${options.output}`);
  return true;
}

/** @returns undefined if it failed, which has then been logged */
function attempt<T>(log: Log, action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    logFailure(error, log);
    return undefined;
  }
}

/** Combines w, sshd's processes and sshd's log. */
function investigate(options: Options, host: Host, log: Log): Findings {
  if (!options.connections) return investigateW(options, host, log);
  const { connections, loginLog, reconciliation, unparsedRows } = combine(options, host, log);
  const others = [...(connections ? tallyConnections(connections, log) : []), ...tallyLogins(loginLog)];
  if (!reconciliation) return { others, unparsedRows };
  const { sessions, unlisted, unverified, leftOut } = reconciliation;
  logLeftOut(leftOut, log);
  for (const session of sessions) {
    if (session.unlisted) log('debug', () => `w does not list ${session.user} on "${session.tty}"`);
  }
  return {
    sessions: tallySessions(drain(sessions), options, host),
    others: [
      tally(
        UNLISTED_RULES,
        KINDS.map((kind) => ({ kind, connections: unlisted[kind] })),
      ),
      tally(UNVERIFIED_RULES, [{ sessions: unverified }]),
      ...others,
    ],
    unparsedRows,
  };
}

/** Each can be forgotten once it is counted: 100,000 are 55 MB on QuickJS. */
function* drain(sessions: Session[]): Generator<Session> {
  sessions.reverse();
  for (let session = sessions.pop(); session; session = sessions.pop()) yield session;
}

/** What the three sources say together. */
interface Combination {
  /** Undefined when sshd's processes could not be read. */
  readonly connections: ConnectionList | undefined;
  readonly loginLog: LoginLog | undefined;
  /** Undefined when w failed. */
  readonly reconciliation: Reconciliation | undefined;
  readonly unparsedRows: number;
}

function combine(options: Options, host: Host, log: Log): Combination {
  const sight = attempt(log, () => look(options, host, log));
  const connections = sight?.connections.connections ?? [];
  const loginLog = investigateLogins(options, connections, host, log);
  const fromLog = ({ monitor, pid }: Connection) => loginLog?.history?.clients.get(monitor ?? pid);
  const client = (connection: Connection) => clientOf(host, connection) ?? fromLog(connection);
  return {
    connections: sight?.connections,
    loginLog,
    reconciliation: sight?.matching && reconcile(sight.matching, client, options.all),
    unparsedRows: sight?.unparsedRows ?? 0,
  };
}

/** Sessions according to w only, and the logins in sshd's log. */
function investigateW(options: Options, host: Host, log: Log): Findings {
  const findings = attempt(log, () => {
    requireOpenProc(host);
    return investigateRows(runW(host, options.timeout, log), options, host, log);
  });
  return { ...findings, others: tallyLogins(investigateLogins(options, [], host, log)) };
}

/** The current sessions and connections. */
interface Sight {
  readonly connections: ConnectionList;
  /** Undefined when w failed. */
  readonly matching: Matching | undefined;
  readonly unparsedRows: number;
}

/**
 * A session that only w or only sshd shows may have begun or ended in between, so sshd's processes are then read again.
 *
 * @throws Failure when /proc hides processes
 */
function look(options: Options, host: Host, log: Log): Sight {
  requireOpenProc(host);
  const readConnections = connectionReader(host);
  let list = readConnections();
  const before = list.connections;
  const listing = attempt(log, () => parse(runW(host, options.timeout, log)));
  const rows = listing && attempt(log, () => requireRows(listing, log));
  let matching = rows && match(rows, { before, after: before, logindSessions: () => [] });
  if (matching && !isComplete(matching)) {
    list = readConnections();
    matching = match(matching.rows, {
      before,
      after: list.connections,
      logindSessions: () => readSessions(host),
    });
  }
  return { connections: list, matching, unparsedRows: listing?.unreadable.length ?? 0 };
}

/**
 * Sessions according to w only.
 *
 * @throws Failure when its output cannot be understood
 */
function investigateRows(output: Iterable<Uint8Array>, options: Options, host: Host, log: Log): Findings {
  const listing = parse(output);
  requireRows(listing, log);
  const { sessions, leftOut } = selectSessions(listing, options.all);
  logLeftOut(leftOut, log);
  return { sessions: tallySessions(drain(sessions), options, host), unparsedRows: listing.unreadable.length };
}

/** @returns undefined if there is no log to read, or none is wanted */
function investigateLogins(
  options: Options,
  connections: readonly Connection[],
  host: Host,
  log: Log,
): LoginLog | undefined {
  if (!options.logins) return undefined;
  // The login of an orphan was logged by its monitor, which is gone.
  const loggedBy = connections.flatMap(({ monitor, pid, uid }) => monitor ?? (uid === 0 ? pid : []));
  try {
    return readLogins(host, options.timeout, loggedBy, log);
  } catch (error) {
    log('warning', `logins: ${reasonOf(error)}; check the limits of the service, or use --no-logins`);
    return { success: false, history: undefined };
  }
}

function tallySessions(sessions: Iterable<Session>, { labels, args }: Options, host: Host): Tally {
  const rules = sessionRules(labels, loginTimes({ now: host.now(), utcOffset: host.utcOffset }));
  return tally(rules, args ? sessions : withoutArguments(sessions));
}

function tallyConnections({ connections, unreadable }: ConnectionList, log: Log): Tally[] {
  log(
    'debug',
    () =>
      connections.map(({ user, kind }) => `connection of ${user}: ${kind}`).join('\n') || 'no connections',
  );
  warnOfUnreadable('title of an sshd process', unreadable, log);
  return [tally(CONNECTION_RULES, connections)];
}

function tallyLogins(loginLog: LoginLog | undefined): Tally[] {
  if (!loginLog) return [];
  const { history } = loginLog;
  const reading = tally(LOGIN_LOG_RULES, [loginLog]);
  if (!history) return [reading];
  return [
    tally(LOGIN_RULES, history.logins),
    tally(REFUSAL_RULES, [history]),
    reading,
    tally(LOSS_RULES, [
      { reason: 'suppressed', lost: history.suppressed },
      { reason: 'limit', lost: history.limit },
    ]),
  ];
}

function logLeftOut(leftOut: readonly LeftOut[], log: Log): void {
  for (const { row, reason } of leftOut) {
    log('debug', () => `skipped ${row.user} on "${row.tty}": ${reason}`);
  }
}

/**
 * Warns of rows that could not be read.
 *
 * @returns the others
 * @throws Failure when there are no others: "0 sessions" would be wrong
 */
function requireRows({ rows, unreadable }: Listing, log: Log): readonly Row[] {
  warnOfUnreadable('row of w', unreadable, log);
  log('debug', `${rows.length} rows of w, and ${unreadable.length} that cannot be read`);
  if (rows.length === 0 && unreadable.length > 0) {
    throw new Failure('no row of w could be read; run w -i by hand, and report what it prints');
  }
  return rows;
}

function allFamilies(findings: Findings, version: string, host: Host): MetricFamily[] {
  const report = {
    success: findings.sessions !== undefined,
    time: host.now(),
    seconds: host.elapsed(),
    unparsedRows: findings.unparsedRows ?? 0,
    version,
  };
  const sessions = findings.sessions ? [findings.sessions] : [];
  const tallies = [...sessions, ...(findings.others ?? []), tally(RUN_RULES, [report])];
  return tallies.flatMap(({ families }) => families);
}

/** @returns true, as all has then been written */
function write(output: string, text: Iterable<string>, host: Host, log: Log): true {
  if (output === '-') {
    print(text, host);
    return true;
  }
  if (!output.endsWith('.prom')) {
    log('warning', `node_exporter only reads files ending in .prom and will ignore ${output}`);
  }
  replaceFile(host, output, text);
  return true;
}

/** @throws Failure when standard output cannot be written */
export function print(text: Iterable<string>, host: Host): void {
  try {
    for (const piece of text) host.write(STANDARD_OUTPUT, piece);
  } catch (error) {
    throw new Failure(`cannot write standard output: ${reasonOf(error)}; redirect it elsewhere`);
  }
}

function warnOfUnreadable(what: string, texts: readonly string[], log: Log): void {
  for (const text of texts.slice(0, MAX_WARNINGS)) {
    log('warning', `cannot read this ${what}: "${text.slice(0, MAX_QUOTED)}"`);
  }
  const rest = texts.length - MAX_WARNINGS;
  if (rest > 0) log('warning', `cannot read ${rest} more like this`);
}
