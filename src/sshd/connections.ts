import type { Host } from '../host/host.ts';
import { byteText, cleanText } from '../text.ts';

/** An authenticated SSH connection that sshd serves. */
export interface Connection {
  readonly user: string;
  /** With a terminal; with a command or sftp and no terminal; without either, for forwarding only. */
  readonly kind: 'terminal' | 'notty' | 'forward';
}

export interface ConnectionList {
  readonly connections: readonly Connection[];
  /** Titles of sshd's processes that could not be understood, as clean text. */
  readonly unreadable: readonly string[];
}

/**
 * The connections that sshd of this host serves now, after the titles that it gives its processes
 * (do_authenticated and session_proctitle in OpenSSH's session.c).
 *
 * Anyone can give a process the name and the title of sshd. What nobody can choose is its place: the process
 * that serves a user is a child of sshd's own, which belongs to root; one that belongs to root is believed.
 *
 * @param proc where the process file system is mounted
 */
export function readConnections(host: Host, proc = '/proc'): ConnectionList {
  const processes = readSshdProcesses(host, proc);
  const serving = new Map<string, { parent: string; connection: Connection }>();
  const unreadable: string[] = [];
  for (const [pid, { parent, isRoots }] of processes) {
    if (!isRoots && !processes.get(parent)?.isRoots) continue;
    const title = readTitle(host, `${proc}/${pid}/cmdline`);
    const meaning = understand(title);
    if (meaning === 'unknown') unreadable.push(cleanText(title));
    else if (meaning !== 'none') serving.set(pid, { parent, connection: meaning });
  }
  const connections: Connection[] = [];
  for (const { parent, connection } of serving.values()) {
    // What a connection of root starts has its title until the shell runs, and that waits for ~/.ssh/rc.
    if (!serving.has(parent)) connections.push(connection);
  }
  return { connections, unreadable };
}

/** From OpenSSH 9.8 on, the processes of connections are sshd-session, and only the listener is sshd. */
const isSshd = (name: string) => name === 'sshd\n' || name === 'sshd-session\n';

/** A process that is named like one of sshd's. */
interface SshdProcess {
  /** The process id of its parent. */
  readonly parent: string;
  readonly isRoots: boolean;
}

/** @returns those of this host, by process id */
function readSshdProcesses(host: Host, proc: string): Map<string, SshdProcess> {
  const processes = new Map<string, SshdProcess>();
  const names = host.list(proc);
  const kernelThreads = names.includes(KTHREADD) ? readKernelThreads(host, proc) : new Set();
  for (const pid of names) {
    if (!(Number(pid) > 0) || kernelThreads.has(pid)) continue;
    try {
      if (!isSshd(byteText(host.readSmallFile(`${proc}/${pid}/comm`)))) continue;
      const status = byteText(host.readSmallFile(`${proc}/${pid}/status`));
      if (!isOfContainer(status)) processes.set(pid, toProcess(status));
    } catch {
      // The process has ended since the directory was read.
    }
  }
  return processes;
}

/**
 * The parent of the threads of the kernel, which can be most of a machine's processes. In a container, where another
 * process may call itself so, nothing is hidden by it but its own children.
 */
const KTHREADD = '2';

/** @returns nothing where process 2 is any other, as in a container, or the kernel has no CONFIG_PROC_CHILDREN */
function readKernelThreads(host: Host, proc: string): ReadonlySet<string> {
  try {
    if (byteText(host.readSmallFile(`${proc}/${KTHREADD}/comm`)) !== 'kthreadd\n') return new Set();
    return new Set(byteText(host.readSmallFile(`${proc}/${KTHREADD}/task/${KTHREADD}/children`)).split(' '));
  } catch {
    return new Set();
  }
}

/** Its process ids, in the namespace of /proc and in those below: a container's process has more than one. */
const isOfContainer = (status: string) => readField(status, 'NSpid').includes('\t');

/** Real, effective, saved and file system id. */
const OF_ROOT = '0\t0\t0\t0';

