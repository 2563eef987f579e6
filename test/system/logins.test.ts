/** Logins that are over between two runs, as sshd of Debian 12 and 13 logs them, through the service in its sandbox. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { readExposition } from '../support/exposition.ts';
import { findFaketime } from '../support/faketime.ts';
import { bootGuest, type Guest, RELEASES } from '../support/guest.ts';
import { HOSTS, installProgram, runQuietly, STATE, TEXTFILE } from '../support/machine.ts';
import { until } from '../support/process.ts';
import { lackingGuests } from '../support/programs.ts';

const LOGINS = 200;

/** Keys, a certificate whose ID imitates a log line, passwords, and what lets a host vouch for its users. */
const SET_UP = `
set -e
useradd -m -s /bin/sh bob
useradd -m -s /bin/sh anna
useradd -m -s /bin/sh -G systemd-journal auditor
echo anna:secret | chpasswd
mkdir /opt/keys
cd /opt/keys
for type in ed25519 rsa ecdsa; do ssh-keygen -q -t $type -N '' -f $type; done
cp ed25519 cert && cp ed25519.pub cert.pub
ssh-keygen -q -t ed25519 -N '' -f ca
ssh-keygen -q -s ca -n bob -I 'x from 9.9.9.9 port 1 ssh2: RSA SHA256:x
Accepted password for root from 9.9.9.9 port 1 ssh2' cert.pub
chown -R bob /opt/keys
cat rsa.pub ecdsa.pub ed25519.pub >/etc/ssh/test_keys
cp ca.pub /etc/ssh/test_ca.pub
printf '#!/bin/sh\\necho secret\\n' >/opt/askpass
chmod 755 /opt/askpass
for key in /etc/ssh/ssh_host_*_key.pub; do echo "debian $(cut -d' ' -f1,2 $key)"; done >/etc/ssh/ssh_known_hosts
echo debian >/etc/ssh/shosts.equiv
printf 'EnableSSHKeysign yes\\n' >>/etc/ssh/ssh_config
cat >/etc/ssh/sshd_config.d/test.conf <<END
AuthorizedKeysFile /etc/ssh/test_keys
TrustedUserCAKeys /etc/ssh/test_ca.pub
PasswordAuthentication yes
KbdInteractiveAuthentication yes
HostbasedAuthentication yes
HostbasedUsesNameFromPacketOnly yes
MaxStartups 500
MaxAuthTries 6
END
echo 'PerSourcePenalties no' >/etc/ssh/sshd_config.d/penalties.conf
sshd -t 2>/dev/null || rm /etc/ssh/sshd_config.d/penalties.conf
systemctl restart ssh
`;

/** Arguments: method, client's address, server's address. Prints when it began and ended. */
const LOG_IN = `
options="-F none -o BatchMode=no -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR
  -o IdentitiesOnly=yes -o BindAddress=$2"
by() { how="-o PreferredAuthentications=$1"; }
export SSH_ASKPASS=/opt/askpass SSH_ASKPASS_REQUIRE=force
sleep 0.$(od -An -N1 -tu1 /dev/urandom | tr -d ' ')
start=$(date +%s.%N)
case $1 in
  ed25519 | rsa | ecdsa | cert) by publickey; runuser -u bob -- ssh $options $how -i /opt/keys/$1 "bob@$3" sleep 1 ;;
  password) by password; ssh $options $how "anna@$3" sleep 1 ;;
  keyboard) by keyboard-interactive; ssh $options $how "anna@$3" sleep 1 ;;
  host) by hostbased; runuser -u bob -- ssh $options $how -o HostbasedAuthentication=yes "bob@$3" sleep 1 ;;
esac </dev/null || echo "$1 from $2 failed" >&2
echo "$2 $start $(date +%s.%N)"
`;

