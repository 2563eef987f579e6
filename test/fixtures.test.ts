import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { host } from '../src/host/node.ts';
import { DEFAULTS } from '../src/options.ts';
import { run } from '../src/run.ts';
import { scratch } from './support/exporter.ts';
import { readExposition } from './support/exposition.ts';
import { FIXTURES, fact } from './support/fixtures.ts';
import { inZone } from './support/zone.ts';

/** A version that no release has, so that releases do not change the files. */
const VERSION = '0.0.0';

describe('the capture', () => {
  for (const name of readdirSync(FIXTURES).sort()) {
    it(name, (context) => {
      const folder = join(FIXTURES, name);
      const capture = readFileSync(join(folder, 'capture.txt'), 'utf8');
      const now = Number(fact(capture, 'captured')) * 1000;
      const output = join(scratch(context), 'x.prom');
      const messages: string[] = [];
      const options = { ...DEFAULTS, output, input: join(folder, 'w.txt') };
      const then = { ...host, now: () => now, elapsed: () => 0.25 };
      inZone(fact(capture, 'time zone'), () =>
        run(options, VERSION, then, (level, message) => {
          if (level === 'error' || level === 'warning') messages.push(`# ${level}: ${message}\n`);
        }),
      );
      const exposed = readFileSync(output, 'utf8');
      readExposition(exposed);
      const result = `${messages.join('')}${exposed}`;
      if (process.env['UPDATE_FIXTURES'] === '1') writeFileSync(join(folder, 'expected.prom'), result);
      assert.equal(result, readFileSync(join(folder, 'expected.prom'), 'utf8'));
    });
  }
});
