/**
 * Boots real Debian systems, each a container of systemd-nspawn with an init, network and processes of its own,
 * for tests that need systemd, logind, apt or several machines. Needs root, and the packages debootstrap,
 * systemd-container and slirp4netns.
 */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import {
  type CommandOptions,
  capture,
  cleanUp,
  ended,
  killGroup,
  type Result,
  start,
  succeed,
  until,
} from './process.ts';

export const RELEASES = ['bookworm', 'trixie'] as const;

export type Release = (typeof RELEASES)[number];

export interface GuestOptions {
  /** Debian packages that the guest has from the start. */
  readonly packages?: readonly string[];
  /** What the guest can reach: only itself (the default), or also the internet, through an address of its own. */
  readonly network?: 'private' | 'internet';
}

export interface ExecOptions extends CommandOptions {
  /** Account that the command runs as; root by default. No PAM session is opened. */
  readonly user?: string;
}

const {
  SSH_SESSIONS_TEST_CACHE: cache = '/var/cache/ssh-sessions-exporter-test',
  NODE_EXTRA_CA_CERTS: certificates,
} = process.env;

/** openssh-server brings procps along: no Debian machine with an SSH server lacks `w`. */
const basePackages = 'systemd,systemd-sysv,dbus,libpam-systemd,openssh-server,iproute2,ca-certificates';

/** Arguments: release, directory. The hostname is left to nspawn. */
const baseScript = `
debootstrap --variant=minbase --include=${basePackages} "$1" "$2"
rm -rf "$2/etc/hostname" "$2/var/lib/apt/lists" "$2"/var/cache/apt/archives/*.deb
mkdir -p "$2/var/lib/apt/lists/partial"
`;

/** Arguments: directory, lower directories, packages. Services are not started here, only when a guest boots. */
const layerScript = `
dir=$1 lower=$2; shift 2
mkdir "$dir/work" "$dir/root"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
cd "$dir/root"
mount -t proc proc proc
cp -L /etc/resolv.conf etc/resolv.conf
printf '#!/bin/sh\\nexit 101\\n' >usr/sbin/policy-rc.d
chmod 755 usr/sbin/policy-rc.d
chroot . apt-get update
DEBIAN_FRONTEND=noninteractive chroot . apt-get install -y --no-install-recommends "$@"
chroot . apt-get clean
rm -rf usr/sbin/policy-rc.d var/lib/apt/lists/*
`;

/**
 * Arguments: control group, directory, lower directories, machine name. A control group of its own keeps the
 * guests apart: init would otherwise take that of the test, and kill what runs there.
 */
const bootScript = `
set -e
mkdir -p "$1"
echo 0 >"$1/cgroup.procs"
mount -t overlay overlay -o "lowerdir=$3,upperdir=$2/upper,workdir=$2/work" "$2/root"
exec systemd-nspawn --quiet --directory="$2/root" --machine="$4" --hostname=debian --register=no --keep-unit \\
  --settings=no --link-journal=no --resolv-conf=off --timezone=off --private-network --boot
`;

/**
 * Private mounts and processes, which end with this command. It can be killed at any time, because it only leaves
 * files in one directory.
 */
export const isolated = [
  'unshare',
  '--mount',
  '--pid',
  '--fork',
  '--kill-child=KILL',
  '--mount-proc',
  'sh',
  '-ec',
];

/** Directory of a minimal Debian with systemd and an SSH server. Takes a minute the first time. */
function baseImage(release: Release): Promise<string> {
  return cached(`${release}-base`, baseScript, (dir) =>
    succeed([...isolated, baseScript, 'sh', release, join(dir, 'upper')], { timeoutMs: 900_000 }),
  );
}

/** Directories of a Debian with these packages, for an overlay's `lowerdir`: the topmost first. */
export async function image(release: Release, packages: readonly string[] = []): Promise<readonly string[]> {
  const base = await baseImage(release);
  if (packages.length === 0) return [base];
  const recipe = JSON.stringify([base, layerScript, packages]);
  const layer = await cached(`${release}-layer`, recipe, (dir) =>
    succeed([...isolated, layerScript, 'sh', dir, base, ...packages], { timeoutMs: 900_000 }),
  );
  return [layer, base];
}

/**
 * The cached directory of that recipe. A missing one is built under a temporary name (`build` fills `upper` in
 * the directory it is given) and renamed when complete, so an interrupted build is never used. Of two builds at
 * once, the first to finish stays.
 */
