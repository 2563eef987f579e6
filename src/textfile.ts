import writeFileAtomic from 'write-file-atomic';
import { Failure } from './failure.ts';
import { codeOf, type FileHandle, type FileStatus, type Host, reasonOf } from './host/host.ts';

/** node_exporter reads the file as another user, and root's umask may be 077. */
const PUBLIC = 0o644;

/**
 * chown(2) leaves an owner of -1 as it is. Otherwise write-file-atomic gives the new file the owner of the
 * old one, which root may not do without capabilities.
 */
const KEEP_OWNER = { uid: -1, gid: -1 };

/** In milliseconds. */
const LEFTOVER_AGE = 60_000;
/** The kernel's limit: path_resolution(7). */
const MAX_LINKS = 40;

const WRITABLE_BY_GROUP = 0o020;
const WRITABLE_BY_OTHERS = 0o002;
/** In such a directory only its owner can rename or remove a file. */
const STICKY = 0o1000;

/**
 * Replaces a file in one step, so that a reader finds the old text or the new one, whole. Also removes what
 * killed runs have left behind.
 *
 * @param text in pieces, made while they are written: 100,000 sessions are 50 MB, too much to keep in memory
 * @throws Failure when the file cannot be written; the old one is then as it was
 */
export function replaceFile(host: Host, path: string, text: Iterable<string>, mode = PUBLIC): void {
  let directory = path;
  try {
    const target = findTarget(host, path);
    directory = target.directory;
    const file = openSafeDirectory(host, directory);
    try {
      const here = `/proc/self/fd/${file}`;
      removeLeftovers(host, here, target.name);
      write(host, `${here}/${target.name}`, text, mode);
    } finally {
      host.close(file);
    }
  } catch (error) {
    throw error instanceof Failure ? error : new Failure(explain(path, directory, error));
  }
}

interface Target {
  /** An absolute path without links. */
  readonly directory: string;
  readonly name: string;
}

/**
 * The file that a path leads to, whether it exists or not: a link may point into a file system that is empty
 * after a boot, and must not be replaced by a file itself. Neither must a device or a FIFO.
 */
function findTarget(host: Host, path: string): Target {
  const start = path.startsWith('/') ? path : `${host.readLink('/proc/self/cwd')}/${path}`;
  const rest = start.split('/');
  let directory = '';
  for (let links = 0; links <= MAX_LINKS; ) {
    const name = rest.shift() ?? '';
    const isLast = rest.length === 0;
    if (name === '..') directory = directory.slice(0, directory.lastIndexOf('/'));
    if (!isLast && ['', '.', '..'].includes(name)) continue;
    const status = host.inspect(`${directory}/${name}`);
    if (status?.kind === 'link') {
      requireOwnLink(host, `${directory}/${name}`, status);
      const to = host.readLink(`${directory}/${name}`);
      if (to.startsWith('/')) directory = '';
      rest.unshift(...to.split('/'));
      links++;
    } else if (isLast) {
      requireReplaceable(path, status);
      return { directory: directory || '/', name };
    } else {
      directory += `/${name}`;
    }
  }
  throw new Failure(`cannot write ${path}: too many links; name the file itself with --output`);
}

/** The owner of a link decides which file is overwritten, so root follows no link of another account. */
function requireOwnLink(host: Host, link: string, { uid }: FileStatus): void {
  if (uid === 0 || uid === host.uid()) return;
  throw new Failure(
    `cannot write ${link}: it is a symbolic link of another account (uid ${uid}); name the file itself with --output`,
  );
}

function requireReplaceable(path: string, status: FileStatus | undefined): void {
  if (!status || status.kind === 'file') return;
  const kind = status.kind === 'directory' ? 'a directory' : 'not a regular file';
  throw new Failure(`cannot write ${path}: it is ${kind}; name a .prom file with --output`);
}

/**
 * Opens the directory to write in. An account that can rename files in it decides what the program writes to; one that
 * can rename the directory or one above it decides which directory that is. So all checks and writes go through the
 * open directory: it is the one at that path, and nobody else can rename files in it. Debian's textfile directory
 * belongs to root, but the one above it does not.
 */
