/**
 * What the program needs of the system it runs on, in its own terms. There is one implementation for Node.js and one
 * for QuickJS; nothing else in src/ knows which of them it is. A host throws `SystemError` for what the system refuses.
 */
export interface Host {
  /** Name and version, such as `Node.js 20.19.2` or `QuickJS 2025-04-26`. */
  readonly name: string;
  /** The command line, without the program's own name. */
  readonly args: readonly string[];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Effective user ID. */
  uid(): number;
  /** Seconds since this process started. */
  elapsed(): number;
  /** Seconds by which local time is ahead of UTC at a moment, which is given in milliseconds of Unix time. */
  utcOffset(time: number): number;

  /** Runs a command of the PATH, without standard input and in a process group of its own, which ends with it. */
  run(command: readonly string[], limits: RunLimits): RunResult;

  /** Opens a file or directory to read it. Links are followed, and a FIFO without a writer blocks: inspect first. */
  open(path: string): FileHandle;
  /** Opens a file that is there to write to it from its start, without cutting it short. */
  openToWrite(path: string): FileHandle;
  close(file: FileHandle): void;
  /** @returns how many bytes came, at most as many as fit; 0 at the end */
  read(file: FileHandle, into: Uint8Array): number;
  /** Writes all of it. Standard output is 1, standard error is 2. */
  write(file: FileHandle, text: string): void;
  /** Whether a file is a terminal. */
  isTerminal(file: FileHandle): boolean;
  /** A small file as a whole, at most 64 KiB of it: what counts where every process of the machine is read. */
  readSmallFile(path: string): Uint8Array;
  /** The names in a directory, without `.` and `..`, in no order. */
  list(directory: string): string[];
  /** What is at a path, a link being a link; undefined where there is nothing. */
  inspect(path: string): FileStatus | undefined;
  /** Where a symbolic link points to. */
  readLink(path: string): string;
  /** Makes a directory for its owner alone. */
  makeDirectory(path: string): void;
  /** Removes a file. */
  remove(path: string): void;
  /**
   * Takes on another account's rights to files and no others, if this process is root.
   *
   * @returns false where this host cannot
   */
  actAs(uid: number, gid: number): boolean;
}

/** A number that the kernel gave: /proc/self/fd/N is that file. */
export type FileHandle = number;

export interface FileStatus {
  readonly kind: 'file' | 'directory' | 'link' | 'other';
  /** The permission bits, the sticky bit included (0o1777). */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Device and inode: the same for two paths where both are one file. */
  readonly identity: string;
  /** Time of the last modification, in milliseconds of Unix time. */
  readonly modified: number;
}

export interface RunLimits {
  /** Set in addition to the environment of this process. */
  readonly env: Readonly<Record<string, string>>;
  /** In seconds. */
  readonly timeout: number;
  /** The most that is read of standard output, in bytes. */
  readonly outputLimit: number;
}

/** How a command ended, with what it printed until then. */
export interface RunResult {
  readonly stdout: Uint8Array;
  /** At most 64 KiB of it. */
  readonly stderr: Uint8Array;
  /**
   * Its exit status or the name of the signal that ended it; `missing` where the PATH has no such command, `timeout`
   * and `too much` where it went beyond a limit and was killed.
   */
  readonly end: number | `SIG${string}` | 'missing' | 'timeout' | 'too much';
}

/** What a system call failed with. */
export class SystemError extends Error {
  /** The name of the error number, such as `ENOENT`. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
