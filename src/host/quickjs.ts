import { byteText } from '../text.ts';
import {
  type FileHandle,
  type FileStatus,
  type Host,
  LAST_READ,
  MAX_STDERR,
  type RunLimits,
  type RunResult,
} from './host.ts';
import { check, checkPair, type Stream } from './quickjs/std.ts';

const startTime = os.now();

export const host: Host = {
  name: 'QuickJS',
  args: scriptArgs.slice(1),
  env: std.getenviron(),
  uid,
  now: Date.now,
  elapsed: () => (os.now() - startTime) / 1000,
  // QuickJS knows the offset of a moment. Given a local time, it treats that as UTC and looks up the wrong one.
  utcOffset: (time) => new Date(time).getTimezoneOffset() * -60,
  run,
  open: (path) => check(os.open(path, os.O_RDONLY)),
  openToWrite: (path) => check(os.open(path, os.O_RDWR)),
  openDirectory: (path) => check(os.open(path, O_PATH)),
  close,
  read: (file, into) => check(os.read(file, into.buffer, into.byteOffset, into.length)),
  write,
  isTerminal: (file) => os.isatty(file),
  readSmallFile,
  list: (directory) => checkPair(os.readdir(directory)).filter((name) => name !== '.' && name !== '..'),
  inspect,
  readLink: (path) => checkPair(os.readlink(path)),
  makeDirectory: (path) => void check(os.mkdir(path, 0o700)),
  remove: (path) => void check(os.remove(path)),
  // QuickJS has neither setgroups nor seteuid.
  actAs: () => false,
};

// If the reader of standard output is gone, write then fails, as on Node.js.
os.signal(os.SIGPIPE, undefined);
// Ignored signals are inherited. If this one is ignored, the kernel keeps no exit status of a command.
os.signal(os.SIGCHLD, null);

/** open(2); these values hold on all processors but Alpha, MIPS, PA-RISC and SPARC. */
const O_PATH = 0o10000000;
const O_NONBLOCK = 0o4000;

/** The effective one: proc_pid_status(5). */
function uid(): number {
  return Number(/\nUid:\t\d+\t(\d+)/.exec(readSmallFile('/proc/self/status'))?.[1] ?? -1);
}

const SIGKILL = 9;
/** signal(7), by number. */
const SIGNALS =
  '? HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'.split(
    ' ',
  );

/** QuickJS has no time limits and no process groups; setsid(1) makes the group, under the same process ID. */
function run(command: readonly string[], { env, timeout, outputLimit }: RunLimits): RunResult {
  const deadline = os.now() + timeout * 1000;
  const child = start(command, env, outputLimit);
  // QuickJS does not always say whether file descriptors or processes are used up.
  if (!child) return { stdout: [], stderr: new Uint8Array(), end: 'EAGAIN' };
  const { pid, out, err } = child;
  let end: RunResult['end'] | undefined;
  // In milliseconds; longer with each look that finds nothing.
  let pause = 0;
  while (end === undefined) {
    pause = out.read() || err.read() ? 0 : pause + 1;
    if (out.length + err.length > outputLimit) end = 'too much';
    else if (os.now() > deadline) end = 'timeout';
    else if (out.ended && err.ended) end = endOf(pid);
    if (pause > 0 && end === undefined) os.sleep(pause);
  }
  os.kill(-pid, SIGKILL);
  if (end === 'timeout' || end === 'too much') os.kill(pid, SIGKILL);
  out.close();
  err.close();
  const stderr = join(err.pieces).subarray(0, MAX_STDERR);
  return { stdout: out.pieces, stderr, end: failureOfSetsid(end, stderr) ?? end };
}

/** @returns undefined if that fails */
function start(command: readonly string[], env: RunLimits['env'], outputLimit: number) {
  try {
    const stdin = check(os.open('/dev/null', os.O_RDONLY));
    const [out, err] = [new Pipe(outputLimit), new Pipe(MAX_STDERR)];
    const files = { stdin, stdout: out.writeEnd, stderr: err.writeEnd };
    const options = { ...files, block: false, env: { ...std.getenviron(), ...env } };
    // The command would inherit ignored signals.
    os.signal(os.SIGPIPE, null);
    const pid = os.exec(['/usr/bin/setsid', ...command], options);
    os.signal(os.SIGPIPE, undefined);
    for (const file of Object.values(files)) os.close(file);
    return { pid, out, err };
  } catch {
    return undefined;
  }
}

