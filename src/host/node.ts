import { spawnSync } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  type Stats,
  unlinkSync,
  writeSync,
} from 'node:fs';
import {
  codeOf,
  type FileHandle,
  type FileStatus,
  type Host,
  LAST_READ,
  MAX_STDERR,
  type RunLimits,
  type RunResult,
} from './host.ts';

export const host: Host = {
  name: `Node.js ${process.versions.node}`,
  args: process.argv.slice(2),
  env: process.env,
  uid: () => process.geteuid?.() ?? -1,
  now: Date.now,
  elapsed: () => process.uptime(),
  utcOffset,
  run,
  open: (path) => openSync(path, 'r'),
  openToWrite: (path) => openSync(path, 'r+'),
  openDirectory: (path) => openSync(path, O_PATH),
  close: closeSync,
  read: (file, into) => readSync(file, into),
  write,
  // Loading node:tty takes longer.
  isTerminal: (file) => fstatSync(file).isCharacterDevice(),
  readSmallFile,
  list: (directory) => readdirSync(directory),
  inspect,
  readLink: (path) => readlinkSync(path),
  makeDirectory: (path) => mkdirSync(path, 0o700),
  remove: unlinkSync,
  actAs,
};

/** open(2); Node.js has no name for it. */
const O_PATH = 0o10000000;

/** `detached` makes a process group. spawnSync knows the option as spawn does, though its types do not. */
function run(
  [command = '', ...args]: readonly string[],
  { env, timeout, outputLimit }: RunLimits,
): RunResult {
  const options = {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'],
    // spawnSync takes whole milliseconds, and 0 for no limit.
    timeout: Math.ceil(timeout * 1000),
    killSignal: 'SIGKILL' as const,
    maxBuffer: outputLimit,
    detached: true,
  };
  const child = spawnSync(command, args, options);
  if (child.pid > 0) endGroup(child.pid);
  return {
    stdout: child.stdout ? [child.stdout] : [],
    stderr: (child.stderr ?? Buffer.alloc(0)).subarray(0, MAX_STDERR),
    end: child.error ? explain(child.error) : (child.signal ?? child.status ?? 'SIGKILL'),
  };
}

function explain(error: Error): RunResult['end'] {
  const code = codeOf(error);
  if (code === 'ENOENT') return 'missing';
  if (code === 'ETIMEDOUT') return 'timeout';
  return code === 'ENOBUFS' ? 'too much' : `E${code?.slice(1) ?? 'IO'}`;
}

function endGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {
    // The command has left no process behind.
  }
}

function write(file: FileHandle, text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
}

/** One buffer for all: readFileSync takes three times as long on Node.js 18. */
const small = Buffer.allocUnsafeSlow(64 * 1024);

function readSmallFile(path: string, limit = small.length): string {
  const file = openSync(path, 'r');
  try {
    let length = 0;
    for (let read = small.length; read > LAST_READ; length += read)
      read = readSync(file, small, length, limit - length, null);
    return small.toString('latin1', 0, length);
  } finally {
    closeSync(file);
  }
}

function inspect(path: string): FileStatus | undefined {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (!stats) return undefined;
  return {
    kind: kindOf(stats),
    mode: stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
    size: stats.size,
    identity: `${stats.dev}:${stats.ino}`,
    modified: stats.mtimeMs,
  };
}

function kindOf(stats: Stats): FileStatus['kind'] {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  return stats.isSymbolicLink() ? 'link' : 'other';
}

function actAs(uid: number, gid: number): boolean {
  try {
    process.setgroups?.([]);
    process.setegid?.(gid);
    process.seteuid?.(uid);
    return true;
  } catch {
    // Root without capabilities, or Debian 13's Node.js: it keeps root's rights because of its own io_uring
    // (CVE-2024-22017).
    return false;
  }
}

/** A zone that TZ describes rather than names, such as `CET-1CEST,M3.5.0,M10.5.0/3`: tzset(3). */
const DESCRIBED_ZONE = /^:?(?:[A-Za-z]{3,}|<[^>]+>)[+-]?\d/;

/** Node.js treats a described zone as UTC, so date(1) is asked for those. */
function utcOffset(time: number): number {
  const offset = DESCRIBED_ZONE.test(process.env['TZ'] ?? '') ? askDate(time) : undefined;
  return offset ?? new Date(time).getTimezoneOffset() * -60;
}

function askDate(time: number): number | undefined {
  const command = ['date', `--date=@${Math.floor(time / 1000)}`, '+%z'];
  const { stdout } = run(command, { env: {}, timeout: 5, outputLimit: 1024 });
  const parts = /^([+-])(\d\d)(\d\d)\n$/.exec(Buffer.concat(stdout).toString());
  return parts ? Number(`${parts[1]}1`) * (Number(parts[2]) * 3600 + Number(parts[3]) * 60) : undefined;
}
