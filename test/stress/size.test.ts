/** Time and memory grow with the number of rows, and no faster: 10, 1,000, 10,000 and 100,000 rows. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { COMMAND, publicDirectory } from '../support/exporter.ts';
import { hostileLogins, type Login, printLogins } from '../support/hostile.ts';
import { succeed } from '../support/process.ts';
import { lacking } from '../support/programs.ts';

const directory = publicDirectory();

/** Rows as they are on a busy machine; few of a hostile size. */
function logins(count: number): Login[] {
  const patterns = hostileLogins(100, 1).map((login) => ({ ...login, what: login.what.slice(0, 100) }));
  return Array.from({ length: count }, (_, index) => {
    const pattern = patterns[index % patterns.length];
    if (pattern === undefined) throw new Error('no pattern');
    return { ...pattern, tty: `pts/${index % 1000}`, from: `10.0.${index >> 8}.${index & 255}`, isSsh: true };
  });
}

interface Cost {
  /** CPU time in seconds: unlike the time of day, other work on the machine hardly changes it. */
  readonly seconds: number;
  readonly mebibytes: number;
}

/** The least of a few runs. */
async function measure(rows: number, runs: number): Promise<Cost> {
  const input = join(directory, 'w.txt');
  const usage = join(directory, 'usage');
  writeFileSync(input, printLogins(logins(rows)));
  const costs: Cost[] = [];
  for (let run = 0; run < runs; run++) {
    const command = [...COMMAND, '-i', input, '-o', join(directory, 'ssh.prom')];
    await succeed(['/usr/bin/time', '--format', '%U %S %M', '--output', usage, ...command]);
    const [user = 0, system = 0, kibibytes = 0] = readFileSync(usage, 'utf8').trim().split(' ').map(Number);
    costs.push({ seconds: user + system, mebibytes: kibibytes / 1024 });
  }
  return {
    seconds: Math.min(...costs.map(({ seconds }) => seconds)),
    mebibytes: Math.min(...costs.map(({ mebibytes }) => mebibytes)),
  };
}

test('a row costs less than twice as much among 100,000 rows as among 10,000', {
  skip: lacking('/usr/bin/time'),
}, async (t) => {
  const costs = new Map<number, Cost>();
  for (const rows of [10, 1_000, 10_000, 100_000]) {
    const cost = await measure(rows, rows > 10_000 ? 2 : 3);
    costs.set(rows, cost);
    t.diagnostic(`${rows} rows: ${cost.seconds.toFixed(2)} s of CPU time, ${cost.mebibytes.toFixed(0)} MiB`);
  }
  for (const unit of ['seconds', 'mebibytes'] as const) {
    const [least = 0, , some = 0, many = 0] = [...costs.values()].map((cost) => cost[unit]);
    const growth = (many - least) / (some - least);
    t.diagnostic(`ten times the rows take ${growth.toFixed(1)} times the ${unit}`);
    assert.ok(growth < 20, `${growth} times the ${unit}`);
  }
});
