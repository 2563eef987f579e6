/**
 * Runs the bench inside Debian 12 and 13, with the installed package, their own hosts and real SSH sessions. Arguments
 * go to the bench. Needs what test/support/guest.ts needs.
 */
import { bootGuest, type Release } from '../test/support/guest.ts';
import { buildPackage, VERSION } from '../test/support/machine.ts';
import { guestSshServer } from '../test/support/ssh.ts';

const PACKAGES = ['nodejs', 'python3-prometheus-client', 'time'];
const CHECKOUT = '/opt/checkout';
const PREPARE = `dpkg --install ${CHECKOUT}/package.deb >/dev/null && systemctl stop ssh-sessions-exporter.timer
  cd ${CHECKOUT}`;
const SESSIONS = 3;

/** @returns whether all went well */
async function benchIn(release: Release, args: readonly string[]): Promise<boolean> {
  const packages = release === 'trixie' ? [...PACKAGES, 'quickjs'] : PACKAGES;
  const guest = await bootGuest(release, { packages });
  try {
    for (const part of ['bench', 'build', 'package.json']) guest.copyIn(part, `${CHECKOUT}/${part}`);
    guest.copyIn(await buildPackage(VERSION), `${CHECKOUT}/package.deb`);
    const server = await guestSshServer(guest);
    for (let i = 0; i < SESSIONS; i++) await server.terminal({ from: '203.0.113.77' });
    const quoted = args.map((arg) => `'${arg.replaceAll("'", "'\\''")}'`).join(' ');
    const command = `${PREPARE} && node build/bench/bench.js --package ${quoted}`;
    const result = await guest.exec(command, { timeoutMs: 1_800_000 });
    process.stdout.write(result.stdout);
    process.stderr.write(result.stderr);
    await server.close();
    return result.status === 0;
  } finally {
    await guest.stop();
  }
}

for (const release of ['bookworm', 'trixie'] as const) {
  if (!(await benchIn(release, process.argv.slice(2)))) process.exitCode = 1;
}
process.exit();
