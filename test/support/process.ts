/** Starting commands, waiting for things, and leaving nothing behind: what every test that touches a real system needs. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

/** What a finished command left. Output is decoded as UTF-8; where the exact bytes matter, redirect to a file. */
export interface Result {
  /** Exit status; 128 when a signal ended the command. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** Standard input; none by default. */
  readonly input?: string | undefined;
  /** The whole environment of the command; the test's own by default. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** After this many milliseconds the command is killed and the call rejects (default two minutes). */
  readonly timeoutMs?: number | undefined;
}

const pending = new Set<() => void>();

process.on('exit', () => {
  for (const undo of [...pending].reverse()) undo();
});
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(128));

/**
 * Makes sure that `undo` runs: when the returned function is called, or else when this process ends, be it by
 * an uncaught error or a signal (not SIGKILL). It runs once, and must be synchronous.
 */
export function cleanUp(undo: () => void): () => void {
  const once = () => {
    if (pending.delete(once)) undo();
  };
  pending.add(once);
  return once;
}

/**
 * Starts `argv` in a process group of its own, with pipes for all three streams unless `options` says otherwise.
 * The kernel kills the command if this process dies, even by SIGKILL.
 */
export function start(argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...argv], { ...options, detached: true });
  const forget = cleanUp(() => killGroup(child));
  child.once('close', forget);
  return child;
}

/** Kills a command of `start` and all that it started, as far as that stayed in its process group. */
export function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The group is empty.
  }
}

/** Waits until a command of `start` has ended; gives its exit status, 128 after a signal. */
export async function ended(child: ChildProcess): Promise<number> {
  if (child.exitCode === null && child.signalCode === null) {
    await new Promise<void>((resolve, reject) => {
      child.once('exit', () => resolve());
      child.once('error', reject);
    });
  }
  return child.exitCode ?? 128;
}

/** Runs `argv` to its end. Rejects when it cannot be started or takes too long; any exit status is a result. */
export function capture(argv: readonly string[], options: CommandOptions = {}): Promise<Result> {
  const { input = '', env, timeoutMs = 120_000 } = options;
  const child = start(argv, env === undefined ? {} : { env });
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      killGroup(child);
      reject(new Error(`still running after ${timeoutMs} ms: ${argv.join(' ')}\n${stdout()}${stderr()}`));
    }, timeoutMs);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ status: code ?? 128, stdout: stdout(), stderr: stderr() });
    });
    // A command that ends without reading its input breaks the pipe, which is no error.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

/** Like `capture`, but any status other than 0 is an error that shows what the command printed. */
export async function succeed(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await capture(argv, options);
  if (status !== 0) throw new Error(`status ${status}: ${argv.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

/** Collects a stream. The returned function returns what has arrived so far. */
export function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString();
}

/**
 * Calls `check` every 50 ms until it gives something other than undefined or false, and returns that.
 * Rejects after `timeoutMs`, naming `what`.
 */
export async function until<T>(
  what: string,
  check: () => T | Promise<T>,
  timeoutMs = 20_000,
): Promise<Exclude<T, undefined | false>> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await check();
    if (isThere(value)) return value;
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await sleep(50);
  }
}

function isThere<T>(value: T): value is Exclude<T, undefined | false> {
  return value !== undefined && value !== false;
}

/** Any text as one word of a shell command. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
