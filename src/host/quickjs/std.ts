import { ERRORS } from '../host.ts';

/**
 * What is used here of QuickJS's modules std and os: `qjs --std` makes them global. A number below 0 is an error
 * number, and so is the second of a pair, unless it is 0.
 */
declare global {
  const os: {
    readonly O_RDONLY: number;
    readonly O_WRONLY: number;
    readonly O_RDWR: number;
    readonly O_CREAT: number;
    readonly O_EXCL: number;
    readonly SIGCHLD: number;
    readonly SIGPIPE: number;
    readonly WNOHANG: number;
    /** Milliseconds of a clock that is never set; microseconds in quickjs-ng. */
    now(): number;
    sleep(milliseconds: number): void;
    getpid(): number;
    open(path: string, flags: number, mode?: number): number;
    close(file: number): number;
    read(file: number, buffer: ArrayBufferLike, offset: number, length: number): number;
    write(file: number, buffer: ArrayBufferLike, offset: number, length: number): number;
    isatty(file: number): boolean;
    remove(path: string): number;
    rename(from: string, to: string): number;
    mkdir(path: string, mode: number): number;
    readdir(path: string): [string[], number];
    readlink(path: string): [string, number];
    lstat(path: string): [Stats, number];
    pipe(): [number, number] | null;
    exec(args: readonly string[], options: ExecOptions): number;
    waitpid(pid: number, options: number): [pid: number, status: number];
    kill(pid: number, signal: number): number;
    /** Ignores a signal, or acts on it as the system does by default. */
    signal(signal: number, handler: undefined | null): void;
  };
  const std: {
    readonly out: Stream;
    readonly err: Stream;
    getenviron(): Record<string, string>;
    fdopen(file: number, mode: string): Stream;
    exit(status: number): never;
  };
  /** The script and its arguments. */
  const scriptArgs: readonly string[];
  interface String {
    /** Not on Node.js 18. */
    toWellFormed(): string;
  }
}

export interface Stats {
  readonly dev: number;
  readonly ino: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** In milliseconds of Unix time. */
  readonly mtime: number;
}

interface ExecOptions {
  readonly block: boolean;
  readonly stdin?: number;
  readonly stdout?: number;
  readonly stderr?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** A FILE of the C library. */
export interface Stream {
  puts(text: string): void;
  flush(): void;
  error(): boolean;
  close(): void;
}

/** A failed system call, as Node.js has it. */
class SystemError extends Error {
  readonly code: string;

  constructor(errno: number) {
    const [code = `errno ${errno}`, meaning = 'unknown error'] = ERRORS[errno] ?? [];
    super(`${code}: ${meaning}`);
    this.code = code;
  }
}

/**
 * @param result what a call returned
 * @throws SystemError if that is an error number
 */
export function check(result: number): number {
  if (result < 0) throw new SystemError(-result);
  return result;
}

/** The same for a call that returns a value and an error number. */
export function checkPair<T>([value, errno]: readonly [T, number]): T {
  check(-errno);
  return value;
}
