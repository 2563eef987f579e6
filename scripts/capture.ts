/**
 * Makes a fixture of what w prints on this machine, without anything that identifies people or machines:
 *
 *   npm run capture -- NAME
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { host } from '../src/host/node.ts';
import { createLog } from '../src/log.ts';
import { ARGUMENTS, ENVIRONMENT, runW } from '../src/w/command.ts';
import { anonymise } from './anonymise.ts';

const [name] = process.argv.slice(2);
if (name === undefined || !/^[a-z0-9.-]+$/.test(name)) {
  throw new Error(
    'give the capture a name of lower-case letters, digits, dots and hyphens: npm run capture -- NAME',
  );
}

const log = createLog('debug', host);
const output = anonymise(Buffer.concat([...runW(host, 5, log)]));
const now = new Date();
const system = /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown';
const environment = Object.entries(ENVIRONMENT).map(([variable, value]) => `${variable}=${value}`);
const facts = [
  `system: ${system}`,
  `command: ${environment.join(' ')} w ${ARGUMENTS.join(' ')}`,
  `time zone: ${Intl.DateTimeFormat().resolvedOptions().timeZone}`,
  `captured: ${Math.floor(now.getTime() / 1000)} (${now.toISOString()})`,
  'live: (say what sessions were open, without names)',
];

const folder = join('test/fixtures', name);
mkdirSync(folder);
writeFileSync(join(folder, 'w.txt'), output);
writeFileSync(join(folder, 'capture.txt'), `${facts.join('\n')}\n`);
log('info', `read ${folder}/w.txt before you share it, then run: UPDATE_FIXTURES=1 npm test`);
