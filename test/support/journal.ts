/** A journal in memory, and a host on which journalctl reads it: what a real one does is seen in test/system. */
import type { Host, RunResult } from '../../src/host/host.ts';
import { host as node } from '../../src/host/node.ts';

export const BOOT = 'b'.repeat(32);
export const MACHINE = 'c'.repeat(32);
const FILE = `/var/log/journal/${MACHINE}/system.journal`;

export interface Written {
  readonly message: unknown;
  readonly pid?: number;
  readonly boot?: string;
  readonly dropped?: number;
  /** In seconds. */
  readonly age?: number;
}

interface Stored {
  readonly line: string;
  readonly cursor: string;
  readonly message: unknown;
  readonly time: number;
}

export class FakeMachine {
  /** In milliseconds of Unix time. */
  now = 1_700_000_000_000;
  /** In seconds. */
  uptime = 100_000;
  boot = BOOT;
  uid = node.uid();
  /** The names in /proc, with the second of the boot that each process started in. */
  readonly processes = new Map<number, number>([[1, 0]]);
  /** The command lines of journalctl that read sshd's log. */
  readonly calls: (readonly string[])[] = [];
  /** What there is of a journal. */
  kind: 'journal' | 'unreadable' | 'empty directory' | 'no files' | 'no journald' = 'journal';
  /** What is done instead of running journalctl, if it returns anything. */
  journalctl: ((command: readonly string[]) => RunResult | undefined) | undefined;
  /** What each journalctl takes, in seconds. */
  cost = 0;
  /** In bytes. */
  outputLimit = Number.POSITIVE_INFINITY;
  #entries: Stored[] = [];
  #serial = 0;
  #stamp = 1;
  readonly #directory: string;

  /** @param directory where the state is kept */
  constructor(directory: string) {
    this.#directory = directory;
  }

  log(...entries: readonly (string | Written)[]): void {
    for (const entry of entries) this.#store(typeof entry === 'string' ? { message: entry } : entry);
    this.touch();
  }

  /** Something else was logged. */
  touch(): void {
    this.#stamp++;
  }

  vacuum(): void {
    this.#entries = [];
    this.touch();
  }

  host(): Host {
    return {
      ...node,
      env: { RUNTIME_DIRECTORY: this.#directory },
      uid: () => this.uid,
      now: () => this.now,
      elapsed: () => this.calls.length * this.cost,
      run: (command, { outputLimit }) => {
        if (!command.includes('--lines=1')) this.calls.push(command);
        return this.journalctl?.(command) ?? this.#read(command, Math.min(outputLimit, this.outputLimit));
      },
      open: (path) => {
        if (path !== FILE) return node.open(path);
        if (this.kind !== 'unreadable') return node.open('/dev/null');
        throw Object.assign(new Error('EACCES'), { code: 'EACCES', errno: -13 });
      },
      readSmallFile: (path) => this.#readSmallFile(path),
      list: (path) => (path === '/proc' ? [...this.processes.keys()].map(String) : node.list(path)),
      inspect: (path) => this.#inspect(path),
    };
  }

  #store({ message, pid = 42, boot = this.boot, dropped, age = 0 }: Written): void {
    const [time, uptime] = [this.now - age * 1000, this.uptime - age];
    const cursor = `s=${MACHINE};i=${(++this.#serial).toString(16)};b=${boot};m=1;t=${time};x=${this.#serial}`;
    const line = JSON.stringify({
      __CURSOR: cursor,
      __REALTIME_TIMESTAMP: String(time * 1000),
      __MONOTONIC_TIMESTAMP: String(uptime * 1e6),
      _BOOT_ID: boot,
      MESSAGE: message,
      _PID: String(pid),
      ...(dropped === undefined ? {} : { N_DROPPED: String(dropped) }),
    });
    this.#entries.push({ line, cursor, message, time });
  }

  #read(command: readonly string[], outputLimit: number): RunResult {
    if (command.includes('--lines=1')) {
      return { stdout: [Buffer.from(`{"_BOOT_ID":"${this.boot}"}\n`)], stderr: Buffer.from(''), end: 0 };
    }
    const option = (name: string) =>
      command.find((word) => word.startsWith(`--${name}=`))?.slice(name.length + 3);
    const [cursor, since, grep] = [option('cursor'), option('since'), new RegExp(option('grep') ?? '')];
    if (cursor !== undefined && !/^s=.*;b=.*;t=\d+/.test(cursor)) {
      return { stdout: [], stderr: Buffer.from('Failed to seek to cursor: Invalid argument\n'), end: 1 };
    }
    const start = since?.replace('@', '') ?? /t=(\d+)/.exec(cursor ?? '')?.[1];
    const first = this.#entries.findIndex(
      (entry) => entry.cursor === cursor || (since !== undefined && entry.time >= Number(start) * 1000),
    );
    // A cursor of an entry that is gone leads to what comes after it.
    const later = this.#entries.findIndex(({ time }) => time >= Number(start));
    const read = this.#entries.slice(
      first >= 0 ? first : since === undefined && later >= 0 ? later : Infinity,
    );
    const hits = read.filter(({ message }) => typeof message === 'string' && grep.test(message));
    const lines = [
      ...hits.map(({ line }) => line),
      ...read.slice(-1).map((entry) => `-- cursor: ${entry.cursor}`),
    ];
    const output = Buffer.from(lines.map((line) => `${line}\n`).join(''));
    const tooMuch = output.length > outputLimit;
    // In pieces, as a pipe gives them.
    const stdout: Uint8Array[] = [];
    for (let at = 0; at < Math.min(output.length, outputLimit); at += 1000) {
      stdout.push(output.subarray(at, Math.min(at + 1000, outputLimit)));
    }
    return { stdout, stderr: Buffer.from(''), end: tooMuch ? 'too much' : Number(hits.length === 0) };
  }

  #readSmallFile(path: string): string {
    const files: Record<string, string> = {
      '/etc/machine-id': `${MACHINE}\n`,
      '/proc/uptime': `${this.uptime}.25 1.00\n`,
    };
    const [, pid] = /^\/proc\/(\d+)\/stat$/.exec(path) ?? [];
    const start = this.processes.get(Number(pid));
    if (start !== undefined) return `${pid} (s ) h) S ${'0 '.repeat(18)}${start * 100} 0\n`;
    return files[path] ?? node.readSmallFile(path);
  }

  #inspect(path: string) {
    const directory = { kind: 'directory', mode: 0o755, uid: 0, gid: 0, size: 0, identity: '1:1' } as const;
    if (path === FILE) {
      if (this.kind !== 'journal' && this.kind !== 'unreadable') return undefined;
      return { ...directory, kind: 'file', identity: '1:2', modified: this.#stamp } as const;
    }
    if (path === `/var/log/journal/${MACHINE}`) {
      return this.kind === 'no files' || this.kind === 'no journald'
        ? undefined
        : { ...directory, modified: 1 };
    }
    if (path.startsWith('/run/log/journal/')) return undefined;
    if (path === '/run/systemd/journal') {
      return this.kind === 'no journald' ? undefined : { ...directory, modified: 1 };
    }
    return node.inspect(path);
  }
}
