/** Nobody who is connected is missing from the sessions, and nobody else is one. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { CAUSES, type Cause, changeRows, DIGITS } from '../support/causes.ts';
import { ROOT, scratch } from '../support/exporter.ts';
import { type Exposition, labelsOf, readExposition, soleValue } from '../support/exposition.ts';
import { bootGuest, type Guest, RELEASES, type Release } from '../support/guest.ts';
import { HOSTS, installProgram, PROMPTLY_MS, TEXTFILE } from '../support/machine.ts';
import { until } from '../support/process.ts';
import { lackingGuests } from '../support/programs.ts';
import { startPrometheus } from '../support/prometheus.ts';
import { addUser, guestSshServer, type SshServer } from '../support/ssh.ts';

/** xrdp, cockpit and telnetd with their clients; utempter comes with mosh. */
const SERVICES = [
  ...['xrdp', 'xorgxrdp', 'xvfb', 'xauth', 'cockpit-ws', 'cockpit-bridge', 'curl'],
  ...['inetutils-telnetd', 'inetutils-telnet', 'openbsd-inetd', 'mosh', 'libutempter0'],
];
const RDP_CLIENT: Readonly<Record<Release, string>> = { bookworm: 'freerdp2-x11', trixie: 'freerdp3-x11' };

/** A client that is in none of the networks that the alerts expect. */
const FROM = '203.0.113.77';
const PASSWORD = 'secret';

/** Per user: a terminal, two on one connection, a command, sftp, forwarding. */
const KINDS = { terminal: 2, notty: 2, forward: 1 };
const SESSIONS_PER_USER = 6;

/** A terminal program that adds itself to utmp under that host, as guake does. The ioctls unlock and number it. */
const TERMINAL_WITH_ROW = `
  use POSIX ();
  open(my $master, "+<", "/dev/ptmx") or die;
  my $number = pack("i", 0);
  ioctl($master, 0x40045431, $number) && ioctl($master, 0x80045430, $number) or die;
  if (!fork) {
    POSIX::setsid();
    open(STDIN, "+<", "/dev/pts/" . unpack("i", $number)) or die;
    exec "sleep", "600";
  }
  open(STDIN, "+<&", $master) or die;
  system(glob("/usr/lib/*/utempter/utempter"), "add", $ARGV[0]);
  sleep 600;
`;

/** What a run exported while root and another account were hidden from w, by what hid them. */
const hidden = new Map<string, string>();

