/** What another account of the machine tries while root runs install.sh. One guest per release, each attack after the other. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ExecOptions, Release } from '../support/guest.ts';
import { Machine, packageName, SERVICE, TIMER } from '../support/machine.ts';
import { lackingGuests } from '../support/programs.ts';

const CHECKOUT = '/srv/checkout';

describe('install.sh and other accounts', { concurrency: true, skip: lackingGuests() }, () => {
  attacks('bookworm');
  attacks('trixie');
});

function attacks(release: Release): void {
  describe(`on ${release}`, { concurrency: 1 }, () => {
    let machine: Machine;
    before(async () => {
      machine = await Machine.boot(release, ['npm', 'ufw', 'prometheus-node-exporter']);
      await machine.guest.run(
        'for name in pi mallory; do useradd -m -g users -s /bin/bash $name; done; chmod 755 /home/*',
      );
      await machine.checkOut({ built: false });
    });
    after(() => machine.guest.stop());

    it('refuses files that another account could have changed', async () => {
      const { guest } = machine;
      await guest.run(`cp -a ${CHECKOUT} /home/mallory/checkout && cp -a ${CHECKOUT} /home/pi/checkout`);
      await refuses(
        '',
        /^error: '\/home\/mallory' belongs to, .* \(mallory, mode 755\);.*--trust-checkout/m,
        {
          in: '/home/mallory/checkout',
        },
      );
      // Without a file of its own it would take the directory that it is called in for its own.
      const piped = await guest.exec(`cd ${CHECKOUT} && timeout 60 bash <install.sh`);
      assert.deepEqual([piped.status, /run install\.sh from its file\n$/.test(piped.stderr)], [1, true]);
      await guest.run(`chmod 666 ${CHECKOUT}/src/cli.ts`);
      await refuses('', /^error: '\/srv\/checkout\/src\/cli\.ts' .* \(root, mode 666\)/m);
      await guest.run(`rm -r ${CHECKOUT}/src && install -d -o mallory ${CHECKOUT}/src`);
      await refuses('', /^error: '\/srv\/checkout\/src' .* \(mallory, mode 755\)/m);
      await guest.run(`rm -r ${CHECKOUT}/src && ln -s /home/mallory/checkout/src ${CHECKOUT}/src`);
      await refuses('', /^error: '\/srv\/checkout\/src' .* \(root, mode 777\)/m);
      await guest.run(
        `install -D -o mallory ${CHECKOUT}/install.sh /srv/deb/ssh-sessions-exporter_9_all.deb`,
      );
      // Of two packages, the newer one.
      await guest.run(
        `cp ${CHECKOUT}/install.sh /srv/deb/ && touch /srv/deb/ssh-sessions-exporter_10_all.deb`,
      );
      await refuses('', /^error: ssh-sessions-exporter_10_all\.deb is damaged/m, { in: '/srv/deb' });
      await guest.run('rm /srv/deb/ssh-sessions-exporter_10_all.deb');
      await refuses('', /^error: '\/srv\/deb\/\S+_all\.deb' .* \(mallory, mode 755\)/m, { in: '/srv/deb' });

      // The account that called sudo is no other account: what is refused now is the package.
      await guest.run(
        `cd /home/pi/checkout && rm package.json && touch ${packageName()} && chown -R 1000:100 .`,
      );
      const damaged = /^error: \S+_all\.deb is damaged/m;
      await refuses('', /^error: '\/home\/pi/m, { in: '/home/pi/checkout' });
      await refuses('', damaged, {
        in: '/home/pi/checkout',
        env: { SUDO_UID: '1000', SUDO_GID: '100' },
      });
      // Its group is, unless it has the account's name.
      await guest.run(`chmod g+w /home/pi/checkout/${packageName()}`);
      await refuses('', /^error: '\/home\/pi\/checkout\/\S+_all\.deb' .*mode 664/m, {
        in: '/home/pi/checkout',
        env: { SUDO_UID: '1000', SUDO_GID: '100' },
      });
      await guest.run('rm -r /home/pi/checkout /srv/deb');

      // A group with the account's name is its own until it has another member.
      await guest.run(
        `useradd -u 1500 -m -U alone && chmod 755 /home/alone && touch /home/alone/${packageName()}`,
      );
      await guest.run(
        `cp ${CHECKOUT}/install.sh /home/alone && cd /home/alone && chown alone:alone *.deb && chmod 664 *.deb`,
      );
      const alone = { in: '/home/alone', env: { SUDO_UID: '1500', SUDO_GID: '1500' } };
      await refuses('', damaged, alone);
      await guest.run('usermod -a -G alone mallory');
      await refuses('', /^error: '\/home\/alone\/\S+_all\.deb' .*mode 664/m, alone);
      await guest.run('userdel -r alone');
    });

    it('builds out of reach, whatever lies in other directories, and wherever TMPDIR leads', async () => {
      const { guest } = machine;
      await guest.run(LAY_TRAPS, { user: 'mallory' });
      await guest.run(`systemd-run --unit=watch sh -c '${WATCH}'`);
      const { status, stdout, stderr } = await install('--trust-checkout', {
        in: '/home/mallory/checkout',
        env: {
          TMPDIR: '/home/mallory/tmp',
          HOME: '/home/mallory',
          BASH_ENV: '/home/mallory/.environment',
          SHELLOPTS: 'noglob',
        },
      });
      await guest.run('systemctl stop watch');
      assert.equal(await guest.run('cat /root/taken 2>/dev/null || true'), '');
      assert.equal(await guest.run('sort -u /root/within-reach'), '');
      assert.equal(status, 0, stdout + stderr);
      assert.equal(await guest.run('ls -d /var/cache/ssh-sessions* 2>/dev/null || true'), '');
      await guest.run('rm -r /tmp/node_modules /var/tmp/node_modules /home/mallory/checkout');
    });

    it('says how far it is, and how long each step took', async () => {
      await machine.checkOut({ built: true });
      // POSIX has options before all else; systemctl would then take those of install.sh for names of units.
      const stdout = await machine.mustInstall('', { env: { POSIXLY_CORRECT: '1' } });
      assert.match(
        stdout,
        /^\[2\/3\] Installing ssh-sessions-exporter_\S+ \.\.\.\n[\s\S]*^ {4}done in \d+ s\n\[3\/3\]/m,
      );
      assert.match(stdout, /^\[3\/3\] Waiting until http:\S+ shows the sessions \.\.\.\n {4}done in \d+ s$/m);
    });

    it('opens the firewall for private networks, for all, or for one, and takes that back', async () => {
      const { guest } = machine;
      await machine.mustInstall('uninstall --purge');
      assert.deepEqual(await rules(), []);
      for (const address of ['198.51.100.7/24', '192.168.77.5/26', 'fd00:77::5/64', '2001:db8::5/64']) {
        await guest.run(`ip address add ${address} dev tap0`);
      }
      await machine.mustInstall('--ufw-from none');
      // The administrator's own, also where they name the application or its name.
      const before = [
        "ufw allow 9200/tcp comment 'ssh-sessions-exporter'",
        'ufw allow from 192.168.77.0/26 to any port 9100 proto tcp',
        'ufw deny from 10.0.2.66 to any app ssh-sessions-exporter',
      ];
      await guest.run(before.join('; '));
      const rule = (network: string) => `ufw allow from ${network} to any app ssh-sessions-exporter`;
      const said = await machine.mustInstall("--ufw-from ''");
      assert.match(said, /^Opening port 9100 to 10\.0\.2\.0\/24 \(--ufw-from would limit that\):$/m);
      const connected = [...before, ...['10.0.2.0/24', '192.168.77.0/26', 'fd00:77::/64'].map(rule)].sort();
      assert.deepEqual(await rules(), connected);
      await machine.mustInstall();
      assert.deepEqual(await rules(), connected);

      await machine.mustInstall('--ufw-from any');
      assert.deepEqual(await rules(), [...before, 'ufw allow ssh-sessions-exporter'].sort());
      await machine.mustInstall('--ufw-from 198.51.100.9');
      assert.deepEqual(await rules(), [...before, rule('198.51.100.9')].sort());
      assert.match(await machine.mustInstall('--ufw-from none'), /^Opening port 9100 to nobody /m);
      assert.deepEqual(await rules(), before);
      // What ufw would never delete again.
      await refuses('--ufw-from ::/0', /^error: --ufw-from is '::\/0'; .* any, or none$/m);
      assert.deepEqual(await rules(), before);

      // Version 1.0.0 opened it for all, and remembered that in its own way.
      await guest.run('ufw allow 9100/tcp');
      await guest.run('echo UFW_RULE=allow 9100/tcp >>/etc/ssh-sessions-exporter/install.conf');
      await machine.mustInstall("--ufw-from ''");
      assert.deepEqual(await rules(), connected);
      // Also if its rule is the one that is wanted: an uninstall must find it.
      await guest.run('ufw allow from 198.51.100.9 to any port 9100 proto tcp');
      await guest.run(
        'echo UFW_RULE=allow from 198.51.100.9 to any port 9100 proto tcp >>/etc/ssh-sessions-exporter/install.conf',
      );
      await machine.mustInstall('--ufw-from 198.51.100.9');
      assert.deepEqual(await rules(), [...before, rule('198.51.100.9')].sort());
      await machine.mustInstall('uninstall');
      assert.deepEqual(await rules(), before);
      await guest.run(before.join('; ').replaceAll('ufw ', 'ufw delete '));
    });

    it('believes no node_exporter that an account has started', async () => {
      const { guest } = machine;
      await guest.run('systemctl stop prometheus-node-exporter');
      await guest.run(START_FALSE_EXPORTERS, { timeoutMs: 60_000 });
      const { status, stdout, stderr } = await install('--log-level debug');
      assert.equal(status, 0, stdout + stderr);
      assert.match(stdout, /writes \/var\/lib\/prometheus\/.*http:\/\/localhost:9100\/metrics shows/);
      await guest.run('test "$(pgrep -u mallory -c "^(node_exporter|prometheus-node)")" -ge 7');
      assert.equal(await machine.property(SERVICE, 'User'), '');
      assert.equal(await guest.run('ls -A /home/mallory/metrics'), '');
      assert.doesNotMatch((await rules()).join('\n'), /96\d\d/);
      await guest.run('systemctl stop user@1001.service; pkill -u mallory; true');
      await machine.mustInstall("--log-level ''");
    });

    it('asks where two that it believes differ', async () => {
      const { guest } = machine;
      await guest.run(`${ADD_HAND_MADE_EXPORTER} && systemctl start node_exporter`);
      await refuses(
        '',
        /^error: node_exporter runs more than once, .*choose one with both --textfile-dir and --port/m,
      );
      await refuses('--port 9300', /--textfile-dir and --port/m);
      const stdout = await machine.mustInstall('--port 9300 --textfile-dir /srv/metrics');
      assert.match(
        stdout,
        /writes \/srv\/metrics\/ssh_sessions.prom, which http:\/\/localhost:9300\/metrics shows/,
      );
      await machine.mustInstall('uninstall --purge');
    });

    it('has its first run when the settings are there, next to a node_exporter made by hand', async () => {
      const { guest } = machine;
      await guest.run('apt-get purge -y prometheus-node-exporter && rm -rf /var/lib/prometheus');
      const since = (await guest.run('date +%s')).trim();
      await machine.mustInstall();
      const log = await guest.run(
        `journalctl --sync; journalctl --unit=${SERVICE} --since=@${since} --quiet --output=cat`,
      );
      assert.equal(log, '');
      assert.equal(await guest.run('stat -c %U /srv/metrics/ssh_sessions.prom'), 'exporter\n');
      await guest.run("grep -x 'ssh_login_log_success 1' /srv/metrics/ssh_sessions.prom");
    });

    it('writes where a link of root leads, as the owner of that directory, and not where others link to', async () => {
      const { guest } = machine;
      await guest.run('ln -s /srv/metrics /srv/link && rm /srv/metrics/*');
      await guest.run('ln -s /srv/metrics /home/mallory/link', { user: 'mallory' });
      await machine.mustInstall('--textfile-dir /srv/link --port 9300');
      assert.equal(await guest.run('stat -c %U /srv/metrics/*'), 'exporter\n');
      await guest.run(`systemctl stop ${TIMER} && rm /srv/metrics/*`);
      await refuses('--textfile-dir /home/mallory/link', /^error: a run failed/m);
      assert.equal(await guest.run('ls -A /srv/metrics'), '');
      await refuses('--textfile-dir //', /^error: TEXTFILE_DIR is '\/\/'; give an absolute path/m);
      await machine.mustInstall("--textfile-dir '' --port ''");
    });

    it('adds no second node_exporter where one that it does not believe has the port', async () => {
      const { guest } = machine;
      await machine.mustInstall('uninstall --purge');
      await guest.run('systemctl stop node_exporter && chown exporter /usr/local/bin/node_exporter');
      await guest.run('systemd-run --unit=unbelieved /usr/local/bin/node_exporter');
      await guest.run('until bash -c ": <>/dev/tcp/127.0.0.1/9100" 2>/dev/null; do sleep 0.1; done');
      await refuses('', /^error: port 9100 is in use, .*give both --textfile-dir and --port$/m);
      await guest.run('! dpkg -s prometheus-node-exporter 2>/dev/null');
      await guest.run('systemctl stop unbelieved && chown root /usr/local/bin/node_exporter');
      await guest.run('systemctl start node_exporter');
    });

    it('leaves nothing of an installation that failed', async () => {
      const { guest } = machine;
      await guest.run('mv /usr/bin/apt-get /usr/bin/apt-get.away');
      await refuses('', /^error: that step failed/m);
      await guest.run('mv /usr/bin/apt-get.away /usr/bin/apt-get');
      await machine.mustInstall('uninstall --purge');
      assert.equal(await guest.run('find /etc /srv/metrics -name "*ssh[-_]sessions*"'), '');
    });

    it('needs cron where systemd does not run, and keeps the terminal from the owner of the directory', async () => {
      const { guest } = machine;
      const options = '--textfile-dir /srv/metrics --port 9300 --ufw-from none';
      await guest.run('mv /run/systemd/system /run/systemd/system.away');
      await guest.run('mv /etc/resolv.conf /root && ! command -v cron');
      await refuses(options, /^error: cron could not be installed and started, .*$/m);
      await guest.run('mv /root/resolv.conf /etc');
      await machine.mustInstall(options);

      const program = '/usr/bin/ssh-sessions-exporter';
      await guest.run(`mv ${program} ${program}.away && cat >${program} && chmod 755 ${program}`, {
        input: '#!/bin/sh\nid -un; ls -l /proc/$$/fd; exit 3\n',
      });
      const { status, stdout } = await guest.exec(
        'script -qec /usr/lib/ssh-sessions-exporter/run-from-cron /dev/null',
      );
      assert.equal(status, 3);
      assert.match(stdout, /^exporter\r?$/m);
      assert.doesNotMatch(stdout, /\/dev\/(?:pts|tty)/);
      await guest.run(`mv ${program}.away ${program}`);
      await machine.mustInstall('uninstall --purge');
      await guest.run('apt-get purge -y cron; mv /run/systemd/system.away /run/systemd/system');
    });

    it('leaves no failed unit when it is purged during a run, or after a failed one', {
      timeout: 600_000,
    }, async () => {
      const { guest } = machine;
      const file = `${CHECKOUT}/${packageName()}`;
      const failed = `systemctl list-units --all --state=failed,not-found --plain --no-legend 'ssh-sessions*'`;
      await guest.run('mv /usr/bin/w /usr/bin/w.away');
      await guest.run('cat >/usr/bin/w && chmod +x /usr/bin/w', { input: SLOW_W });
      for (let run = 0; run < 20; run++) {
        const delay = (run % 10) / 10;
        await guest.run(`dpkg --install ${file} && systemctl stop ${TIMER}
          systemctl start --no-block ${SERVICE}; sleep ${delay}; dpkg --purge ssh-sessions-exporter`);
        assert.equal(await guest.run(failed), '', `purged ${delay} s after the start`);
      }
      await guest.run(`dpkg --install ${file} && rm /usr/bin/w`);
      assert.notEqual((await guest.exec(`systemctl start ${SERVICE}`)).status, 0);
      await guest.run('dpkg --purge ssh-sessions-exporter && mv /usr/bin/w.away /usr/bin/w');
      assert.equal(await guest.run(failed), '');
      await guest.run('! test -e /run/ssh-sessions-exporter');

      await guest.run(`dpkg --install ${file} && mv /usr/bin/w /usr/bin/w.away`);
      await guest.run('cat >/usr/bin/w && chmod +x /usr/bin/w', { input: SLOW_W });
      await guest.run(`systemctl start --no-block ${SERVICE}; sleep 0.5; systemctl stop ${SERVICE}`);
      assert.equal(await machine.property(SERVICE, 'Result'), 'success', 'a run that is stopped');
      await guest.run('mv /usr/bin/w.away /usr/bin/w');
    });

    it('says when w lists no session, and why', async () => {
      const { guest } = machine;
      const warning = /^warning: .*w lists no SSH session.*$/m;
      assert.doesNotMatch(await machine.mustInstall(), warning);
      await guest.run('install -d /run/sshd && echo UsePAM no >/etc/ssh/sshd_config.d/pam.conf');
      const withoutPam = await machine.mustInstall();
      await guest.run('rm /etc/ssh/sshd_config.d/pam.conf && systemctl mask --now systemd-logind');
      const withoutLogind = await machine.mustInstall();
      if (release === 'bookworm') {
        // Its w reads what sshd itself notes.
        assert.doesNotMatch(withoutPam + withoutLogind, warning);
      } else {
        assert.match(withoutPam, /^warning: sshd has UsePAM no, so w lists no SSH session/m);
        assert.match(withoutLogind, /^warning: systemd-logind does not run \(masked\?\), so w lists/m);
      }
    });

    type Options = ExecOptions & { readonly in?: string };

    async function install(args = '', { in: dir = CHECKOUT, ...options }: Options = {}) {
      return machine.guest.exec(`cd ${dir} && exec ./install.sh ${args}`, { timeoutMs: 600_000, ...options });
    }

    async function refuses(args: string, line: RegExp, options?: Options): Promise<void> {
      const { status, stdout, stderr } = await install(args, options);
      assert.notEqual(status, 0, stdout);
      assert.match(stderr, line);
    }

    /** What was asked of ufw, without remarks. */
    async function rules(): Promise<string[]> {
      const lines = (await machine.guest.run('ufw show added')).split('\n');
      return lines.filter((line) => line.startsWith('ufw ')).sort();
    }
  });
}

