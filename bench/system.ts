/**
 * Runs the bench inside Debian 12 and 13, with their own Node.js and real SSH sessions. Arguments go to the bench;
 * figures come to build/bench-<release>.json. Needs what test/support/guest.ts needs.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, readdirSync, renameSync } from 'node:fs';
import { bootGuest, type Release } from '../test/support/guest.ts';
import { guestSshServer } from '../test/support/ssh.ts';

const PACKAGES = ['nodejs', 'python3-prometheus-client', 'strace'];
const DEB = 'build/bench.deb';
/** The package is measured, and beside it the program as it is in a checkout. */
const CHECKOUT = '/opt/checkout';
const PARTS = ['bench', 'bin', 'build', 'dist', 'package.json'];
const PREPARE = `dpkg --install ${CHECKOUT}/${DEB} >/dev/null && systemctl stop ssh-sessions-exporter.timer
  cd ${CHECKOUT} && node bin/compile.js`;
const SESSIONS = 3;

/** @returns whether all went well */
async function benchIn(release: Release, args: readonly string[]): Promise<boolean> {
  const guest = await bootGuest(release, { packages: PACKAGES });
  try {
    for (const part of PARTS) guest.copyIn(part, `${CHECKOUT}/${part}`);
    const server = await guestSshServer(guest);
    for (let i = 0; i < SESSIONS; i++) await server.terminal({ from: '203.0.113.77' });
    const command = `${PREPARE} && node build/bench/bench.js --exporter ssh-sessions-exporter "$@"`;
    const quoted = args.map((arg) => `'${arg.replaceAll("'", "'\\''")}'`).join(' ');
    const result = await guest.exec(`set -- ${quoted}\n${command}`, { timeoutMs: 1_800_000 });
    process.stdout.write(result.stdout);
    process.stderr.write(result.stderr);
    if (result.status === 0 || result.stdout.includes('MISSED')) {
      copyFileSync(guest.path(`${CHECKOUT}/build/bench.json`), `build/bench-${release}.json`);
    }
    await server.close();
    return result.status === 0;
  } finally {
    await guest.stop();
  }
}

function makePackage(): void {
  execFileSync('node', ['packaging/build.js'], { stdio: ['ignore', 'ignore', 'inherit'] });
  const file = readdirSync('.').find((name) => /^ssh-sessions-exporter_.*\.deb$/.test(name));
  if (file === undefined) throw new Error('packaging/build.js made no package');
  renameSync(file, DEB);
}

makePackage();
for (const release of ['bookworm', 'trixie'] as const) {
  if (!(await benchIn(release, process.argv.slice(2)))) process.exitCode = 1;
}
process.exit();
