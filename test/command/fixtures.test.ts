/** What the command makes of each capture, at the time at which it was made: the same on every host. */
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { COMMAND } from '../support/exporter.ts';
import { assertCapture, FIXTURES } from '../support/fixtures.ts';
import { lacking } from '../support/programs.ts';

describe('the capture', { skip: lacking('/usr/bin/faketime') }, () => {
  for (const name of readdirSync(FIXTURES).sort()) it(name, () => assertCapture(name, COMMAND));
});
