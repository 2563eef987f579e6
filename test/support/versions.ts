/** Two different inputs, and the program's output for each. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runExporter } from './exporter.ts';
import { hostileLogins, printLogins } from './hostile.ts';

export interface Version {
  /** Saved output of w. */
  readonly input: string;
  /** The .prom text that it leads to. */
  readonly text: string;
}

/** @param rows of the first input; the second has a few more */
export async function makeVersions(directory: string, rows: number): Promise<readonly [Version, Version]> {
  return [await makeVersion(directory, 'old', rows), await makeVersion(directory, 'new', rows + 7)];
}

async function makeVersion(directory: string, name: string, rows: number): Promise<Version> {
  const input = join(directory, `${name}.txt`);
  writeFileSync(input, printLogins(hostileLogins(rows, rows)));
  const { stdout } = await runExporter(['--input', input, '--output', '-']);
  return { input, text: stdout };
}
