/** A w that misbehaves: the run ends soon after the timeout, its memory is bounded, no child is left. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { COMMAND, HOST, publicDirectory, standInW } from '../support/exporter.ts';
import { readExposition, soleValue } from '../support/exposition.ts';
import { capture, ended, killGroup, start, until } from '../support/process.ts';
import { lacking } from '../support/programs.ts';

/** In seconds. */
const TIMEOUT = 2;
/** How much later a busy machine may notice. */
const PATIENCE = 60;
/** In KiB: Node alone takes 45 MiB, and what is read from w, 64 MiB at the most, is there twice for a moment. */
const MAX_MEMORY = 300 * 1024;

const HEADER = 'echo; echo "USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT"';
const ROW = 'pi       pts/0    192.0.2.17       11:19    5.00s  0.05s  0.05s bash';

const SLOW = 'longer than 2 s';
const LONG = 'more than 64 MiB';

const cases: readonly [what: string, script: string, message: string][] = [
  ['hangs', 'exec sleep 1000', SLOW],
  ['hangs after a good listing', `${HEADER}; echo "${ROW}"; exec sleep 1000`, SLOW],
  ['stops itself', 'kill -STOP $$', SLOW],
  ['prints for ever', 'exec yes', LONG],
  ['prints rows for ever', `${HEADER}; exec yes "${ROW}"`, LONG],
  ['prints one byte now and then, for ever', 'while :; do printf x; sleep 0.1; done', SLOW],
  ['prints 100 MB', 'head -c 100000000 /dev/zero', LONG],
  ['prints 60 MB without a newline', 'head -c 60000000 /dev/zero', "not the output of procps' w"],
  ['prints 60 MB that is no row', `${HEADER}; head -c 60000000 /dev/zero`, 'no row of w could be read'],
  ['closes its output early and hangs', 'exec >&-; exec sleep 1000', SLOW],
  ['closes all its output and hangs', 'exec >&- 2>&-; exec sleep 1000', SLOW],
  ['closes its output and ends', 'exec >&-', 'w printed nothing'],
  ['prints to standard error for ever', 'exec yes >&2', LONG],
  ['prints 60 MB to standard error, and a listing', `head -c 60000000 /dev/zero >&2; ${HEADER}`, ''],
  [
    'ignores every signal that can be ignored',
    'trap "" TERM INT HUP QUIT PIPE ALRM; while :; do sleep 1; done',
    SLOW,
  ],
  ['leaves a grandchild that holds its output', 'sleep 1000 & exit 0', SLOW],
  [
    'leaves grandchildren without output',
    `(sleep 1000 & sleep 1001 & exec sleep 1002) >/dev/null 2>&1 & ${HEADER}`,
    '',
  ],
  ['is killed', 'kill -KILL $$', 'w was killed by SIGKILL'],
];

const skip = lacking('/usr/bin/time');
for (const [what, script, message] of cases) {
  test(`w ${what}`, { skip }, async () => {
    const directory = publicDirectory();
    const file = join(directory, 'ssh.prom');
    const usage = join(directory, 'usage');
    const mark = randomUUID();
    const measured = ['/usr/bin/time', '--quiet', '--format', '%e %M', '--output', usage];
    const command = [...COMMAND, '-o', file, '--timeout', String(TIMEOUT), '--no-connections'];
    // Not by the helpers of other tests, which end all that a command leaves behind.
    const [time = '', ...rest] = [...measured, ...command];
    const env = { PATH: standInW(directory, script), MARK: mark };
    const { status, stderr } = spawnSync(time, rest, { env, encoding: 'utf8' });

    const [seconds, kibibytes] = readFileSync(usage, 'utf8').trim().split(' ').map(Number);
    assert.ok(Number(seconds) <= TIMEOUT + PATIENCE, `took ${seconds} s`);
    assert.ok(Number(kibibytes) <= MAX_MEMORY, `took ${kibibytes} KiB`);
    await until('all that w started has ended', () => processesWith(mark).length === 0);
    assert.ok(stderr.length < 1_000 && stderr.split('\n').length <= 3, stderr.slice(0, 2_000));
    assert.equal(status, message === '' ? 0 : 1);
    assert.ok(stderr.includes(message), stderr);
    const exposed = readExposition(readFileSync(file, 'utf8'));
    assert.equal(soleValue(exposed, 'ssh_sessions_exporter_success'), message === '' ? 1 : 0);
    const sessions = exposed.samples.filter(({ name }) => /^ssh_session(?!s_exporter)/.test(name));
    assert.equal(sessions.length > 0, message === '');
  });
}

test('w is killed, and the status of children is ignored by whoever started the run', async () => {
  const path = standInW(publicDirectory(), `${HEADER}; kill -KILL $$`);
  const run = ['env', '--ignore-signal=CHLD', ...COMMAND, '-o', '-', '--no-connections'];
  const { status, stdout, stderr } = await capture(run, { env: { PATH: path } });
  assert.equal(status, 1);
  assert.match(stderr, /^error: w was killed by SIGKILL/m);
  assert.equal(soleValue(readExposition(stdout), 'ssh_sessions_exporter_success'), 0);
});

test('w cannot be started, because too few files may be open', async () => {
  const path = standInW(publicDirectory(), `${HEADER}; echo "${ROW}"`);
  const failures: string[] = [];
  // Where Node.js itself cannot start, and where all is well, is up to its version.
  for (let limit = HOST === 'QuickJS' ? 5 : 18; limit < 36; limit++) {
    const run = ['prlimit', `--nofile=${limit}`, ...COMMAND, '-o', '-', '--no-connections', '--no-logins'];
    const { status, stdout, stderr } = await capture(run, { env: { PATH: path } });
    assert.doesNotMatch(stderr, /internal error/);
    if (status === 0) break;
    if (!stdout.includes('ssh_sessions_exporter_success 0')) continue;
    assert.match(stderr, /^error: w .+\n$/);
    if (/ could not be run \(E\w+\); check the limits of the service/.test(stderr)) failures.push(stderr);
  }
  assert.notEqual(failures.length, 0);
});

/** Process ids of those that live with that mark in their environment. */
function processesWith(mark: string): string[] {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && environment(pid).includes(`MARK=${mark}`));
}

function environment(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1');
  } catch {
    return '';
  }
}

test('the search for left-over children finds one', async () => {
  const mark = randomUUID();
  const child = start(['env', `MARK=${mark}`, 'sleep', '20'], { stdio: 'ignore' });
  await until('the child is found', () => processesWith(mark).length === 1);
  killGroup(child);
  await ended(child);
  assert.deepEqual(processesWith(mark), []);
});