export async function cached(
  name: string,
  recipe: string,
  build: (dir: string) => Promise<unknown>,
): Promise<string> {
  const target = join(cache, `${name}-${createHash('sha256').update(recipe).digest('hex').slice(0, 12)}`);
  if (existsSync(target)) return target;
  mkdirSync(cache, { recursive: true });
  const dir = mkdtempSync(join(cache, 'building-'));
  const discard = cleanUp(() => remove(dir));
  try {
    mkdirSync(join(dir, 'upper'));
    await build(dir);
    renameSync(join(dir, 'upper'), target);
  } catch (error) {
    if (!existsSync(target)) throw error;
  } finally {
    discard();
  }
  return target;
}

/** Boots a throw-away guest. Rejects, showing its console, when it does not come up. Stop it when done. */
export async function bootGuest(release: Release, options: GuestOptions = {}): Promise<Guest> {
  const guest = new Guest(await image(release, options.packages), options.network ?? 'private');
  try {
    await guest.boot();
  } catch (error) {
    await guest.stop();
    throw error;
  }
  return guest;
}

/** A booted Debian. What is written in it stays over a reboot, and is gone once it is stopped. */
export class Guest {
  /** Units that failed at boot; empty in a healthy guest. */
  failedUnits: readonly string[] = [];
  /** Process ID of the guest's init, as seen from outside; 0 while it does not run. */
  leader = 0;

  readonly #lower: readonly string[];
  readonly #network: 'private' | 'internet';
  readonly #dir: string;
  readonly #controlGroup: string;
  readonly #remove: () => void;
  #container: ChildProcess | undefined;
  #uplink: ChildProcess | undefined;

