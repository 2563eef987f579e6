import { Failure } from '../failure.ts';
import { type Host, reasonOf } from '../host/host.ts';
import type { Log } from '../log.ts';
import { byteText, cleanText } from '../text.ts';
import { replaceFile } from '../textfile.ts';
import { findJournal, type Journal, readBoot, readJournal } from './journal.ts';
import { addEntries, type Clocks, DAY, type LoginHistory, TOLERANCE } from './logins.ts';

/** What sshd's log says. */
export interface LoginLog {
  /** Whether it was read to its end, and has the login of every live connection that it must have. */
  readonly success: boolean;
  /** Undefined if nothing has been read since the boot. Its logins are those of the last 24 hours. */
  readonly history: LoginHistory | undefined;
}

/** What is kept until the next run: a function of what the journal holds up to a place in it. */
interface State extends LoginHistory {
  /** The machine, and when its first process was started: that differs in each run of a container. */
  readonly origin: string;
  /** How the journal looked before it was read to its end; empty if there is more to read. */
  readonly stamp: string;
  /** That place; empty if the journal had no message of sshd. */
  readonly cursor: string;
  /** When it was read. */
  readonly time: Clocks;
  /** When reading began, in seconds since the boot: no login after that is missing. */
  readonly since: number;
}

/**
 * Reads what sshd has logged since the last run, and keeps it for the next.
 *
 * Two runs at once start from the same state, so whichever writes last loses nothing and counts nothing twice: at worst
 * the next run reads the same once more.
 *
 * @param timeout for journalctl, in seconds
 * @param serving the processes of sshd that have logged the logins of live connections
 * @returns undefined on a machine without a journal
 */
export function readLogins(
  host: Host,
  timeout: number,
  serving: readonly number[],
  log: Log,
): LoginLog | undefined {
  const journal = findJournal(host);
  if (journal === 'none') return undefined;
  if (journal === 'off') {
    log('warning', 'logins: journald stores nothing; check Storage= in journald.conf, or use --no-logins');
    return { success: false, history: undefined };
  }
  const origin = `${journal.machine} ${readStart(host, 1)}`;
  let state = readState(host, origin, log);
  let problem: string | undefined;
  const isUnchanged = state !== undefined && journal.stamp !== '' && journal.stamp === state.stamp;
  // On a busy machine journald can be late to touch its file.
  if (!isUnchanged || (state && findGap(host, state, serving) !== undefined)) {
    const before = state;
    const deadline = host.elapsed() + timeout;
    for (let isCut = true; isCut && host.elapsed() < deadline; ) {
      ({ state, problem, isCut } = update(host, journal, origin, state, deadline));
    }
    if (state && state !== before) writeState(host, state, log);
  }
  problem ??= state && findGap(host, state, serving);
  if (problem !== undefined) log('warning', `logins: ${problem}`);
  const kept = host.now() - DAY;
  const history = state && { ...state, logins: state.logins.filter(({ time }) => time > kept) };
  return { success: problem === undefined, history };
}

/** In seconds. */
const MIN_TIMEOUT = 0.1;

interface Update {
  readonly state: State | undefined;
  /** Why that is not all. */
  readonly problem: string | undefined;
  /** Whether there is more to read at once. */
  readonly isCut: boolean;
}

