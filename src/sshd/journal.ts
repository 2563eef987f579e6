import { codeOf, type Host, type RunResult, reasonOf } from '../host/host.ts';
import { byteText, cleanText } from '../text.ts';
import { type LogEntry, RELEVANT } from './logins.ts';

export interface Reading {
  /** Oldest first. */
  readonly entries: readonly LogEntry[];
  /** Where to go on; undefined if nothing is known of any entry. */
  readonly cursor: string | undefined;
  /** Why there may be more to read; undefined if that was all. */
  readonly problem: string | undefined;
  /** `cut` by the limit of the output; `refused` if journalctl failed before the first entry, as it does for a cursor. */
  readonly end: 'cut' | 'refused' | 'other';
}

/** Where journald keeps its files (systemd-journald.service(8)), below a directory named after the machine's ID. */
const DIRECTORIES = ['/var/log/journal', '/run/log/journal'];
const ACTIVE_FILE = 'system.journal';

/** The directory of journald's sockets. */
const JOURNALD = '/run/systemd/journal';

export interface Journal {
  /** The ID of this machine. */
  readonly machine: string;
  /** Paths of the active files, at most two. */
  readonly files: readonly string[];
  /** Differs after every entry, but up to 250 ms late; empty if that cannot be known. */
  readonly stamp: string;
}

/**
 * Looks for the journal of this machine.
 *
 * journald writes through a memory map, and sets the file size again within 250 ms of every entry so that the
 * modification time changes (journal_file_post_change in systemd). Rotation makes another file.
 *
 * @returns `none` if no journald runs here, `off` if one runs and stores nothing
 */
export function findJournal(host: Host): Journal | 'none' | 'off' {
  const machine = readMachine(host);
  const directories = machine === '' ? [] : DIRECTORIES.map((directory) => `${directory}/${machine}`);
  const files: string[] = [];
  let stamp = '';
  try {
    for (const directory of directories) {
      const path = `${directory}/${ACTIVE_FILE}`;
      const status = host.inspect(path);
      if (!status) continue;
      files.push(path);
      stamp += ` ${status.identity}@${Math.floor(status.modified)}`;
    }
    if (files.length > 0) return { machine, files, stamp: stamp.trim() };
    // While a file is being rotated, there is none for a moment.
    if (directories.some((directory) => host.inspect(directory))) return { machine, files, stamp: '' };
    return host.inspect(JOURNALD) ? 'off' : 'none';
  } catch {
    return { machine, files, stamp: '' };
  }
}

/** @returns nothing if it has none: machine-id(5) */
function readMachine(host: Host): string {
  try {
    const id = host.readSmallFile('/etc/machine-id').trim();
    return /^[0-9a-f]{32}$/.test(id) ? id : '';
  } catch {
    return '';
  }
}

/**
 * The one match that an unprivileged process cannot forge: journald itself notes the user ID and the transport. The
 * second alternative is what journald says when it has dropped messages of a service, on behalf of a process of sshd's.
 */
const MATCH = [
  ...['_UID=0', 'SYSLOG_IDENTIFIER=sshd', 'SYSLOG_IDENTIFIER=sshd-session', '+'],
  ...['_TRANSPORT=driver', 'MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e'],
  ...['OBJECT_UID=0', 'OBJECT_COMM=sshd', 'OBJECT_COMM=sshd-session'],
];

const JOURNALCTL = ['journalctl', '--quiet', '--no-pager', '--output=json'];

/** With a longer message a field would be null; those of sshd have at most 1 KiB. */
const COMMAND = [
  ...JOURNALCTL,
  ...['--show-cursor', '--output-fields=MESSAGE,_PID,N_DROPPED', `--grep=${RELEVANT}`],
];

const ENVIRONMENT = { LC_ALL: 'C.UTF-8', LANGUAGE: '', SYSTEMD_LOG_LEVEL: 'notice' };

/** In bytes: about 20,000 refused connections. It bounds the memory that a run takes. */
const OUTPUT_LIMIT = 8 * 1024 * 1024;

const MAX_QUOTED = 300;

/**
 * Reads what matters of sshd's messages, oldest first, as far as the limits allow.
 *
 * @param start the cursor to go on from, or the time to begin at in milliseconds of Unix time
 * @param timeout in seconds
 */
