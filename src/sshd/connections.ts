import { Failure } from '../failure.ts';
import { codeOf, type Host, reasonOf } from '../host/host.ts';
import { byteText, cleanText } from '../text.ts';
import { type Kind, MAX_TITLE, names, readTitle, understand } from './title.ts';

/** An authenticated SSH connection that sshd serves. */
export interface Connection {
  readonly user: string;
  /** The user as w prints it, which cuts long names. */
  readonly userInW: string;
  readonly kind: Kind;
  /** In the order in which they were opened, such as `pts/0`. */
  readonly terminals: readonly string[];
  /** The process that serves the user. */
  readonly pid: number;
  /** The process that sshd logs the login under, if it is another one and was not killed. */
  readonly monitor: number | undefined;
  /** The user ID that the connection has. */
  readonly uid: number;
}

export interface ConnectionList {
  /** By process ID. */
  readonly connections: readonly Connection[];
  /** Titles of sshd's processes that could not be understood, or whose account could not be looked up, as clean text. */
  readonly unreadable: readonly string[];
}

/** A process that is named like one of sshd's. */
interface SshdProcess {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  readonly isRoots: boolean;
  /** Bytes, one per character; empty for a process that has ended. */
  readonly title: string;
}

/**
 * The connections that sshd of this host serves now, according to the titles that it gives its processes.
 *
 * Anyone can give a process the name and the title of sshd. Nobody can choose its place: the process that serves a
 * user is a child of a monitor, which belongs to root. A process of root is believed. So is one whose monitor was
 * killed, which its user can do, but only for the account that owns it.
 *
 * @param proc where the process file system is mounted
 * @returns reads them, as often as it is called; after the first time only sshd's processes and new ones are looked at,
 *   and it throws a Failure when a process cannot be read that has not ended
 */
export function connectionReader(host: Host, proc = '/proc'): () => ConnectionList {
  const others = new Set<string>();
  return () => {
    const processes = new Map<number, SshdProcess>();
    for (const pid of listProcesses(host, proc)) {
      if (others.has(pid)) continue;
      const found = readIfSshd(host, proc, pid);
      if (found) processes.set(found.pid, found);
      else others.add(pid);
    }
    return findConnections(host, proc, processes);
  };
}

function findConnections(
  host: Host,
  proc: string,
  processes: ReadonlyMap<number, SshdProcess>,
): ConnectionList {
  const serving = new Map<number, { connection: Connection; parent: number }>();
  const orphans: Connection[] = [];
  const unreadable: string[] = [];
  const monitors = findMonitors(processes);
  for (const candidate of processes.values()) {
    const account = monitors.get(candidate.parent);
    const isOrphan = account === undefined && !candidate.isRoots;
    // A setuid program of root can have become root's but for its group.
    if (isOrphan && (candidate.uid === 0 || !isRootsChild(host, proc, candidate))) continue;
    const title = understand(candidate.title, account);
    if (title.role === 'unknown' && !isOrphan) unreadable.push(cleanText(candidate.title));
    if (title.role !== 'serving') continue;
    const { kind, terminals } = title;
    const { pid, parent, uid } = candidate;
    const place = { kind, terminals, pid, uid, monitor: account === undefined ? undefined : parent };
    const connection: Connection = { ...names(title.account), ...place };
    if (isOrphan) orphans.push(connection);
    else serving.set(pid, { connection, parent });
  }
  const connections: Connection[] = [];
  for (const { connection, parent } of serving.values()) {
    // The child of a root connection keeps its title until the shell runs, which waits for ~/.ssh/rc.
    if (!serving.has(parent)) connections.push(connection);
  }
  if (orphans.length > 0) addOrphans(host, orphans, connections, unreadable);
  return { connections: connections.sort((a, b) => a.pid - b.pid), unreadable };
}

/** The accounts that monitors serve, by process ID. */
function findMonitors(processes: ReadonlyMap<number, SshdProcess>): ReadonlyMap<number, string> {
  const monitors = new Map<number, string>();
  for (const { pid, title, isRoots } of processes.values()) {
    const understood = isRoots && understand(title);
    if (understood && understood.role === 'monitor') monitors.set(pid, understood.account);
  }
  return monitors;
}

/** A process whose parent ends becomes a child of process 1, or of a root process that asked for that (prctl(2)). */
function isRootsChild(host: Host, proc: string, { parent }: SshdProcess): boolean {
  if (parent === 1) return true;
  const status = readStatus(host, `${proc}/${parent}/status`);
  return status !== undefined && toIds(status).isRoots;
}

/**
 * Adds the connections whose title names the account that owns the process. getent asks every source of accounts
 * (nsswitch.conf(5)), and is only run when a monitor was killed.
 */
