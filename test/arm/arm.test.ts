/** The package on the processors of a Raspberry Pi, on both hosts. */
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ARCHITECTURES, type ArmDebian, ENVIRONMENT, startArmDebian } from '../support/arm.ts';
import { labelsOf, readExposition } from '../support/exposition.ts';
import { assertCapture, FIXTURES } from '../support/fixtures.ts';
import { buildPackage, VERSION } from '../support/machine.ts';
import { capture } from '../support/process.ts';
import { lacking, lackingRoot } from '../support/programs.ts';
import { localSshServer, type SshServer } from '../support/ssh.ts';

const skip =
  lackingRoot() ||
  lacking(
    '/usr/bin/qemu-aarch64-static',
    '/usr/sbin/debootstrap',
    '/usr/sbin/sshd',
    '/usr/sbin/update-binfmts',
  );

const CLIENT = '203.0.113.77';

for (const architecture of ARCHITECTURES) {
  describe(`on ${architecture}`, { skip }, () => {
    let debian: ArmDebian;
    let server: SshServer;

    before(async () => {
      const packageFile = await buildPackage(VERSION);
      debian = await startArmDebian(architecture);
      server = await localSshServer();
      cpSync(FIXTURES, debian.path('/opt/test/fixtures'), { recursive: true });
      copyFileSync(packageFile, debian.path('/opt/package.deb'));
      await debian.run('dpkg --install /opt/package.deb');
    });
    after(async () => {
      await server?.close();
      await debian?.stop();
    });

    for (const host of ['QuickJS', 'Node.js']) {
      describe(`the package on ${host}`, () => {
        before(() => (host === 'Node.js' ? debian.run('dpkg --remove quickjs') : undefined));

        it('reports a live session, and its connection', async () => {
          const { pid = 0 } = await server.terminal();
          const tty = readlinkSync(`/proc/${pid}/fd/0`).replace('/dev/', '');
          tellLogind(debian, tty, pid);
          const command = ['ssh-sessions-exporter', '--output', '-', '--log-level', 'debug'];
          const { status, stdout, stderr } = await capture(debian.argv(command), { env: ENVIRONMENT });
          assert.equal(status, 0, stderr);
          assert.match(stderr, new RegExp(`^debug: ssh-sessions-exporter \\S+, ${host}`));
          assert.match(stderr, /^debug: connection of root: terminal$/m);
          const sessions = labelsOf(readExposition(stdout), 'ssh_session_info');
          const session = sessions.find((labels) => labels['tty'] === tty);
          assert.equal(session?.['from'], CLIENT);
          assert.equal(session?.['what'], '-bash');
        });

        for (const name of readdirSync(FIXTURES).sort()) {
          it(`reads ${name}`, () =>
            assertCapture(name, ['ssh-sessions-exporter'], {
              root: '/opt',
              argv: debian.argv,
              env: ENVIRONMENT,
            }));
        }
      });
    }
  });
}

/** No logind runs there; w of Debian 13 reads its files. */
function tellLogind(debian: ArmDebian, tty: string, leader: number): void {
  const session = {
    UID: 0,
    USER: 'root',
    ACTIVE: 1,
    STATE: 'active',
    REMOTE: 1,
    REMOTE_HOST: CLIENT,
    TYPE: 'tty',
    CLASS: 'user',
    TTY: tty,
    SERVICE: 'sshd',
    LEADER: leader,
    REALTIME: Date.now() * 1000,
  };
  const lines = Object.entries(session).map(([name, value]) => `${name}=${value}\n`);
  const directory = debian.path('/run/systemd');
  mkdirSync(join(directory, 'sessions'), { recursive: true });
  // It says that systemd runs: sd_booted(3).
  mkdirSync(join(directory, 'system'), { recursive: true });
  writeFileSync(join(directory, 'sessions/1'), lines.join(''));
}
