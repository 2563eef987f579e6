/** Logins that an attacker made up, from w's output to what node_exporter serves. 100,000 rows. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { publicDirectory, runExporter } from '../support/exporter.ts';
import { labelsOf, readExposition, soleValue } from '../support/exposition.ts';
import { expectedLabels, hostileLogins, type Login, printLogins } from '../support/hostile.ts';
import { type NodeExporter, startNodeExporter } from '../support/nodeExporter.ts';
import { lacking } from '../support/programs.ts';
import { share } from '../support/stress.ts';

/** How many files of how many rows each. */
const FILES = [
  { rows: 1, files: 40 },
  { rows: 10, files: 30 },
  { rows: 100, files: 20 },
  { rows: 1_000, files: 18 },
  { rows: 16_000, files: 5 },
];

const skip = lacking('/usr/bin/prometheus-node-exporter');
const directory = publicDirectory();
const input = join(directory, 'w.txt');
const output = join(directory, 'ssh_sessions.prom');
let nodeExporter: NodeExporter;

before(async () => {
  if (skip === false) nodeExporter = await startNodeExporter(directory);
});
after(() => nodeExporter?.stop());

let seed = 1;
for (const { rows, files } of FILES) {
  const count = share(files);
  test(`${count} files of ${rows} hostile rows`, { skip }, async () => {
    for (let file = 0; file < count; file++) await roundTrip(hostileLogins(rows, seed++));
  });
}

/** The sessions that come back from node_exporter are exactly those that went in. */
async function roundTrip(logins: readonly Login[]): Promise<void> {
  writeFileSync(input, printLogins(logins));
  const result = await runExporter(['--input', input, '--output', output]);
  const sessions = logins.filter(({ isSsh }) => isSsh);
  assert.deepEqual(result, {
    status: 0,
    stdout: '',
    stderr: `info: ${sessions.length} sessions written to ${output}\n`,
  });

  const page = readExposition(await nodeExporter.metrics());
  assert.equal(soleValue(page, 'node_textfile_scrape_error'), 0);
  assert.doesNotMatch(nodeExporter.log(), /level=error/i);
  assert.equal(soleValue(page, 'ssh_sessions_exporter_success'), 1);
  assert.equal(soleValue(page, 'ssh_sessions_exporter_unparsed_rows'), 0);
  assert.equal(soleValue(page, 'ssh_sessions_total'), sessions.length);

  const served = labelsOf(page, 'ssh_session_info');
  const expected = sessions.map(expectedLabels);
  assert.deepEqual(sorted(served), sorted(unique(expected)));
  const counts = page.samples.filter(({ name }) => name === 'ssh_user_sessions');
  assert.equal(
    counts.reduce((sum, { value }) => sum + value, 0),
    sessions.length,
  );
  for (const labels of served) assert.doesNotMatch(Object.values(labels).join(''), /\p{Cc}|\p{Cs}/u);
}

/** Labels as text, whatever their order; an empty one is none. */
function toText(labels: Readonly<Record<string, string>>): string {
  const present = Object.entries(labels).filter(([, value]) => value !== '');
  return JSON.stringify(present.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function sorted(list: readonly (string | Readonly<Record<string, string>>)[]): string[] {
  return list.map((item) => (typeof item === 'string' ? item : toText(item))).sort();
}

function unique(list: readonly Readonly<Record<string, string>>[]): string[] {
  return [...new Set(list.map(toText))];
}
