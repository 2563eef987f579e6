/** The temporary files of runs that were killed, as other programs and accounts see them. */
import assert from 'node:assert/strict';
import { chownSync, lutimesSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { publicDirectory, runExporter } from '../support/exporter.ts';
import { hostileLogins, printLogins } from '../support/hostile.ts';
import { startNodeExporter } from '../support/nodeExporter.ts';
import { lacking, lackingRoot } from '../support/programs.ts';
import { NOBODY } from '../support/root.ts';

const LEFTOVER = 'ssh_sessions_total 12345\n';

const directory = publicDirectory();
const textfiles = join(directory, 'textfiles');
const input = join(directory, 'w.txt');
mkdirSync(textfiles);
writeFileSync(input, printLogins(hostileLogins(10, 1)));

function run() {
  return runExporter(['-i', input, '-o', join(textfiles, 'ssh.prom'), '--log-level', 'warning']);
}

/** @param age how many seconds ago it was last written */
function setAge(path: string, age: number): void {
  const time = Date.now() / 1000 - age;
  lutimesSync(path, time, time);
}

test('a run keeps left-over files of another account, links, and files with a time in the future', {
  skip: lackingRoot(),
}, async () => {
  const own = join(textfiles, 'ssh.prom.1');
  const foreign = join(textfiles, 'ssh.prom.2');
  const future = join(textfiles, 'ssh.prom.3');
  const link = join(textfiles, 'ssh.prom.4');
  for (const path of [own, foreign, future]) writeFileSync(path, LEFTOVER);
  chownSync(foreign, NOBODY, NOBODY);
  symlinkSync(own, link);
  for (const path of [own, foreign, link]) setAge(path, 3600);
  // The clock was set back.
  setAge(future, -3600);

  assert.deepEqual(await run(), { status: 0, stdout: '', stderr: '' });
  assert.deepEqual(readdirSync(textfiles).sort(), ['ssh.prom', 'ssh.prom.2', 'ssh.prom.3', 'ssh.prom.4']);
});

test('node_exporter does not read a left-over file', {
  skip: lacking('/usr/bin/prometheus-node-exporter'),
}, async () => {
  writeFileSync(join(textfiles, 'ssh.prom.5'), LEFTOVER);
  const nodeExporter = await startNodeExporter(textfiles);
  try {
    assert.equal((await run()).status, 0);
    const page = await nodeExporter.metrics();
    assert.match(page, /^ssh_sessions_total \d+$/m);
    assert.doesNotMatch(page, /12345/);
    assert.match(page, /^node_textfile_scrape_error 0$/m);
    assert.doesNotMatch(nodeExporter.log(), /level=error/i);
  } finally {
    await nodeExporter.stop();
  }
});
