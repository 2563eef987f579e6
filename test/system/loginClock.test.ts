/** Logins while the clock is set: it jumps for journald and for the service, as nobody can set it in a container. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { readExposition, soleValue } from '../support/exposition.ts';
import { findFaketime } from '../support/faketime.ts';
import { bootGuest, type Guest, RELEASES } from '../support/guest.ts';
import { HOSTS, installProgram, SERVICE, TEXTFILE } from '../support/machine.ts';
import { lacking, lackingGuests } from '../support/programs.ts';
import { guestSshServer, type SshServer } from '../support/ssh.ts';

const CLOCK = '/opt/clock';

/** libfaketime reads the offset again whenever the clock is read. The time since the boot and those of files are true. */
const SET_UP = `
set -e
echo +0 >${CLOCK}
for unit in systemd-journald.service ${SERVICE}; do
  mkdir -p /run/systemd/system/$unit.d
  cat >/run/systemd/system/$unit.d/clock.conf <<END
[Service]
Environment=LD_PRELOAD=/opt/libfaketime.so.1 FAKETIME_TIMESTAMP_FILE=${CLOCK} FAKETIME_NO_CACHE=1
Environment=FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 FAKETIME_DISABLE_SHM=1
END
done
systemctl daemon-reload
systemctl restart systemd-journald
`;

/** One after the other, in hours. */
const JOURNEYS = [
  ['two hours ahead and back', [2, 0]],
  ['26 hours back and ahead again, as on a machine without a battery', [-26, 0]],
  ['back from ahead, and over more than a day', [2, -26, -25, 3, 0]],
] as const;

/** In milliseconds of true Unix time. */
interface Period {
  readonly start: number;
  readonly end: number;
}

for (const release of RELEASES) {
  describe(`the logins to a ${release} guest whose clock is set`, {
    skip: lackingGuests() || lacking('/usr/bin/faketime'),
  }, () => {
    let guest: Guest;
    let ssh: SshServer;
    /** The newest login from each client. */
    const logins = new Map<string, Period>();
    let refused = 0;
    before(async () => {
      guest = await bootGuest(release, { packages: HOSTS[release] });
      await installProgram(guest);
      guest.copyIn(findFaketime(), '/opt/libfaketime.so.1');
      await guest.run(SET_UP);
      ssh = await guestSshServer(guest);
    });
    after(() => guest.stop());

    /** A new client logs in, one that did so before, and one that may not. */
    async function logIn(): Promise<void> {
      for (const from of [`127.2.0.${logins.size}`, '127.1.1.1']) {
        const start = Date.now();
        await ssh.logIn({ from });
        logins.set(from, { start, end: Date.now() });
      }
      await assert.rejects(ssh.logIn({ user: 'nobody-here' }));
      refused += 1;
    }

    async function setClock(hours: number): Promise<void> {
      await guest.run(`echo ${hours < 0 ? '' : '+'}${hours}h >${CLOCK}`);
      const { now } = await run();
      assert.ok(Math.abs(now - Date.now() - hours * 3_600_000) < 60_000, `${new Date(now)}`);
    }

    async function run() {
      await guest.run(`journalctl --sync; systemctl start ${SERVICE}`);
      const exposed = readExposition(await guest.run(`cat ${TEXTFILE}`));
      return {
        now: soleValue(exposed, 'ssh_sessions_exporter_last_run_timestamp_seconds') * 1000,
        success: soleValue(exposed, 'ssh_login_log_success'),
        failures: soleValue(exposed, 'ssh_login_failures_total'),
        logins: exposed.samples.filter(({ name }) => name === 'ssh_last_login_timestamp_seconds'),
      };
    }

    /** Each login must be exported once, with its true age. */
    async function check(): Promise<void> {
      const start = Date.now();
      const result = await run();
      const end = Date.now();
      assert.deepEqual([result.success, result.failures], [1, refused]);
      const ages = new Map(
        result.logins.map(({ labels, value }) => [labels['from'], result.now - value * 1000]),
      );
      assert.equal(ages.size, result.logins.length);
      assert.deepEqual([...ages.keys()].sort(), [...logins.keys()].sort());
      for (const [from, login] of logins) {
        const age = ages.get(from) ?? Number.NaN;
        const [least, most] = [start - login.end - 1000, end - login.start + 1000];
        assert.ok(age >= least && age <= most, `${from}: ${age} ms old, not ${least} to ${most}`);
      }
    }

    for (const [what, steps] of JOURNEYS) {
      it(`are exported once each, with their true ages: ${what}`, async () => {
        for (const hours of steps) {
          await logIn();
          await check();
          // The next is not read before the clock is set.
          await logIn();
          await setClock(hours);
          await check();
          await logIn();
          await check();
        }
      });
    }

    it('cause no warning', async () => {
      const log = `journalctl --quiet --output=cat --priority=warning --unit=${SERVICE}`;
      assert.equal(await guest.run(log), '');
    });
  });
}
