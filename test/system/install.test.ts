import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { labelsOf, readExposition, soleValue } from '../support/exposition.ts';
import type { ExecOptions, Release } from '../support/guest.ts';
import { intervals, Machine, packageName, SERVICE, TIMER, VERSION } from '../support/machine.ts';
import { lackingGuests } from '../support/programs.ts';
import { addUser, guestSshServer, type Session, type SshServer } from '../support/ssh.ts';

const OLDER = '0.9.0';
const LONG_NAME = 'a-name-as-long-as-linux-lets-be1';

/** One Debian after the other would take twice as long: most of the time is waiting. */
describe('install.sh', { concurrency: true, skip: lackingGuests() }, () => {
  // cron is there on one of them, and has to be installed on the other.
  journey('bookworm', ['cron']);
  journey('trixie', []);
});

/** What happens to one machine, from the first try to the purge. Each step starts where the one before ended. */
function journey(release: Release, packages: readonly string[]): void {
  describe(`on ${release}`, { concurrency: 1 }, () => {
    let machine: Machine;
    let ssh: SshServer;
    before(async () => {
      machine = await Machine.boot(release, packages);
      await machine.checkOut({ version: OLDER, built: false });
    });
    after(() => machine.guest.stop());

    it('refuses bad input before anything is changed', async () => {
      await machine.guest.run('touch /root/before');
      await refuses('', /must run as root; use: sudo/, { user: 'nobody' });
      await refuses('--bogus', /--bogus is unknown; see .*--help/);
      await refuses('remove', /remove is unknown/);
      await refuses('--port', /--port needs a value/);
      await refuses('--purge=1', /1 is unknown/);
      await refuses('install --purge', /--purge goes with uninstall/);
      for (const value of ['0', '-1', '1.5', '015', '3601', 'often', '1e3', ' 5']) {
        await refuses('', /POLL_INTERVAL is '.+'; give a whole number/, { env: { POLL_INTERVAL: value } });
      }
      for (const value of ['0', '65536', 'http', '9100/tcp']) {
        await refuses(`--port ${value}`, /PORT is '.+'; give a number/);
      }
      await refuses('', /LOG_LEVEL is 'loud'; give debug, info/, { env: { LOG_LEVEL: 'loud' } });
      await refuses('--textfile-dir metrics', /TEXTFILE_DIR is 'metrics'; give an absolute path/);
      await refuses('--textfile-dir "/srv/my metrics"', /give an absolute path of letters/);
      await refuses('--textfile-dir=/srv/none', /does not exist; create it \(mkdir -p \/srv\/none\)/);
      await refuses('--ufw-from 192.0.2.0/24', /--ufw-from is '192.0.2.0\/24'; install ufw/);
      const changed = 'find /etc /opt /usr /var -xdev -newer /root/before ! -path "/var/log/*"';
      assert.equal(await machine.guest.run(changed), '');
    });

    it('says so where apt has no network, and where it offers too old a Node.js', async () => {
      await machine.guest.run('mv /etc/resolv.conf /root && echo nameserver 192.0.2.1 >/etc/resolv.conf');
      await refuses('', /^E: .*\nerror: that step failed, for the reason above/m);
      await machine.guest.run('mv /root/resolv.conf /etc');

      await machine.guest.run(OFFER_OLD_NODE);
      await refuses('', /nodejs[^\n]*\n[\s\S]*error: that step failed/);
      await machine.guest.run('rm -r /srv/apt /etc/apt/sources.list.d/old.list /etc/apt/preferences.d/old');
    });

    it('brings everything to a machine that lacks it, from nothing but a checkout', async (context) => {
      // apt itself would remove the SSH server with it.
      await machine.guest.run(
        'dpkg --purge --force-depends procps && ! which w node npm prometheus-node-exporter',
      );
      const { status, stdout, stderr, seconds } = await machine.install();
      assert.equal(status, 0, stdout + stderr);
      const steps = [...stdout.matchAll(/^\[(\d\/\d)\] /gm)].map(([, step]) => step);
      assert.deepEqual(steps, ['1/4', '2/4', '3/4', '4/4']);
      assert.match(stdout, /^Done: ssh-sessions-exporter 0\.9\.0 is installed\.$/m);
      assert.match(stdout, /targets: \['debian:9100'\]/);
      context.diagnostic(`a whole install with the build of the package took ${seconds.toFixed(1)} s`);
      assert.match(await machine.metrics(), /^ssh_sessions_exporter_build_info\{version="0\.9\.0"\} 1$/m);
      assert.equal(
        await machine.guest.run('ls -A /var/tmp /var/cache /root | grep -e exporter -e npm || true'),
        '',
      );
      await machine.guest.run('which w node prometheus-node-exporter');
      const said = await machine.guest.run(
        'ssh-sessions-exporter --output - --log-level debug 2>&1 >/dev/null',
      );
      assert.match(said, release === 'trixie' ? /, QuickJS, / : /, Node\.js 18\./);
    });

    it('has units that systemd finds nothing wrong with', async (context) => {
      // Without its check that the manual is there: man is not.
      const verified = await machine.guest.exec(`systemd-analyze verify --man=no ${SERVICE} ${TIMER} 2>&1`);
      assert.deepEqual([verified.status, verified.stdout], [0, '']);
      const security = await machine.guest.run(`systemd-analyze security --no-pager ${SERVICE}`);
      const score = /Overall exposure level for \S+: ([\d.]+)/.exec(security)?.[1];
      context.diagnostic(`systemd-analyze security: ${score}`);
      assert.ok(Number(score) <= 1.0, security);
    });

    it('runs every 15 s, and sessions come and go within 17 s', { timeout: 240_000 }, async (context) => {
      await addUser(machine.guest, 'pi', 1000);
      await addUser(machine.guest, LONG_NAME, 1001);
      ssh = await guestSshServer(machine.guest);
      await sleep(16_000); // sshd was restarted: from here on, nothing makes systemd read its units again.
      const [{ starts, writes }, times] = await Promise.all([machine.watch(140), followSessions()]);
      const measured = intervals(starts);
      context.diagnostic(`intervals: ${measured.join(' ')} s`);
      context.diagnostic(
        `seconds until /metrics showed it: ${times.map((time) => time.toFixed(1)).join(' ')}`,
      );
      assert.ok(measured.length >= 8, `${measured.length} intervals`);
      for (const interval of measured) assert.ok(Math.abs(interval - 15) < 1, `an interval of ${interval} s`);
      // Nothing else writes the file: not cron either, where it runs.
      assert.ok(
        Math.abs(writes.length - starts.length) <= 1,
        `${writes.length} writes, ${starts.length} runs`,
      );
      for (const time of times) assert.ok(time <= 17, `${time} s`);
    });

    /** Sessions of several users, come and gone; gives the seconds that each change took. */
    async function followSessions(): Promise<number[]> {
      const line = (user: string, rest: string) =>
        new RegExp(`^ssh_session_info\\{(?=.*user="${user}").*${rest}`, 'm');
      const connection = /^ssh_connections\{kind="notty",user="pi"\} 1$/m;

      const withoutTerminal = release === 'trixie' ? line('pi', 'from="fd00:0:1:2:3:4:5:6"') : connection; // Debian 12's w does not show it.
      const logins = [
        {
          open: () => ssh.terminal({ user: 'pi', from: '203.0.113.77', command: 'sleep 600' }),
          shown: line('pi', 'what="sleep 600"'),
        },
        {
          open: () => ssh.command({ user: 'pi', from: 'fd00::1:2:3:4:5:6', command: 'sleep 601' }),
          shown: withoutTerminal,
        },
        {
          open: () => ssh.terminal({ user: LONG_NAME, from: 'fd00::1:2:3:4:5:6', command: 'sleep 602' }),
          shown: line(LONG_NAME, 'what="sleep 602"'),
        },
        {
          open: () => ssh.terminal({ from: '203.0.113.77', command: 'sleep 603' }),
          shown: line('root', 'what="sleep 603"'),
        },
      ];
      const sessions: Session[] = [];
      const appeared = await Promise.all(
        logins.map(async ({ open, shown }) => {
          sessions.push(await open());
          return machine.shows(shown);
        }),
      );
      await compareWithUnconfined();

      await Promise.all(sessions.map((session) => session.close()));
      const gone = await Promise.all([machine.showsNo(/^ssh_session_info/m), machine.showsNo(connection)]);
      return [...appeared, ...gone];
    }

    /** The confined service against w and a run of the program outside, as root and as others. */
    async function compareWithUnconfined(): Promise<void> {
      const labels = 'user,tty,from,login,jcpu,pcpu,what';
      const confined = readExposition(await machine.guest.run(`cat ${machine.file}`));
      const listed = labelsOf(confined, 'ssh_session_info').map(({ idle, ...others }) => others);
      assert.equal(listed.length, 4);
      assert.equal(soleValue(confined, 'ssh_sessions_total'), 4);
      for (const user of ['root', 'pi', LONG_NAME, 'nobody']) {
        const run = `/usr/bin/ssh-sessions-exporter --log-level error --output - --labels ${labels}`;
        const unconfined = readExposition(await machine.guest.run(run, { user }));
        assert.deepEqual(listed, labelsOf(unconfined, 'ssh_session_info'), `as ${user}`);
        assert.deepEqual(labelsOf(confined, 'ssh_connections'), labelsOf(unconfined, 'ssh_connections'));
      }
      const rows = (await machine.guest.run('COLUMNS=512 PROCPS_USERLEN=32 PROCPS_FROMLEN=256 w -hi')).trim();
      // Debian 12's w does not list the one without a terminal.
      const inW = listed.filter(({ login }) => login !== '');
      assert.equal(inW.length, { bookworm: 3, trixie: 4 }[release]);
      assert.equal(rows.split('\n').length, inW.length);
      for (const { user, tty, from, what } of inW) {
        const likeRow = (row: string) =>
          row.startsWith(`${user} `) && [tty, from, what].every((text) => row.includes(text ?? ''));
        assert.ok(rows.split('\n').some(likeRow), `${user} ${tty} ${from} ${what} in\n${rows}`);
      }
    }

    it('says nothing of 20 good runs, and tells of a failing one', async () => {
      for (let run = 0; run < 20; run++) await machine.guest.run(`systemctl start ${SERVICE}`);
      assert.equal(await machine.journal(), '');

      await machine.guest.run('mv /usr/bin/w /usr/bin/w.away');
      assert.notEqual((await machine.guest.exec(`systemctl start ${SERVICE}`)).status, 0);
      await machine.guest.run('mv /usr/bin/w.away /usr/bin/w');
      assert.match(await machine.journal(), /^error: w not found; install procps/m);
      assert.match(await machine.journal(), /^Failed to start/m);
      assert.match(await machine.metrics(), /^ssh_sessions_exporter_success 0$/m);
      await machine.shows(/^ssh_sessions_exporter_success 1$/m);
    });

    it('runs as often, and says as much, as is asked for', async (context) => {
      await machine.checkOut({ version: OLDER, built: true });
      const env = { POLL_INTERVAL: '5', LOG_LEVEL: 'DEBUG' };
      assert.match(await machine.mustInstall('', { env }), /^Every 5 s /m);
      const { starts } = await machine.watch(22);
      context.diagnostic(`intervals: ${intervals(starts).join(' ')} s`);
      assert.ok(starts.length >= 3);
      for (const interval of intervals(starts)) assert.ok(Math.abs(interval - 5) < 1, `${interval} s`);
      assert.match(await machine.journal(), /^info: \d+ sessions written/m);

      await machine.mustInstall('--poll-interval 7');
      const odd = intervals((await machine.watch(24)).starts);
      context.diagnostic(`intervals: ${odd.join(' ')} s`);
      for (const interval of odd) assert.ok(Math.abs(interval - 7) < 1, `${interval} s`);
    });

    it('updates to a newer version and keeps the settings', async (context) => {
      await machine.guest.run("echo 'ARGS=--no-args' >>/etc/default/ssh-sessions-exporter");
      await machine.checkOut({ built: true });
      const { status, stdout, stderr, seconds } = await machine.install('update');
      assert.equal(status, 0, stdout + stderr);
      context.diagnostic(`an update took ${seconds.toFixed(1)} s`);
      assert.match(stdout, new RegExp(`^Done: ssh-sessions-exporter ${VERSION} is installed`, 'm'));
      assert.match(await machine.metrics(), new RegExp(`build_info\\{version="${VERSION}"\\}`));
      assert.match(await machine.property(TIMER, 'TimersMonotonic'), /OnUnitActiveUSec=7s/);
      assert.match(await machine.property(SERVICE, 'Environment'), /LOG_LEVEL=debug/);
      assert.match(await machine.guest.run('cat /etc/default/ssh-sessions-exporter'), /^ARGS=--no-args$/m);

      await machine.mustInstall('', { env: { POLL_INTERVAL: '', LOG_LEVEL: '' } });
      assert.match(await machine.property(SERVICE, 'Environment'), /LOG_LEVEL=warning/);
      assert.equal(await machine.property(SERVICE, 'LogLevelMax'), '5');
      assert.match(await machine.property(TIMER, 'TimersCalendar'), /OnCalendar=\*-\*-\* \*:\*:00\/15 /);
      assert.doesNotMatch(await machine.property(TIMER, 'TimersMonotonic'), /OnUnitActive/);
    });

    it('comes back after a reboot, without the sessions of before', async () => {
      await machine.guest.run(`systemctl disable --now ${TIMER} && touch ${machine.file}`);
      await machine.guest.reboot();
      await machine.guest.run(`! test -e ${machine.file}`);
      await machine.guest.run(`systemctl enable ${TIMER}`);
      await machine.guest.reboot();
      assert.ok((await machine.shows(/^ssh_sessions_total 0$/m)) < 17);
      assert.deepEqual(machine.guest.failedUnits, []);

      await machine.mustInstall('--poll-interval 7');
      await machine.guest.reboot();
      assert.ok((await machine.shows(/^ssh_sessions_total 0$/m)) < 17);
      await machine.mustInstall('--poll-interval ""');
    });

    it('finishes what was interrupted', async () => {
      await machine.guest.exec('cd /srv/checkout && timeout --signal=INT 1.5 ./install.sh');
      await machine.guest.exec('cd /srv/checkout && timeout --signal=KILL 1 ./install.sh');
      await machine.guest.run(`rm /usr/lib/systemd/system/${TIMER}`);
      await machine.mustInstall();
    });

    it('follows a node_exporter with another directory, owner and port, and sets the firewall', async () => {
      await machine.guest.run('apt-get install --yes --no-install-recommends ufw');
      await machine.mustInstall('--ufw-from 192.0.2.0/24');
      assert.deepEqual(await openPorts(), ['9100']);
      await machine.guest.run('install -d -o prometheus -g prometheus /srv/metrics');
      await setNodeExporter('--collector.textfile.directory=/srv/metrics --web.listen-address=:9200');
      await machine.guest.run(INSTALL_OLD_EXPORTER);

      const first = await machine.mustInstall();
      assert.match(
        first,
        /^warning: the previous exporter is still installed \(ssh_sessions_exporter\.service/m,
      );
      assert.match(first, /^Opening port 9200 to 192\.0\.2\.0\/24 /m);
      await machine.guest.run(`! test -e ${machine.file}`);
      machine.port = 9200;
      machine.file = '/srv/metrics/ssh_sessions.prom';
      assert.equal(await machine.guest.run(`stat -c '%U %a' ${machine.file}`), 'prometheus 644\n');
      assert.equal(await machine.property(SERVICE, 'User'), 'prometheus');
      assert.match(await machine.metrics(), /^ssh_sessions_total 0$/m);
      const ofOldExporter = 'ufw allow 9122/tcp';
      assert.deepEqual(await rules(), [
        'ufw allow from 192.0.2.0/24 to any app ssh-sessions-exporter',
        ofOldExporter,
      ]);
      assert.deepEqual(await openPorts(), ['9122', '9200']);

      await machine.mustInstall('--ufw-from any');
      assert.deepEqual(await rules(), [ofOldExporter, 'ufw allow ssh-sessions-exporter']);
      await machine.mustInstall('--ufw-from none');
      assert.deepEqual(await rules(), [ofOldExporter]);
      await refuses('--ufw-from 192.0.2.0/40', /--ufw-from is '192.0.2.0\/40'; .*give a network/);

      assert.match(await machine.mustInstall('--replace-old'), /^Removed the previous exporter/m);
      assert.deepEqual(await rules(), []);
      await machine.guest.run(
        '! test -e /opt/ssh_sessions && ! systemctl cat ssh_sessions_exporter 2>/dev/null',
      );
    });

    it('names the one thing that is wrong, and works once it is mended', async () => {
      await setNodeExporter('--no-collector.textfile');
      await refuses('', /does not show ssh_sessions_total: HTTP\/1.0 200 OK; .* --no-collector\.textfile/);
      await setNodeExporter('--collector.textfile.directory=/srv/none');
      await refuses('', /reads the textfile directory \/srv\/none, which does not exist; create it/);
      await setNodeExporter('');
      machine.port = 9100;
      machine.file = '/var/lib/prometheus/node-exporter/ssh_sessions.prom';
      await refuses(
        '--textfile-dir /srv/metrics',
        /does not show ssh_sessions_total: .* another directory than \/srv\/metrics/,
      );
      await refuses(
        '--port 9300',
        /localhost:9300\/metrics does not show ssh_sessions_total: .*Connection refused/,
      );
      await machine.mustInstall('--port "" --textfile-dir ""');

      await machine.checkOut({ built: false });
      await machine.guest.run('mount --bind /var/cache /var/cache && mount -o remount,bind,ro /var/cache');
      await refuses('', /Read-only file system\nerror: that step failed, for the reason above/);
      await machine.guest.run('umount /var/cache');
      await machine.checkOut({ built: true });

      await machine.guest.run(`systemctl mask --now ${TIMER}`);
      await refuses('', /cannot start ssh-sessions-exporter.timer: .*masked/);
      await machine.guest.run(`systemctl unmask ${TIMER}`);

      await machine.guest.run('echo ARGS=--bogus >>/etc/default/ssh-sessions-exporter');
      await refuses('', /a run failed; journalctl -u ssh-sessions-exporter says why/);
      await machine.guest.run('sed -i /bogus/d /etc/default/ssh-sessions-exporter');

      await machine.guest.run(`echo damage >/srv/checkout/${packageName()}`);
      await refuses('', /is damaged; download it again/);
      await machine.checkOut({ built: true });
      await machine.mustInstall();
    });

    it('uninstalls, keeps the settings for the next time, and keeps nothing when purged', async () => {
      await machine.mustInstall('--poll-interval 30 --ufw-from any');
      await machine.mustInstall('uninstall');
      assert.doesNotMatch(await machine.metrics(), /^ssh_/m);
      assert.deepEqual(await rules(), []);
      await machine.guest.run(`! test -e ${machine.file} && ! systemctl is-active ${TIMER}`);

      assert.match(await machine.mustInstall(), /^Every 30 s /m);
      await machine.mustInstall('uninstall --purge');
      assert.deepEqual(await rules(), []);
      const left = await machine.guest.run(`
        find / -xdev ! -path "/proc/*" ! -path "/srv/checkout*" '(' -name '*ssh-sessions*' -o -name '*ssh_sessions*' ')'
        systemctl list-unit-files --no-legend 'ssh-sessions*'; grep -rl ssh-sessions /etc || true`);
      assert.equal(left, '');
      const again = await machine.install('uninstall --purge');
      assert.equal(again.status, 0);
      assert.match(again.stderr, /^dpkg: warning: .*ssh-sessions-exporter which isn't installed$/m);
    });

    it('has cron run it where systemd does not', async (context) => {
      await setNodeExporter('--collector.textfile.directory=/srv/metrics');
      machine.file = '/srv/metrics/ssh_sessions.prom';
      // What tells programs that systemd is the init of this machine. The rest of it goes on as before.
      await machine.guest.run('mv /run/systemd/system /run/systemd/system.away');
      await refuses('--poll-interval 5', /POLL_INTERVAL is '5', but without systemd cron runs every 15 s/);
      assert.match(
        await machine.mustInstall('--ufw-from none --textfile-dir /srv/metrics'),
        /^Every 15 s it writes/m,
      );
      await sleep((60 - new Date().getSeconds()) * 1000); // cron starts its jobs on the minute.
      const { writes } = await machine.watch(64);
      assert.equal(await machine.guest.run(`stat -c %U ${machine.file}`), 'prometheus\n');
      context.diagnostic(`intervals: ${intervals(writes).join(' ')} s`);
      assert.ok(writes.length >= 4, `${writes.length} runs`);
      for (const interval of intervals(writes)) assert.ok(Math.abs(interval - 15) < 2, `${interval} s`);

      await machine.mustInstall('uninstall --purge');
      assert.doesNotMatch(await machine.metrics(), /^ssh_/m);
      assert.equal(await machine.guest.run('find /etc /srv/metrics /usr /var -name "*ssh[-_]sessions*"'), '');
      await machine.guest.run('mv /run/systemd/system.away /run/systemd/system');
    });

    /** Runs install.sh, which must end with one line that says what is wrong. */
    async function refuses(args: string, line: RegExp, options?: ExecOptions): Promise<void> {
      const { status, stdout, stderr } = await machine.install(args, options);
      assert.notEqual(status, 0, `${args} ${stdout}`);
      assert.match(stderr, /(?:^|\n)error: [^\n]+\n$/);
      assert.match(stderr, line);
    }

    async function setNodeExporter(args: string): Promise<void> {
      const input = `ARGS="${args}"\n`;
      await machine.guest.run('cat >/etc/default/prometheus-node-exporter', { input });
      await machine.guest.run('systemctl restart prometheus-node-exporter');
    }

    /** What was asked of ufw, without remarks. */
    async function rules(): Promise<string[]> {
      const lines = (await machine.guest.run('ufw show added')).split('\n');
      return lines.filter((line) => line.startsWith('ufw '));
    }

    /** The ports that those rules open, also where they name an application. */
    async function openPorts(): Promise<string[]> {
      const kept = await machine.guest.run('cat /etc/ufw/user.rules');
      return [...kept.matchAll(/^### tuple ### allow tcp (\d+) /gm)].map(([, port = '']) => port).sort();
    }
  });
}

/** A source of packages with a Node.js of Debian 11, which apt prefers. */
const OFFER_OLD_NODE = `
mkdir -p /srv/apt/nodejs/DEBIAN && cd /srv/apt
printf '%s\\n' 'Package: nodejs' 'Version: 12.22.12' 'Architecture: all' \\
  'Maintainer: test <test@example.com>' 'Description: test' >nodejs/DEBIAN/control
dpkg-deb --build nodejs nodejs.deb
{
  cat nodejs/DEBIAN/control
  echo 'Filename: ./nodejs.deb'
  echo "Size: $(stat -c %s nodejs.deb)"
  echo "SHA256: $(sha256sum nodejs.deb | cut -d ' ' -f 1)"
} >Packages
echo 'deb [trusted=yes] file:/srv/apt ./' >/etc/apt/sources.list.d/old.list
printf '%s\\n' 'Package: nodejs' 'Pin: version 12.*' 'Pin-Priority: 1001' >/etc/apt/preferences.d/old
`;

/** As far as install.sh knows it: a unit, a directory, a rule of the firewall. */
const INSTALL_OLD_EXPORTER = `
mkdir -p /opt/ssh_sessions
printf '%s\\n' '[Service]' 'ExecStart=/bin/sleep infinity' '[Install]' 'WantedBy=multi-user.target' \\
  >/etc/systemd/system/ssh_sessions_exporter.service
systemctl enable --now ssh_sessions_exporter
ufw allow 9122/tcp
`;
