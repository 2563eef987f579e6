/** A Debian guest to install the program on, from a copy of the checkout as a user would have it. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { bootGuest, type ExecOptions, type Guest, type Release } from './guest.ts';
import { cleanUp, type Result, succeed, until } from './process.ts';

export const SERVICE = 'ssh-sessions-exporter.service';
export const TIMER = 'ssh-sessions-exporter.timer';
export const VERSION = readVersion('package.json');

const CHECKOUT = '/srv/checkout';

/** What a run of install.sh did, and how long it took. */
export interface Installation extends Result {
  readonly seconds: number;
}

/** What the program runs on where the package is installed, and the Node.js that tests measure by. */
export const HOSTS: Readonly<Record<Release, readonly string[]>> = {
  bookworm: ['nodejs'],
  trixie: ['nodejs', 'quickjs'],
};

/** Puts the built program where its package does, without the package. The guest needs HOSTS. */
export async function installProgram(guest: Guest): Promise<void> {
  guest.copyIn('dist', '/usr/lib/ssh-sessions-exporter');
  guest.copyIn('packaging/launch', '/usr/bin/ssh-sessions-exporter');
  guest.copyIn('systemd', '/run/systemd/system');
  await guest.run('mkdir -p /var/lib/prometheus/node-exporter && systemctl daemon-reload');
}

/** What the service writes. */
export const TEXTFILE = '/var/lib/prometheus/node-exporter/ssh_sessions.prom';

/** The least that the timer's interval of 15 seconds, and a run, leave room for. */
export const PROMPTLY_MS = 17_000;

/** Where the program keeps what it has read of the log, if the service runs it. */
export const STATE = '/run/ssh-sessions-exporter/logins';

/**
 * Waits until three runs in a row start no journalctl and write no state, and gives what the last one printed. Now and
 * then something else of the guest logs, and journald touches its file up to 250 ms later.
 */
export async function runQuietly(guest: Guest): Promise<string> {
  await guest.run('mkdir -p /opt/noted && cat >/opt/noted/journalctl && chmod 755 /opt/noted/journalctl', {
    input: '#!/bin/sh\necho run >>/opt/noted/runs\n',
  });
  return until('runs while nothing is logged cost nothing', async () => {
    await guest.run(`journalctl --sync; sleep 1; systemctl start ${SERVICE}; rm -f /opt/noted/runs`);
    const look = `stat -c %i ${STATE} && ! cat /opt/noted/runs 2>/dev/null`;
    const before = await guest.exec(look);
    const program = 'PATH=/opt/noted:$PATH ssh-sessions-exporter --output -';
    const printed = await guest.run(`${program} >/dev/null && ${program} >/dev/null && ${program}`);
    const after = await guest.exec(look);
    return after.status === 0 && after.stdout === before.stdout && printed;
  });
}

export class Machine {
  readonly guest: Guest;
  port = 9100;
  file = TEXTFILE;

  private constructor(guest: Guest) {
    this.guest = guest;
  }

  static async boot(release: Release, packages: readonly string[]): Promise<Machine> {
    return new Machine(await bootGuest(release, { packages, network: 'internet' }));
  }

  /** Replaces what the guest has by a copy of this checkout or, if built, by what a release has of it. */
  async checkOut({ version = VERSION, built }: { version?: string; built: boolean }): Promise<void> {
    await this.guest.run(`rm -rf ${CHECKOUT}`);
    if (built) {
      this.guest.copyIn('install.sh', `${CHECKOUT}/install.sh`);
      this.guest.copyIn(await buildPackage(version), `${CHECKOUT}/${packageName(version)}`);
      return;
    }
    const { dir, remove } = copyCheckout(version);
    this.guest.copyIn(dir, CHECKOUT);
    await this.guest.run(`chmod 755 ${CHECKOUT}`);
    remove();
  }

  /** Runs install.sh. Any status is a result. */
  async install(args = '', options: ExecOptions = {}): Promise<Installation> {
    const start = process.hrtime.bigint();
    const command = `cd ${CHECKOUT} && exec ./install.sh ${args}`;
    const result = await this.guest.exec(command, { timeoutMs: 600_000, ...options });
    return { ...result, seconds: Number(process.hrtime.bigint() - start) / 1e9 };
  }

