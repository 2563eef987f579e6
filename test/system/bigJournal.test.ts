/** A journal of a gigabyte, two days long: the first run reads a day of it, and the next ones what is new. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { readExposition, soleValue } from '../support/exposition.ts';
import { bootGuest, type Guest, RELEASES } from '../support/guest.ts';
import { HOSTS, installProgram, runQuietly, SERVICE, STATE, TEXTFILE } from '../support/machine.ts';
import { until } from '../support/process.ts';
import { lackingGuests } from '../support/programs.ts';
import { guestSshServer } from '../support/ssh.ts';

const GIGABYTE = 1e9;
const DAY = 24 * 60 * 60;

const ENTRIES = 800_000;
/** Every so many entries there is a login, each of another user, and there is a refused connection. */
const LOGINS = 1000;
const REFUSALS = 20;

/** In seconds. No login is that old, give or take, so that none becomes a day old during the test. */
const GAP = DAY - 60 * 60;

/**
 * Prints the entries in the export format of journald, evenly over the two days before a moment in seconds of Unix time.
 * Most are as long as an entry can be without being compressed.
 */
const GENERATE = `
const [end, boot] = [Number(process.argv[2]), process.argv[3]];
const filler = 'x'.repeat(490);
const say = (number, age) => {
  const client = '192.0.2.7 port ' + (number % 65536);
  if (number % ${LOGINS} === 0 && (age < ${GAP} || age > ${DAY}))
    return ['sshd', 'Accepted password for u' + number + ' from ' + client + ' ssh2'];
  if (number % ${REFUSALS} === 0) return ['sshd', 'Connection closed by invalid user x ' + client + ' [preauth]'];
  return ['app', number + filler];
};
let text = '';
for (let number = 0; number < ${ENTRIES}; number++) {
  const age = Math.floor(${2 * DAY} * (1 - number / ${ENTRIES}));
  const [name, message] = say(number, age);
  text += '__REALTIME_TIMESTAMP=' + (end - age) * 1e6 +
    '\\n__MONOTONIC_TIMESTAMP=' + (${3 * DAY} - age) * 1e6 + '\\n_BOOT_ID=' + boot +
    '\\n_TRANSPORT=syslog\\nPRIORITY=6\\n_UID=0\\nSYSLOG_IDENTIFIER=' + name + '\\n_PID=' + (number % 30000) +
    '\\n_COMM=' + name + '\\n_SYSTEMD_UNIT=' + name + '.service\\n_HOSTNAME=debian\\n_CMDLINE=' +
    (name === 'app' ? number + filler : 'sshd') + '\\nMESSAGE=' + message + '\\n\\n';
  if (text.length > 1e6) {
    require('fs').writeSync(1, text);
    text = '';
  }
}
require('fs').writeSync(1, text);
`;

/** A journalctl that takes 0.3 ms for each line. */
const SLOW = `#!/bin/bash
set -o pipefail
/usr/bin/journalctl "$@" | perl -ne '$| = 1; print; select undef, undef, undef, 0.0003'
`;

/** Arguments: the moment. It starts another file whenever one is full. */
const FILL = `
set -e
boot=$(tr -d - </proc/sys/kernel/random/uuid)
cd /var/log/journal/$(cat /etc/machine-id)
node /opt/generate.js $1 $boot | /usr/lib/systemd/systemd-journal-remote --output=$PWD/past.journal - 2>/dev/null
`;

for (const release of RELEASES) {
  describe(`a journal of a gigabyte on ${release}`, { skip: lackingGuests() }, () => {
    let guest: Guest;
    /** In seconds of Unix time. */
    const end = Math.floor(Date.now() / 1000) - 60;
    before(async () => {
      guest = await bootGuest(release, { packages: [...HOSTS[release], 'systemd-journal-remote'] });
      await installProgram(guest);
      await guest.run('cat >/opt/generate.js', { input: GENERATE });
      await guest.run('cat >/opt/fill', { input: FILL });
      await guest.run(`sh /opt/fill ${end}`, { timeoutMs: 300_000 });
    });
    after(() => guest.stop());

    async function run() {
      const start = process.hrtime.bigint();
      await guest.run(`systemctl start ${SERVICE}`);
      const seconds = Number(process.hrtime.bigint() - start) / 1e9;
      return { seconds, ...read(await guest.run(`cat ${TEXTFILE}`)) };
    }

    function read(text: string) {
      const exposed = readExposition(text);
      const logins = exposed.samples.filter(({ name }) => name === 'ssh_last_login_timestamp_seconds');
      const times = new Map(logins.map(({ labels, value }) => [labels['user'] ?? '', value]));
      assert.equal(times.size, logins.length);
      return { success: soleValue(exposed, 'ssh_login_log_success'), times };
    }

    /** The logins of the last day, the oldest first. */
    const expected = [...Array(ENTRIES / LOGINS).keys()].flatMap((index) => {
      const number = index * LOGINS;
      const age = Math.floor(2 * DAY * (1 - number / ENTRIES));
      return age < GAP ? [[`u${number}`, end - age] as const] : [];
    });

    /** Runs until nothing is left to read. The oldest logins come first, and none is left out. */
    async function readAll(context: TestContext): Promise<number> {
      await guest.run(`rm -f ${STATE}`);
      const took: number[] = [];
      await until(
        'all is read',
        async () => {
          const { seconds, success, times } = await run();
          took.push(seconds);
          const due = success === 1 ? expected : expected.slice(0, times.size);
          assert.deepEqual([...times].sort(), [...due].sort());
          return success === 1;
        },
        300_000,
      );
      context.diagnostic(`${took.length} runs of ${took.map((seconds) => seconds.toFixed(2)).join(' ')} s`);
      return took.length;
    }

    it('is as large as that, in several files', async () => {
      const size = await guest.run('du --bytes --total /var/log/journal/*/*.journal');
      assert.ok(Number(/^(\d+)\ttotal$/m.exec(size)?.[1]) > GIGABYTE, size);
      assert.ok(size.split('\n').length > 5, size);
    });

    it('is read to its end', async (context) => {
      await readAll(context);
    });

    it('is read to its end in several runs where journalctl is slow', async (context) => {
      await guest.run(`mkdir -p /opt/slow && cat >/opt/slow/journalctl && chmod 755 /opt/slow/journalctl`, {
        input: SLOW,
      });
      await guest.run(
        `mkdir /run/systemd/system/${SERVICE}.d && cat >/run/systemd/system/${SERVICE}.d/slow.conf
        systemctl daemon-reload`,
        { input: '[Service]\nEnvironment=PATH=/opt/slow:/usr/bin:/bin ARGS="--timeout 1"\n' },
      );
      assert.ok((await readAll(context)) > 2);
      await guest.run(`rm -r /run/systemd/system/${SERVICE}.d && systemctl daemon-reload`);
    });

    it('is not read while nothing is logged', async () => {
      assert.deepEqual(read(await runQuietly(guest)).times, new Map(expected));
    });

    it('has the next login in the next run', async (context) => {
      const ssh = await guestSshServer(guest);
      await ssh.logIn();
      await guest.run('journalctl --sync');
      const { success, times, seconds } = await run();
      context.diagnostic(`a run of ${seconds.toFixed(2)} s`);
      assert.equal(success, 1);
      assert.ok(times.has('root'));
    });
  });
}