for (const release of RELEASES) {
  describe(`SSH sessions of a ${release} guest`, { skip: lackingGuests() }, () => {
    let guest: Guest;
    let ssh: SshServer;
    before(async () => {
      guest = await bootGuest(release, {
        packages: [...HOSTS[release], ...SERVICES, RDP_CLIENT[release]],
      });
      await guest.run('systemctl stop xrdp xrdp-sesman');
      // What brings telnetd on Debian 12 brings another syslogd, which takes the place of journald.
      await guest.exec('systemctl stop inetutils-syslogd && ln -sf /run/systemd/journal/dev-log /dev/log');
      await installProgram(guest);
      for (const [index, user] of ['pi', 'ana', DIGITS].entries()) await addUser(guest, user, 1000 + index);
      ssh = await guestSshServer(guest);
    });
    after(() => guest.stop());
    afterEach(async () => {
      await ssh.close();
      await guest.exec("systemctl stop 'test-*'");
      await until('sshd serves nobody', async () => (await countTitles()) === 0);
    });

    it('are as many on every Debian for every kind of connection, and have their client', async () => {
      for (const user of ['root', 'pi']) await openEveryKind(user);
      const found = await expose();
      assert.equal(soleValue(found, 'ssh_sessions_total'), 2 * SESSIONS_PER_USER);
      for (const user of ['root', 'pi']) {
        const own = labelsOf(found, 'ssh_session_info').filter((labels) => labels['user'] === user);
        assert.ok(own.every(({ from }) => from === FROM));
        assert.equal(own.filter(({ tty = '' }) => tty.startsWith('pts/')).length, 3);
      }
      const hidden = { bookworm: 2, trixie: 0 }[release];
      assert.deepEqual(unlisted(found), { terminal: 0, notty: 2 * hidden, forward: hidden });
      assert.equal(soleValue(found, 'ssh_sessions_unverified'), 0);
    });

    it('are counted once each if accounts share a user ID', async () => {
      await addUser(guest, 'pi2', 1000);
      await addUser(guest, 'toor', 0);
      for (const user of ['pi2', 'toor']) await openEveryKind(user);
      const found = await expose();
      assert.equal(soleValue(found, 'ssh_sessions_total'), 2 * SESSIONS_PER_USER);
      assert.equal(soleValue(found, 'ssh_sessions_unverified'), 0);
      assert.equal(unlisted(found)['terminal'], 0);
    });

    it('are not exported if w fails, but their connections are', async () => {
      for (const user of ['root', 'pi']) await openEveryKind(user);
      const path = 'mkdir -p /run/bad && ln -sf /bin/false /run/bad/w && PATH=/run/bad:$PATH';
      const { status, stdout, stderr } = await guest.exec(`${path} ssh-sessions-exporter --output -`);
      assert.equal(status, 1);
      assert.match(stderr, /^error: w exited with status 1/m);
      const found = readExposition(stdout);
      assert.equal(soleValue(found, 'ssh_sessions_exporter_success'), 0);
      const of = (prefix: string) => found.samples.filter(({ name }) => name.startsWith(prefix));
      const connections = of('ssh_connections').reduce((sum, { value }) => sum + value, 0);
      assert.equal(connections, 2 * (KINDS.terminal + KINDS.notty + KINDS.forward));
      assert.deepEqual([...of('ssh_session_'), ...of('ssh_sessions_total'), ...of('ssh_sessions_un')], []);
    });

    for (const cause of CAUSES.filter((each) => each.releases.includes(release))) {
      it(`are exported although ${cause.name}`, { timeout: 300_000 }, () => checkCause(cause));
    }

    async function checkCause(cause: Cause): Promise<void> {
      const { user = 'pi', afterwards = false, patienceMs, hides } = cause;
      if (!afterwards) await cause.bringAbout(guest);
      try {
        await Promise.all(['root', user].map((name) => openEveryKind(name, patienceMs)));
        if (afterwards) await cause.bringAbout(guest);
        await untilServiceExports(2 * SESSIONS_PER_USER);
        const found = await expose();
        assert.equal(soleValue(found, 'ssh_sessions_total'), 2 * SESSIONS_PER_USER);
        const kinds = Object.fromEntries(
          Object.entries(KINDS).map(([kind, count]) => {
            // Debian 12 has no row for the others in any case.
            const ofEach = release === 'bookworm' && kind !== 'terminal' ? both : hides;
            return [kind, count * (Number(ofEach.root) + Number(ofEach.ordinary))];
          }),
        );
        assert.deepEqual(unlisted(found), kinds);
        hidden.set(`${release}: ${cause.name}`, (await runExporter()).stdout);
        for (const name of ['root', user]) {
          const own = labelsOf(found, 'ssh_session_info').filter((labels) => labels['user'] === name);
          assert.equal(own.filter(({ tty = '' }) => tty.startsWith('pts/')).length, 3, name);
          assert.ok(
            own.every(({ from }) => from === FROM),
            name,
          );
        }
        const isHidden = (name = '') => (name === 'root' ? hides.root : hides.ordinary);
        const unlistedSessions = labelsOf(await expose('--no-logins'), 'ssh_session_info').filter(
          (labels) => labels['login'] === '' && isHidden(labels['user']),
        );
        assert.ok(unlistedSessions.length > 0);
        for (const { user: _, tty, from, ...others } of unlistedSessions) {
          assert.equal(from, cause.client === 'logind' ? FROM : '', tty);
          assert.equal(Object.values(others).join(''), '');
        }
      } finally {
        await cause.undo?.(guest);
      }
    }
    const both = { root: true, ordinary: true };

    /** As its timer starts it, every 15 seconds. */
    async function untilServiceExports(sessions: number): Promise<void> {
      const line = `ssh_sessions_total ${sessions}`;
      await guest.run(`rm -f ${TEXTFILE} && systemctl start ssh-sessions-exporter.timer`);
      try {
        const look = async () => (await guest.exec(`grep -x '${line}' ${TEXTFILE}`)).status === 0;
        await until(`the service exports ${line}`, look, PROMPTLY_MS);
      } finally {
        await guest.run('systemctl stop ssh-sessions-exporter.timer');
      }
    }

    it('come and go without a false alarm', { timeout: 300_000 }, async () => {
      for (const user of ['pi', 'pi', 'root']) await ssh.terminal({ user, from: FROM });
      await ssh.command({ user: 'pi', from: FROM });
      await ssh.forward({ user: 'pi', from: FROM });
      await ssh.sharedTerminals({ user: 'pi', from: FROM });
      const server = 'mosh-server new -s -l LANG=C.UTF-8 -- sleep 600';
      await ssh.terminal({ user: 'pi', from: FROM, command: `sh -c '${server}; exec sleep 600'` });
      let stop = false;
      const logins = ['pi', 'root', 'ana'].map(async (user) => {
        while (!stop) await (await ssh.terminal({ user, from: FROM })).close();
      });
      try {
        for (let count = 0; count < 40; count++) {
          const found = await expose();
          assert.equal(unlisted(found)['terminal'], 0, `run ${count}`);
          assert.ok(soleValue(found, 'ssh_sessions_total') >= 8);
        }
      } finally {
        stop = true;
        await Promise.all(logins);
        await guest.exec('pkill mosh-server');
      }
    });

    it('include those of xrdp, cockpit and telnetd only with --all', { timeout: 300_000 }, async () => {
      await openOthers();
      // Debian 12 has no row for xrdp.
      const others = { bookworm: 2, trixie: 3 }[release];
      assert.equal(soleValue(await expose(), 'ssh_sessions_total'), 0);
      const all = await expose('--all');
      assert.equal(soleValue(all, 'ssh_sessions_total'), others);
      assert.equal(soleValue(all, 'ssh_sessions_unverified'), 0);
      await ssh.command({ user: 'ana', from: FROM });
      const found = await expose();
      assert.deepEqual(
        labelsOf(found, 'ssh_session_info').map(({ user, from }) => [user, from]),
        [['ana', FROM]],
      );
    });

    it('cannot be made up by a user', async () => {
      await guest.run(`
        install -d -o pi /opt/forged
        install -o pi /usr/bin/sleep /opt/forged/sshd
        install -o pi /usr/bin/sleep /opt/forged/sshd-session`);
      const titles = ['sshd: root@pts/90', 'sshd: ana@pts/91', 'sshd-session: ana', 'sshd: pi [priv]'];
      for (const [index, title] of titles.entries()) {
        const program = `/opt/forged/${title.replace(/:.*/, '')}`;
        // A service is a child of process 1, as an orphan is.
        const script = `exec -a '${title}' ${program} 600`;
        await guest.run(
          `systemd-run --quiet --collect --unit=test-forged${index} --uid=pi bash -c "${script}"`,
        );
      }
      await until('four are forged', async () => (await countTitles()) === titles.length);
      const found = await expose();
      assert.equal(soleValue(found, 'ssh_sessions_total'), 0);
      assert.deepEqual(labelsOf(found, 'ssh_connections'), []);
      // A user can forge a connection of their own account: it looks like one whose monitor was killed.
      await guest.run(
        `systemd-run --quiet --collect --unit=test-own --uid=pi bash -c "exec -a 'sshd: pi@notty' /opt/forged/sshd 600"`,
      );
      await until('one more is forged', async () => (await countTitles()) === titles.length + 1);
      assert.deepEqual(labelsOf(await expose(), 'ssh_connections'), [{ user: 'pi', kind: 'notty' }]);
    });

    it('do not include the logind sessions that a user opens by su', async () => {
      await guest.run(`echo 'pi:${PASSWORD}' | chpasswd`);
      const script = `echo ${PASSWORD} | su -l pi -c 'sleep 600'`;
      await guest.run(`systemd-run --quiet --collect --unit=test-su --uid=ana bash -c "${script}"`);
      const services = 'cat $(find /run/systemd/sessions -type f)';
      await until('su has a session', async () => /^SERVICE=su/m.test((await guest.exec(services)).stdout));
      const found = await expose();
      assert.equal(soleValue(found, 'ssh_sessions_total'), 0);
      assert.equal(soleValue(found, 'ssh_sessions_unverified'), 0);
    });

    it('cannot be changed by ptrace', async () => {
      await ssh.terminal({ user: 'pi', from: FROM });
      const number = new Map([
        ['x64', 101],
        ['arm64', 117],
      ]).get(process.arch);
      assert.ok(number, `the number of ptrace on ${process.arch}`);
      const attach = `print syscall(${number}, 16, $_ + 0, 0, 0) == 0 ? "attached" : "refused" for @ARGV`;
      const answer = await guest.run(`perl -e '${attach}' $(pgrep -u pi '^sshd')`, { user: 'pi' });
      assert.equal(answer, 'refused');
    });

    it('cannot be made up with utempter, unless the client is an address', async () => {
      const hosts = ['elsewhere', 'tty1', ':0'];
      await guest.run('cat >/run/terminal', { input: TERMINAL_WITH_ROW });
      const addRow = (host: string, index: number) =>
        guest.run(
          `systemd-run --quiet --collect --unit=test-row${index} --uid=pi perl /run/terminal ${host}`,
        );
      for (const [index, host] of hosts.entries()) await addRow(host, index);
      // Debian 13's w does not read utmp.
      const rows = { bookworm: 3, trixie: 0 }[release];
      await until('w lists them', async () => {
        const listed = labelsOf(await expose('--all'), 'ssh_session_info');
        return listed.filter(({ from = '' }) => hosts.includes(from)).length === rows;
      });
      const found = await expose();
      assert.equal(soleValue(found, 'ssh_sessions_total'), 0);
      assert.equal(soleValue(found, 'ssh_sessions_unverified'), 0);
      if (release === 'trixie') return;
      await addRow('198.51.100.9', hosts.length);
      await until('w lists one more', async () => (await guest.run('w -hi')).includes('198.51.100.9'));
      const withAddress = await expose();
      assert.deepEqual(labelsOf(withAddress, 'ssh_user_sessions'), [{ user: 'pi', from: '198.51.100.9' }]);
      assert.equal(soleValue(withAddress, 'ssh_sessions_unverified'), 1);
    });

    it('can get another client by utempter, but their logins cannot', async () => {
      const madeUp = '198.51.100.9';
      await ssh.terminal({ user: 'pi', from: FROM });
      await changeRows(guest, `add ${madeUp}`);
      const found = await expose();
      const client = { bookworm: madeUp, trixie: FROM }[release];
      assert.deepEqual(labelsOf(found, 'ssh_user_sessions'), [{ user: 'pi', from: client }]);
      await until('the log has the login', async () => {
        const logins = labelsOf(await expose(), 'ssh_last_login_timestamp_seconds');
        assert.ok(logins.every(({ from }) => from !== madeUp));
        return logins.some(({ user, from }) => user === 'pi' && from === FROM);
      });
    });

    it('have the client that sshd serves, whatever w makes of its name or address', async () => {
      const config = '/etc/ssh/sshd_config.d/0-dns.conf';
      await guest.run(`
        ip address replace fd00:1:: dev lo nodad && echo '${FROM} tty1' >>/etc/hosts
        echo UseDNS yes >${config} && systemctl restart ssh`);
      try {
        await ssh.terminal({ user: 'pi', from: FROM });
        await ssh.terminal({ user: 'ana', from: 'fd00:1::' });
        const sessions = labelsOf(await expose(), 'ssh_session_info').map(({ user, from }) => [user, from]);
        // Debian 12's w prints addresses, and that of ana as 253.0.0.1.
        const name = { bookworm: FROM, trixie: 'tty1' }[release];
        const expected = [
          ['ana', 'fd00:1::'],
          ['pi', name],
        ];
        assert.deepEqual(sessions.sort(), expected);
      } finally {
        await guest.run(`sed -i '$ d' /etc/hosts && rm ${config} && systemctl restart ssh`);
      }
    });

    it('have no client if they came over a unix socket', async () => {
      if (release === 'bookworm') return;
      await guest.run('systemctl cat sshd-unix-local.socket');
      const proxy = '/usr/lib/systemd/systemd-ssh-proxy unix/run/ssh-unix-local/socket 22';
      const options = `-F none -i ${await key()} -o ProxyCommand='${proxy}' -o ProxyUseFdpass=yes -o StrictHostKeyChecking=no`;
      await guest.run(
        `systemd-run --quiet --collect --unit=test-unix ssh -tt ${options} pi@localhost sleep 600`,
      );
      await until('it is there', async () => (await countTitles()) === 2);
      const found = await expose();
      assert.deepEqual(
        labelsOf(found, 'ssh_session_info').map(({ user, from = '' }) => [user, from]),
        [['pi', '']],
      );
      assert.deepEqual(unlisted(found), { terminal: 0, notty: 0, forward: 0 });
    });

    /** Logs in by xrdp and telnet as pi, and by cockpit as ana. */
    async function openOthers(): Promise<void> {
      await guest.run(`
        echo 'pi:${PASSWORD}\nana:${PASSWORD}' | chpasswd
        printf '#!/bin/sh\\nexec sleep 600\\n' >/home/1000/.xsession && chmod 755 /home/1000/.xsession
        printf '127.0.0.1:telnet stream tcp nowait root /usr/sbin/telnetd telnetd\\n' >/etc/inetd.conf
        systemctl start cockpit.socket xrdp xrdp-sesman && systemctl restart inetd`);
      const typed = `
        coproc telnet 127.0.0.1
        answer() {
          local seen= next
          until [[ $seen == *"$1" ]]; do IFS= read -r -n 1 -u \${COPROC[0]} next && seen+=$next || exit; done
          echo "$2" >&\${COPROC[1]}
        }
        answer 'login: ' pi
        answer 'assword: ' ${PASSWORD}
        cat <&\${COPROC[0]}`;
      const client = `$(command -v xfreerdp3 || command -v xfreerdp)`;
      const desktop = `export HOME=/root; xvfb-run -a ${client} /v:${FROM} /u:pi /p:${PASSWORD} /cert:ignore`;
      // cockpit ends a session that is not used after some seconds.
      const login = `curl -sk -b /run/jar -c /run/jar -u ana:${PASSWORD} https://127.0.0.1:9090/cockpit/login`;
      const browser = `while :; do ${login} --interface ${FROM}; sleep 5; done`;
      // The first attempt can come before a service listens.
      const again = '--property=Restart=always --property=RestartSec=2 --property=StartLimitIntervalSec=0';
      for (const [name, script] of Object.entries({ typed, desktop, browser })) {
        await guest.run(
          `cat >/run/${name} && systemd-run ${again} --quiet --collect --unit=test-${name} bash /run/${name}`,
          {
            input: script,
          },
        );
      }
      const services = ['xrdp-sesman', 'cockpit', '(login|remote)'];
      await until(
        'all are logged in',
        async () => {
          const list = await guest.run(
            'cd /run/systemd/sessions && for each in *; do [ -f $each ] && cat $each; done; true',
          );
          return services.every((service) => new RegExp(`^SERVICE=${service}$`, 'm').test(list));
        },
        120_000,
      );
    }

    /** A key that every account accepts. */
    async function key(): Promise<string> {
      return (await guest.run('ls /root/ssh-*/key')).trim();
    }

    /** Six clients on five connections. */
    async function openEveryKind(user: string, patienceMs?: number): Promise<void> {
      const options = { user, from: FROM, patienceMs };
      await Promise.all([
        ssh.terminal(options),
        ssh.sharedTerminals(options),
        ssh.command(options),
        ssh.sftp(options),
        ssh.forward(options),
      ]);
    }

    /** What a run exports, without a word of complaint. */
    async function expose(args = ''): Promise<Exposition> {
      const { status, stdout, stderr } = await runExporter(args);
      // On a busy machine the journal can be behind.
      const complaints = stderr.split('\n').filter((line) => !line.startsWith('warning: logins:'));
      assert.deepEqual({ status, complaints }, { status: 0, complaints: [''] });
      return readExposition(stdout);
    }

    const runExporter = (args = '') =>
      guest.exec(`LOG_LEVEL=warning ssh-sessions-exporter --output - ${args}`);

    const unlisted = ({ samples }: Exposition) =>
      Object.fromEntries(
        samples
          .filter(({ name }) => name === 'ssh_sessions_unlisted')
          .map(({ labels, value }) => [labels['kind'], value]),
      );

    /** Processes of sshd but the listener. */
    async function countTitles(): Promise<number> {
      const { stdout } = await guest.exec('ps -C sshd -C sshd-session -o args=');
      return stdout.split('\n').filter((title) => /: (?!\/)/.test(title)).length;
    }
  });
}

