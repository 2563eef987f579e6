import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { type CommandOptions, capture, cleanUp, type Result } from './process.ts';

/** The checkout: tests are run there. */
export const ROOT = process.cwd();

/**
 * The command to test: the one of npm, or what SSH_SESSIONS_TEST_COMMAND says (`npm run test:quickjs`), its words
 * separated by blanks.
 */
export const COMMAND: readonly string[] = process.env['SSH_SESSIONS_TEST_COMMAND']?.split(' ') ?? [
  process.execPath,
  join(ROOT, 'bin/ssh-sessions-exporter.js'),
];
const [PROGRAM = '', ...FIRST_ARGS] = COMMAND;

/** What the command runs on, as it calls it. */
export const HOST = PROGRAM === process.execPath ? `Node.js ${process.versions.node}` : 'QuickJS';

export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

export interface RunOptions {
  /** Added to the environment of the tests, from which the program's own variables are removed. */
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string | Buffer;
  readonly cwd?: string;
  /** A file to write standard output to. */
  readonly stdout?: string;
}

/** Runs the built command as a person does. */
export function exporter(
  args: readonly string[],
  { env = {}, input = '', cwd, stdout: file }: RunOptions = {},
): Outcome {
  const { SSH_SESSIONS_OUTPUT, LOG_LEVEL, JOURNAL_STREAM, ...clean } = process.env;
  const output = file === undefined ? 'pipe' : openSync(file, 'w');
  const start = process.hrtime.bigint();
  const child = spawnSync(PROGRAM, [...FIRST_ARGS, ...args], {
    env: { ...clean, ...env },
    input,
    stdio: ['pipe', output, 'pipe'],
    encoding: 'utf8',
    maxBuffer: 1 << 30,
    ...(cwd === undefined ? {} : { cwd }),
  });
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (typeof output === 'number') closeSync(output);
  const { status, signal, stdout, stderr } = child;
  return { status, signal, stdout, stderr, seconds };
}

/** The same, but does not block. Any exit status is a result. */
export function runExporter(args: readonly string[], options: CommandOptions = {}): Promise<Result> {
  return capture([...COMMAND, ...args], options);
}

/** A directory that everyone may enter. It is removed after all tests of the file. */
export function publicDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'ssh-sessions-exporter-'));
  cleanUp(() => rmSync(directory, { recursive: true, force: true }));
  chmodSync(directory, 0o755);
  return directory;
}

/** A directory that is removed after the test. */
export function scratch(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'ssh-sessions-exporter-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/**
 * A stand-in for w.
 *
 * @param script shell, run in place of w
 * @returns the PATH that finds it first
 */
export function standInW(directory: string, script: string): string {
  const path = join(directory, 'path', 'w');
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return `${dirname(path)}:${process.env['PATH']}`;
}

/**
 * Copies the program to a place that every account, or a guest, can read.
 *
 * @returns the command that starts it
 */
export function copyProgram(to: string): readonly string[] {
  for (const name of ['bin', 'dist']) cpSync(join(ROOT, name), join(to, name), { recursive: true });
  return COMMAND.map((word) => (word.startsWith(`${ROOT}/`) ? join(to, word.slice(ROOT.length)) : word));
}
