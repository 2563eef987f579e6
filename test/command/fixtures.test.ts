/** What the command makes of each capture, at the time at which it was made: the same on every host. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { COMMAND, ROOT } from '../support/exporter.ts';
import { FIXTURES, fact } from '../support/fixtures.ts';
import { capture } from '../support/process.ts';
import { lacking } from '../support/programs.ts';

/** The values that differ from run to run, and the version. */
const PASSING =
  /^(ssh_sessions_exporter_(?:duration_seconds|last_run_timestamp_seconds|build_info\S*)) .*$/gm;

const withoutPassing = (text: string) => text.replace(/\{version=.*\}/, '').replace(PASSING, '$1');

describe('the capture', { skip: lacking('/usr/bin/faketime') }, () => {
  for (const name of readdirSync(FIXTURES).sort()) {
    it(name, async () => {
      const facts = readFileSync(join(FIXTURES, name, 'capture.txt'), 'utf8');
      const faked = ['faketime', `@${fact(facts, 'captured')}`];
      const input = join('test/fixtures', name, 'w.txt');
      const env = { ...process.env, TZ: fact(facts, 'time zone'), LOG_LEVEL: 'warning' };
      const { stdout, stderr } = await capture(
        [...faked, ...COMMAND, '--input', join(ROOT, input), '--output', '-'],
        {
          env,
        },
      );
      const messages = stderr.replace(/^(?=.)/gm, '# ').replaceAll(`${ROOT}/`, '');
      const expected = readFileSync(join(FIXTURES, name, 'expected.prom'), 'utf8');
      assert.equal(withoutPassing(`${messages}${stdout}`), withoutPassing(expected));
    });
  }
});
