/** Runs that are killed at any moment, and many at once, while a reader reads the file. 1,000 kills, 50 runs at once. */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { readdirSync, readFileSync, utimesSync, watch, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { COMMAND, publicDirectory, runExporter } from '../support/exporter.ts';
import { withoutRunData } from '../support/exposition.ts';
import { ended, killGroup, start } from '../support/process.ts';
import { startReader } from '../support/reader.ts';
import { share } from '../support/stress.ts';
import { makeVersions, type Version } from '../support/versions.ts';

const KILLS = share(1_000);
const AT_ONCE = 50;
const ROUNDS = share(2);
/** How many runs that are to be killed there are at a time, so that they meet each other too. */
const LANES = 4;

/** Enough that writing the file takes a good part of a run. */
const ROWS = 500;

const directory = publicDirectory();
let versions: readonly [Version, Version];

before(async () => {
  versions = await makeVersions(directory, ROWS);
});

/** A directory with the file of the first version, and a reader of it. */
function makeTarget(name: string) {
  const file = join(publicDirectory(), `${name}.prom`);
  writeFileSync(file, versions[0].text);
  const texts = new Map([
    ['old', versions[0].text],
    ['new', versions[1].text],
  ]);
  return { file, reader: startReader(file, texts), files: () => readdirSync(dirname(file)) };
}

test(`${KILLS} runs killed at random times leave a whole file, old or new`, async (t) => {
  const { file, reader, files } = makeTarget('killed');
  const span = await measure(file);
  const writes = watchWrites(dirname(file));
  let killed = 0;
  let finished = 0;
  let turn = 0;
  const lane = async () => {
    while (killed < KILLS) {
      const { input } = versions[turn++ % 2] ?? versions[0];
      const run = start([...COMMAND, '-i', input, '-o', file], { stdio: 'ignore' });
      const end = ended(run);
      // Every other one dies early in its write or a little later: few moments of a run lie there by chance.
      const moment = turn % 2 === 0 ? sleep(Math.random() * span) : once(writes, 'begin').then(aMoment);
      await Promise.race([end, moment]);
      killGroup(run);
      await end;
      if (run.signalCode === 'SIGKILL') killed += 1;
      else finished += 1;
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  writes.emit('close');
  const reads = await reader.stop();
  const leftovers = files().filter((name) => /^killed\.prom\.\d+$/.test(name));
  t.diagnostic(
    `${killed} killed, ${finished} were done before; ${leftovers.length} left their temporary file`,
  );
  t.diagnostic(
    `the reader read the old file ${reads.get('old') ?? 0} times, the new one ${reads.get('new') ?? 0} times`,
  );
  assert.deepEqual(files().sort(), ['killed.prom', ...leftovers].sort());
  if (KILLS >= 100) assert.ok(leftovers.length > 0, 'some runs are killed while they write');

  // The next run leaves alone what may be that of a run in progress, and removes it a minute later. The kills take longer
  // than that on a slow machine, so all is made as young as the last.
  const next = ['-i', versions[1].input, '-o', file];
  const setAge = (seconds: number) => {
    const time = Date.now() / 1000 - seconds;
    for (const name of leftovers) utimesSync(join(dirname(file), name), time, time);
  };
  setAge(0);
  assert.equal((await runExporter(next)).status, 0);
  assert.deepEqual(files().sort(), ['killed.prom', ...leftovers].sort());
  setAge(61);
  assert.equal((await runExporter(next)).status, 0);
  assert.deepEqual(files(), ['killed.prom']);
  assert.equal(withoutRunData(readFileSync(file, 'utf8')), withoutRunData(versions[1].text));
});

/** Emits `begin` whenever a temporary file appears in the directory, until it is told to `close`. */
function watchWrites(path: string): EventEmitter {
  const writes = new EventEmitter({ captureRejections: true }).setMaxListeners(0);
  const watcher = watch(path, (_event, name) => {
    if (name !== null && /\.\d+$/.test(name)) writes.emit('begin');
  });
  return writes.once('close', () => watcher.close());
}

function aMoment(): Promise<void> {
  return sleep(Math.random() * 3);
}

/** How long a run takes, in milliseconds, while others run: kills are spread over that. */
async function measure(file: string): Promise<number> {
  const begin = performance.now();
  await Promise.all(Array.from({ length: LANES }, () => runExporter(['-i', versions[0].input, '-o', file])));
  return (performance.now() - begin) * 1.1;
}

test(`${ROUNDS} times ${AT_ONCE} runs at once replace one file`, async () => {
  const { file, reader, files } = makeTarget('crowded');
  for (let round = 0; round < ROUNDS; round++) {
    const runs = Array.from({ length: AT_ONCE }, (_, index) =>
      runExporter(['-i', (versions[index % 2] ?? versions[0]).input, '-o', file, '--log-level', 'warning']),
    );
    for (const result of await Promise.all(runs)) {
      assert.deepEqual(result, { status: 0, stdout: '', stderr: '' });
    }
    assert.deepEqual(files(), ['crowded.prom']);
  }
  const reads = await reader.stop();
  assert.ok((reads.get('old') ?? 0) > 0 && (reads.get('new') ?? 0) > 0, 'the reader reads both versions');
});
