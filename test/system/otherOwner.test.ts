/** Debian 13's Node.js cannot take on another account's rights, so that root does not write into its directory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootGuest } from '../support/guest.ts';
import { lackingGuests } from '../support/programs.ts';

test('root does not write into the directory of another account, which does so itself', {
  skip: lackingGuests(),
}, async () => {
  const guest = await bootGuest('trixie', { packages: ['nodejs'] });
  try {
    for (const part of ['bin', 'dist']) guest.copyIn(part, `/opt/exporter/${part}`);
    await guest.run('install -d -o nobody /srv/foreign');
    const run = 'node /opt/exporter/bin/ssh-sessions-exporter.js --output /srv/foreign/x.prom';
    const { status, stderr } = await guest.exec(run);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^error: cannot write into \/srv\/foreign: it belongs to another account.*sudo -u '#65534'/,
    );
    assert.equal(await guest.run('ls -A /srv/foreign'), '');

    await guest.run(`setpriv --reuid=nobody --regid=nogroup --clear-groups ${run}`);
    assert.equal(await guest.run("stat -c '%U %a' /srv/foreign/x.prom"), 'nobody 644\n');
  } finally {
    await guest.stop();
  }
});
