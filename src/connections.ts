import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
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
 * (session_proctitle in OpenSSH's session.c, setproctitle in sshd.c and sshd-session.c).
 *
 * Anyone can give a process the name and the title of sshd. What nobody can choose is its place: the process
 * that serves a user is a child of sshd's own, which belongs to root; one that belongs to root is believed.
 *
 * @param proc where the process file system is mounted
 */
export function readConnections(proc = '/proc'): ConnectionList {
  const processes = readSshdProcesses(proc);
  const connections: Connection[] = [];
  const unreadable: string[] = [];
  for (const { parent, isRoots, isOfContainer, title } of processes.values()) {
    if (isOfContainer || !(isRoots || processes.get(parent)?.isRoots)) continue;
    const meaning = readTitle(title, isRoots);
    if (meaning === 'unknown') unreadable.push(cleanText(title));
    else if (meaning !== 'none') connections.push(meaning);
  }
  return { connections, unreadable };
}

/** From OpenSSH 9.8 on, the processes of connections are sshd-session, and only the listener is sshd. */
const SSHD = /^sshd(?:-session)?\n/;

/** A process that is named like one of sshd's. */
interface SshdProcess {
  /** The process id of its parent. */
  readonly parent: string;
  /** Whether it is root's in every respect: a setuid program keeps the real uid of the user who runs it. */
  readonly isRoots: boolean;
  /** Whether it lives in a process namespace below this one, so that it is not of this host. */
  readonly isOfContainer: boolean;
  /** As bytes, one to a character. */
  readonly title: string;
}

/** @returns the processes by process id */
function readSshdProcesses(proc: string): Map<string, SshdProcess> {
  const processes = new Map<string, SshdProcess>();
  for (const pid of readdirSync(proc)) {
    if (!/^\d/.test(pid)) continue;
    try {
      if (!SSHD.test(readName(`${proc}/${pid}/comm`))) continue;
      const status = readFileSync(`${proc}/${pid}/status`, 'latin1');
      const title = readFileSync(`${proc}/${pid}/cmdline`, 'latin1');
      processes.set(pid, toProcess(status, title));
    } catch {
      // The process has ended since the directory was read.
    }
  }
  return processes;
}

/** The kernel cuts the name of a process after 15 bytes. */
const nameBuffer = Buffer.alloc(16);

/** A third of the cost of readFileSync, which counts where every process of the machine is read. */
function readName(path: string): string {
  const file = openSync(path, 'r');
  try {
    return nameBuffer.toString('latin1', 0, readSync(file, nameBuffer));
  } finally {
    closeSync(file);
  }
}

/** @param status see proc_pid_status(5) */
function toProcess(status: string, cmdline: string): SshdProcess {
  return {
    parent: /^PPid:\t(\d+)$/m.exec(status)?.[1] ?? '',
    isRoots: /^Uid:\t0\t0\t0\t0$/m.test(status),
    isOfContainer: /^NSpid:\t\d+\t/m.test(status),
    // setproctitle fills what the arguments took with zero bytes.
    title: cmdline.replace(/\0.*$/s, '').replace(ESCAPE, decodeEscape),
  };
}

/** setproctitle writes what is not ASCII as octal, control characters by a letter, and a backslash twice: vis(3). */
const ESCAPE = /\\([0-7]{3}|.)/gs;

/** A control character is U+FFFD in the end, so it does not matter which of them it was. */
function decodeEscape(_: string, escaped: string): string {
  if (escaped === '\\') return '\\';
  return escaped.length === 3 ? String.fromCharCode(Number.parseInt(escaped, 8) & 0xff) : '\x7f';
}

/** What sshd calls a process that is no connection: its listener, and its own share in a connection. */
const OF_LISTENER = /\[listener\] \d+ of \d+-\d+ startups$/;
const OF_ROOT = /^\[accepted\]$| \[(?:priv|postauth|preauth|net|pam|accepted)\]$/;
/** Before authentication a connection is served by an unprivileged user of sshd's own. */
const OF_ANYONE = /^\[(?:net|preauth)\]$| \[(?:net|preauth)\]$/;

const TERMINALS = /^(?:pts\/\d+|tty\w+)(?:,(?:pts\/\d+|tty\w+))*$/;

/**
 * Reads a title such as `sshd: pi@pts/0,pts/1`, `sshd-session: pi@notty` or `sshd: pi`.
 *
 * @param ofRoot whether the process is root's
 * @returns 'none' for a process that is no connection, 'unknown' for a title that sshd does not give
 */
function readTitle(title: string, ofRoot: boolean): Connection | 'none' | 'unknown' {
  const name = /^sshd(?:-session)?: (.*)$/s.exec(title)?.[1];
  // A process that has no title yet still shows the command that started it.
  if (name === undefined) return 'none';
  if (OF_ANYONE.test(name) || (ofRoot && (OF_ROOT.test(name) || OF_LISTENER.test(name)))) return 'none';

  // The last @ divides, for the name of a user may hold one too.
  const [, user, place] = /^(.+)@([^@]*)$/s.exec(name) ?? [];
  // A second process for sftp, next to that of the connection.
  if (place === 'internal-sftp') return 'none';
  if (user !== undefined && place === 'notty') return { user: cleanText(user), kind: 'notty' };
  if (user !== undefined && TERMINALS.test(place ?? '')) return { user: cleanText(user), kind: 'terminal' };
  if (name === '' || name.endsWith(']')) return 'unknown';
  return { user: cleanText(name), kind: 'forward' };
}
