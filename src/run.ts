import { type MetricFamily, render } from './exposition.ts';
import { Failure } from './failure.ts';
import { type Host, reasonOf } from './host/host.ts';
import { type Log, logFailure } from './log.ts';
import { clientOf, readSessions } from './logind.ts';
import {
  CONNECTION_RULES,
  RUN_RULES,
  sessionRules,
  type Tally,
  tally,
  UNLISTED_RULES,
  UNVERIFIED_RULES,
} from './metrics.ts';
import type { Options } from './options.ts';
import { agree, type Login, reconcile, selectLogins, toSessions } from './session.ts';
import { type Connection, type ConnectionList, connectionReader } from './sshd/connections.ts';
import { KINDS } from './sshd/title.ts';
import { replaceFile } from './textfile.ts';
import { requireOpenProc, runW } from './w/command.ts';
import { type Listing, parse, type Row } from './w/parse.ts';
import { readSaved } from './w/saved.ts';

const STANDARD_OUTPUT = 1;

/** A flood of unreadable rows must not become a flood of log lines. */
const MAX_WARNINGS = 10;
/** In characters. In what w prints for this program WHAT begins after that, and can hold secrets. */
const MAX_QUOTED = 200;

/** What a run found out. What could not be found out is not there. */
interface Findings {
  readonly sessions?: Tally;
  readonly others: readonly Tally[];
  readonly unparsedRows: number;
}

/**
 * One run, from w to the .prom file. A run that finds nothing out still replaces the file, by one that says
 * so: the old sessions would be taken for those of now.
 *
 * @param version of this program
 * @param host the system, and the clock
 * @returns whether all went well; what did not has been logged
 */
export function run(options: Options, version: string, host: Host, log: Log): boolean {
  log('debug', `ssh-sessions-exporter ${version}, ${host.name}, run by user ${host.uid()}`);
  let findings: Findings = { others: [], unparsedRows: 0 };
  try {
    findings = investigate(options, host, log);
  } catch (error) {
    logFailure(error, log);
  }
  const text = render(allFamilies(findings, version, host));
  try {
    write(options.output, text, host, log);
  } catch (error) {
    logFailure(error, log);
    return false;
  }
  if (!findings.sessions) return false;
  log('info', `${findings.sessions.count} sessions written to ${options.output}`);
  return true;
}

function investigate(options: Options, host: Host, log: Log): Findings {
  if (options.input !== undefined) {
    return investigateRows(parse(readSaved(host, options.input)), options, host, log);
  }
  requireOpenProc(host);
  if (options.connections) return investigateSshd(options, host, log);
  return investigateRows(parse(runW(host, options.timeout, log)), options, host, log);
}

/** Sessions as w alone has them. */
function investigateRows(listing: Listing, options: Options, host: Host, log: Log): Findings {
  let leftOut = 0;
  const logins = selectLogins(listing, options.all, (row, reason) => {
    leftOut++;
    logLeftOut(row, reason, log);
  });
  const sessions = tallySessions(logins, options, host);
  checkReadable(sessions.count + leftOut, listing, log);
  return { sessions, others: [], unparsedRows: listing.unreadable.length };
}

/**
 * Sessions as w and sshd have them. What only one of them shows can have come or gone in between, so sshd's processes
 * are then looked at once more.
 */
function investigateSshd(options: Options, host: Host, log: Log): Findings {
  const readConnections = connectionReader(host);
  const before = readConnections();
  let listing: Listing | undefined;
  let rows: readonly Row[] = [];
  try {
    listing = parse(runW(host, options.timeout, log));
    rows = [...listing.rows];
    checkReadable(rows.length, listing, log);
  } catch (error) {
    logFailure(error, log);
    return { others: tallyConnections(before, log), unparsedRows: listing?.unreadable.length ?? 0 };
  }
  const after = agree(rows, before.connections) ? before : readConnections();
  const sources = {
    before: before.connections,
    after: after.connections,
    clientOf: (connection: Connection) => clientOf(host, connection),
    logins: () => readSessions(host),
  };
  const { sessions, unlisted, unverified, leftOut } = reconcile(rows, sources, options.all);
  for (const { row, reason } of leftOut) logLeftOut(row, reason, log);
  for (const { user, tty, listed } of sessions) {
    if (!listed) log('debug', () => `w does not list ${user} on "${tty}"`);
  }
  return {
    sessions: tallySessions(sessions, options, host),
    others: [
      tally(
        UNLISTED_RULES,
        KINDS.map((kind) => ({ kind, connections: unlisted[kind] })),
      ),
      tally(UNVERIFIED_RULES, [{ sessions: unverified }]),
      ...tallyConnections(after, log),
    ],
    unparsedRows: listing.unreadable.length,
  };
}

function tallySessions(logins: Iterable<Login>, options: Options, host: Host): Tally {
  const moment = { now: host.now(), utcOffset: host.utcOffset };
  return tally(sessionRules(options.labels), toSessions(logins, options.args, moment));
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

function logLeftOut({ user, tty }: Row, reason: string, log: Log): void {
  log('debug', () => `skipped ${user} on "${tty}": ${reason}`);
}

/** @throws Failure when no row could be read: "0 sessions" would be wrong */
function checkReadable(rows: number, { unreadable }: Listing, log: Log): void {
  warnOfUnreadable('row of w', unreadable, log);
  log('debug', `${rows} rows of w, and ${unreadable.length} that cannot be read`);
  if (rows === 0 && unreadable.length > 0) {
    throw new Failure('no row of w could be read; run w -i by hand, and report what it prints');
  }
}

function allFamilies(findings: Findings, version: string, host: Host): MetricFamily[] {
  const report = {
    success: findings.sessions !== undefined,
    time: host.now(),
    seconds: host.elapsed(),
    unparsedRows: findings.unparsedRows,
    version,
  };
  const tallies = [...(findings.sessions ? [findings.sessions] : []), ...findings.others];
  return [...tallies, tally(RUN_RULES, [report])].flatMap(({ families }) => families);
}

function write(output: string, text: Iterable<string>, host: Host, log: Log): void {
  if (output === '-') {
    print(text, host);
    return;
  }
  if (!output.endsWith('.prom')) {
    log('warning', `node_exporter only reads files ending in .prom and will ignore ${output}`);
  }
  replaceFile(host, output, text);
}

function print(text: Iterable<string>, host: Host): void {
  try {
    for (const piece of text) host.write(STANDARD_OUTPUT, piece);
  } catch (error) {
    throw new Failure(`cannot write standard output: ${reasonOf(error)}; name a file with --output`);
  }
}

function warnOfUnreadable(what: string, texts: readonly string[], log: Log): void {
  for (const text of texts.slice(0, MAX_WARNINGS)) {
    log('warning', `cannot read this ${what}: "${text.slice(0, MAX_QUOTED)}"`);
  }
  const rest = texts.length - MAX_WARNINGS;
  if (rest > 0) log('warning', `cannot read ${rest} more like this`);
}
