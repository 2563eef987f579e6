/**
 * What a run costs on each host, against a bare Node.js that runs w and against what one would write instead: whole
 * processes, run in turn, many times. Prints tables in Markdown. See `npm run bench -- --help`.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT, standInW } from '../test/support/exporter.ts';
import { PRINTED, printDuration, printW, WIDEST_LAYOUT } from '../test/support/w.ts';

const HELP = `Usage: npm run bench -- [--check] [--quick] [--pairs <n>] [--package] [--no-rows]
  --check    end with status 1 when a budget is missed
  --quick    a first look: 5 runs of each command, no 100,000 rows, no budgets
  --pairs    runs of each command (default: 40)
  --package  measure the installed Debian package, not the build in this directory
  --no-rows  do not measure more sessions by a stand-in for w`;

type Where = 'package' | 'build' | 'both';

/** B is a bare Node.js that only runs w: Debian's own for the package, upstream's for the build. */
const BUDGETS: readonly (readonly [where: Where, figure: string, limit: number])[] = [
  ['package', 'QuickJS: CPU time of a run, of B', 0.25],
  ['package', 'QuickJS: CPU time of a run among 300 processes, of B', 0.25],
  ['package', 'QuickJS: CPU time of a run, of Python', 0.4],
  ['package', 'Node.js: CPU time of a run, of B', 1.2],
  ['package', 'Node.js: CPU time of a run among 300 processes, of B', 1.2],
  ['build', 'Node.js: CPU time of a run, of B', 1.3],
  ['both', 'QuickJS: peak MiB', 8],
  ['both', 'Node.js: peak, of B', 1.1],
  ['package', 'QuickJS: CPU time of the launcher, of a run', 0.05],
  ['package', 'Node.js: CPU time of the launcher, of a run', 0.03],
  ['both', 'QuickJS: CPU time for 1,000 rows, of Node.js', 1],
  // 1 s more than an empty run, where B takes 260 ms.
  ['package', 'QuickJS: CPU time that 8,192 rows take more, of B', 1 / 0.26],
  ['both', 'QuickJS: peak MiB for 100,000 rows', 128],
  ['both', 'QuickJS: CPU time for each of 100,000 rows, of that for each of 8,192', 1.25],
  ['both', 'Node.js: seconds for 100,000 rows', 2],
];

const ROWS = [1, 50, 1000, 8192, 100_000];
const PROCESSES = 300;

type HostName = 'QuickJS' | 'Node.js';

interface Host {
  readonly name: HostName;
  readonly command: readonly string[];
  /** The same without the launcher of the package, if the command starts by that. */
  readonly direct?: readonly string[];
}

/** What measure.py reports of one run, in seconds and bytes. */
interface Cost {
  readonly user: number;
  readonly system: number;
  readonly wall: number;
  readonly written: number;
}

function findHosts(ofPackage: boolean): readonly Host[] {
  if (!ofPackage) {
    const quickjs = execFileSync('node', ['build/test/support/quickjs.js'], { encoding: 'utf8' }).trim();
    return [
      { name: 'QuickJS', command: quickjs.split(' ') },
      { name: 'Node.js', command: [process.execPath, join(ROOT, 'dist/ssh-sessions-exporter.cjs')] },
    ];
  }
  const installed = '/usr/lib/ssh-sessions-exporter';
  const node = ['/usr/bin/node', join(installed, 'ssh-sessions-exporter.cjs')];
  const qjs = ['/usr/bin/qjs', '--std', '-m', join(installed, 'quickjs/main.js')];
  const launcher = ['ssh-sessions-exporter'];
  if (!existsSync('/usr/bin/qjs')) return [{ name: 'Node.js', command: launcher, direct: node }];
  return [
    { name: 'QuickJS', command: launcher, direct: qjs },
    { name: 'Node.js', command: node },
  ];
}

const BARE_NODE = [process.execPath, '-e', "require('child_process').execFileSync('w')"];
const B = 'B: Node.js that only runs `w`';
const PYTHON = 'Python with prometheus_client';

type Commands = Readonly<Record<string, readonly string[]>>;

/** The costs of one command, run after run. */
type Costs = readonly Cost[];

/** In the small environment of a service: Node.js reads more than one variable. */
const environment = (path = process.env['PATH']) => ({
  PATH: path,
  LANG: 'C.UTF-8',
  LOG_LEVEL: 'warning',
  // Not by an option: the service has none, and an option takes longer to read.
  SSH_SESSIONS_OUTPUT: process.env['SSH_SESSIONS_OUTPUT'],
});

/** Runs the commands `rounds` times, in turn. */
function measure(commands: Commands, rounds: number, path?: string): ReadonlyMap<string, Costs> {
  const output = execFileSync('/usr/bin/python3', [join(ROOT, 'bench/measure.py')], {
    input: JSON.stringify({ rounds, commands: Object.values(commands) }),
    env: environment(path),
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'inherit'],
    maxBuffer: 1 << 30,
  });
  const results: Cost[][] = JSON.parse(output);
  const costsOf = (index: number) => results.flatMap((round) => round[index] ?? []);
  return new Map(Object.keys(commands).map((name, index) => [name, costsOf(index)]));
}

