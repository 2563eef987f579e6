/**
 * What the program needs of the system it runs on, in its own terms. There is one implementation for Node.js and one
 * for QuickJS; nothing else in src/ knows which of them it is. A system call that fails throws an error that `codeOf` knows.
 */
export interface Host {
  /** Name and version, such as `Node.js 20.19.2` or `QuickJS 2025-04-26`. */
  readonly name: string;
  /** The command line, without the program's own name. */
  readonly args: readonly string[];
  /** The environment. */
  readonly env: Record<string, string | undefined>;
  /** Effective user ID. */
  uid(): number;
  /** The time, in milliseconds of Unix time. */
  now(): number;
  /** Seconds since this process started. */
  elapsed(): number;
  /** Seconds by which local time is ahead of UTC at a moment, which is given in milliseconds of Unix time. */
  utcOffset(time: number): number;

  /**
   * Runs a command of the PATH without standard input, in a process group of its own. Whatever the command started is
   * killed when it ends.
   */
  run(command: readonly string[], limits: RunLimits): RunResult;

  /** Opens a file to read it. Links are followed, and a FIFO without a writer blocks: inspect the path first. */
  open(path: string): FileHandle;
  /** Opens a file that exists to write to it from its start, without cutting it short. */
  openToWrite(path: string): FileHandle;
  /** Opens a directory only for its name /proc/self/fd/N, which stays valid whatever is renamed. */
  openDirectory(path: string): FileHandle;
  close(file: FileHandle): void;
  /** @returns how many bytes were read, at most as many as fit; 0 at the end */
  read(file: FileHandle, into: Uint8Array): number;
  /** Writes all of it, encoded in UTF-8. Standard output is 1, standard error is 2. */
  write(file: FileHandle, text: string): void;
  isTerminal(file: FileHandle): boolean;
  /**
   * The start of a file, one character per byte. Fast, because a run reads a file of every process.
   *
   * @param limit in bytes; 64 KiB by default, and at most
   */
  readSmallFile(path: string, limit?: number): string;
  /** The names in a directory, without `.` and `..`, in no order. */
  list(directory: string): string[];
  /** What is at a path, links not followed; undefined if nothing is. */
  inspect(path: string): FileStatus | undefined;
  /** The target of a symbolic link. */
  readLink(path: string): string;
  /** Creates a directory that only its owner may enter. */
  makeDirectory(path: string): void;
  /** Removes a file. */
  remove(path: string): void;
  /**
   * Gives up root's access to files for that of another account.
   *
   * @returns false if this host or its sandbox cannot
   */
  actAs(uid: number, gid: number): boolean;
}

/**
 * In bytes. A file of /proc gives a page at a time, less at most the next record, which is short in what is read here.
 * So this much or less is the end of any file, and need not be read for.
 */
export const LAST_READ = 2048;

/** A file descriptor N: /proc/self/fd/N is that file. */
export type FileHandle = number;

export interface FileStatus {
  readonly kind: 'file' | 'directory' | 'link' | 'other';
  /** The permission bits, the sticky bit included (0o1777). */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Device and inode: equal for two paths of the same file. */
  readonly identity: string;
  /** Time of the last modification, in milliseconds of Unix time. */
  readonly modified: number;
}

export interface RunLimits {
  /** Set in addition to the environment of this process. */
  readonly env: Readonly<Record<string, string>>;
  /** In seconds. */
  readonly timeout: number;
  /** How much is read of standard output and standard error together at most, in bytes. */
  readonly outputLimit: number;
}

/** How much of standard error is kept at most, in bytes. */
export const MAX_STDERR = 64 * 1024;

/** How a command ended, and what it printed until then. */
export interface RunResult {
  /** In pieces of any size. */
  readonly stdout: readonly Uint8Array[];
  /** At most MAX_STDERR bytes. */
  readonly stderr: Uint8Array;
  /**
   * The exit status, or the signal that ended the command; `missing` if there is no such command; `timeout` or
   * `too much` if it was killed because it exceeded a limit; otherwise the error that kept it from starting.
   */
  readonly end: number | `SIG${string}` | 'missing' | 'timeout' | 'too much' | `E${string}`;
}

/** Error numbers of Linux that are the same on all processors but MIPS, with their names and what they mean. */
export const ERRORS: Readonly<Record<number, readonly [code: string, meaning: string]>> = {
  1: ['EPERM', 'operation not permitted'],
  2: ['ENOENT', 'no such file or directory'],
  3: ['ESRCH', 'no such process'],
  5: ['EIO', 'input/output error'],
  9: ['EBADF', 'not an open file'],
  11: ['EAGAIN', 'not ready'],
  12: ['ENOMEM', 'out of memory'],
  13: ['EACCES', 'permission denied'],
  16: ['EBUSY', 'it is in use'],
  17: ['EEXIST', 'the file exists'],
  20: ['ENOTDIR', 'not a directory'],
  21: ['EISDIR', 'is a directory'],
  24: ['EMFILE', 'too many open files'],
  27: ['EFBIG', 'file too large'],
  28: ['ENOSPC', 'no space left on device'],
  30: ['EROFS', 'read-only file system'],
  32: ['EPIPE', 'broken pipe'],
  36: ['ENAMETOOLONG', 'file name too long'],
  40: ['ELOOP', 'too many symbolic links'],
  122: ['EDQUOT', 'disk quota exceeded'],
};

/** The name of the error, such as `ENOENT`, that a system call failed with; undefined for any other error. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error && 'code' in error && typeof error.code === 'string')) return undefined;
  // Node.js has no name for EDQUOT.
  return ('errno' in error && ERRORS[-Number(error.errno)]?.[0]) || error.code;
}

/** Why a system call failed, in words that are the same on both hosts. */
export function reasonOf(error: unknown): string {
  const code = codeOf(error);
  const known = Object.values(ERRORS).find(([name]) => name === code);
  return known?.[1] ?? code ?? (error instanceof Error ? error.message : String(error));
}
