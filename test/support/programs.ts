/** Which programs a test needs, and what to say when one is not there. */
import { existsSync } from 'node:fs';

/** The Debian package of each program. */
const PACKAGES = {
  '/usr/bin/prometheus': 'prometheus',
  '/usr/bin/prometheus-node-exporter': 'prometheus-node-exporter',
  '/usr/bin/promtool': 'prometheus',
  '/usr/bin/w': 'procps',
  '/usr/sbin/sshd': 'openssh-server',
} as const;

/**
 * For the `skip` option of a test: false when the programs are there, else one line that names what to install.
 * Where CI is set nothing is skipped, and a missing program is an error.
 */
export function lacking(...programs: readonly (keyof typeof PACKAGES)[]): string | false {
  const missing = programs.filter((program) => !existsSync(program));
  if (missing.length === 0) return false;
  const packages = [...new Set(missing.map((program) => PACKAGES[program]))].join(' ');
  const reason = `needs ${missing.join(' ')}; apt-get install ${packages}`;
  if (process.env['CI']) throw new Error(reason);
  return reason;
}