/** @param deadline by the time since this process started, in seconds */
function update(
  host: Host,
  journal: Journal,
  origin: string,
  before: State | undefined,
  deadline: number,
): Update {
  const began = readClocks(host);
  // Without a message of sshd there is no cursor, and the clock may have been set since the last run.
  const start = before?.cursor || Math.min(before?.time.now ?? began.now, began.now) - DAY;
  const { entries, cursor, problem, end } = readJournal(
    host,
    journal,
    start,
    Math.max(deadline - host.elapsed(), MIN_TIMEOUT),
  );
  if (end === 'refused' && before) {
    const { state = before, ...rest } = update(host, journal, origin, undefined, deadline);
    return { state, ...rest };
  }
  if (problem !== undefined && cursor === undefined) return { state: before, problem, isCut: false };
  const boot = before?.boot ?? readBoot(host);
  // A wrong one would be kept until the next boot, and every login would be one of another boot.
  if (typeof boot !== 'string') return { state: before, problem: boot.problem, isCut: false };
  const clocks = readClocks(host);
  const history = addEntries(before ?? noHistory(boot), entries, clocks);
  const running = new Set(entries.length > 0 ? host.list('/proc') : []);
  const state = {
    ...history,
    logins: history.logins.filter(({ time }) => time > clocks.now - DAY),
    clients: new Map([...history.clients].filter(([pid]) => running.size === 0 || running.has(String(pid)))),
    origin,
    stamp: problem === undefined ? journal.stamp : '',
    cursor: cursor ?? before?.cursor ?? '',
    time: clocks,
    since: before?.since ?? began.uptime,
  };
  return { state, problem, isCut: end === 'cut' };
}

const noHistory = (boot: string): LoginHistory => ({
  ...{ boot, refused: 0, suppressed: 0, limit: 0, logins: [], clients: new Map() },
});

/** In seconds: how long a login may take to get into the journal. */
const DELAY = 10;

/** Looks for a live connection that began after reading began, and whose login is not in the log. */
function findGap(host: Host, { since, clients }: State, serving: readonly number[]): string | undefined {
  const unknown = serving.filter((pid) => !clients.has(pid));
  if (unknown.length === 0) return undefined;
  const latest = readClocks(host).uptime - DELAY;
  const missing = unknown.find((pid) => {
    const start = readStart(host, pid);
    return start > since && start < latest;
  });
  if (missing === undefined) return undefined;
  return (
    `the log lacks the login of a live connection (process ${missing}); check LogLevel and SyslogFacility of sshd, and ` +
    'Storage= and MaxLevelStore= in journald.conf'
  );
}

function readClocks(host: Host): Clocks {
  const uptime = Number.parseFloat(host.readSmallFile('/proc/uptime'));
  return { now: host.now(), uptime };
}

/** Per second, on all processors but Alpha and Itanium: proc_pid_stat(5). */
const TICKS = 100;
/** Counted from the field after the name of the command, which can hold blanks. */
const START_FIELD = 19;

/** @returns when a process was started, in seconds since the boot; NaN if it has ended */
function readStart(host: Host, pid: number): number {
  try {
    const stat = host.readSmallFile(`/proc/${pid}/stat`);
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[START_FIELD]) / TICKS;
  } catch {
    return Number.NaN;
  }
}

const DEFAULT_DIRECTORY = '/run/ssh-sessions-exporter';

/**
 * Where the state is kept, in memory and so until the next boot. It shows who logged in from where, so only the
 * program's own account may read it.
 */
function directoryOf(host: Host): string {
  // systemd sets this for a unit with RuntimeDirectory=.
  const [directory] = (host.env['RUNTIME_DIRECTORY'] ?? '').split(':');
  return directory || DEFAULT_DIRECTORY;
}

const NAME = 'logins';

/** In bytes: more than MAX_LOGINS and a client for every process need. */
const MAX_SIZE = 16 * 1024 * 1024;

/** @returns undefined if there is none, or none that this account has written here since the boot */
function readState(host: Host, origin: string, log: Log): State | undefined {
  const path = `${directoryOf(host)}/${NAME}`;
  try {
    const status = host.inspect(path);
    if (status?.kind !== 'file' || status.uid !== host.uid() || status.size > MAX_SIZE) return undefined;
    const state = parseState(readText(host, path, status.size));
    const clocks = readClocks(host);
    if (state?.origin === origin && state.time.uptime <= clocks.uptime) return followClock(state, clocks);
    log('debug', `${path} is damaged or out of date: reading the log of 24 hours again`);
  } catch (error) {
    log('debug', `cannot read ${path}: ${reasonOf(error)}`);
  }
  return undefined;
}

/**
 * A clock that was set since then changes the times of the logins, but not their ages: perhaps no alert has fired for
 * them yet. Those from before the boot keep their times, unless that is in the future.
 */
