import { type SpawnSyncOptionsWithBufferEncoding, spawnSync } from 'node:child_process';
import { accessSync } from 'node:fs';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { readProc } from '../proc.ts';
import { cleanText } from '../text.ts';

/** What is read from w at the most, in bytes: about 100,000 rows of the widest kind are a third of it. */
export const OUTPUT_LIMIT = 64 * 1024 * 1024;

/** What is quoted of w's complaints, in bytes. */
const MOST_QUOTED = 500;

/** Addresses rather than names where w reads utmp; a FROM column in every build. */
export const ARGUMENTS = ['-i'];

/**
 * The largest widths that w takes (w.c, main), so that it cuts no name and no address; English names and
 * the C library's UTF-8, so that the columns can be read. LANGUAGE would win over LC_ALL.
 */
export const ENVIRONMENT = {
  PROCPS_USERLEN: '32',
  PROCPS_FROMLEN: '256',
  COLUMNS: '512',
  LC_ALL: 'C.UTF-8',
  LANGUAGE: '',
};

/**
 * Runs w.
 *
 * @param timeout how long w may take, in seconds
 * @returns what it printed, as bytes
 * @throws Failure when w is missing, fails, is killed, prints too much or takes too long, and when /proc
 *   hides the processes without which w leaves out rows
 */
export function runW(timeout: number, log: Log): Buffer {
  requireOpenProc();
  log('debug', describeW);
  const child = spawnSync('w', ARGUMENTS, spawnOptions(timeout));
  if (child.pid > 0 && !isNewest(child.pid)) endGroup(child.pid);
  if (child.error) throw new Failure(explain(child.error, timeout));

  const complaint = quote(child.stderr);
  if (child.signal) throw new Failure(`w was killed by ${child.signal}; run w -i by hand to see why`);
  if (child.status !== 0) {
    throw new Failure(
      `w failed with status ${child.status}: ${complaint || 'it gave no reason'}; run w -i by hand`,
    );
  }
  if (complaint !== '') log('warning', `w complained: ${complaint}`);
  return child.stdout;
}

function quote(complaint: Buffer): string {
  return complaint.length === 0 ? '' : cleanText(complaint.toString('latin1', 0, MOST_QUOTED).trim());
}

/** What someone who was not there needs to know: the version of w, and how it is run. */
function describeW(): string {
  const child = spawnSync('w', ['--version'], { encoding: 'utf8', timeout: 5000, killSignal: 'SIGKILL' });
  const version = child.pid > 0 ? cleanText(child.stdout.trim()) : 'there is no w';
  const environment = Object.entries(ENVIRONMENT).map(([name, value]) => `${name}=${value}`);
  const zone = process.env['TZ'] === undefined ? '' : `TZ=${cleanText(process.env['TZ'])} `;
  return `${version}: ${zone}${environment.join(' ')} w ${ARGUMENTS.join(' ')}`;
}

/**
 * `detached` gives w a process group of its own, so that whatever it started can be ended with it. spawnSync
 * knows the option as spawn does, though its types and its documentation do not.
 */
function spawnOptions(timeout: number): SpawnSyncOptionsWithBufferEncoding & { detached: boolean } {
  return {
    env: { ...process.env, ...ENVIRONMENT },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeout * 1000,
    killSignal: 'SIGKILL',
    maxBuffer: OUTPUT_LIMIT,
    detached: true,
  };
}

/**
 * w leaves out the rows whose processes it cannot see, and still ends well (w.c, showinfo). Where /proc
 * hides the processes of other users, those of root are hidden too, and process 1 is root's.
 */
function requireOpenProc(): void {
  try {
    accessSync('/proc/1/stat');
  } catch {
    throw new Failure(
      "/proc hides other users' processes, so w cannot list their sessions; run as root, " +
        'or look at hidepid= of the /proc mount and ProtectProc= of the service',
    );
  }
}

function explain(error: NodeJS.ErrnoException, timeout: number): string {
  switch (error.code) {
    case 'ENOENT':
      return 'w not found; install procps (apt-get install procps)';
    case 'ETIMEDOUT':
      return `w took longer than ${timeout} s and was stopped; run w -i by hand, or allow more with --timeout`;
    case 'ENOBUFS':
      return `w printed more than ${OUTPUT_LIMIT / 1024 / 1024} MiB and was stopped; run w -i by hand to see why`;
    default:
      return `w could not be run (${error.code ?? error.message}); run w -i by hand to see why`;
  }
}

/**
 * Whether no process was started after this one (proc_sys_kernel(5)), so that it has left none behind. To ask costs
 * a tenth of what it costs to signal a group that is gone, which is 1 % of a run.
 */
function isNewest(pid: number): boolean {
  try {
    return readProc('/proc/sys/kernel/ns_last_pid') === `${pid}\n`;
  } catch {
    // A kernel without CONFIG_CHECKPOINT_RESTORE.
    return false;
  }
}

function endGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {
    // w is gone and has left no process behind.
  }
}
