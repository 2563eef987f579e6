import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { ROOT, scratch } from './support/exporter.ts';

const SAVED = 'dist/ssh-sessions-exporter.code';

/** A copy of the program, with its saved code. */
function program(context: TestContext): string {
  const directory = scratch(context);
  for (const part of ['bin', 'dist']) cpSync(join(ROOT, part), join(directory, part), { recursive: true });
  return directory;
}

/** Asks the program for its version, and the loader whether it took the saved code. */
function run(directory: string): { version: string; usedSavedCode: boolean } {
  const executable = join(directory, 'bin/ssh-sessions-exporter.js');
  const { stdout, stderr, signal } = spawnSync(process.execPath, [executable, '--version'], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.deepEqual({ stderr, signal }, { stderr: '', signal: null });
  const ask = `console.log(require(${JSON.stringify(executable)}).script.cachedDataRejected)`;
  const answer = spawnSync(process.execPath, ['-e', ask], { encoding: 'utf8' });
  return { version: stdout, usedSavedCode: answer.stdout === 'false\n' };
}

describe('saved code', () => {
  const version = `${JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version}\n`;

  it('is used', (context) => {
    assert.deepEqual(run(program(context)), { version, usedSavedCode: true });
  });

  it('is left aside when it is damaged, wherever that is', (context) => {
    const directory = program(context);
    const file = join(directory, SAVED);
    const saved = readFileSync(file);
    for (const part of [0.01, 0.1, 0.25, 0.5, 0.7, 0.99]) {
      const place = Math.floor(saved.length * part);
      const damaged = Buffer.from(saved);
      damaged.writeUInt8(damaged.readUInt8(place) ^ 1, place);
      for (const bytes of [damaged, saved.subarray(0, place)]) {
        writeFileSync(file, bytes);
        assert.deepEqual(run(directory), { version, usedSavedCode: false }, `at byte ${place}`);
      }
    }
  });

  it('is left aside when it is of another build', (context) => {
    const directory = program(context);
    const bundle = join(directory, 'dist/ssh-sessions-exporter.cjs');
    writeFileSync(bundle, readFileSync(bundle, 'utf8').replace(/[0-9a-f]\n/, 'x\n'));
    assert.deepEqual(run(directory), { version, usedSavedCode: false });
  });
});