  /** Runs install.sh; a failure is an error. Gives what it printed. */
  async mustInstall(args = '', options: ExecOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.install(args, options);
    if (status !== 0) throw new Error(`install.sh ${args}: status ${status}\n${stdout}${stderr}`);
    return stdout;
  }

  /** The page that Prometheus scrapes, with its HTTP head. */
  metrics(): Promise<string> {
    const request = `printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3`;
    return this.guest.run(`bash -c "exec 3<>/dev/tcp/127.0.0.1/${this.port}; ${request}"`);
  }

  /** Waits for a line of the page; gives the seconds that it took. */
  async shows(line: RegExp, timeoutMs?: number): Promise<number> {
    return this.#waitFor(`/metrics shows ${line}`, async () => line.test(await this.metrics()), timeoutMs);
  }

  /** Waits until no line of the page is like that; gives the seconds that it took. */
  async showsNo(line: RegExp, timeoutMs?: number): Promise<number> {
    return this.#waitFor(
      `/metrics shows no ${line}`,
      async () => !line.test(await this.metrics()),
      timeoutMs,
    );
  }

  async #waitFor(what: string, check: () => Promise<boolean>, timeoutMs?: number): Promise<number> {
    const start = process.hrtime.bigint();
    await until(what, check, timeoutMs);
    return Number(process.hrtime.bigint() - start) / 1e9;
  }

  /** A property of the service or the timer, as `systemctl show` has it. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.guest.run(`systemctl show --property=${name} --value ${unit}`)).trim();
  }

  /** All that the journal has of the service since the guest booted. */
  journal(): Promise<string> {
    return this.guest.run(`journalctl --sync; journalctl --unit=${SERVICE} --boot --quiet --output=cat`);
  }

  /**
   * Looks once a second: when the service was started, in seconds of the monotonic clock, and when the file
   * was written, in seconds of the wall clock. The first of each, from before, is left out.
   */
  async watch(seconds: number): Promise<{ starts: readonly number[]; writes: readonly number[] }> {
    const started = `systemctl show --property=InactiveExitTimestampMonotonic --value ${SERVICE} 2>/dev/null || true`;
    const look = `echo "$(${started});$(stat -c %.Y ${this.file})"`;
    const script = `for second in $(seq ${seconds}); do ${look}; sleep 1; done`;
    const lines = (await this.guest.run(script, { timeoutMs: (seconds * 2 + 60) * 1000 })).trim().split('\n');
    const column = (index: number, unit: number) => {
      const values = new Set(lines.map((line) => Number(line.split(';')[index]) / unit));
      return [...values].slice(1);
    };
    return { starts: column(0, 1e6), writes: column(1, 1) };
  }
}

/** Seconds from each time to the next. */
export function intervals(times: readonly number[]): readonly number[] {
  return times.slice(1).map((time, index) => Number((time - (times[index] ?? Number.NaN)).toFixed(3)));
}

/** The files that git has or would have, in a new directory: gone after `remove`, or when this process ends. */
export function copyCheckout(version = VERSION): { dir: string; remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), 'ssh-sessions-checkout-'));
  const remove = cleanUp(() => rmSync(dir, { recursive: true, force: true }));
  const files = 'git ls-files --cached --others --exclude-standard -z';
  execFileSync('bash', ['-c', `set -o pipefail; ${files} | tar --null -T - -cf - | tar -xf - -C "$0"`, dir]);
  const manifest = join(dir, 'package.json');
  const text = readFileSync(manifest, 'utf8').replace(`"version": "${VERSION}"`, `"version": "${version}"`);
  writeFileSync(manifest, text);
  return { dir, remove };
}

export function packageName(version = VERSION): string {
  return `ssh-sessions-exporter_${version}_all.deb`;
}

const packages = new Map<string, Promise<string>>();

/** Makes the Debian package of a version from the sources here, once; gives the path. */
export function buildPackage(version: string): Promise<string> {
  const known = packages.get(version);
  if (known) return known;
  const { dir } = copyCheckout(version);
  symlinkSync(resolve('node_modules'), join(dir, 'node_modules'));
  const built = succeed(['env', '-C', dir, 'npm', 'run', 'package']).then(() =>
    join(dir, packageName(version)),
  );
  packages.set(version, built);
  return built;
}

function readVersion(manifest: string): string {
  const { version }: { version: string } = JSON.parse(readFileSync(manifest, 'utf8'));
  return version;
}