/** As an ordinary account: all that npm, Node.js and a shell look for in a directory or above it. */
const LAY_TRAPS = `
umask 022
mkdir -p ~/tmp
echo 'echo BASH_ENV >>/root/taken' >~/.environment
echo 'post-invoke=echo dpkg >>/root/taken' >~/.dpkg.cfg
for version in 3.11 3.13; do
  mkdir -p ~/.local/lib/python$version/site-packages
  echo 'open("/root/taken", "a").write("python")' >~/.local/lib/python$version/site-packages/usercustomize.py
done
cat >/tmp/trap <<'END'
#!/bin/sh
[ "$(/usr/bin/id -u)" != 0 ] || echo "$0 $*" >>/root/taken
exec "/usr/bin/\${0##*/}" "$@"
END
echo 'require("fs").appendFileSync("/root/taken", module.filename + "\\n")' >/tmp/trap.js
chmod 755 /tmp/trap
for dir in /tmp /var/tmp ~ ~/tmp; do
  cd $dir
  mkdir -p node_modules/.bin node_modules/esbuild-wasm
  for program in node npm npx sh bash env git tar dpkg-deb; do cp /tmp/trap node_modules/.bin/$program; done
  cp /tmp/trap.js node_modules/esbuild-wasm/index.js
  printf '%s\\n' script-shell=/tmp/trap 'node-options=--require /tmp/trap.js' ignore-scripts=false >.npmrc
  echo '{"workspaces": ["*", "*/*", "*/*/*"], "scripts": {"prepare": "/tmp/trap", "build": "/tmp/trap"}}' >package.json
done
`;

