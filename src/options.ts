import type { Host } from './host/host.ts';
import { LEVELS, type Level } from './log.ts';
import { COLUMNS, type Column } from './w/parse.ts';

/** The options of a run, named as on the command line. */
export interface Options {
  /** The file to replace; "-" is standard output. */
  readonly output: string;
  /** Saved output of w to read instead of running it; "-" is standard input. */
  readonly input?: string;
  /** Export every login rather than SSH sessions only. */
  readonly all: boolean;
  /** The labels of ssh_session_info. */
  readonly labels: readonly Column[];
  /** Whether to read the connections that sshd serves. */
  readonly connections: boolean;
  /** Whether to read sshd's log. */
  readonly logins: boolean;
  /** Keep the arguments of the command in WHAT. */
  readonly args: boolean;
  /** The time limit for w, and for journalctl, in seconds. */
  readonly timeout: number;
  readonly logLevel: Level;
}

export const DEFAULTS: Options = {
  /** In Debian's textfile directory (ARGS of prometheus-node-exporter). */
  output: '/var/lib/prometheus/node-exporter/ssh_sessions.prom',
  all: false,
  labels: COLUMNS,
  connections: true,
  logins: true,
  args: true,
  timeout: 5,
  logLevel: 'info',
};

/** The environment variables that stand for an option. An empty one asks for the default. */
export const VARIABLES = { output: 'SSH_SESSIONS_OUTPUT', logLevel: 'LOG_LEVEL' } as const;

export const parseLevel = (text: string) => LEVELS.find((level) => level === text.toLowerCase());

/**
 * The options of a run without arguments, such as that of the timer. commander is not needed for those, and is half of
 * what QuickJS would have to load.
 *
 * @returns undefined if there is something to parse, or to complain about
 */
export function optionsWithoutArguments({ args, env }: Host): Options | undefined {
  const logLevel = parseLevel(env[VARIABLES.logLevel] || DEFAULTS.logLevel);
  if (args.length > 0 || logLevel === undefined) return undefined;
  return { ...DEFAULTS, output: env[VARIABLES.output] || DEFAULTS.output, logLevel };
}
