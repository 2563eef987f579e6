import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './exporter.ts';
import { capture } from './process.ts';

/**
 * A folder per capture: what w printed (w.txt), where, when and how it was made (capture.txt), and what is
 * exported from it (expected.prom). After a change on purpose, UPDATE_FIXTURES=1 regenerates expected.prom:
 * read the difference before you commit it.
 */
export const FIXTURES = join(ROOT, 'test/fixtures');

/** @param capture the text of capture.txt */
export function fact(capture: string, name: string): string {
  const value = new RegExp(`^${name}: (\\S+)`, 'm').exec(capture)?.[1];
  if (value === undefined) throw new Error(`capture.txt has no line: ${name}`);
  return value;
}

/** The values that differ from run to run, and the version. */
const PASSING =
  /^(ssh_sessions_exporter_(?:duration_seconds|last_run_timestamp_seconds|build_info\S*)) .*$/gm;

const withoutPassing = (text: string) => text.replace(/\{version=.*\}/, '').replace(PASSING, '$1');

interface Place {
  /** The directory of its copy of test/fixtures. */
  readonly root: string;
  /** The command that runs another one there. */
  argv(command: readonly string[]): readonly string[];
  /** By default that of the test. */
  readonly env?: Readonly<Record<string, string>>;
}

const HERE: Place = { root: ROOT, argv: (command) => command };

/** Runs the command on a capture, at the time of the capture, and compares its output with expected.prom. */
export async function assertCapture(name: string, command: readonly string[], place = HERE): Promise<void> {
  const facts = readFileSync(join(FIXTURES, name, 'capture.txt'), 'utf8');
  const input = join(place.root, 'test/fixtures', name, 'w.txt');
  const faked = ['faketime', `@${fact(facts, 'captured')}`, ...command, '--input', input, '--output', '-'];
  const env = { ...(place.env ?? process.env), TZ: fact(facts, 'time zone'), LOG_LEVEL: 'warning' };
  const { stdout, stderr } = await capture(place.argv(faked), { env });
  const messages = stderr.replace(/^(?=.)/gm, '# ').replaceAll(`${place.root}/`, '');
  const expected = readFileSync(join(FIXTURES, name, 'expected.prom'), 'utf8');
  assert.equal(withoutPassing(`${messages}${stdout}`), withoutPassing(expected));
}
