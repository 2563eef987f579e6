import type { Connection } from './connections.ts';
import { type MetricFamily, renderLabels, type Sample } from './exposition.ts';
import type { Session } from './session.ts';
import type { Column } from './w/parse.ts';
import { parseDuration } from './w/time.ts';

/** What a run says of itself. */
export interface Run {
  /** Whether w ran and its output was understood. */
  readonly success: boolean;
  /** When it took place. */
  readonly time: Date;
  readonly seconds: number;
  readonly unparsedRows: number;
  /** The version of this program. */
  readonly version: string;
}

/** How the values of things with equal labels become one: no two samples of a family may have equal labels. */
type Merge = (a: number, b: number) => number;

const same: Merge = (a) => a;
const count: Merge = (a, b) => a + b;
const newest: Merge = (a, b) => Math.max(a, b);
const least: Merge = (a, b) => Math.min(a, b);
/** Of CPU times, which come in hundredths of a second: binary fractions do not add up exactly. */
const sum: Merge = (a, b) => Math.round((a + b) * 100) / 100;

/** A row of the metric tables: how things of type T, each with the texts L, make a metric family. */
interface Rule<L extends string, T extends Readonly<Record<L, string>>> {
  readonly name: string;
  readonly labels: readonly L[];
  readonly help: string;
  /** The value of one thing; undefined, where it is not known, makes no sample. */
  readonly value: (thing: T) => number | undefined;
  readonly merge: Merge;
  /** The value of the sample that stands there when nothing else does. */
  readonly whenNone?: number;
}

const SESSION: readonly Column[] = ['user', 'tty', 'from'];

/** @param infoLabels the labels of ssh_session_info */
export function sessionRules(infoLabels: readonly Column[]): readonly Rule<Column, Session>[] {
  return [
    {
      name: 'ssh_sessions_total',
      labels: [],
      help: 'Active SSH sessions.',
      value: () => 1,
      merge: count,
      whenNone: 0,
    },
    {
      name: 'ssh_session_info',
      labels: infoLabels,
      help: 'An active SSH session as w prints it; always 1.',
      value: () => 1,
      merge: same,
    },
    {
      name: 'ssh_user_sessions',
      labels: ['user', 'from'],
      help: 'Active SSH sessions of a user from a client.',
      value: () => 1,
      merge: count,
    },
    {
      name: 'ssh_session_login_timestamp_seconds',
      labels: SESSION,
      help: 'Unix time of the login, at the precision that w gives: a minute, then an hour, then a day.',
      value: (session) => session.loginTimestamp,
      merge: newest,
    },
    {
      name: 'ssh_session_idle_seconds',
      labels: SESSION,
      help: 'Seconds since the terminal of the session was last used.',
      value: (session) => parseDuration(session.idle),
      merge: least,
    },
    {
      name: 'ssh_session_jcpu_seconds',
      labels: SESSION,
      help: 'CPU time of all processes on the terminal of the session.',
      value: (session) => parseDuration(session.jcpu),
      merge: sum,
    },
    {
      name: 'ssh_session_pcpu_seconds',
      labels: SESSION,
      help: 'CPU time of the process that w names in what.',
      value: (session) => parseDuration(session.pcpu),
      merge: sum,
    },
  ];
}

export const CONNECTION_RULES: readonly Rule<'user' | 'kind', Connection>[] = [
  {
    name: 'ssh_connections',
    labels: ['user', 'kind'],
    help: 'Authenticated SSH connections that sshd serves: with a terminal, a command or sftp (notty), or forwarding only.',
    value: () => 1,
    merge: count,
  },
];

export const RUN_RULES: readonly Rule<'version', Run>[] = [
  {
    name: 'ssh_sessions_exporter_success',
    labels: [],
    help: 'Whether w ran and its output was understood.',
    value: (run) => Number(run.success),
    merge: same,
  },
  {
    name: 'ssh_sessions_exporter_last_run_timestamp_seconds',
    labels: [],
    help: 'Unix time of this run.',
    value: (run) => run.time.getTime() / 1000,
    merge: same,
  },
  {
    name: 'ssh_sessions_exporter_duration_seconds',
    labels: [],
    help: 'Seconds from the start of the program until this text was made.',
    value: (run) => run.seconds,
    merge: same,
  },
  {
    name: 'ssh_sessions_exporter_unparsed_rows',
    labels: [],
    help: 'Rows of w that could not be read.',
    value: (run) => run.unparsedRows,
    merge: same,
  },
  {
    name: 'ssh_sessions_exporter_build_info',
    labels: ['version'],
    help: 'The version of ssh-sessions-exporter; always 1.',
    value: () => 1,
    merge: same,
  },
];

/** What has equal labels, as many of a kind as there may be, makes one sample. */
interface Grouping {
  /** The labels of each group, in the order of the things. */
  readonly labels: readonly string[];
  /** The group of each thing. */
  readonly groups: readonly number[];
}

/**
 * The metric families of a list of things, in the order of the rules; samples are in the order of the things.
 * They are made one at a time, so that 100,000 sessions are not in memory in every form at once.
 */
export function* metricFamilies<L extends string, T extends Readonly<Record<L, string>>>(
  rules: readonly Rule<L, T>[],
  things: readonly T[],
): Generator<MetricFamily> {
  let labels: readonly L[] | undefined;
  let grouping: Grouping = { labels: [], groups: [] };
  for (const rule of rules) {
    // Rules with the same labels follow each other, and share the groups: finding them is most of the work.
    if (rule.labels !== labels) grouping = groupBy(rule.labels, things);
    labels = rule.labels;
    yield { name: rule.name, help: rule.help, samples: toSamples(rule, things, grouping) };
  }
}

function groupBy<L extends string, T extends Readonly<Record<L, string>>>(
  names: readonly L[],
  things: readonly T[],
): Grouping {
  const places = new Map<string, number>();
  const groups = things.map((thing) => {
    const labels = renderLabels(names, thing);
    const place = places.get(labels) ?? places.size;
    if (place === places.size) places.set(labels, place);
    return place;
  });
  return { labels: [...places.keys()], groups };
}

function* toSamples<L extends string, T extends Readonly<Record<L, string>>>(
  rule: Rule<L, T>,
  things: readonly T[],
  grouping: Grouping,
): Generator<Sample> {
  if (things.length === 0 && rule.whenNone !== undefined) yield { labels: '', value: rule.whenNone };
  const values = mergeValues(rule, things, grouping);
  let group = 0;
  for (const labels of grouping.labels) {
    const value = values[group++];
    if (value !== undefined) yield { labels, value };
  }
}

/** @returns the value of each group; undefined when none of its values is known */
function mergeValues<L extends string, T extends Readonly<Record<L, string>>>(
  rule: Rule<L, T>,
  things: readonly T[],
  { groups }: Grouping,
): readonly (number | undefined)[] {
  const merged: (number | undefined)[] = [];
  things.forEach((thing, index) => {
    const value = rule.value(thing);
    if (value === undefined) return;
    const group = groups[index] ?? 0;
    const others = merged[group];
    merged[group] = others === undefined ? value : rule.merge(others, value);
  });
  return merged;
}
