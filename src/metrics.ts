import type { Connection } from './connections.ts';
import { labelRenderer, type MetricFamily, type Sample } from './exposition.ts';
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

/** What a list of things comes to. */
export interface Tally {
  readonly count: number;
  /** In the order of the rules; samples are in the order of the things. */
  readonly families: readonly MetricFamily[];
}

/** Rules with the same labels, and what they make of the things. To find the place of a thing is most of the work. */
interface Group<L extends string, T extends Readonly<Record<L, string>>> {
  readonly render: (thing: T) => string;
  /** The place of the value of all things with equal labels, by these labels. */
  readonly places: Map<string, number>;
  readonly columns: Values<L, T>[];
}

interface Values<L extends string, T extends Readonly<Record<L, string>>> {
  readonly rule: Rule<L, T>;
  /** By place; undefined where no value is known. */
  readonly values: (number | undefined)[];
}

/** Goes through the things once, and keeps none: of 100,000 sessions their labels are enough to keep in memory. */
export function tally<L extends string, T extends Readonly<Record<L, string>>>(
  rules: readonly Rule<L, T>[],
  things: Iterable<T>,
): Tally {
  const groups = groupByLabels(rules);
  let count = 0;
  for (const thing of things) {
    for (const group of groups) add(group, thing);
    count++;
  }
  return { count, families: groups.flatMap(toFamilies) };
}

/** Rules with the same labels follow each other. */
function groupByLabels<L extends string, T extends Readonly<Record<L, string>>>(
  rules: readonly Rule<L, T>[],
): Group<L, T>[] {
  const groups: Group<L, T>[] = [];
  let names: readonly L[] | undefined;
  for (const rule of rules) {
    const column: Values<L, T> = { rule, values: [] };
    if (rule.labels === names) groups.at(-1)?.columns.push(column);
    else groups.push({ render: labelRenderer(rule.labels), places: new Map(), columns: [column] });
    names = rule.labels;
  }
  return groups;
}

function add<L extends string, T extends Readonly<Record<L, string>>>(
  { render, places, columns }: Group<L, T>,
  thing: T,
): void {
  const labels = render(thing);
  const place = places.get(labels) ?? places.size;
  if (place === places.size) places.set(labels, place);
  for (const { rule, values } of columns) {
    const value = rule.value(thing);
    const others = values[place];
    // A value that is not known has a place, too: an array with holes is slow.
    if (value === undefined || others === undefined) values[place] = others ?? value;
    else values[place] = rule.merge(others, value);
  }
}

function toFamilies<L extends string, T extends Readonly<Record<L, string>>>({
  places,
  columns,
}: Group<L, T>): MetricFamily[] {
  return columns.map(({ rule, values }) => ({
    name: rule.name,
    help: rule.help,
    samples: toSamples(places, values, rule.whenNone),
  }));
}

function* toSamples(
  places: ReadonlyMap<string, number>,
  values: readonly (number | undefined)[],
  whenNone: number | undefined,
): Generator<Sample> {
  if (places.size === 0 && whenNone !== undefined) yield { labels: '', value: whenNone };
  let place = 0;
  for (const labels of places.keys()) {
    const value = values[place++];
    if (value !== undefined) yield { labels, value };
  }
}
