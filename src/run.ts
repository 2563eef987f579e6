import { writeFileSync } from 'node:fs';
import { type Connection, readConnections } from './connections.ts';
import { type MetricFamily, render } from './exposition.ts';
import { Failure } from './failure.ts';
import { type Log, logFailure } from './log.ts';
import { CONNECTION_RULES, RUN_RULES, sessionRules, type Tally, tally } from './metrics.ts';
import { type Selection, selectSessions } from './session.ts';
import { replaceFile } from './textfile.ts';
import { runW } from './w/command.ts';
import { type Column, parse, type Row } from './w/parse.ts';
import { readSaved } from './w/saved.ts';

export interface Options extends Selection {
  /** The file to replace; "-" is standard output. */
  readonly output: string;
  /** Saved output of w to read instead of running it; "-" is standard input. */
  readonly input?: string;
  /** The labels of ssh_session_info. */
  readonly labels: readonly Column[];
  /** Whether to read the connections that sshd serves. */
  readonly connections: boolean;
  /** How long w may take, in seconds. */
  readonly timeout: number;
}

/** The time, and how long the program has been running, in seconds. Tests bring their own. */
export interface Clock {
  now(): Date;
  elapsed(): number;
}

const STANDARD_OUTPUT = 1;

/** A flood of unreadable rows must not become a flood of log lines. */
const MOST_WARNINGS = 10;
/** In characters. In what w prints for this program WHAT begins after that, and can hold secrets. */
const MOST_QUOTED = 200;

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
 * @returns whether all went well; what did not has been logged
 */
export function run(options: Options, version: string, clock: Clock, log: Log): boolean {
  log(
    'debug',
    `ssh-sessions-exporter ${version}, Node ${process.version} on ${process.arch}, run by user ${process.getuid?.()}`,
  );
  let findings: Findings | undefined;
  try {
    findings = investigate(options, clock, log);
  } catch (error) {
    logFailure(error, log);
  }
  const text = render(allFamilies(findings, version, clock));
  try {
    write(options.output, text, log);
  } catch (error) {
    logFailure(error, log);
    return false;
  }
  if (!findings) return false;
  log('info', `${findings.sessions.count} sessions written to ${options.output}`);
  return true;
}

function investigate(options: Options, clock: Clock, log: Log): Findings {
  const output = options.input === undefined ? [runW(options.timeout, log)] : readSaved(options.input);
  const listing = parse(output);
  let leftOut = 0;
  const leaveOut = ({ user, tty, from }: Row) => {
    leftOut++;
    log('debug', () => `left out ${user} on "${tty}": "${from}" is no remote host`);
  };
  const sessions = tally(
    sessionRules(options.labels),
    selectSessions(listing, options, clock.now(), leaveOut),
  );
  const unparsedRows = listing.unreadable.length;
  warnOfUnreadable('row of w', listing.unreadable, log);
  log(
    'debug',
    () =>
      `${sessions.count + leftOut + unparsedRows} rows of w: ${sessions.count} exported, ` +
      `${leftOut} left out, ${unparsedRows} not read`,
  );
  return {
    sessions,
    unparsedRows,
    connections: tally(CONNECTION_RULES, investigateConnections(options, log)),
  };
}

/** Saved output of w says nothing of this machine's connections. */
function investigateConnections(options: Options, log: Log): readonly Connection[] {
  if (!options.connections || options.input !== undefined) return [];
  const { connections, unreadable } = readConnections();
  log(
    'debug',
    () =>
      connections.map(({ user, kind }) => `connection of ${user}: ${kind}`).join('\n') || 'no connections',
  );
  warnOfUnreadable('title of an sshd process', unreadable, log);
  return connections;
}

function allFamilies(findings: Findings | undefined, version: string, clock: Clock): MetricFamily[] {
  const report = {
    success: findings !== undefined,
    time: clock.now(),
    seconds: clock.elapsed(),
    unparsedRows: findings?.unparsedRows ?? 0,
    version,
  };
  return [
    ...(findings?.sessions.families ?? []),
    ...(findings?.connections.families ?? []),
    ...tally(RUN_RULES, [report]).families,
  ];
}

function write(output: string, text: Iterable<string>, log: Log): void {
  if (output === '-') {
    print(text);
    return;
  }
  if (!output.endsWith('.prom')) {
    log('warning', `node_exporter reads files that end in .prom only, and will not read ${output}`);
  }
  replaceFile(output, text);
}

function print(text: Iterable<string>): void {
  try {
    for (const piece of text) writeFileSync(STANDARD_OUTPUT, piece);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Failure(`cannot write standard output: ${reason}; name a file with --output`);
  }
}

function warnOfUnreadable(what: string, texts: readonly string[], log: Log): void {
  for (const text of texts.slice(0, MOST_WARNINGS)) {
    log('warning', `cannot read this ${what}: "${text.slice(0, MOST_QUOTED)}"`);
  }
  const rest = texts.length - MOST_WARNINGS;
  if (rest > 0) log('warning', `cannot read ${rest} more of the kind`);
}
