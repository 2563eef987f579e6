/**
 * Runs the bench inside Debian 12 and 13, with the installed package, their own hosts and real SSH sessions. Arguments
 * go to the bench. Needs what test/support/guest.ts needs.
 */
import { bootGuest, type Guest, RELEASES, type Release } from '../test/support/guest.ts';
import { buildPackage, VERSION } from '../test/support/machine.ts';
import { quote } from '../test/support/process.ts';
import { guestSshServer } from '../test/support/ssh.ts';

const PACKAGES = ['nodejs', 'python3-prometheus-client', 'time'];
const CHECKOUT = '/opt/checkout';
const FEW = 3;
const MANY = 50;

/** @returns whether all went well */
async function benchIn(release: Release, args: readonly string[]): Promise<boolean> {
  const packages = release === 'trixie' ? [...PACKAGES, 'quickjs'] : PACKAGES;
  const guest = await bootGuest(release, { packages });
  try {
    for (const part of ['bench', 'build', 'package.json']) guest.copyIn(part, `${CHECKOUT}/${part}`);
    guest.copyIn(await buildPackage(VERSION), `${CHECKOUT}/package.deb`);
    await guest.run(`dpkg --install ${CHECKOUT}/package.deb && systemctl stop ssh-sessions-exporter.timer`);
    const server = await guestSshServer(guest, 'outside');
    for (let i = 0; i < FEW; i++) await server.terminal({ from: '203.0.113.77' });
    const isCheap = await bench(guest, args);
    for (let i = FEW; i < MANY; i++) await server.terminal({ from: '203.0.113.77' });
    console.log(`With ${MANY} sessions:`);
    // Not judged: w itself then takes almost half of what QuickJS may.
    const hasRun = await bench(guest, [...args.filter((arg) => arg !== '--check'), '--no-rows']);
    await server.close();
    return isCheap && hasRun;
  } finally {
    await guest.stop();
  }
}

/** @returns whether all went well */
async function bench(guest: Guest, args: readonly string[]): Promise<boolean> {
  const quoted = args.map(quote).join(' ');
  const command = `cd ${CHECKOUT} && node build/bench/bench.js --package ${quoted}`;
  const result = await guest.exec(command, { timeoutMs: 1_800_000 });
  process.stdout.write(result.stdout);
  process.stderr.write(result.stderr);
  return result.status === 0;
}

for (const release of RELEASES) {
  if (!(await benchIn(release, process.argv.slice(2)))) process.exitCode = 1;
}
process.exit();
