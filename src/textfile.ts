import {
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { Failure } from './failure.ts';

/** node_exporter reads the file as another user, and root's umask may be 077. */
const MODE = 0o644;

/**
 * chown(2) leaves an owner of -1 as it is. Otherwise write-file-atomic gives the new file the owner of the
 * old one, which root without capabilities may not.
 */
const KEEP_OWNER = { uid: -1, gid: -1 };

/** In milliseconds. */
const LEFTOVER_AGE = 60_000;
/** As the kernel has it: path_resolution(7). */
const MOST_LINKS = 40;

/**
 * Replaces a file in one step, so that a reader finds the old text or the new one, whole. What an earlier
 * run left behind when it was killed is removed on the way.
 *
 * @param text in pieces, each of which is asked for when it is written: 100,000 sessions are 50 MB, too much to put
 *   together first
 * @throws Failure when the file cannot be written; the old one is then as it was
 */
export function replaceFile(path: string, text: Iterable<string>): void {
  let target = resolve(path);
  try {
    target = findTarget(target);
    actAsOwner(dirname(target));
    removeLeftovers(target);
    write(target, text);
  } catch (error) {
    throw error instanceof Failure ? error : new Failure(explain(target, error));
  }
}

function write(target: string, text: Iterable<string>): void {
  writeFileAtomic.sync(target, Buffer.from(''), {
    mode: MODE,
    chown: KEEP_OWNER,
    // A lost file comes back with the next run, and a sync every 15 s wears out an SD card.
    fsync: false,
    // write-file-atomic does not notice a short write, and would put a cut file in place when the disk is full. What
    // fails here ends the write before the old file is replaced. write-file-atomic itself then has nothing to add.
    tmpfileCreated: (temporary) => fill(temporary, text),
  });
}

/** As writeFileSync does, of which Node.js would have to compile more. The file is there, and empty. */
function fill(path: string, text: Iterable<string>): void {
  const file = openSync(path, 'r+');
  try {
    for (const piece of text) {
      const bytes = Buffer.from(piece);
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
    }
  } finally {
    closeSync(file);
  }
}

/**
 * The file that a path leads to, whether it exists or not: a link may point into a file system that is empty
 * after a boot, and must not be replaced by a file itself. Neither must a device or a FIFO.
 */
function findTarget(path: string): string {
  let target = path;
  for (let links = 0; links <= MOST_LINKS; links++) {
    const stats = lstatSync(target, { throwIfNoEntry: false });
    if (!stats?.isSymbolicLink()) return requireReplaceable(target, stats);
    requireOwnLink(target, stats);
    target = resolve(dirname(target), readlinkSync(target));
  }
  throw new Failure(`cannot write ${path}: too many links; name the file itself with --output`);
}

/** Who owns a link decides which file is overwritten: root must not do that for another account. */
function requireOwnLink(link: string, { uid }: Stats): void {
  if (uid === 0 || uid === process.geteuid?.()) return;
  throw new Failure(
    `cannot write ${link}: it is a link of another account (uid ${uid}); name the file itself with --output`,
  );
}

/**
 * The owner of a directory may put a link there under the name of the temporary file, which can be foreseen
 * and is opened as it is. Where that is not root, root writes with no more rights than the owner has.
 */
function actAsOwner(directory: string): void {
  const { uid, gid } = statSync(directory);
  if (uid === 0 || process.geteuid?.() !== 0) return;
  try {
    process.setgroups?.([]);
    process.setegid?.(gid);
    process.seteuid?.(uid);
  } catch (error) {
    // Root without capabilities, as in a sandbox of systemd: there it is the sandbox that protects other files.
    if (codeOf(error) === 'EPERM') return;
    // Debian 13's Node.js does not let go of root's rights at all, for fear of its own io_uring (CVE-2024-22017).
    throw new Failure(
      `cannot write into ${directory}: it belongs to another account, whose rights this Node.js cannot take on; ` +
        `run as that account: sudo -u '#${uid}' ssh-sessions-exporter`,
    );
  }
}

function requireReplaceable(target: string, stats: Stats | undefined): string {
  if (!stats || stats.isFile()) return target;
  const kind = stats.isDirectory() ? 'a directory' : 'not a regular file';
  throw new Failure(`cannot write ${target}: it is ${kind}; name a .prom file with --output`);
}

/** A run that is killed while it writes leaves its temporary file: the name of the target, a dot and digits. */
function removeLeftovers(target: string): void {
  const prefix = `${basename(target)}.`;
  for (const name of readDirectory(dirname(target))) {
    if (!name.startsWith(prefix) || !/^\d+$/.test(name.slice(prefix.length))) continue;
    const path = join(dirname(target), name);
    try {
      if (isLeftover(path)) unlinkSync(path);
    } catch {
      // Another run was faster, or the directory cannot be changed: then the write says so.
    }
  }
}

/** A directory that may be written but not read is good enough for a file. */
function readDirectory(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function isLeftover(path: string): boolean {
  const stats = lstatSync(path);
  return stats.isFile() && stats.uid === process.geteuid?.() && Date.now() - stats.mtimeMs > LEFTOVER_AGE;
}

/** One line for what open(2), write(2) and rename(2) fail with. */
function explain(path: string, error: unknown): string {
  const directory = dirname(path);
  switch (codeOf(error)) {
    case 'ENOENT':
      return `cannot write ${path}: the directory ${directory} does not exist; create it, or name another file with --output`;
    case 'ENOTDIR':
      return `cannot write ${path}: ${directory} is not a directory; name another file with --output`;
    case 'EACCES':
    case 'EPERM':
      return `cannot write ${path}: no permission in ${directory}; run as its owner or root, or name another file with --output`;
    case 'EROFS':
      return `cannot write ${path}: the file system is read-only; remount it, or name another file with --output`;
    case 'ENOSPC':
      return `cannot write ${path}: no space or no inodes left in ${directory}; free some`;
    case 'EDQUOT':
      return `cannot write ${path}: the disk quota is used up; free some space`;
    default:
      return `cannot write ${path}: ${error instanceof Error ? error.message : String(error)}; check ${directory}`;
  }
}

/** Node has no name for this error, and calls it by its number, which is that of Linux on all but MIPS. */
const EDQUOT = 122;

function codeOf(error: unknown): unknown {
  if (!(error instanceof Error && 'code' in error && 'errno' in error)) return undefined;
  return error.errno === -EDQUOT ? 'EDQUOT' : error.code;
}