function addOrphans(
  host: Host,
  orphans: readonly Connection[],
  connections: Connection[],
  unreadable: string[],
): void {
  const uids = new Set(orphans.map(({ uid }) => String(uid)));
  const limits = { env: {}, timeout: 5, outputLimit: 1024 * 1024 };
  const { stdout, end } = host.run(['getent', 'passwd', ...uids], limits);
  // The second is the status for an account that does not exist.
  const isKnown = end === 0 || end === 2;
  const lines = stdout.map(byteText).join('').split('\n');
  const accounts = new Set(
    lines.map((line) => {
      const [name = '', , uid = ''] = line.split(':');
      return `${uid}:${cleanText(name)}`;
    }),
  );
  for (const orphan of orphans) {
    if (!isKnown) unreadable.push(`${orphan.user} (getent passwd: ${end})`);
    else if (accounts.has(`${orphan.uid}:${orphan.user}`)) connections.push(orphan);
  }
}

/** @throws Failure when /proc cannot be read */
function listProcesses(host: Host, proc: string): string[] {
  try {
    const entries = host.list(proc);
    const kernelThreads = entries.includes(KTHREADD) ? readKernelThreads(host, proc) : new Set();
    return entries.filter((name) => Number(name) > 0 && !kernelThreads.has(name));
  } catch (error) {
    throw new Failure(`cannot read ${proc}: ${reasonOf(error)}; run as root`);
  }
}

const isSshd = (name: string) => name === 'sshd\n' || name === 'sshd-session\n';

/**
 * Tells other processes by comm: reading the cmdline of a process that hangs can hang as well.
 *
 * @returns undefined for any other process, one in a container, and one that has ended
 */
function readIfSshd(host: Host, proc: string, pid: string): SshdProcess | undefined {
  const name = readUnlessEnded(host, `${proc}/${pid}/comm`);
  if (name === undefined || !isSshd(name)) return undefined;
  const status = readStatus(host, `${proc}/${pid}/status`);
  if (status === undefined || isOfContainer(status)) return undefined;
  const title = readTitle(readUnlessEnded(host, `${proc}/${pid}/cmdline`, MAX_TITLE + 1) ?? '');
  return { pid: Number(pid), title, ...toIds(status) };
}

/** In bytes. With all of it, QuickJS takes longer to make text of it than the kernel to tell it. */
const STATUS_START = 320;

/** The fields that matter come first, but for the groups of an account with many. */
function readStatus(host: Host, path: string): string | undefined {
  const start = readUnlessEnded(host, path, STATUS_START);
  return start === undefined || readField(start, 'NSpid') !== '' ? start : readUnlessEnded(host, path);
}

/**
 * @returns bytes, one per character
 * @throws Failure when the file cannot be read though its process is there
 */
function readUnlessEnded(host: Host, path: string, limit?: number): string | undefined {
  try {
    return host.readSmallFile(path, limit);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw new Failure(`cannot read ${path}: ${reasonOf(error)}; run as root`);
  }
}

/**
 * The parent of the threads of the kernel, which can be most of a machine's processes. A container's process may use
 * that name, but can then only hide its own children.
 */
const KTHREADD = '2';

/** @returns nothing where process 2 is any other, as in a container, or the kernel has no CONFIG_PROC_CHILDREN */
function readKernelThreads(host: Host, proc: string): ReadonlySet<string> {
  if (readUnlessEnded(host, `${proc}/${KTHREADD}/comm`) !== 'kthreadd\n') return new Set();
  const children = readUnlessEnded(host, `${proc}/${KTHREADD}/task/${KTHREADD}/children`) ?? '';
  // Each ends with a blank; the last one of a long list may be cut short.
  return new Set(children.split(' ').slice(0, -1));
}

/** Its process ids, in the namespace of /proc and in those below: a container's process has more than one. */
const isOfContainer = (status: string) => readField(status, 'NSpid').includes('\t');

/** Real, effective, saved and file system id. */
const OF_ROOT = '0\t0\t0\t0';

function toIds(status: string): Pick<SshdProcess, 'parent' | 'uid' | 'isRoots'> {
  const uids = readField(status, 'Uid');
  return {
    parent: Number(readField(status, 'PPid')),
    uid: Number.parseInt(uids, 10),
    // A setuid program has the real user ID of its caller and, if it gives that up, still the caller's group.
    isRoots: uids === OF_ROOT && readField(status, 'Gid') === OF_ROOT,
  };
}

/**
 * @param status see proc_pid_status(5)
 * @returns an empty text if the field is missing or cut short
 */
function readField(status: string, name: string): string {
  const head = `\n${name}:\t`;
  const place = status.indexOf(head);
  const end = status.indexOf('\n', place + 1);
  return place < 0 || end < 0 ? '' : status.slice(place + head.length, end);
}