/** In bytes. By time(1), because the peak of a child of Python is that of Python at least. */
function peak(command: readonly string[], path?: string): number {
  const options = { env: environment(path), encoding: 'utf8' } as const;
  const { status, stderr } = spawnSync('/usr/bin/time', ['--format=%M', ...command], options);
  if (status !== 0) throw new Error(`failed: ${command.join(' ')}\n${stderr}`);
  return Number(stderr.trim().split('\n').pop()) * 1024;
}

const cpu = ({ user, system }: Cost) => user + system;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

const medianOf = (costs: Costs = [], value: (cost: Cost) => number = cpu) => median(costs.map(value));

/** The median of the ratios of what was run in the same round, as the speed of a machine changes over time. */
function ratio(costs: Costs = [], base: Costs = []): number {
  return median(costs.map((cost, round) => cpu(cost) / cpu(base[round] ?? cost)));
}

/** What the budgets are about, by name. */
const figures = new Map<string, number>();

function compare(hosts: readonly Host[], directory: string, pairs: number): string {
  const own: Commands = Object.fromEntries(hosts.map(({ name, command }) => [name, command]));
  const direct = hosts.flatMap(({ name, direct }) =>
    direct ? [[`${name}, without the launcher`, direct] as const] : [],
  );
  const commands: Commands = {
    [B]: BARE_NODE,
    ...own,
    ...Object.fromEntries(direct),
    [PYTHON]: ['/usr/bin/python3', join(ROOT, 'bench/with-prometheus-client.py'), join(directory, 'e.prom')],
    'shell and awk': ['sh', join(ROOT, 'bench/with-awk.sh'), join(directory, 'f.prom')],
    '`w`': ['w'],
  };
  const alone = measure(commands, pairs);
  const peaks = new Map(Object.entries(commands).map(([name, command]) => [name, peak(command)]));
  const among = amongProcesses(() => measure({ [B]: BARE_NODE, ...own }, pairs));

  figures.set(B, medianOf(alone.get(B)));
  for (const { name, direct } of hosts) {
    const costs = alone.get(name);
    figures.set(`${name}: CPU time of a run, of B`, ratio(costs, alone.get(B)));
    figures.set(
      `${name}: CPU time of a run among ${PROCESSES} processes, of B`,
      ratio(among.get(name), among.get(B)),
    );
    figures.set(`${name}: CPU time of a run, of Python`, ratio(costs, alone.get(PYTHON)));
    figures.set(`${name}: peak MiB`, (peaks.get(name) ?? Number.NaN) / MEBIBYTE);
    figures.set(`${name}: peak, of B`, (peaks.get(name) ?? Number.NaN) / (peaks.get(B) ?? Number.NaN));
    const share = 1 - ratio(alone.get(`${name}, without the launcher`), costs);
    if (direct) figures.set(`${name}: CPU time of the launcher, of a run`, share);
  }
  const row = (name: string, costs: Costs, base: Costs | undefined, bytes?: number) => [
    name,
    milliseconds(medianOf(costs)),
    milliseconds(medianOf(costs, ({ user }) => user)),
    milliseconds(medianOf(costs, ({ system }) => system)),
    ratio(costs, base).toFixed(2),
    milliseconds(medianOf(costs, ({ wall }) => wall)),
    bytes === undefined ? '' : mebibytes(bytes),
    (medianOf(costs, ({ written }) => written) / 1024).toFixed(0),
  ];
  return table(
    ['', 'CPU ms', 'user', 'system', 'of B', 'wall ms', 'peak MiB', 'written KiB'],
    [
      ...[...alone].map(([name, costs]) => row(name, costs, alone.get(B), peaks.get(name))),
      ...[...among].map(([name, costs]) => row(`${name}, among ${PROCESSES} processes`, costs, among.get(B))),
    ],
  );
}

/** Measures while that many processes run. */
function amongProcesses<T>(measure: () => T): T {
  const sleepers: ChildProcess[] = [];
  try {
    for (let count = countProcesses(); count < PROCESSES; count++)
      sleepers.push(spawn('sleep', ['1d'], { stdio: 'ignore' }));
    return measure();
  } finally {
    for (const sleeper of sleepers) sleeper.kill('SIGKILL');
  }
}

const countProcesses = () => readdirSync('/proc').filter((name) => /^\d/.test(name)).length;

