/** If /proc hides the processes of others, w lists nobody without a complaint. The exporter must not export 0 then. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { copyProgram, publicDirectory } from '../support/exporter.ts';
import { readExposition, soleValue } from '../support/exposition.ts';
import { capture } from '../support/process.ts';
import { lackingRoot } from '../support/programs.ts';
import { NOBODY } from '../support/root.ts';

describe('a run by an account without rights', { skip: lackingRoot() }, () => {
  const program = copyProgram(publicDirectory());
  /** A mount and process namespace of its own; process 1 of it belongs to root. */
  const script = `
    mount -t proc -o "$1" proc /proc
    shift
    setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups -- "$@"`;

  async function run(options: string, argument: string) {
    const unshare = ['unshare', '--mount', '--pid', '--fork', '--kill-child=KILL'];
    const command = ['sh', '-c', script, 'sh', options, ...program, '-o', '-', argument];
    const { status, stdout, stderr } = await capture([...unshare, ...command]);
    return { status, stderr, exposed: readExposition(stdout) };
  }

  for (const options of ['hidepid=1', 'hidepid=2', 'hidepid=4', 'hidepid=2,subset=pid']) {
    for (const argument of ['--no-connections', '--all']) {
      test(`with ${argument} fails if /proc has ${options}`, async () => {
        const { status, stderr, exposed } = await run(options, argument);
        assert.equal(status, 1);
        assert.match(stderr, /^error: \/proc hides other users' processes.*hidepid=.*\n$/m);
        assert.equal(soleValue(exposed, 'ssh_sessions_exporter_success'), 0);
        const others = exposed.samples.filter(({ name }) => !name.startsWith('ssh_sessions_exporter_'));
        assert.deepEqual(others, []);
      });
    }
  }

  test('succeeds if /proc hides nothing', async () => {
    const { status, exposed } = await run('hidepid=0', '--all');
    assert.equal(status, 0);
    assert.equal(soleValue(exposed, 'ssh_sessions_exporter_success'), 1);
  });
});