export function readJournal(host: Host, journal: Journal, start: string | number, timeout: number): Reading {
  const denied = whyUnreadable(host, journal);
  if (denied !== undefined) return { entries: [], cursor: undefined, problem: denied, end: 'other' };
  // Debian 12's --after-cursor leaves out the next entry if the one of the cursor has been removed. So the entry of
  // the cursor is read once more, and recognised.
  const from = typeof start === 'string' ? `--cursor=${start}` : `--since=@${Math.floor(start / 1000)}`;
  const result = host.run([...COMMAND, from, ...MATCH], {
    env: ENVIRONMENT,
    timeout,
    outputLimit: OUTPUT_LIMIT,
  });
  const lines = result.stdout.map(byteText).join('').split('\n');
  // What follows the last newline was cut off.
  lines.pop();
  const cursor = lines.at(-1)?.startsWith(CURSOR) ? lines.pop()?.slice(CURSOR.length) : undefined;
  const entries = lines.map(parseEntry).filter((entry) => entry !== undefined);
  const last = cursor ?? entries.at(-1)?.cursor;
  const known = typeof start === 'string' ? positionOf(start) : undefined;
  const failed = cursor === undefined && !endedWell(result);
  return {
    entries: entries.filter((entry) => positionOf(entry.cursor) !== known),
    cursor: last,
    problem: failed ? explain(result) : undefined,
    end: failed ? endOf(result, last !== undefined && last !== start) : 'other',
  };
}

function endOf({ end }: RunResult, isFurther: boolean): Reading['end'] {
  if (end === 'too much' && isFurther) return 'cut';
  return end === 1 && !isFurther ? 'refused' : 'other';
}

/**
 * The boot that this is, as journald calls it: that of its newest entry. In a container, the kernel's name for it can
 * be another one.
 */
export function readBoot(host: Host): string | { readonly problem: string } {
  const limits = { env: ENVIRONMENT, timeout: 5, outputLimit: OUTPUT_LIMIT };
  const result = host.run([...JOURNALCTL, '--lines=1', '--output-fields=_BOOT_ID'], limits);
  const entry = parseJson(result.stdout.map(byteText).join(''));
  const boot = isRecord(entry) ? entry['_BOOT_ID'] : undefined;
  return typeof boot === 'string' ? boot : { problem: explain(result) };
}

/** What --show-cursor prints last. It is not there if journalctl did not get to the end of the journal. */
const CURSOR = '-- cursor: ';

/** Without the numbers of the file, which are others after journald has moved the entry from /run to /var. */
const positionOf = (cursor: string) => cursor.slice(cursor.indexOf('b='));

/** With --grep, a status of 1 without a complaint means that nothing matched. */
const endedWell = ({ end, stderr }: RunResult) => end === 0 || (end === 1 && stderr.length === 0);

function whyUnreadable(host: Host, { files }: Journal): string | undefined {
  for (const file of files) {
    try {
      host.close(host.open(file));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') continue;
      return `cannot read ${file}: ${reasonOf(error)}; run as root or as a member of the group systemd-journal`;
    }
  }
  return undefined;
}

function explain({ end, stderr }: RunResult): string {
  const complaint = cleanText(byteText(stderr.subarray(0, MAX_QUOTED)).split('\n', 1).join('').trim());
  switch (end) {
    case 'missing':
      return 'journalctl not found; install systemd, or use --no-logins';
    case 'timeout':
      return 'journalctl exceeded the time limit; the next run continues where it stopped, or raise --timeout';
    case 'too much':
      return 'more log messages of sshd than one run reads; the next run continues';
    default:
      return `journalctl failed (${end}): ${complaint || 'no message'}; run journalctl -t sshd by hand`;
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

/** @returns undefined for a line that is no entry, and for an entry whose message is not text */
function parseEntry(line: string): LogEntry | undefined {
  const fields = parseJson(line);
  if (!isRecord(fields)) return undefined;
  const { __CURSOR: cursor, _BOOT_ID: boot, MESSAGE: message } = fields;
  const time = Math.floor(Number(fields['__REALTIME_TIMESTAMP']) / 1000);
  const uptime = Number(fields['__MONOTONIC_TIMESTAMP']) / 1e6;
  if (typeof cursor !== 'string' || typeof boot !== 'string' || typeof message !== 'string') return undefined;
  if (Number.isNaN(time + uptime)) return undefined;
  // A user can have messages of their own session dropped; sshd is the next to log there, when the session ends.
  const dropped = message.endsWith('.service') ? Number(fields['N_DROPPED']) || 0 : 0;
  return { cursor, boot, time, uptime, pid: Number(fields['_PID']), message, dropped };
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
