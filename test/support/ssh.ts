/** Real SSH sessions of every kind, kept open for as long as a test needs them, in a guest or on this machine. */
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { Guest } from './guest.ts';
import { cleanUp, collect, ended, killGroup, quote, start, succeed, until } from './process.ts';

/** Addresses of a guest that sessions can come from: documentation and private ranges, longest notations. */
const remoteAddresses = ['203.0.113.77', 'fd00::1:2:3:4:5:6'] as const;

export interface SessionOptions {
  /** Account to log in to; by default that of the server's owner. */
  readonly user?: string;
  /** Client's address: a loopback address (default 127.0.0.1), or in a guest one of `remoteAddresses`. */
  readonly from?: string;
  /** Where the server listens too, if not on its usual port. */
  readonly port?: number;
  /** Shell command that the session runs; a login shell, or `cat` where there is no terminal, by default. */
  readonly command?: string;
  /** How long logging in may take, in milliseconds (default 20 seconds). */
  readonly patienceMs?: number | undefined;
}

/** Where the sessions run: something that turns a shell command into one for this machine. */
interface Place {
  argv(command: string): readonly string[];
}

const here: Place = { argv: (command) => ['sh', '-c', command] };

/**
 * Makes every account of the guest accessible with one new key, through the guest's own SSH server, and adds
 * `remoteAddresses` to it. After a reboot, call it again.
 *
 * @param clients where they run: in the guest, or only in its network, as if on other machines
 */
export async function guestSshServer(
  guest: Guest,
  clients: 'inside' | 'outside' = 'inside',
): Promise<SshServer> {
  const dir = (await guest.run('mktemp --directory /root/ssh-XXXXXX')).trim();
  await guest.run(`ssh-keygen -q -t ed25519 -N '' -f ${dir}/key && cp ${dir}/key.pub /etc/ssh/test_keys`);
  const config = 'AuthorizedKeysFile /etc/ssh/test_keys\nMaxStartups 100\n';
  await guest.run('cat >/etc/ssh/sshd_config.d/test.conf && systemctl restart ssh', { input: config });
  for (const address of remoteAddresses) await guest.run(`ip address replace ${address} dev lo nodad`);
  if (clients === 'inside') return new SshServer(guest, guest, dir, 22, 'root');
  const network = ['nsenter', `--target=${guest.leader}`, '--net', 'sh', '-c'];
  return new SshServer(guest, { argv: (command) => [...network, command] }, guest.path(dir), 22, 'root');
}

/**
 * Starts an SSH server on a loopback port of this machine, for the account that runs the tests. Needs root, and
 * the package openssh-server. Creates the file of logins that `w` reads if it is missing, because no init is running.
 */
