/** The command of the package on Debian 13, which starts one of two hosts. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { bootGuest, type Guest } from '../support/guest.ts';
import { HOSTS, installProgram } from '../support/machine.ts';
import { lackingGuests } from '../support/programs.ts';

describe('the command of the package', { skip: lackingGuests() }, () => {
  let guest: Guest;
  before(async () => {
    guest = await bootGuest('trixie', { packages: HOSTS.trixie });
    await installProgram(guest);
  });
  after(() => guest.stop());

  for (const [command, host] of [
    ['ssh-sessions-exporter', /QuickJS/],
    ['node /usr/lib/ssh-sessions-exporter/ssh-sessions-exporter.cjs', /Node\.js 20/],
  ] as const) {
    // Neither can take on another account's rights.
    it(`does not write as root into the directory of another account: ${host.source}`, async () => {
      await guest.run('rm -rf /srv/foreign && install -d -o nobody /srv/foreign');
      const run = `${command} --log-level debug --output /srv/foreign/x.prom`;
      const { status, stderr } = await guest.exec(run);
      assert.equal(status, 1);
      assert.match(stderr, host);
      assert.match(
        stderr,
        /^error: cannot write into \/srv\/foreign: it belongs to another account.*sudo -u '#65534'/m,
      );
      assert.equal(await guest.run('ls -A /srv/foreign'), '');

      await guest.run(`setpriv --reuid=nobody --regid=nogroup --clear-groups ${run}`);
      assert.equal(await guest.run("stat -c '%U %a' /srv/foreign/x.prom"), 'nobody 644\n');
    });
  }

  it('refuses quickjs-ng, starts Node.js without QuickJS, and fails without either', async () => {
    const run = (option: string) => guest.exec(`ssh-sessions-exporter ${option}`);
    await guest.run('mv /usr/bin/qjs /usr/bin/qjs.real');
    const otherQuickJs = [
      '#!/bin/sh',
      'echo \'globalThis.navigator = { userAgent: "quickjs-ng/0.10.0" }\' >/tmp/ng.js',
      'exec /usr/bin/qjs.real -I /tmp/ng.js "$@"',
    ];
    await guest.run('cat >/usr/bin/qjs && chmod 755 /usr/bin/qjs', { input: `${otherQuickJs.join('\n')}\n` });
    const refused = await run('--version');
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /^error: qjs is quickjs-ng, [^\n]*install [^\n]*quickjs[^\n]*\n$/);

    await guest.run('rm /usr/bin/qjs');
    const onNode = await run('--log-level debug --output -');
    assert.equal(onNode.status, 0);
    assert.match(onNode.stderr, /Node\.js 20/);

    await guest.run('mv /usr/bin/node /usr/bin/node.real');
    const neither = await run('--version');
    assert.deepEqual(neither, {
      status: 1,
      stdout: '',
      stderr: 'error: neither /usr/bin/qjs nor /usr/bin/node exists; install quickjs or nodejs\n',
    });
  });
});
