/** Checks for the programs that a test needs. */
import { existsSync } from 'node:fs';

/** The Debian package of each program. */
const PACKAGES = {
  '/usr/bin/amtool': 'prometheus-alertmanager',
  '/usr/bin/dpkg-deb': 'dpkg',
  '/usr/bin/faketime': 'faketime',
  '/usr/bin/lintian': 'lintian',
  '/usr/bin/prometheus': 'prometheus',
  '/usr/bin/prometheus-alertmanager': 'prometheus-alertmanager',
  '/usr/bin/prometheus-node-exporter': 'prometheus-node-exporter',
  '/usr/bin/promtool': 'prometheus',
  '/usr/bin/qemu-aarch64-static': 'qemu-user-static',
  '/usr/bin/slirp4netns': 'slirp4netns',
  '/usr/bin/strace': 'strace',
  '/usr/bin/systemd-nspawn': 'systemd-container',
  '/usr/bin/time': 'time',
  '/usr/bin/w': 'procps',
  '/usr/sbin/debootstrap': 'debootstrap',
  '/usr/sbin/mkfs.btrfs': 'btrfs-progs',
  '/usr/sbin/mkfs.ext4': 'e2fsprogs',
  '/usr/sbin/sshd': 'openssh-server',
  '/usr/sbin/update-binfmts': 'binfmt-support',
} as const;

/**
 * For the `skip` option of a test: false if the programs exist, else one line that names what to install.
 * If CI is set, nothing is skipped, and a missing program is an error.
 */
export function lacking(...programs: readonly (keyof typeof PACKAGES)[]): string | false {
  const missing = programs.filter((program) => !existsSync(program));
  if (missing.length === 0) return false;
  const packages = [...new Set(missing.map((program) => PACKAGES[program]))].join(' ');
  return skip(`needs ${missing.join(' ')}; apt-get install ${packages}`);
}

/** The same for what only root may do: to mount, to act as another account. */
export function lackingRoot(): string | false {
  return process.getuid?.() === 0 ? false : skip('needs root; run the tests with sudo');
}

/** The same for booting a guest (guest.ts). */
export function lackingGuests(): string | false {
  return lackingRoot() || lacking('/usr/sbin/debootstrap', '/usr/bin/slirp4netns', '/usr/bin/systemd-nspawn');
}

function skip(reason: string): string {
  if (process.env['CI']) throw new Error(reason);
  return reason;
}
