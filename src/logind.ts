/**
 * What systemd-logind knows of sessions, from the files that it keeps for itself (session_save in logind-session.c).
 * Their format is not a public interface, so a value that does not fit is unknown. They are read only if w leaves a
 * question open. logind's D-Bus interface takes longer, and any user can block it.
 */
import type { Host } from './host/host.ts';
import type { Connection } from './sshd/connections.ts';
import { cleanText } from './text.ts';

/** A login that a service (a PAM stack) opened; empty for what is not known. */
export interface LogindSession {
  readonly user: string;
  readonly uid: string;
  readonly tty: string;
  /** An address, or a name if the service looked it up. */
  readonly client: string;
  /** Such as `sshd`. */
  readonly service: string;
  /** The process that opened it. */
  readonly leader: string;
}

const SESSIONS_DIRECTORY = '/run/systemd/sessions';

/** @param text of a session's file: lines of the form KEY=value */
export function parseSession(text: string): LogindSession {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const equals = line.indexOf('=');
    // A value with a backslash or quotes is escaped, and is no name or address.
    if (equals > 0 && !/["\\]/.test(line))
      values.set(line.slice(0, equals), cleanText(line.slice(equals + 1)));
  }
  const get = (key: string) => values.get(key) ?? '';
  return {
    user: get('USER'),
    uid: get('UID'),
    tty: get('TTY'),
    client: get('REMOTE_HOST'),
    service: get('SERVICE'),
    leader: get('LEADER'),
  };
}

/** The sessions of all services, in no order; none if logind does not run. */
export function readSessions(host: Host, directory = SESSIONS_DIRECTORY): LogindSession[] {
  return list(host, directory).flatMap((id) => readSession(host, `${directory}/${id}`) ?? []);
}

/**
 * The client of a connection, by the control group of its process, which its user cannot leave for that of another.
 *
 * @returns undefined if sshd opened no session for it, or that session is not known to be of this connection
 */
export function clientOf(
  host: Host,
  { pid, monitor, uid }: Connection,
  proc = '/proc',
  directory = SESSIONS_DIRECTORY,
): string | undefined {
  const id = sessionOf(readIfThere(host, `${proc}/${pid}/cgroup`));
  const session = id === undefined ? undefined : readSession(host, `${directory}/${id}`);
  if (session?.service !== 'sshd' || session.uid !== String(uid)) return undefined;
  // An sshd that was started by hand has the control group of the login that started it. The leader of an orphan has
  // been killed.
  const isOwn = session.leader === String(monitor ?? pid);
  const isOrphan = monitor === undefined && uid !== 0;
  return (isOwn || isOrphan) && session.client !== '' ? session.client : undefined;
}

/** @param cgroups such as `0::/user.slice/user-1000.slice/session-3.scope`: cgroups(7) */
export function sessionOf(cgroups: string): string | undefined {
  return /^(?:0:|\d+:name=systemd):\/.*\/session-(\w+)\.scope$/m.exec(cgroups)?.[1];
}

function list(host: Host, directory: string): string[] {
  try {
    return host.list(directory);
  } catch {
    return [];
  }
}

/** Opening a FIFO would wait for its writer: logind has one next to each session. */
function readSession(host: Host, path: string): LogindSession | undefined {
  const status = inspect(host, path);
  if (status?.kind !== 'file' || status.uid !== 0) return undefined;
  return parseSession(readIfThere(host, path));
}

function inspect(host: Host, path: string) {
  try {
    return host.inspect(path);
  } catch {
    return undefined;
  }
}

function readIfThere(host: Host, path: string): string {
  try {
    return host.readSmallFile(path);
  } catch {
    return '';
  }
}