/** setsid(1) reports by exit status and message that it cannot start the command. */
function failureOfSetsid(end: RunResult['end'], stderr: Uint8Array): 'missing' | 'EACCES' | undefined {
  if (!String.fromCharCode(...stderr.subarray(0, 10)).startsWith('setsid: ')) return undefined;
  if (end === 127) return 'missing';
  return end === 126 ? 'EACCES' : undefined;
}

/** @returns undefined while the process runs */
function endOf(pid: number): RunResult['end'] | undefined {
  const [ended, status] = os.waitpid(pid, os.WNOHANG);
  if (ended === 0) return undefined;
  const signal = status & 0x7f;
  return signal === 0 ? status >> 8 : `SIG${SIGNALS[signal] ?? signal}`;
}

/** What a command writes to; read without waiting for it. */
class Pipe {
  readonly writeEnd: number;
  readonly pieces: Uint8Array[] = [];
  /** How many bytes came, those beyond `keep` included. */
  length = 0;
  ended = false;
  readonly #readEnd: number;
  readonly #keep: number;

  /** @param keep how many bytes to keep at least */
  constructor(keep: number) {
    const [readEnd, writeEnd] = os.pipe() ?? [-1, -1];
    // Reopened, because there is no fcntl to make reads non-blocking.
    this.#readEnd = check(os.open(`/proc/self/fd/${readEnd}`, os.O_RDONLY | O_NONBLOCK));
    os.close(readEnd);
    this.writeEnd = writeEnd;
    this.#keep = keep;
  }

  /** @returns whether anything came */
  read(): boolean {
    if (this.ended) return false;
    const length = os.read(this.#readEnd, small.buffer, 0, small.length);
    this.ended = length === 0;
    if (length <= 0) return false;
    if (this.length < this.#keep) this.pieces.push(small.slice(0, length));
    this.length += length;
    return true;
  }

  close(): void {
    os.close(this.#readEnd);
  }
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let length = 0;
  for (const piece of pieces) {
    all.set(piece, length);
    length += piece.length;
  }
  return all;
}

/** The streams through which files are written: they encode text 80 times as fast as a loop here. */
const streams = new Map<FileHandle, Stream>([
  [1, std.out],
  [2, std.err],
]);

function write(file: FileHandle, text: string): void {
  let stream = streams.get(file);
  if (!stream) {
    stream = std.fdopen(file, 'r+');
    streams.set(file, stream);
  }
  stream.puts(text.toWellFormed());
  stream.flush();
  // A stream does not say why; one byte more fails for the same reason.
  if (stream.error()) check(Math.min(os.write(file, small.buffer, 0, 1), -EIO));
}

const EIO = 5;

function close(file: FileHandle): void {
  const stream = streams.get(file);
  streams.delete(file);
  if (stream) stream.close();
  else os.close(file);
}

/** One buffer for all that is read in small pieces. */
const small = new Uint8Array(64 * 1024);

function readSmallFile(path: string, limit = small.length): string {
  const file = check(os.open(path, os.O_RDONLY));
  try {
    let length = 0;
    for (let read = small.length; read > LAST_READ; length += read)
      read = check(os.read(file, small.buffer, length, limit - length));
    return byteText(small.subarray(0, length));
  } finally {
    os.close(file);
  }
}

/** inode(7). */
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const KINDS: ReadonlyMap<number, FileStatus['kind']> = new Map([
  [S_IFREG, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'link'],
]);

function inspect(path: string): FileStatus | undefined {
  const [stats, errno] = os.lstat(path);
  if (errno === ENOENT) return undefined;
  check(-errno);
  return {
    kind: KINDS.get(stats.mode & S_IFMT) ?? 'other',
    mode: stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
    size: stats.size,
    identity: `${stats.dev}:${stats.ino}`,
    modified: stats.mtime,
  };
}

const ENOENT = 2;
