import { labelRenderer, type MetricFamily, type Sample } from './exposition.ts';
import type { Session } from './session.ts';
import type { Connection } from './sshd/connections.ts';
import type { LoginLog } from './sshd/loginState.ts';
import type { LastLogin, LoginHistory } from './sshd/logins.ts';
import type { Kind } from './sshd/title.ts';
import type { Column } from './w/parse.ts';
import { parseDuration } from './w/time.ts';

/** What a run reports about itself. */
export interface Run {
  /** Whether w ran and its output was understood. */
  readonly success: boolean;
  /** When it took place: Unix time, in milliseconds. */
  readonly time: number;
  readonly seconds: number;
  readonly unparsedRows: number;
  /** The version of this program. */
  readonly version: string;
}

/** What the log lacks. */
export interface Loss {
  readonly reason: 'suppressed' | 'limit';
  readonly lost: number;
}

/** How samples with equal labels are combined: a family must not contain the same labels twice. */
type Merge = (a: number, b: number) => number;

const same: Merge = (a) => a;
const count: Merge = (a, b) => a + b;
const newest: Merge = (a, b) => Math.max(a, b);
const least: Merge = (a, b) => Math.min(a, b);
/** Adds CPU times in hundredths of a second, because binary fractions do not add up exactly. */
const sum: Merge = (a, b) => Math.round((a + b) * 100) / 100;

/** One metric: its name, labels L, and how its value is computed from a T. */
interface Rule<L extends string, T extends Readonly<Record<L, string>>> {
  readonly name: string;
  /** A gauge by default. */
  readonly type?: 'counter';
  readonly labels: readonly L[];
  readonly help: string;
  /** The value of one thing; undefined if it is unknown, which gives no sample. */
  readonly value: (thing: T) => number | undefined;
  readonly merge: Merge;
  /** The value to export if there is nothing to count. */
  readonly whenNone?: number;
}

const SESSION: readonly Column[] = ['user', 'tty', 'from'];

/**
 * @param infoLabels the labels of ssh_session_info
 * @param loginTime see `loginTimes`
 */
export function sessionRules(
  infoLabels: readonly Column[],
  loginTime: (login: string) => number | undefined,
): readonly Rule<Column, Session>[] {
  return [
    {
      name: 'ssh_sessions_total',
      labels: [],
      help: 'Number of active SSH sessions.',
      value: () => 1,
      merge: count,
      whenNone: 0,
    },
    {
      name: 'ssh_session_info',
      labels: infoLabels,
      help: "A metric with a constant '1' value for each active SSH session, labeled by columns of w.",
      value: () => 1,
      merge: same,
    },
    {
      name: 'ssh_user_sessions',
      labels: ['user', 'from'],
      help: 'Number of active SSH sessions by user and client.',
      value: () => 1,
      merge: count,
    },
    {
      name: 'ssh_session_login_timestamp_seconds',
      labels: SESSION,
      help: 'Login time of the session in Unix time, as precise as w prints it: to the minute, later to the hour or the day.',
      value: ({ login }) => loginTime(login),
      merge: newest,
    },
    {
      name: 'ssh_session_idle_seconds',
      labels: SESSION,
      help: "Seconds since the session's terminal was last used.",
      value: (session) => parseDuration(session.idle),
      merge: least,
    },
    {
      name: 'ssh_session_jcpu_seconds',
      labels: SESSION,
      help: "CPU seconds of all processes on the session's terminal (JCPU of w).",
      value: (session) => parseDuration(session.jcpu),
      merge: sum,
    },
    {
      name: 'ssh_session_pcpu_seconds',
      labels: SESSION,
      help: "CPU seconds of the session's current process (PCPU of w).",
      value: (session) => parseDuration(session.pcpu),
      merge: sum,
    },
  ];
}

export const CONNECTION_RULES: readonly Rule<'user' | 'kind', Pick<Connection, 'user' | 'kind'>>[] = [
  {
    name: 'ssh_connections',
    labels: ['user', 'kind'],
    help: 'Number of authenticated SSH connections by user and kind: with a terminal, a command or sftp (notty), or forwarding only.',
    value: () => 1,
    merge: count,
  },
];

/** Connections that w lists in no row. */
export interface Unlisted {
  readonly kind: Kind;
  readonly connections: number;
}

export const UNLISTED_RULES: readonly Rule<'kind', Unlisted>[] = [
  {
    name: 'ssh_sessions_unlisted',
    labels: ['kind'],
    help: 'Number of authenticated SSH connections that w does not list, by kind.',
    value: ({ connections }) => connections,
    merge: count,
  },
];