  constructor(lower: readonly string[], network: 'private' | 'internet') {
    this.#lower = lower;
    this.#network = network;
    this.#dir = mkdtempSync(join(tmpdir(), 'ssh-sessions-guest-'));
    this.#controlGroup = join(ownControlGroup(), basename(this.#dir));
    this.#remove = cleanUp(() => {
      remove(this.#dir);
      removeControlGroup(this.#controlGroup);
      // On a machine with both hierarchies systemd-nspawn creates the same group in the first.
      removeControlGroup(this.#controlGroup.replace('/unified/', '/systemd/'));
    });
    for (const name of ['upper', 'work', 'root']) mkdirSync(join(this.#dir, name), { mode: 0o755 });
  }

  /** Starts the guest and waits until its boot is complete. `bootGuest` has done so already. */
  async boot(): Promise<void> {
    const console = openSync(join(this.#dir, 'console'), 'a');
    const name = basename(this.#dir);
    const script = [bootScript, 'sh', this.#controlGroup, this.#dir, this.#lower.join(':'), name];
    // Containers use the second hierarchy of control groups also where the machine itself has the first.
    const env = { ...process.env, UNIFIED_CGROUP_HIERARCHY: '1', SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' };
    const container = start([...isolated, ...script], { env, stdio: ['ignore', console, console] });
    closeSync(console);
    this.#container = container;
    this.leader = await until(
      'the guest starts its init',
      () => this.#stillRuns() && findInit(container.pid),
    );
    await this.run('ip link set lo up');
    const state = await until('the guest boots', () => this.#stillRuns() && this.#systemState(), 60_000);
    this.failedUnits = state === 'degraded' ? await this.#listFailedUnits() : [];
    if (this.#network === 'internet') await this.#connect();
  }

  /** Runs a shell command in the guest, outside of any login session. Any exit status is a result. */
  exec(command: string, options: ExecOptions = {}): Promise<Result> {
    return capture(this.argv(command, options.user), {
      ...options,
      env: { ...this.#environment(), ...options.env },
    });
  }

  /** Like `exec`, but a failure is an error. Gives standard output. */
  run(command: string, options: ExecOptions = {}): Promise<string> {
    return succeed(this.argv(command, options.user), {
      ...options,
      env: { ...this.#environment(), ...options.env },
    });
  }

  /** The command that runs `command` in the guest when it is started on this machine. */
  argv(command: string, user = 'root'): readonly string[] {
    const shell = ['sh', '-c', command];
    return [
      'nsenter',
      `--target=${this.leader}`,
      '--all',
      ...(user === 'root' ? [] : ['runuser', '-u', user, '--']),
      ...shell,
    ];
  }

  /**
   * Where a file of the guest is on this machine, while the guest runs. An absolute symbolic link on the way
   * leads out of the guest.
   */
  path(file: string): string {
    return join(`/proc/${this.leader}/root`, file);
  }

  /** Copies a file or directory of this machine into the guest, and makes the directories above it. */
  copyIn(from: string, to: string): void {
    mkdirSync(dirname(this.path(to)), { recursive: true });
    cpSync(from, this.path(to), { recursive: true, preserveTimestamps: true });
  }

  /** Shuts down as `systemctl reboot` does, and boots again. */
  async reboot(): Promise<void> {
    const container = this.#container;
    if (container === undefined) throw new Error('the guest was never booted');
    await this.exec('systemctl reboot');
    await until('the guest shuts down', () => container.exitCode !== null, 100_000);
    this.leader = 0;
    await this.#disconnect();
    await this.boot();
  }

  /** Ends every process of the guest at once and removes all that it wrote. */
  async stop(): Promise<void> {
    await this.#disconnect();
    if (this.#container !== undefined) {
      killGroup(this.#container);
      await ended(this.#container);
    }
    this.leader = 0;
    this.#remove();
  }

  #environment(): Record<string, string> {
    return {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: '/root',
      LANG: 'C.UTF-8',
      DEBIAN_FRONTEND: 'noninteractive',
      ...(certificates === undefined || this.#network === 'private'
        ? {}
        : { NODE_EXTRA_CA_CERTS: extraCertificates }),
    };
  }

  #stillRuns(): true {
    if (this.#container?.exitCode === null && this.#container.signalCode === null) return true;
    throw new Error(`the guest stopped:\n${readFileSync(join(this.#dir, 'console'), 'utf8').slice(-4000)}`);
  }

  /** `running` or `degraded` once the boot is complete, undefined before. */
  async #systemState(): Promise<string | undefined> {
    const state = (await this.exec('systemctl is-system-running')).stdout.trim();
    return ['running', 'degraded'].includes(state) ? state : undefined;
  }

  async #listFailedUnits(): Promise<string[]> {
    const list = await this.run('systemctl list-units --failed --plain --no-legend');
    return list
      .trim()
      .split('\n')
      .map((line) => line.replace(/ .*/, ''));
  }

  /** Connects the guest through this machine's own connections, without a bridge, firewall rule or address. */
  async #connect(): Promise<void> {
    const slirp = ['slirp4netns', '--configure', '--mtu=65520', '--disable-host-loopback'];
    const uplink = start([...slirp, String(this.leader), 'tap0'], { stdio: 'ignore' });
    this.#uplink = uplink;
    const routes = `/proc/${this.leader}/net/route`;
    await until('the guest is connected', () => {
      if (uplink.exitCode !== null) throw new Error('slirp4netns does not run: is it installed?');
      return readOrEmpty(routes).includes('tap0');
    });
    writeFileSync(this.path('/etc/resolv.conf'), 'nameserver 10.0.2.3\n');
    if (certificates !== undefined) this.copyIn(certificates, extraCertificates);
  }

  async #disconnect(): Promise<void> {
    if (this.#uplink === undefined) return;
    killGroup(this.#uplink);
    await ended(this.#uplink);
    this.#uplink = undefined;
  }
}

/** Where a guest keeps the certificate authorities that npm needs behind some companies' proxies. */
const extraCertificates = '/etc/ssl/extra-certificates.pem';

/** Process ID of the init that nspawn has started below `pid`, if it has. */
function findInit(pid: number | undefined): number | undefined {
  const grandchildren = children(pid).flatMap(children);
  return grandchildren.find((child) => readOrEmpty(`/proc/${child}/comm`) === 'systemd\n');
}

function children(pid: number | undefined): number[] {
  return readOrEmpty(`/proc/${pid}/task/${pid}/children`).trim().split(' ').filter(Boolean).map(Number);
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Removes a directory, also while processes that were just killed still write there. */
function remove(dir: string): void {
  rmSync(dir, { recursive: true, force: true, maxRetries: 50, retryDelay: 20 });
}

/** A control group cannot be removed as other directories are, nor before the last process in it is gone. */
function removeControlGroup(dir: string): void {
  const script = `
    for attempt in $(seq 100); do
      [ -d "$1" ] || break
      find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
    done`;
  spawnSync('sh', ['-c', script, 'sh', dir]);
}

/** Directory of this process's control group in the second hierarchy. */
function ownControlGroup(): string {
  const mount = existsSync('/sys/fs/cgroup/unified/cgroup.procs')
    ? '/sys/fs/cgroup/unified'
    : '/sys/fs/cgroup';
  const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'));
  return join(mount, own?.[1] ?? '/');
}