it('that w does not list raise alerts, whatever hides them', { timeout: 300_000 }, async (context) => {
  const causes = [...hidden.keys()];
  assert.equal(
    causes.length,
    CAUSES.reduce((sum, cause) => sum + cause.releases.length, 0),
  );
  const server = createServer((request, response) => {
    const cause = causes[Number(request.url?.slice(1))] ?? '';
    response.setHeader('Content-Type', 'text/plain; version=0.0.4').end(hidden.get(cause));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const directory = scratch(context);
  const targets = causes.map((cause, index) => ({
    targets: [`127.0.0.1:${address.port}`],
    labels: { instance: cause, __metrics_path__: `/${index}` },
  }));
  // JSON is YAML.
  const config = {
    global: { scrape_interval: '5s', evaluation_interval: '5s' },
    rule_files: [join(ROOT, 'monitoring/alerts.yml')],
    scrape_configs: [{ job_name: 'node', static_configs: targets }],
  };
  writeFileSync(join(directory, 'prometheus.yml'), JSON.stringify(config));
  const prometheus = await startPrometheus(directory);
  context.after(() => prometheus.stop());
  for (const alert of ['SshSessionNotInW', 'SshRootLogin', 'SshConnectionWithoutTerminal']) {
    await until(
      `${alert} fires for each cause`,
      async () => {
        const firing = await prometheus.query(
          `count by (instance) (ALERTS{alertname="${alert}",alertstate="firing"})`,
        );
        return firing.length === causes.length;
      },
      150_000,
    );
  }
});