export async function localSshServer(): Promise<SshServer> {
  const dir = mkdtempSync(join(tmpdir(), 'ssh-sessions-sshd-'));
  cleanUp(() => rmSync(dir, { recursive: true, force: true }));
  for (const name of ['key', 'host_key']) {
    await succeed(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', join(dir, name)]);
  }
  const port = await freePort();
  const config = [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${dir}/host_key`,
    `AuthorizedKeysFile ${dir}/key.pub`,
    'StrictModes no',
    'PermitRootLogin prohibit-password',
    'PidFile none',
    'UsePAM yes',
    'MaxStartups 100',
    'Subsystem sftp /usr/lib/openssh/sftp-server',
  ];
  writeFileSync(join(dir, 'sshd_config'), `${config.join('\n')}\n`);
  mkdirSync('/run/sshd', { recursive: true });
  makeLoginFile();
  const daemon = start(['/usr/sbin/sshd', '-D', '-e', '-f', join(dir, 'sshd_config')]);
  const log = collect(daemon.stderr);
  await until(`sshd listens\n${log()}`, () => log().includes('Server listening'));
  return new SshServer(here, here, dir, port, userInfo().username, daemon);
}

/** Adds an account by hand, as useradd refuses some names that other systems have. Nobody knows a password for it. */
export async function addUser(guest: Guest, name: string, uid: number): Promise<void> {
  await guest.run(
    'printf "%s:*:%s:100::/home/%s:/bin/bash\n" "$NAME" "$ID" "$ID" >>/etc/passwd && install -d -o "$ID" -g 100 "/home/$ID"',
    { env: { NAME: name, ID: String(uid) } },
  );
}

/** A running SSH server that a test may log in to. */
export class SshServer {
  readonly #place: Place;
  readonly #clients: Place;
  readonly #dir: string;
  readonly #port: number;
  readonly #owner: string;
  readonly #daemon: ChildProcess | undefined;
  readonly #open = new Set<Session>();
  #sockets = 0;

  constructor(place: Place, clients: Place, dir: string, port: number, owner: string, daemon?: ChildProcess) {
    this.#place = place;
    this.#clients = clients;
    this.#dir = dir;
    this.#port = port;
    this.#owner = owner;
    this.#daemon = daemon;
  }

  /** `ssh -tt`: a session with a terminal. */
  terminal(options: SessionOptions = {}): Promise<Session> {
    return this.#shell(['-tt'], options);
  }

  /** Two sessions with a terminal each over one connection. Closing the first closes both. */
  async sharedTerminals(options: SessionOptions = {}): Promise<readonly [Session, Session]> {
    const socket = this.#newSocket();
    const first = await this.#shell(['-tt', '-M', '-S', socket], options);
    return [first, await this.#shell(['-tt', '-S', socket], options)];
  }

  /** `ssh -T host command`: no terminal. */
  command(options: SessionOptions = {}): Promise<Session> {
    return this.#shell(['-T'], { command: 'cat', ...options });
  }

  async sftp(options: SessionOptions = {}): Promise<Session> {
    const session = this.#start(['sftp', ...this.#options(options)], `[${destination(options)}]`);
    session.write('pwd\n');
    await session.printed(/working directory/, options.patienceMs);
    return session;
  }

  /** `ssh -N`: forwards a port of the server and does nothing else. */
  async forward(options: SessionOptions = {}): Promise<Session> {
    const what = ['-o', 'LogLevel=INFO', '-N', '-R', '0:127.0.0.1:1'];
    const session = this.#start(['ssh', ...what, ...this.#options(options)], destination(options));
    await session.printed(/Allocated port/, options.patienceMs);
    return session;
  }

  /** `ssh host true`: a login that is over at once. */
  async logIn(options: SessionOptions = {}): Promise<void> {
    const command = ['ssh', ...this.#options(options), destination(options), 'true'];
    await succeed(this.#place.argv(command.map(quote).join(' ')));
  }

  /** Closes every session that is still open and, on this machine, stops the server. */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map((session) => session.close()));
    if (this.#daemon !== undefined) {
      killGroup(this.#daemon);
      await ended(this.#daemon);
    }
  }

  /** The shell that starts the session prints its process ID, which is then also that of the command. */
  async #shell(how: readonly string[], options: SessionOptions): Promise<Session> {
    const { command } = options;
    const remote = command === undefined ? [] : [`echo ready $$; exec ${command}`];
    const session = this.#start(['ssh', ...this.#options(options), ...how], destination(options), ...remote);
    // The quotes keep the terminal's echo of the line from looking like its result.
    if (command === undefined) session.write("echo re''ady $$\n");
    const [, pid] = await session.printed(/ready (\d+)/, options.patienceMs);
    session.runs(Number(pid));
    return session;
  }

  #start(...argv: readonly (string | readonly string[])[]): Session {
    const command = argv.flat().map(quote).join(' ');
    const client = start(this.#clients.argv(command));
    const session = new Session(this.#place, client, () => this.#open.delete(session));
    this.#open.add(session);
    return session;
  }

  #options({ user = this.#owner, from = '127.0.0.1', port = this.#port }: SessionOptions): string[] {
    const settings = {
      Port: port,
      User: `"${user}"`,
      BindAddress: from,
      IdentityFile: join(this.#dir, 'key'),
      IdentitiesOnly: 'yes',
      BatchMode: 'yes',
      StrictHostKeyChecking: 'no',
      UserKnownHostsFile: '/dev/null',
      LogLevel: 'ERROR',
    };
    return ['-F', 'none', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
  }

  #newSocket(): string {
    this.#sockets += 1;
    return join(this.#dir, `socket${this.#sockets}`);
  }
}

/** One client of the server. It stays connected until it is closed. */
export class Session {
  /** Process ID, where the session runs, of its shell or command; none for sftp and forwarding. */
  pid: number | undefined;
  readonly #place: Place;
  readonly #client: ChildProcess;
  readonly #stdout: () => string;
  readonly #stderr: () => string;
  readonly #closed: () => void;
  #killCommand = () => {};

  constructor(place: Place, client: ChildProcess, closed: () => void) {
    this.#place = place;
    this.#client = client;
    this.#client.stdin?.on('error', () => {});
    this.#stdout = collect(this.#client.stdout);
    this.#stderr = collect(this.#client.stderr);
    this.#closed = closed;
  }

  /** Types into the session. */
  write(text: string): void {
    this.#client.stdin?.write(text);
  }

  /** Waits until what the session has printed so far matches. */
  printed(pattern: RegExp, patienceMs?: number): Promise<RegExpExecArray> {
    const look = () => {
      if (this.#hasEnded()) throw this.#failure();
      return pattern.exec(this.#stdout() + this.#stderr()) ?? undefined;
    };
    return until(`session prints ${pattern}`, look, patienceMs);
  }

  /** Records the process of the session: without a terminal it would outlive its client. */
  runs(pid: number): void {
    this.pid = pid;
    const kill = this.#place.argv(`while kill -KILL ${pid}; do sleep 0.02; done`);
    this.#killCommand = cleanUp(() => {
      if (!this.#hasEnded()) spawnSync('setpriv', ['--', ...kill]);
    });
  }

  /** Ends what the session runs, and disconnects. */
  async close(): Promise<void> {
    this.#closed();
    this.#killCommand();
    killGroup(this.#client);
    await ended(this.#client);
  }

  #hasEnded(): boolean {
    return this.#client.exitCode !== null || this.#client.signalCode !== null;
  }

  #failure(): Error {
    return new Error(`the session ended early:\n${this.#stdout()}${this.#stderr()}`);
  }
}

/** The server's loopback address in the client's address family. */
function destination({ from = '' }: SessionOptions): string {
  return from.includes(':') ? '::1' : '127.0.0.1';
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

/** sshd writes logins to this file only if it exists; usually init creates it. It is kept: other tests may use it. */
function makeLoginFile(): void {
  const file = '/run/utmp';
  if (existsSync(file)) return;
  writeFileSync(file, '', { flag: 'a' });
  chownSync(file, 0, Number(execFileSync('getent', ['group', 'utmp']).toString().split(':')[2]));
  chmodSync(file, 0o664);
}