function toProcess(status: string): SshdProcess {
  return {
    parent: readField(status, 'PPid'),
    // A setuid program of root has the real user id of whoever runs it, and where it gives that up still the group.
    isRoots: readField(status, 'Uid') === OF_ROOT && readField(status, 'Gid') === OF_ROOT,
  };
}

/** @param status see proc_pid_status(5) */
function readField(status: string, name: string): string {
  const head = `\n${name}:\t`;
  const place = status.indexOf(head);
  return place < 0 ? '' : status.slice(place + head.length, status.indexOf('\n', place + 1));
}

/** @returns bytes, one to a character; nothing for a process that has ended */
function readTitle(host: Host, path: string): string {
  try {
    // setproctitle fills what the arguments took with zero bytes.
    const [bytes = ''] = byteText(host.readSmallFile(path)).split('\0', 1);
    return bytes.includes('\\') ? bytes.replace(ESCAPE, decodeEscape) : bytes;
  } catch {
    return '';
  }
}

/** setproctitle writes what is not ASCII as octal, control characters by a letter, and a backslash twice: vis(3). */
const ESCAPE = /\\([0-7]{3}|.)/gs;

/** A control character is U+FFFD in the end, so it does not matter which of them it was. */
function decodeEscape(_: string, escaped: string): string {
  if (escaped === '\\') return '\\';
  return escaped.length === 3 ? String.fromCharCode(Number.parseInt(escaped, 8) & 0xff) : '\x7f';
}

const TITLES = ['sshd: ', 'sshd-session: '];

/**
 * What the title of a monitor ends with: before authentication, and root's share in a connection after that. The
 * process that serves the user has the same title for a moment, when it has changed its user and not yet its title.
 */
const MONITORS = ['[accepted]', '[rexeced]', '[net]', '[preauth]', '[pam]', '[priv]', '[postauth]'];

/** Where sshd was started with next to no environment, there is no room for more of a title. */
const CUT_STATE = /^\[[a-z]*$/;
const CUT_PLACES = ['', 'pts', 'pts/'];

const TERMINALS = /^(?:pts\/\d+|tty\w+)(?:,(?:pts\/\d+|tty\w+))*$/;

/**
 * Understands a title such as `sshd: pi@pts/0,pts/1`, `sshd-session: pi@notty` or `sshd: pi`. By hand, as far as
 * that goes: to compile a regular expression takes longer than to understand ten titles.
 *
 * @returns 'none' for a process that is no connection, 'unknown' for a title that sshd does not give
 */
function understand(title: string): Connection | 'none' | 'unknown' {
  const start = TITLES.find((text) => title.startsWith(text));
  // A process that has no title yet still shows the command that started it.
  if (start === undefined) return 'none';
  const name = title.slice(start.length);
  const lastWord = name.slice(name.lastIndexOf(' ') + 1);
  if (isOfListener(name) || MONITORS.includes(lastWord)) return 'none';
  if (name === '' || (lastWord.startsWith('[') && CUT_STATE.test(lastWord))) return 'unknown';

  // The last @ divides, for the name of a user may hold one too.
  const at = name.lastIndexOf('@');
  const [user, place] = at > 0 ? [name.slice(0, at), name.slice(at + 1)] : [name, undefined];
  // A second process for sftp, next to that of the connection.
  if (place === 'internal-sftp') return 'none';
  if (place === 'notty') return { user: cleanText(user), kind: 'notty' };
  if (place !== undefined && CUT_PLACES.includes(place)) return 'unknown';
  if (place !== undefined && TERMINALS.test(place)) return { user: cleanText(user), kind: 'terminal' };
  return name.endsWith(']') ? 'unknown' : { user: cleanText(name), kind: 'forward' };
}

/** The listener shows the command that started it, which is an absolute path: else it could not start itself. */
const isOfListener = (name: string) =>
  name.startsWith('/') || (name.includes('[') && /\[listener\] \d/.test(name));
