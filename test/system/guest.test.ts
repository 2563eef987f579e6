import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { bootGuest, type Guest, RELEASES } from '../support/guest.ts';
import { lackingGuests } from '../support/programs.ts';

for (const release of RELEASES) {
  describe(`a ${release} guest`, { skip: lackingGuests() }, () => {
    let guest: Guest;
    before(async () => {
      guest = await bootGuest(release);
    });
    after(() => guest.stop());

    it('boots that release without a failed unit', async () => {
      assert.match(await guest.run('cat /etc/os-release'), new RegExp(`VERSION_CODENAME=${release}`));
      assert.deepEqual(guest.failedUnits, []);
    });

    it('runs commands with input, environment and as a user', async () => {
      const { status, stdout, stderr } = await guest.exec('cat; echo "$NAME"; id -un; echo no >&2; exit 3', {
        input: 'yes\n',
        env: { NAME: 'value' },
        user: 'nobody',
      });
      assert.deepEqual(
        { status, stdout, stderr },
        { status: 3, stdout: 'yes\nvalue\nnobody\n', stderr: 'no\n' },
      );
      await assert.rejects(guest.run('exit 4'), /status 4/);
      await assert.rejects(guest.run('sleep 60', { timeoutMs: 200 }), /still running after 200 ms/);
    });

    it('keeps its files over a reboot', async () => {
      const booted = 'systemctl show -P UserspaceTimestampMonotonic';
      const before = await guest.run(booted);
      await guest.run('echo kept >/root/kept');
      await guest.reboot();
      assert.notEqual(await guest.run(booted), before);
      assert.equal(await guest.run('cat /root/kept'), 'kept\n');
    });

    it('leaves the cached image as it was', async () => {
      const other = await bootGuest(release);
      try {
        assert.equal(existsSync(other.path('/root/kept')), false);
      } finally {
        await other.stop();
      }
    });

    it('comes with packages, their services running', async () => {
      const other = await bootGuest(release, { packages: ['cron'] });
      try {
        assert.equal(await other.run('systemctl is-active cron'), 'active\n');
        assert.equal(existsSync(other.path('/usr/sbin/policy-rc.d')), false);
      } finally {
        await other.stop();
      }
    });

    it('reaches the archive from a network of its own', async () => {
      const [one, two] = await Promise.all([
        bootGuest(release, { network: 'internet' }),
        bootGuest(release, { network: 'internet' }),
      ]);
      try {
        await Promise.all([one, two].map((each) => each.run('ss -Hltn sport = 22 | grep -q .')));
        await one.run('apt-get update && apt-get install -y --no-install-recommends tini && tini --version');
      } finally {
        await Promise.all([one.stop(), two.stop()]);
      }
    });
  });
}