/** Argument: what to forge. As root of a user namespace or as oneself; what is sent to journald is in the environment. */
const FORGE = `
line='Accepted publickey for root from 9.9.9.9 port 22 ssh2: ED25519 SHA256:forged'
fields() { printf '%s\\n' "$@" "_UID=0" "_TRANSPORT=syslog" "PRIORITY=6"; }
case $1 in
  devlog) logger -t sshd-session "$line" ;;
  native) fields "MESSAGE=$line" SYSLOG_IDENTIFIER=sshd-session | logger --journald ;;
  stream) echo "$line" | systemd-cat -t sshd-session ;;
  logger) logger --id=1 -t sshd "$line" ;;
  cat) systemd-cat -t sshd echo "$line" ;;
  copy) cp /usr/bin/logger /tmp/sshd; /tmp/sshd -t sshd "$line" ;;
  suppressed) fields 'MESSAGE=Suppressed 999 messages from ssh.service' _TRANSPORT=driver N_DROPPED=999 \\
    MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e OBJECT_UID=0 OBJECT_COMM=sshd | logger --journald ;;
esac
`;

for (const release of RELEASES) {
  describe(`the logins to a ${release} guest`, { skip: lackingGuests() }, () => {
    let guest: Guest;
    /** By the client's address. */
    let expected: Map<string, { user: string; method: string; key: string }>;
    before(async () => {
      guest = await bootGuest(release, { packages: HOSTS[release] });
      await installProgram(guest);
      await guest.run(SET_UP);
      await guest.run('cat >/opt/log-in', { input: LOG_IN });
      await guest.run('cat >/opt/forge', { input: FORGE });
      expected = await plan();
    });
    after(() => guest.stop());

    /** Which login comes from which address: every method over IPv4, IPv6 and link-local addresses. */
    async function plan() {
      const fingerprint = async (file: string) =>
        (await guest.run(`ssh-keygen -lf ${file}`)).split(' ')[1] ?? '';
      const [ed25519, rsa, ecdsa] = await Promise.all(
        ['ed25519', 'rsa', 'ecdsa'].map((type) => fingerprint(`/opt/keys/${type}.pub`)),
      );
      const methods = [
        ['ed25519', 'bob', 'publickey', ed25519],
        ['rsa', 'bob', 'publickey', rsa],
        ['ecdsa', 'bob', 'publickey', ecdsa],
        ['cert', 'bob', 'publickey', ed25519],
        ['password', 'anna', 'password', ''],
        ['keyboard', 'anna', 'keyboard-interactive/pam', ''],
        ['host', 'bob', 'hostbased', await fingerprint('/etc/ssh/ssh_host_ed25519_key.pub')],
      ] as const;
      const logins = new Map<string, { user: string; method: string; key: string }>();
      const lines: string[] = [];
      for (let number = 1; number <= LOGINS; number++) {
        const hex = number.toString(16);
        const [client, server] = [
          [`127.1.0.${number}`, '127.0.0.1'],
          [`fd00::1:${hex}`, '::1'],
          [`fe80::1:${hex}%lo`, 'fe80::1%lo'],
        ][number % 3] ?? ['', ''];
        const [what, user, method, key = ''] = methods[number % methods.length] ?? methods[0];
        logins.set(client ?? '', { user, method, key });
        lines.push(`${what} ${client} ${server}`);
      }
      await guest.run('cat >/opt/plan', { input: `${lines.join('\n')}\n` });
      return logins;
    }

    async function addAddresses(): Promise<void> {
      const script = `ip address replace fe80::1/64 dev lo nodad
        for n in $(seq ${LOGINS}); do
          hex=$(printf %x $n)
          echo "address replace fd00::1:$hex/128 dev lo nodad"
          echo "address replace fe80::1:$hex/64 dev lo nodad"
        done | ip -batch -`;
      await guest.run(script);
    }

    async function run() {
      await guest.run('systemctl start ssh-sessions-exporter');
      return read(await guest.run(`cat ${TEXTFILE}`));
    }

    function read(text: string) {
      const exposed = readExposition(text);
      const value = (name: string, reason?: string) =>
        exposed.samples.find(
          (sample) => sample.name === name && (reason === undefined || sample.labels['reason'] === reason),
        )?.value;
      return {
        logins: exposed.samples.filter(({ name }) => name === 'ssh_last_login_timestamp_seconds'),
        success: value('ssh_login_log_success'),
        failures: value('ssh_login_failures_total') ?? Number.NaN,
        suppressed: value('ssh_login_log_lost_total', 'suppressed') ?? Number.NaN,
      };
    }

    it(`are exported, all ${LOGINS} of one second by every method, none twice and none made up`, async () => {
      await addAddresses();
      const [output] = await Promise.all([
        guest.run('xargs -P 8 -L 1 sh /opt/log-in </opt/plan; touch /opt/done', { timeoutMs: 600_000 }),
        guest.run('until [ -e /opt/done ]; do systemctl start ssh-sessions-exporter; sleep 0.3; done', {
          timeoutMs: 600_000,
        }),
      ]);
      const { logins, success, failures, suppressed } = await run();
      assert.deepEqual({ success, failures, suppressed }, { success: 1, failures: 0, suppressed: 0 });
      const told = logins.map(({ labels: { from = '', ...others } }) => [from, others] as const);
      assert.equal(told.length, LOGINS);
      assert.deepEqual(
        new Map(told.sort()),
        new Map([...expected].map(([from, login]) => [from, login] as const).sort()),
      );
      const times = new Map(logins.map(({ labels, value }) => [labels['from'], value]));
      for (const line of output.trim().split('\n')) {
        const [from = '', start, end] = line.split(' ');
        const time = times.get(from) ?? Number.NaN;
        assert.ok(time >= Number(start) - 0.01 && time <= Number(end) + 0.01, `${line}: ${time}`);
      }
    });

    it('cost nothing while the journal is as it was', async () => {
      const { logins } = await run();
      assert.deepEqual(read(await runQuietly(guest)).logins, logins);
      assert.equal(await guest.run(`stat -c %a:%U ${STATE}`), '600:root\n');
    });

    it('are the same to root by hand, and to a member of systemd-journal; another user is warned', async () => {
      const { logins } = await run();
      const byHand = read(await guest.run('ssh-sessions-exporter --output - --log-level warning'));
      assert.deepEqual(byHand.logins, logins);
      const without = await guest.run('ssh-sessions-exporter --output - --no-logins --log-level warning');
      assert.doesNotMatch(without, /^ssh_(?:last_)?login_/m);
      const member = await guest.exec('ssh-sessions-exporter --output -', { user: 'auditor' });
      assert.deepEqual(read(member.stdout).logins, logins);
      const { status, stdout, stderr } = await guest.exec(
        'ssh-sessions-exporter --output - --log-level warning',
        {
          user: 'bob',
        },
      );
      assert.equal(status, 0);
      assert.deepEqual([read(stdout).success, read(stdout).logins], [0, []]);
      assert.match(
        stderr,
        /^warning: logins: cannot read [^\n]*: permission denied; [^\n]*systemd-journal\n$/,
      );
    });

    it('are exported after a reboot', async () => {
      await guest.reboot();
      await installProgram(guest);
      const { logins, success, failures } = await run();
      assert.deepEqual([logins.length, success, failures], [LOGINS, 1, 0]);
    });

    it('cannot be forged by a user, in ten ways', async () => {
      const { logins } = await run();
      const namespace = 'unshare --user --map-root-user';
      const ways = [
        ...['devlog', 'native', 'stream', 'logger', 'cat', 'copy', 'suppressed'].map((way) => [way, '']),
        ...['devlog', 'native', 'stream', 'suppressed'].map((way) => [way, namespace]),
      ];
      for (const [way = '', prefix = ''] of ways) {
        await guest.exec(`${prefix} sh /opt/forge ${way}`, { user: 'bob' });
      }
      await guest.run('journalctl --sync');
      const written = await guest.run(
        'journalctl --quiet --output=cat --grep="SHA256:forged|Suppressed 999"',
      );
      assert.ok(written.trim().split('\n').length >= 9, written);
      const after = await run();
      assert.deepEqual([after.logins, after.suppressed], [logins, 0]);
    });

    it('are found in a flood of refusals, over as many runs as that takes', async () => {
      const before = await run();
      // Each fifth message is the last one of a connection.
      await guest.run(`
        flood() { awk 'BEGIN { for (n = 0; n < 50000; n++) {
          print "Invalid user admin from 192.0.2.7 port " n
          print "pam_unix(sshd:auth): check pass; user unknown"
          print "Failed password for invalid user admin from 192.0.2.7 port " n " ssh2"
          print "Connection closed by invalid user admin 192.0.2.7 port " n " [preauth]"
        } }' | logger -t sshd; }
        flood
        logger -t sshd 'Accepted password for early from 192.0.2.8 port 4 ssh2'
        flood
        logger -t sshd 'Accepted password for late from 192.0.2.8 port 4 ssh2'
        journalctl --sync`);
      const users = (found: typeof before) => found.logins.map(({ labels }) => labels['user']);
      const counts: number[] = [];
      const cut = 'ARGS=--timeout 1';
      await guest.run('mkdir -p /etc/default && echo "$LINE" >/etc/default/ssh-sessions-exporter', {
        env: { LINE: cut },
      });
      const result = await until(
        'all is read',
        async () => {
          const found = await run();
          counts.push(found.failures);
          return found.success === 1 && found;
        },
        300_000,
      );
      await guest.run('rm /etc/default/ssh-sessions-exporter');
      assert.deepEqual(
        [...counts].sort((a, b) => a - b),
        counts,
      );
      assert.equal(result.failures - before.failures, 100_000);
      assert.ok(users(result).includes('early') && users(result).includes('late'));
      assert.equal(result.logins.length, before.logins.length + 2);
    });

    it('are exported after a vacuum of all that was read', async () => {
      const users = async () => (await run()).logins.map(({ labels }) => labels['user']);
      await guest.run(
        `logger -t sshd 'Accepted password for before from 192.0.2.8 port 4 ssh2'; journalctl --sync`,
      );
      await run();
      await guest.run(`journalctl --sync; journalctl --rotate; journalctl --vacuum-files=1; journalctl --rotate
        journalctl --vacuum-files=1; logger -t other x
        logger -t sshd 'Accepted password for next from 192.0.2.8 port 4 ssh2'
        logger -t sshd 'Accepted password for last from 192.0.2.8 port 4 ssh2'; journalctl --sync`);
      const told = await users();
      assert.ok(told.includes('next') && told.includes('last') && told.includes('before'), `${told}`);
    });

    it('are read again, and no more, with a damaged or foreign state', async () => {
      const before = await run();
      for (const spoil of [
        `rm ${STATE}`,
        `head -c 100 ${STATE} >/tmp/s && cat /tmp/s >${STATE}`,
        `sed -i 's/\\ts=[0-9a-f]*/\\ts=rubbish/' ${STATE}`,
        // Another machine's cursor.
        `sed -i 's/\\ts=[0-9a-f]*;i=[0-9a-f]*;b=[0-9a-f]*/\\ts=${'1'.repeat(32)};i=1;b=${'2'.repeat(32)}/' ${STATE}`,
      ]) {
        await guest.run(spoil);
        await guest.run(
          `logger -t sshd 'Accepted password for again from 192.0.2.8 port 4 ssh2'; journalctl --sync`,
        );
        const { logins, success } = await run();
        assert.equal(success, 1, spoil);
        const users = logins.map(({ labels }) => labels['user']);
        for (const user of ['again']) assert.ok(users.includes(user), `${user} after ${spoil}`);
        assert.ok(users.length <= before.logins.length + 1);
      }
    });

    it('are exported when journald has set a damaged file aside', async () => {
      const overwrite = (file: string, size: number, seek: number, count: number) =>
        `dd if=/dev/urandom of=$(ls ${file} | tail -n 1) bs=${size} seek=${seek} count=${count} conv=notrunc status=none`;
      const active = '/var/log/journal/*/system.journal';
      const archived = '/var/log/journal/*/system@*';
      const damages = [
        overwrite(active, 256, 0, 1),
        overwrite(active, 4096, 1, 300),
        `truncate -s 100000 $(ls ${active})`,
        overwrite(archived, 4096, 10, 50),
        `truncate -s 100000 $(ls ${archived} | tail -n 1)`,
      ];
      for (const [index, damage] of damages.entries()) {
        for (const state of ['kept', 'lost']) {
          const user = `damage-${index}-${state}`;
          await guest.run(`journalctl --rotate; ${damage}`);
          // What is logged now can be lost, but must not make the run fail.
          await guest.run(`logger -t sshd 'Accepted password for lost from 192.0.2.8 port 4 ssh2'`);
          await run();
          await guest.run(`systemctl reset-failed systemd-journald; systemctl restart systemd-journald
            journalctl --rotate; ${state === 'lost' ? `rm -f ${STATE}` : ''}
            logger -t sshd 'Accepted password for ${user} from 192.0.2.8 port 4 ssh2'; journalctl --sync`);
          const { logins, success } = await run();
          assert.equal(success, 1, damage);
          const isTold = logins.some(({ labels }) => labels['user'] === user);
          assert.ok(isTold, `${user} after ${damage}`);
        }
      }
    });

    it('are exported by the run after them, or after the next quarter of a second', async () => {
      // journald changes the time of its file up to 250 ms after it has written to it.
      const script = `for n in $(seq 40); do
          logger -t sshd "Accepted password for gate$n from 192.0.2.8 port 4 ssh2"
          sleep 0.$((n % 3))$((n % 7)); ssh-sessions-exporter -o /tmp/gate.prom
          sleep 0.3; ssh-sessions-exporter -o /tmp/gate.prom
          grep -q "user=\\"gate$n\\"" /tmp/gate.prom || echo "gate$n is missing"
        done`;
      assert.equal(await guest.run(script, { env: { LOG_LEVEL: 'warning' }, timeoutMs: 300_000 }), '');
    });

    for (const [what, script, warning] of [
      ['hangs', 'sleep 60 & wait', /exceeded the time limit/],
      ['prints for ever', 'yes \'{"__CURSOR":"x"}\'', /(?:more log messages|exceeded)/],
      ['prints for ever without a newline', 'tr "\\0" x </dev/zero', /(?:more log messages|exceeded)/],
      ['fails', 'echo "Bad message" >&2; exit 1', /journalctl failed \(1\): Bad message; /],
      ['is killed', 'kill -SEGV $$', /journalctl failed \(SIGSEGV\)/],
      ['is missing', '', /journalctl not found/],
    ] as const) {
      it(`are left out while journalctl ${what}, and exported by the next run`, async () => {
        const programs =
          'for name in w date sh node setsid chmod sleep yes tr env; do ln -s "$(command -v $name)" .; done';
        await guest.run(
          `rm -rf /opt/path && mkdir /opt/path && cd /opt/path && (${programs} 2>/dev/null; true)`,
        );
        if (script !== '') {
          await guest.run('cat >/opt/path/journalctl && chmod 755 /opt/path/journalctl', {
            input: `#!/bin/sh\n${script}\n`,
          });
        }
        const before = await run();
        const user = `during-${what.replaceAll(' ', '-')}`;
        await guest.run(
          `logger -t sshd 'Accepted password for ${user} from 192.0.2.8 port 4 ssh2'; journalctl --sync`,
        );
        const { status, stdout, stderr } = await guest.exec(
          'PATH=/opt/path /usr/bin/ssh-sessions-exporter --output - --log-level warning --timeout 1',
        );
        assert.equal(status, 0, stderr);
        assert.match(stderr, new RegExp(`^warning: logins: [^\\n]*${warning.source}[^\\n]*\\n$`));
        assert.match(stdout, /^ssh_sessions_total 0$/m);
        assert.deepEqual([read(stdout).success, read(stdout).logins], [0, before.logins]);
        const after = await run();
        assert.equal(after.success, 1);
        assert.ok(after.logins.some(({ labels }) => labels['user'] === user));
        assert.equal((await guest.exec('pgrep -x "sleep|yes|tr"')).stdout, '');
      });
    }

    it('have the time by the clock that is set when they are read', async () => {
      guest.copyIn(findFaketime(), '/opt/libfaketime.so.1');
      for (const step of ['+72h', '-72h', '-10m']) {
        await run();
        const user = `at${step}`;
        await guest.run(
          `logger -t sshd 'Accepted password for ${user} from 192.0.2.8 port 4 ssh2'; journalctl --sync`,
        );
        const faked = `LD_PRELOAD=/opt/libfaketime.so.1 FAKETIME=${step}`;
        const { stdout } = await guest.exec(`${faked} ssh-sessions-exporter --output -`);
        const [login] = read(stdout).logins.filter(({ labels }) => labels['user'] === user);
        const [now] = readExposition(stdout).samples.filter(({ name }) =>
          name.endsWith('last_run_timestamp_seconds'),
        );
        const age = (now?.value ?? Number.NaN) - (login?.value ?? Number.NaN);
        assert.ok(age > -1 && age < 60, `${age} s old after a step of ${step}`);
      }
    });

    it('that sshd does not log show by their connections', async () => {
      await guest.run(`echo 'LogLevel ERROR' >>/etc/ssh/sshd_config.d/test.conf; systemctl restart ssh`);
      assert.equal((await run()).success, 1);
      const ssh = 'ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o IdentitiesOnly=yes';
      await guest.run(
        `systemd-run --quiet --unit=test-blind runuser -u bob -- ${ssh} -i /opt/keys/rsa bob@127.0.0.1 sleep 60`,
      );
      await until('the log is blind', async () => (await run()).success === 0, 60_000);
      const { stderr } = await guest.exec('ssh-sessions-exporter --output - --log-level warning');
      assert.match(stderr, /^warning: logins: the log lacks the login of a live connection [^\n]*\n$/);
      await guest.run(`sed -i '/^LogLevel/d' /etc/ssh/sshd_config.d/test.conf
        systemctl stop test-blind; systemctl restart ssh`);
      await until('the connection is gone', async () => (await run()).success === 1);
    });

    it('that journald drops are counted', async () => {
      const before = await run();
      const refuse =
        'ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no nosuch@127.0.0.1 true 2>/dev/null';
      // journald says how many it dropped with the first message after the interval.
      await guest.run(`mkdir -p /etc/systemd/journald.conf.d
        printf '[Journal]\\nRateLimitIntervalSec=5s\\nRateLimitBurst=2\\n' >/etc/systemd/journald.conf.d/rate.conf
        systemctl restart systemd-journald
        seq 100 | xargs -P 10 -I N ${refuse}
        sleep 6; ${refuse}
        rm /etc/systemd/journald.conf.d/rate.conf; systemctl restart systemd-journald; journalctl --sync`);
      const match = 'MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e OBJECT_SYSTEMD_UNIT=ssh.service';
      const lines = await guest.run(
        `journalctl --quiet --boot --output=cat --output-fields=N_DROPPED ${match}`,
      );
      const dropped = lines.trim().split('\n').map(Number);
      const total = dropped.reduce((sum, number) => sum + number, 0);
      assert.ok(total > 0);
      assert.equal((await run()).suppressed - before.suppressed, total);
    });

    it('are exported from a volatile journal, and not read without a journal', async () => {
      await guest.run(`rm -r /var/log/journal; systemctl restart systemd-journald; rm ${STATE}; sleep 1
        logger -t sshd 'Accepted password for volatile from 192.0.2.8 port 4 ssh2'; journalctl --sync`);
      const { logins, success } = await run();
      assert.deepEqual([success, logins.map(({ labels }) => labels['user'])], [1, ['volatile']]);
      await guest.run(`mkdir -p /etc/systemd/journald.conf.d
        printf '[Journal]\\nStorage=none\\n' >/etc/systemd/journald.conf.d/none.conf
        systemctl restart systemd-journald; rm -r /run/log/journal`);
      assert.equal((await run()).success, 0);
      const { stderr } = await guest.exec('ssh-sessions-exporter --output - --log-level warning');
      assert.match(stderr, /^warning: logins: journald stores nothing; [^\n]*\n$/);
    });
  });
}