/** Many different sessions, printed by a stand-in for w. */
function scale(hosts: readonly Host[], directory: string, sizes: readonly number[], rounds: number): string {
  const saved = join(directory, 'w.txt');
  const path = standInW(directory, `exec cat ${saved}`);
  const own: Commands = Object.fromEntries(hosts.map(({ name, command }) => [name, command]));
  const rows = sizes.map((size) => {
    const label = size.toLocaleString('en');
    writeFileSync(saved, sessions(size));
    const costs = measure(own, rounds, path);
    const cells = Object.entries(own).flatMap(([name, command]) => {
      const [cpuTime, wall] = [medianOf(costs.get(name)), medianOf(costs.get(name), ({ wall }) => wall)];
      const bytes = peak(command, path);
      figures.set(`${name}: CPU seconds for ${label} rows`, cpuTime);
      figures.set(`${name}: seconds for ${label} rows`, wall);
      figures.set(`${name}: peak MiB for ${label} rows`, bytes / MEBIBYTE);
      return [milliseconds(cpuTime), milliseconds(wall), mebibytes(bytes)];
    });
    return [label, ...cells];
  });
  const seconds = (size: string, name = 'QuickJS') =>
    figures.get(`${name}: CPU seconds for ${size} rows`) ?? Number.NaN;
  const more = (size: string) => seconds(size) - seconds('1');
  figures.set('QuickJS: CPU time for 1,000 rows, of Node.js', seconds('1,000') / seconds('1,000', 'Node.js'));
  figures.set(
    `QuickJS: CPU time that 8,192 rows take more, of B`,
    more('8,192') / (figures.get(B) ?? Number.NaN),
  );
  figures.set(
    'QuickJS: CPU time for each of 100,000 rows, of that for each of 8,192',
    more('100,000') / 100_000 / (more('8,192') / 8192),
  );
  return table(['rows', ...hosts.flatMap(({ name }) => [`${name}: CPU ms`, 'wall ms', 'peak MiB'])], rows);
}

function sessions(count: number): Buffer {
  const rows = Array.from({ length: count }, (_, index) => ({
    ...PRINTED,
    user: `user${index % 1000}`,
    tty: `pts/${index}`,
    from: `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`,
    pcpu: printDuration(0.01),
    what: `vi notes-${index}.txt`,
  }));
  return printW(rows, WIDEST_LAYOUT);
}

const MEBIBYTE = 1024 * 1024;
const milliseconds = (seconds: number) => (seconds * 1000).toFixed(1);
const mebibytes = (bytes: number) => (bytes / MEBIBYTE).toFixed(1);

/** In Markdown. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, column) => (column === 0 ? '---' : '---:'));
  return `${[head, rule, ...rows].map(line).join('\n')}\n`;
}

/** @returns a table of the budgets that hold here, and whether all of them are met */
function judge(hosts: readonly Host[], where: Where): { text: string; met: boolean } {
  const judged = BUDGETS.flatMap(([place, what, limit]) => {
    const value = figures.get(what);
    const isHere = place === 'both' || place === where;
    const isMeasured = hosts.some(({ name }) => what.startsWith(name));
    return value !== undefined && isHere && isMeasured ? [{ what, value, limit }] : [];
  });
  const rows = judged.map(({ what, value, limit }) => [
    what,
    value.toFixed(3),
    limit.toFixed(3),
    value <= limit ? 'met' : 'MISSED',
  ]);
  const met = judged.every(({ value, limit }) => value <= limit);
  return { text: table(['budget', 'value', 'at most', ''], rows), met };
}

function requirePrograms(): void {
  const client = spawnSync('/usr/bin/python3', ['-c', 'import prometheus_client']).status === 0;
  const missing = [
    ...(client ? [] : ['python3-prometheus-client']),
    ...(existsSync('/usr/bin/time') ? [] : ['time']),
  ];
  if (missing.length > 0) throw new Error(`missing packages; apt-get install ${missing.join(' ')}`);
}

function main(): void {
  const { values } = parseArgs({
    options: {
      check: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      pairs: { type: 'string', default: '40' },
      package: { type: 'boolean', default: false },
      'no-rows': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  if (values.quick && values.check) throw new Error('--quick makes too few runs for --check');
  const pairs = values.quick ? 5 : Number(values.pairs);
  if (!(pairs > 0)) throw new Error(`--pairs takes a number, not ${values.pairs}`);
  requirePrograms();
  const hosts = findHosts(values.package);
  // Not /tmp, which is memory on many machines.
  const directory = mkdtempSync('/var/tmp/ssh-sessions-exporter-bench-');
  try {
    process.env['SSH_SESSIONS_OUTPUT'] = join(directory, 'a.prom');
    const system = /^PRETTY_NAME="(.*)"/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
    console.log(`${system}, Node.js ${process.versions.node}; medians of ${pairs} runs\n`);
    console.log(compare(hosts, directory, pairs));
    if (!values['no-rows'])
      console.log(scale(hosts, directory, values.quick ? ROWS.slice(0, -1) : ROWS, values.quick ? 3 : 5));
    if (values.quick) return;
    const { text, met } = judge(hosts, values.package ? 'package' : 'build');
    console.log(text);
    if (values.check && !met) process.exitCode = 1;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

try {
  main();
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
