import { Failure } from '../failure.ts';
import { codeOf, type Host, type RunResult } from '../host/host.ts';
import type { Log } from '../log.ts';
import { byteText, cleanText } from '../text.ts';

/** The limit for w's output, in bytes: three times as much as 100,000 rows of the widest kind. */
export const OUTPUT_LIMIT = 64 * 1024 * 1024;

/** How much of w's complaints is quoted, in bytes. */
const MAX_QUOTED = 500;

/** Addresses rather than names if w reads utmp; a FROM column in every build. */
export const ARGUMENTS = ['-i'];

/**
 * The largest widths that w takes (w.c, main), so that it cuts no name and no address; English names and
 * the C library's UTF-8, so that the columns can be read. LANGUAGE would win over LC_ALL.
 */
export const ENVIRONMENT = {
  PROCPS_USERLEN: '32',
  PROCPS_FROMLEN: '256',
  COLUMNS: '512',
  LC_ALL: 'C.UTF-8',
  LANGUAGE: '',
};

/**
 * Runs w.
 *
 * @param timeout the time limit for w, in seconds
 * @returns what it printed, in pieces that can be iterated once
 * @throws Failure when w is missing, fails, is killed, prints too much or takes too long
 */
export function runW(host: Host, timeout: number, log: Log): Iterable<Uint8Array> {
  log('debug', () => describeW(host));
  const limits = { env: ENVIRONMENT, timeout, outputLimit: OUTPUT_LIMIT };
  const { stdout, stderr, end } = host.run(['w', ...ARGUMENTS], limits);
  const complaint = cleanText(byteText(stderr.subarray(0, MAX_QUOTED)).trim());
  if (end !== 0) throw new Failure(explain(end, complaint, timeout));
  if (complaint !== '') log('warning', `w complained: ${complaint}`);
  return drain([...stdout]);
}

/** Each piece can be forgotten once its rows are read: they and the bytes of 100,000 are 33 MB each. */
function* drain(pieces: Uint8Array[]): Generator<Uint8Array> {
  for (let piece = pieces.shift(); piece; piece = pieces.shift()) yield piece;
}

/** For bug reports: the version of w, and how it is run. */
function describeW(host: Host): string {
  const { stdout, end } = host.run(['w', '--version'], { env: {}, timeout: 5, outputLimit: MAX_QUOTED });
  const version = end === 0 ? cleanText(stdout.map(byteText).join('').trim()) : 'w --version failed';
  const environment = Object.entries(ENVIRONMENT).map(([name, value]) => `${name}=${value}`);
  const zone = host.env['TZ'] === undefined ? '' : `TZ=${cleanText(host.env['TZ'])} `;
  return `${version}: ${zone}${environment.join(' ')} w ${ARGUMENTS.join(' ')}`;
}

/**
 * Makes sure that /proc shows other users' processes. w omits the rows whose processes it cannot see, and still ends
 * with status 0 (w.c, showinfo). If /proc hides other users' processes, it hides process 1, which is root's.
 *
 * @throws Failure when it does not
 */
export function requireOpenProc(host: Host): void {
  try {
    host.readSmallFile('/proc/1/stat');
  } catch (error) {
    throw new Failure(
      `/proc hides other users' processes (${codeOf(error)}), so w cannot list their sessions; run as root, ` +
        'or check hidepid= of the /proc mount and ProtectProc= of the service',
    );
  }
}

function explain(end: RunResult['end'], complaint: string, timeout: number): string {
  if (typeof end === 'number') {
    return `w exited with status ${end}: ${complaint || 'no message'}; run w -i by hand`;
  }
  if (end.startsWith('SIG')) return `w was killed by ${end}; run w -i by hand to see why`;
  switch (end) {
    case 'missing':
      return 'w not found; install procps (apt-get install procps)';
    case 'timeout':
      return `w took longer than ${timeout} s and was stopped; run w -i by hand, or raise --timeout`;
    case 'too much':
      return `w printed more than ${OUTPUT_LIMIT / 1024 / 1024} MiB and was stopped; run w -i by hand to see why`;
    default:
      return `w could not be run (${end}); check the limits of the service, and run w -i by hand`;
  }
}
