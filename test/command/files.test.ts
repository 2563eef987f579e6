/** What a run does to files: every write wears out an SD card, and a wait for the disk can be long. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { COMMAND, publicDirectory } from '../support/exporter.ts';
import { succeed } from '../support/process.ts';
import { lacking } from '../support/programs.ts';

/** System calls that change a file or a directory. */
const CHANGES =
  /^(?:open|openat2?|creat|rename\w*|(?:un)?link\w*|symlink\w*|mkdir\w*|rmdir|mknod\w*|f?truncate|fallocate|f?chmod\w*|[fl]?chown\w*|utime\w*|f?setxattr)$/;
const WAITS = /^(?:fsync|fdatasync|sync|syncfs|sync_file_range|msync)$/;

test('a run changes no file but its own, and waits for no disk', {
  skip: lacking('/usr/bin/strace', '/usr/bin/w'),
}, async () => {
  const directory = publicDirectory();
  const log = join(directory, 'strace');
  const output = join(directory, 'ssh.prom');
  await succeed(['strace', '-f', '-qq', '-y', '-s', '0', '-o', log, ...COMMAND, '--output', output]);
  const calls = [...readFileSync(log, 'latin1').matchAll(/^\d+ +(\w+)\((.*)$/gm)].map(
    ([line, name = '', rest = '']) => ({ line, name, rest }),
  );
  const changes = calls
    .filter(({ name, rest }) => CHANGES.test(name) && !/ = -1 E/.test(rest))
    .filter(({ name, rest }) => !/^open/.test(name) || /O_WRONLY|O_RDWR|O_CREAT/.test(rest))
    .filter(({ rest }) => !/"\/dev\/null"/.test(rest));
  assert.ok(changes.some(({ name, rest }) => name.startsWith('rename') && rest.includes('ssh.prom')));
  // Paths lead through the open directory, as /proc/self/fd/N; strace adds what an open file really is.
  const isOwn = ({ name, rest }: { name: string; rest: string }) =>
    rest.includes(directory) || (!name.startsWith('open') && /"\/proc\/(?:self|\d+)\/fd\//.test(rest));
  assert.deepEqual(
    changes.filter((change) => !isOwn(change)),
    [],
  );
  assert.deepEqual(
    calls.filter(({ name }) => WAITS.test(name)),
    [],
  );
});
