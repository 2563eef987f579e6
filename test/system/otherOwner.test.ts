/** Neither Debian 13's Node.js nor QuickJS can take on another account's rights, so root does not write there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootGuest } from '../support/guest.ts';
import { HOSTS, installProgram } from '../support/machine.ts';
import { lackingGuests } from '../support/programs.ts';

test('root does not write into the directory of another account, which does so itself', {
  skip: lackingGuests(),
}, async () => {
  const guest = await bootGuest('trixie', { packages: HOSTS.trixie });
  try {
    await installProgram(guest);
    await guest.run('install -d -o nobody /srv/foreign');
    for (const command of [
      'ssh-sessions-exporter',
      'node /usr/lib/ssh-sessions-exporter/ssh-sessions-exporter.cjs',
    ]) {
      const run = `${command} --output /srv/foreign/x.prom`;
      const { status, stderr } = await guest.exec(run);
      assert.equal(status, 1);
      assert.match(
        stderr,
        /^error: cannot write into \/srv\/foreign: it belongs to another account.*sudo -u '#65534'/,
      );
      assert.equal(await guest.run('ls -A /srv/foreign'), '');

      await guest.run(`setpriv --reuid=nobody --regid=nogroup --clear-groups ${run}`);
      assert.equal(await guest.run("stat -c '%U %a' /srv/foreign/x.prom"), 'nobody 644\n');
      await guest.run('rm /srv/foreign/x.prom');
    }
  } finally {
    await guest.stop();
  }
});
