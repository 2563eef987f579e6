/** What only root can set up: other accounts, mounts. */

import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { copyProgram, publicDirectory } from './exporter.ts';
import { type CommandOptions, capture, cleanUp, type Result, succeed } from './process.ts';

/** The account without rights: user and group "nobody" and "nogroup" of Debian. */
export const NOBODY = 65_534;

let publicProgram: readonly string[] | undefined;

/** Runs the program as that account, only in its own group. Any exit status is a result. */
export function exporterAs(
  user: number,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<Result> {
  publicProgram ??= copyProgram(publicDirectory());
  const identity = ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups', '--'];
  return capture([...identity, ...publicProgram, ...args], options);
}

/**
 * Mounts a file system on a new directory until the tests are over.
 *
 * @param args of mount(8), without the directory
 */
export async function mount(...args: readonly string[]): Promise<string> {
  const directory = join(publicDirectory(), 'mount');
  mkdirSync(directory);
  await succeed(['mount', ...args, directory]);
  cleanUp(() => spawnSync('umount', ['--lazy', directory]));
  return directory;
}