function openSafeDirectory(host: Host, path: string): FileHandle {
  const owner = actAsOwner(host, path);
  const directory = host.openDirectory(path);
  try {
    const here = `/proc/self/fd/${directory}`;
    const status = host.inspect(`${here}/.`);
    if (!status || host.readLink(here) !== path || (status.uid !== owner && status.uid !== 0)) {
      throw new Failure(
        `cannot write into ${path}: another account has just replaced it; check who owns the directories above`,
      );
    }
    if (isWritableByStrangers(status)) {
      throw new Failure(
        `cannot write into ${path}: other accounts can write there too; run chmod go-w ${path}, or name another ` +
          'file with --output',
      );
    }
    return directory;
  } catch (error) {
    host.close(directory);
    throw error;
  }
}

function isWritableByStrangers({ mode, uid, gid }: FileStatus): boolean {
  if ((mode & STICKY) !== 0) return false;
  // Debian gives an account a group of its own, of the same number.
  return (mode & WRITABLE_BY_OTHERS) !== 0 || ((mode & WRITABLE_BY_GROUP) !== 0 && gid !== uid);
}

/**
 * If another account owns the directory, root writes with no more rights than that account has.
 *
 * @returns the account that writes
 */
function actAsOwner(host: Host, path: string): number {
  const own = host.uid();
  const status = host.inspect(path);
  if (!status || status.uid === 0 || status.uid === own) return own;
  if (own === 0 && host.actAs(status.uid, status.gid)) return status.uid;
  throw new Failure(
    `cannot write into ${path}: it belongs to another account, and this interpreter cannot switch to that one; ` +
      `run as that account: sudo -u '#${status.uid}' ssh-sessions-exporter`,
  );
}

function write(host: Host, path: string, text: Iterable<string>, mode: number): void {
  writeFileAtomic.sync(path, '', {
    mode,
    chown: KEEP_OWNER,
    // A lost file comes back with the next run, and a sync every 15 s wears out an SD card.
    fsync: false,
    // write-file-atomic does not notice a short write, and would put a cut file in place when the disk is full. What
    // fails here ends the write before the old file is replaced. write-file-atomic itself then has nothing to add.
    tmpfileCreated: (temporary) => fill(host, temporary, text),
  });
}

function fill(host: Host, path: string, text: Iterable<string>): void {
  const file = host.openToWrite(path);
  try {
    for (const piece of text) host.write(file, piece);
  } finally {
    host.close(file);
  }
}

/** A run that is killed while it writes leaves its temporary file: the name of the target, a dot and digits. */
function removeLeftovers(host: Host, directory: string, target: string): void {
  for (const name of list(host, directory)) {
    if (!name.startsWith(`${target}.`) || !/^\d+$/.test(name.slice(target.length + 1))) continue;
    try {
      if (isLeftover(host, host.inspect(`${directory}/${name}`))) host.remove(`${directory}/${name}`);
    } catch {
      // Another run was faster, or the directory cannot be changed: then the write says so.
    }
  }
}

/** A directory that may be written but not read is good enough for a file. */
function list(host: Host, directory: string): string[] {
  try {
    return host.list(directory);
  } catch {
    return [];
  }
}

function isLeftover(host: Host, status: FileStatus | undefined): boolean {
  return status?.kind === 'file' && status.uid === host.uid() && host.now() - status.modified > LEFTOVER_AGE;
}

/** One line for what open(2), write(2) and rename(2) fail with. */
function explain(path: string, directory: string, error: unknown): string {
  switch (codeOf(error)) {
    case 'ENOENT':
      return `cannot write ${path}: the directory ${directory} does not exist; create it, or name another file with --output`;
    case 'ENOTDIR':
      return `cannot write ${path}: ${directory} is not a directory; name another file with --output`;
    case 'EACCES':
    case 'EPERM':
      return `cannot write ${path}: no permission in ${directory}; run as its owner or root, or name another file with --output`;
    case 'EBUSY':
      return `cannot write ${path}: it is a mount point; mount its directory instead, or name another file with --output`;
    case 'EROFS':
      return `cannot write ${path}: the file system is read-only; remount it, or name another file with --output`;
    case 'ENOSPC':
      return `cannot write ${path}: no space or no inodes left in ${directory}; free some`;
    case 'EDQUOT':
      return `cannot write ${path}: the disk quota is used up; free some space`;
    default:
      return `cannot write ${path}: ${reasonOf(error)}; check ${directory}`;
  }
}