/** What of root's can be seen where mallory could rename or replace it. */
const WATCH =
  'while sleep 0.02; do find /tmp/ssh-* /var/tmp/ssh-* /home/mallory/tmp -user root 2>/dev/null; done >/root/within-reach';

/** Run by root, but for what it has done as mallory: who has copies of the program, and starts root's own. */
const START_FALSE_EXPORTERS = `
as() { setsid setpriv --reuid=mallory --regid=users --clear-groups env HOME=/home/mallory "$@" >/dev/null 2>&1 </dev/null & }
real=/usr/bin/prometheus-node-exporter
cp $real /home/mallory/node_exporter && chown mallory /home/mallory/node_exporter
install -d -o mallory /home/mallory/metrics
with='--collector.textfile.directory=/home/mallory/metrics --web.listen-address'
as /home/mallory/node_exporter $with=:9666
as $real $with=:9667
as unshare --user --map-root-user $real $with=:9668
as unshare --user --map-root-user --mount sh -c "mount --bind /home/mallory/node_exporter $real && exec $real $with=:9669"
systemctl start user@1001.service
as env XDG_RUNTIME_DIR=/run/user/1001 systemd-run --user --unit=prometheus-node-exporter $real $with=:9670
systemd-run --uid=mallory --unit=application sh -c "exec $real $with=:9671"
systemd-run --uid=mallory --unit=application2 /home/mallory/node_exporter $with=:9672
for try in $(seq 300); do
  [ "$(pgrep -u mallory -c '^(node_exporter|prometheus-node)')" -lt 7 ] || exit 0
  sleep 0.1
done
pgrep -u mallory -a .
exit 1
`;

/** Another node_exporter of root's, with a unit, an account, a directory and a port of its own. */
const ADD_HAND_MADE_EXPORTER = `
cp /usr/bin/prometheus-node-exporter /usr/local/bin/node_exporter
useradd --system exporter
install -d -o exporter /srv/metrics
printf '%s\\n' '[Service]' 'User=exporter' \\
  'ExecStart=/usr/local/bin/node_exporter --collector.textfile.directory /srv/metrics --web.listen-address :9300' \\
  >/etc/systemd/system/node_exporter.service
systemctl daemon-reload`;

const SLOW_W = `#!/bin/sh
sleep 0.7
exec /usr/bin/w.away "$@"
`;
