import { closeSync, constants, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { cleanText } from './text.ts';

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
export function readConnections(proc = '/proc'): ConnectionList {
  const processes = readSshdProcesses(proc);
  const serving = new Map<string, { parent: string; connection: Connection }>();
  const unreadable: string[] = [];
  for (const [pid, { parent, isRoots }] of processes) {
    if (!isRoots && !processes.get(parent)?.isRoots) continue;
    const title = readTitle(`${proc}/${pid}/cmdline`);
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
const SSHD = /^sshd(?:-session)?\n/;

/** A process that is named like one of sshd's. */
interface SshdProcess {
  /** The process id of its parent. */
  readonly parent: string;
  readonly isRoots: boolean;
}

/** @returns those of this host, by process id */
function readSshdProcesses(proc: string): Map<string, SshdProcess> {
  const processes = new Map<string, SshdProcess>();
  for (const pid of readdirSync(proc)) {
    if (!/^\d/.test(pid)) continue;
    try {
      if (!isNamedSshd(`${proc}/${pid}/comm`)) continue;
      const status = readFileSync(`${proc}/${pid}/status`, 'latin1');
      if (!OF_CONTAINER.test(status)) processes.set(pid, toProcess(status));
    } catch {
      // The process has ended since the directory was read.
    }
  }
  return processes;
}

/** The kernel cuts the name of a process after 15 bytes. */
const nameBuffer = Buffer.alloc(16);
/** What both names start with. To make a string of every process's name, only to drop it, costs more. */
const SSHD_START = Buffer.from('sshd').readUInt32BE();

/**
 * From 20.10 on, Node.js reads a whole file as text in one call, and makes the least garbage so. Before, that
 * takes three times as long as the calls of which it is made.
 */
const READS_TEXT_AT_ONCE = !/^v(?:18|19|20\.\d)\./.test(process.version);

/** What counts where every process of the machine is read. */
function isNamedSshd(path: string): boolean {
  if (READS_TEXT_AT_ONCE) return SSHD.test(readFileSync(path, 'utf8'));
  const file = openSync(path, constants.O_RDONLY);
  try {
    const length = readSync(file, nameBuffer, 0, nameBuffer.length, null);
    return nameBuffer.readUInt32BE() === SSHD_START && SSHD.test(nameBuffer.toString('latin1', 0, length));
  } finally {
    closeSync(file);
  }
}

/** Its process ids, in the namespace of /proc and in those below: a container's process has more than one. */
const OF_CONTAINER = /^NSpid:\t\d+\t/m;

/**
 * Real, effective, saved and file system ids. A setuid program of root has the real user id of whoever runs it,
 * and where it gives that up still the group.
 */
const OF_ROOT = /^Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0$/m;

/** @param status see proc_pid_status(5) */
function toProcess(status: string): SshdProcess {
  return { parent: /^PPid:\t(\d+)$/m.exec(status)?.[1] ?? '', isRoots: OF_ROOT.test(status) };
}

/** @returns bytes, one to a character; nothing for a process that has ended */
function readTitle(path: string): string {
  try {
    // setproctitle fills what the arguments took with zero bytes.
    return readFileSync(path, 'latin1').replace(/\0.*$/s, '').replace(ESCAPE, decodeEscape);
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

/** The listener shows the command that started it, which is an absolute path: else it could not start itself. */
const OF_LISTENER = /^\/|\[listener\] \d/;
/**
 * Before authentication, and root's share in a connection after that. The process that serves the user has the
 * same title for a moment, when it has changed its user and not yet its title.
 */
const OF_MONITOR = /(?:^| )\[(?:accepted|rexeced|net|preauth|pam|priv|postauth)\]$/;

/** Where sshd was started with next to no environment, there is no room for more of a title. */
const CUT = / \[[a-z]*$|@(?:pts\/?)?$/;

const TERMINALS = /^(?:pts\/\d+|tty\w+)(?:,(?:pts\/\d+|tty\w+))*$/;

/**
 * Understands a title such as `sshd: pi@pts/0,pts/1`, `sshd-session: pi@notty` or `sshd: pi`.
 *
 * @returns 'none' for a process that is no connection, 'unknown' for a title that sshd does not give
 */
function understand(title: string): Connection | 'none' | 'unknown' {
  const name = /^sshd(?:-session)?: (.*)$/s.exec(title)?.[1];
  // A process that has no title yet still shows the command that started it.
  if (name === undefined || OF_LISTENER.test(name) || OF_MONITOR.test(name)) return 'none';
  if (name === '' || CUT.test(name)) return 'unknown';

  // The last @ divides, for the name of a user may hold one too.
  const [, user, place] = /^(.+)@([^@]*)$/s.exec(name) ?? [];
  // A second process for sftp, next to that of the connection.
  if (place === 'internal-sftp') return 'none';
  if (user !== undefined && place === 'notty') return { user: cleanText(user), kind: 'notty' };
  if (user !== undefined && TERMINALS.test(place ?? '')) return { user: cleanText(user), kind: 'terminal' };
  return name.endsWith(']') ? 'unknown' : { user: cleanText(name), kind: 'forward' };
}
