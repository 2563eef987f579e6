import { type MetricFamily, render } from './exposition.ts';
import { Failure } from './failure.ts';
import { type Host, reasonOf } from './host/host.ts';
import { type Log, logFailure } from './log.ts';
import {
  CONNECTION_RULES,
  LOGIN_LOG_RULES,
  LOGIN_RULES,
  LOSS_RULES,
  type Loss,
  REFUSAL_RULES,
  RUN_RULES,
  sessionRules,
  type Tally,
  tally,
} from './metrics.ts';
import type { Options } from './options.ts';
import { selectSessions } from './session.ts';
import { type Connection, readConnections } from './sshd/connections.ts';
import { type LoginLog, readLogins } from './sshd/loginState.ts';
import { replaceFile } from './textfile.ts';
import { runW } from './w/command.ts';
import { parse, type Row } from './w/parse.ts';
import { readSaved } from './w/saved.ts';

const STANDARD_OUTPUT = 1;

/** A flood of unreadable rows must not become a flood of log lines. */
const MAX_WARNINGS = 10;
/** In characters. In what w prints for this program WHAT begins after that, and can hold secrets. */
const MAX_QUOTED = 200;

/** What a run found out. */
interface Findings {
  readonly sessions: Tally;
  readonly unparsedRows: number;
  readonly connections: Tally;
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
  let findings: Findings | undefined;
  try {
    findings = investigate(options, host, log);
  } catch (error) {
    logFailure(error, log);
  }
  const logins = investigateLogins(options, host, log);
  const text = render([...allFamilies(findings, version, host), ...loginFamilies(logins)]);
  try {
    write(options.output, text, host, log);
  } catch (error) {
    logFailure(error, log);
    return false;
  }
  if (!findings) return false;
  log('info', `${findings.sessions.count} sessions written to ${options.output}`);
  return true;
}

function investigate(options: Options, host: Host, log: Log): Findings {
  const output =
    options.input === undefined ? runW(host, options.timeout, log) : readSaved(host, options.input);
  const listing = parse(output);
  let leftOut = 0;
  const leaveOut = ({ user, tty, from }: Row) => {
    leftOut++;
    log('debug', () => `skipped ${user} on "${tty}": "${from}" is not a remote host`);
  };
  const moment = { now: host.now(), utcOffset: host.utcOffset };
  const sessions = tally(sessionRules(options.labels), selectSessions(listing, options, moment, leaveOut));
  const unparsedRows = listing.unreadable.length;
  warnOfUnreadable('row of w', listing.unreadable, log);
  log(
    'debug',
    () =>
      `${sessions.count + leftOut + unparsedRows} rows of w: ${sessions.count} exported, ` +
      `${leftOut} skipped, ${unparsedRows} not read`,
  );
  return {
    sessions,
    unparsedRows,
    connections: tally(CONNECTION_RULES, investigateConnections(options, host, log)),
  };
}

/** Saved output of w says nothing of this machine's connections. */
function investigateConnections(options: Options, host: Host, log: Log): readonly Connection[] {
  if (!options.connections || options.input !== undefined) return [];
  const { connections, unreadable } = readConnections(host);
  log(
    'debug',
    () =>
      connections.map(({ user, kind }) => `connection of ${user}: ${kind}`).join('\n') || 'no connections',
  );
  warnOfUnreadable('title of an sshd process', unreadable, log);
  return connections;
}

/** @returns undefined if there is no log to read */
function investigateLogins(options: Options, host: Host, log: Log): LoginLog | undefined {
  if (!options.logins || options.input !== undefined) return undefined;
  try {
    return readLogins(host, options.timeout, [], log);
  } catch (error) {
    log('warning', `logins: ${reasonOf(error)}; look at the limits of the service, or use --no-logins`);
    return { success: false, history: undefined };
  }
}

function loginFamilies(logins: LoginLog | undefined): readonly MetricFamily[] {
  if (!logins) return [];
  const { history } = logins;
  const losses: Loss[] = history
    ? [
        { reason: 'suppressed', lost: history.suppressed },
        { reason: 'limit', lost: history.limit },
      ]
    : [];
  return [
    tally(LOGIN_RULES, history?.logins ?? []),
    tally(REFUSAL_RULES, history ? [history] : []),
    tally(LOSS_RULES, losses),
    tally(LOGIN_LOG_RULES, [logins]),
  ].flatMap(({ families }) => families);
}

function allFamilies(findings: Findings | undefined, version: string, host: Host): MetricFamily[] {
  const report = {
    success: findings !== undefined,
    time: host.now(),
    seconds: host.elapsed(),
    unparsedRows: findings?.unparsedRows ?? 0,
    version,
  };
  return [
    ...(findings?.sessions.families ?? []),
    ...(findings?.connections.families ?? []),
    ...tally(RUN_RULES, [report]).families,
  ];
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