function followClock(state: State, { now, uptime }: Clocks): State {
  const step = now - state.time.now - (uptime - state.time.uptime) * 1000;
  if (Math.abs(step) <= TOLERANCE) return state;
  const boot = state.time.now - state.time.uptime * 1000;
  const follow = (time: number) => (time > Math.min(boot, now) ? Math.floor(time + step) : time);
  return { ...state, logins: state.logins.map((login) => ({ ...login, time: follow(login.time) })) };
}

function readText(host: Host, path: string, size: number): string {
  const file = host.open(path);
  try {
    const bytes = new Uint8Array(size);
    let length = 0;
    for (let read = -1; read !== 0 && length < size; length += read) {
      read = host.read(file, bytes.subarray(length));
    }
    return byteText(bytes.subarray(0, length));
  } finally {
    host.close(file);
  }
}

/** Without it, the next run reads 24 hours again. */
function writeState(host: Host, state: State, log: Log): void {
  const directory = directoryOf(host);
  try {
    // cron does not create it, as systemd does.
    if (!host.inspect(directory)) host.makeDirectory(directory);
  } catch (error) {
    log('debug', `cannot create ${directory}: ${reasonOf(error)}`);
  }
  // In another account's directory root would write with that account's rights, and keep them.
  const status = host.inspect(directory);
  if (status?.kind !== 'directory' || status.uid !== host.uid()) return;
  try {
    replaceFile(host, `${directory}/${NAME}`, [renderState(state)], 0o600);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const [reason = ''] = error.message.split(';');
    log('warning', `logins: ${reason}; until then every run reads 24 hours of the log`);
  }
}

/** Changes with the format. */
const MAGIC = 'ssh-sessions-exporter logins 1';
const END = 'end';

/** The numbers, a line for each login, a line for each client, and the end. Fields are separated by tabs. */
function renderState(state: State): string {
  const { origin, boot, stamp, cursor, time, since, refused, suppressed, limit, logins, clients } = state;
  const lines = [
    [MAGIC, origin, boot, stamp, cursor, time.now, time.uptime, since, refused, suppressed, limit],
    ...logins.map((login) => [login.time, login.user, login.from, login.method, login.key]),
    ...clients,
    [END, ''],
  ];
  return lines.map((fields) => fields.join('\t')).join('\n');
}

/** @returns undefined for what `renderState` does not make */
function parseState(text: string): State | undefined {
  const clean = PLAIN.test(text) ? (field: string) => field : cleanText;
  const [head = [], ...rest] = text.split('\n').map((line) => line.split('\t').map(clean));
  const [magic, origin = '', boot = '', stamp = '', cursor = '', ...numbers] = head;
  const values = numbers.map(parseNumber);
  const [now = NaN, uptime = NaN, since = NaN, refused = NaN, suppressed = NaN, limit = NaN] = values;
  if (magic !== MAGIC || rest.pop()?.[0] !== END) return undefined;
  const logins = rest
    .filter(({ length }) => length === LOGIN_FIELDS)
    .map(([when, user = '', from = '', method = '', key = '']) => ({
      ...{ user, from, method, key, time: parseNumber(when) },
    }));
  const clients = new Map(
    rest.filter(({ length }) => length === CLIENT_FIELDS).map(([pid, from = '']) => [parseNumber(pid), from]),
  );
  const all = [...values, ...logins.map((login) => login.time), ...clients.keys()];
  if (
    values.length !== NUMBERS ||
    !all.every(Number.isFinite) ||
    logins.length + clients.size !== rest.length
  )
    return undefined;
  const time = { now, uptime };
  return { origin, boot, stamp, cursor, time, since, refused, suppressed, limit, logins, clients };
}

/** No field of such a text needs cleaning. */
const PLAIN = /^[\t\n -~]*$/;

const NUMBERS = 6;
const LOGIN_FIELDS = 5;
const CLIENT_FIELDS = 2;

const parseNumber = (text: string | undefined) => (text ? Number(text) : NaN);