export const UNVERIFIED_RULES: readonly Rule<never, { readonly sessions: number }>[] = [
  {
    name: 'ssh_sessions_unverified',
    labels: [],
    help: 'Number of active SSH sessions that w lists and no sshd process serves.',
    value: ({ sessions }) => sessions,
    merge: count,
  },
];

export const LOGIN_RULES: readonly Rule<'user' | 'from' | 'method' | 'key', LastLogin>[] = [
  {
    name: 'ssh_last_login_timestamp_seconds',
    labels: ['user', 'from', 'method', 'key'],
    help: 'Unix time of the last SSH login by user, client, method and key; kept for 24 hours.',
    value: (login) => login.time / 1000,
    merge: newest,
  },
];

export const REFUSAL_RULES: readonly Rule<never, LoginHistory>[] = [
  {
    name: 'ssh_login_failures_total',
    type: 'counter',
    labels: [],
    help: 'Total number of refused SSH connections that named a user. sshd does not log all of them.',
    value: (history) => history.refused,
    merge: same,
  },
];

export const LOSS_RULES: readonly Rule<'reason', Loss>[] = [
  {
    name: 'ssh_login_log_lost_total',
    type: 'counter',
    labels: ['reason'],
    help: 'Total number of sshd messages that journald suppressed, and of logins beyond the limit of 1,000 series.',
    value: (loss) => loss.lost,
    merge: same,
  },
];

export const LOGIN_LOG_RULES: readonly Rule<never, LoginLog>[] = [
  {
    name: 'ssh_login_log_success',
    labels: [],
    help: "Whether sshd's log was read to its end and has the login of every live connection since the first run.",
    value: (log) => Number(log.success),
    merge: same,
  },
];

export const RUN_RULES: readonly Rule<'version', Run>[] = [
  {
    name: 'ssh_sessions_exporter_success',
    labels: [],
    help: 'Whether w succeeded and its output could be parsed.',
    value: (run) => Number(run.success),
    merge: same,
  },
  {
    name: 'ssh_sessions_exporter_last_run_timestamp_seconds',
    labels: [],
    help: 'Unix time of the last run.',
    value: (run) => run.time / 1000,
    merge: same,
  },
  {
    name: 'ssh_sessions_exporter_duration_seconds',
    labels: [],
    help: 'Duration of the last run in seconds, without writing the file.',
    value: (run) => run.seconds,
    merge: same,
  },
  {
    name: 'ssh_sessions_exporter_unparsed_rows',
    labels: [],
    help: 'Number of rows of w that could not be parsed.',
    value: (run) => run.unparsedRows,
    merge: same,
  },
  {
    name: 'ssh_sessions_exporter_build_info',
    labels: ['version'],
    help: "A metric with a constant '1' value labeled by the version of ssh-sessions-exporter.",
    value: () => 1,
    merge: same,
  },
];

/** All rules, for the documents and their tests. */
export const allRules = (infoLabels: readonly Column[]) => [
  ...sessionRules(infoLabels, () => undefined),
  ...UNLISTED_RULES,
  ...UNVERIFIED_RULES,
  ...CONNECTION_RULES,
  ...LOGIN_RULES,
  ...REFUSAL_RULES,
  ...LOGIN_LOG_RULES,
  ...LOSS_RULES,
  ...RUN_RULES,
];

/** The metric families of a list of things. */
export interface Tally {
  readonly count: number;
  /** In the order of the rules; samples are in the order of the things. */
  readonly families: readonly MetricFamily[];
}

/** Iterates over the things once and keeps only values, keyed by the rendered labels. */
export function tally<L extends string, T extends Readonly<Record<L, string>>>(
  rules: readonly Rule<L, T>[],
  things: Iterable<T>,
): Tally {
  const tables = rules.map((rule) => ({
    rule,
    render: labelRenderer(rule.labels),
    values: new Map<string, number>(),
  }));
  let count = 0;
  for (const thing of things) {
    let names: readonly L[] | undefined;
    let labels = '';
    for (const { rule, render, values } of tables) {
      const value = rule.value(thing);
      if (value === undefined) continue;
      // Several rules in a row have the same labels.
      if (rule.labels !== names) labels = render(thing);
      names = rule.labels;
      const other = values.get(labels);
      values.set(labels, other === undefined ? value : rule.merge(other, value));
    }
    count++;
  }
  const families = tables.map(({ rule: { name, type, help, whenNone }, values }) => {
    if (values.size === 0 && whenNone !== undefined) values.set('', whenNone);
    return { name, type, help, samples: toSamples(values) };
  });
  return { count, families };
}

function* toSamples(values: ReadonlyMap<string, number>): Generator<Sample> {
  for (const [labels, value] of values) yield { labels, value };
}
