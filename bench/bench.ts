/**
 * What a run costs, against the cheapest that Node.js could do, and against what one would write instead.
 * Whole processes, run in turn, many times. See `npm run bench -- --help`.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { COMMAND, ROOT, standInW } from '../test/support/exporter.ts';
import { printW, WIDEST_LAYOUT } from '../test/support/w.ts';

const HELP = `Usage: npm run bench -- [--check] [--quick] [--pairs <n>] [--exporter <command>] [--json <file>]
  --check     end with status 1 when a budget is missed
  --quick     a first look: too few runs to check anything by
  --pairs     runs of each command (default and, for --check, least: 60)
  --exporter  the command to measure (default: the build in this directory)
  --json      where to write all figures (default: build/bench.json)`;

const BUDGETS = {
  /** CPU time, as a multiple of B's. */
  cpu: 1.1,
  /** The same with the processes of this many users' programs to look through for ssh_connections. */
  cpuAmongProcesses: 1.2,
  processes: 300,
  /** Peak memory, as a multiple of B's. */
  memory: 1.1,
  /** For 100,000 rows. */
  seconds: 2,
  /** Time for each row, of 100,000, as a multiple of the time for each of 10,000. */
  growth: 1.5,
} as const;

/** The medians of ratios need as many. */
const LEAST_PAIRS = 60;
const ROWS = [10, 100, 1000, 10_000, 100_000];

/** What measure.py tells of one run: seconds and bytes. */
interface Cost {
  readonly user: number;
  readonly system: number;
  readonly wall: number;
  readonly peak: number;
  readonly written: number;
}

/** The costs of one command, run after run. */
type Costs = readonly Cost[];

interface Check {
  readonly what: string;
  readonly value: number | string;
  readonly met: boolean;
}

const cpu = ({ user, system }: Cost) => user + system;

/** Runs the commands `rounds` times, in turn, in the small environment of a service: Node.js reads more than one variable. */
function measure(
  commands: readonly (readonly string[])[],
  rounds: number,
  path = process.env['PATH'],
): Costs[] {
  const output = execFileSync('/usr/bin/python3', [join(ROOT, 'bench/measure.py')], {
    input: JSON.stringify({ rounds, commands }),
    env: { PATH: path, LANG: 'C.UTF-8', LOG_LEVEL: 'warning' },
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'inherit'],
    maxBuffer: 1 << 30,
  });
  const results: Cost[][] = JSON.parse(output);
  return commands.map((_, index) => results.flatMap((round) => round[index] ?? []));
}

/** @returns the value below which a share of all values lie */
function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const [low = Number.NaN, high = low] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return low + (high - low) * (place % 1);
}

const median = (values: readonly number[]) => quantile(values, 0.5);

/** The ratios of what was run in the same round, as the speed of a machine changes over time. */
function ratios(costs: Costs, base: Costs, value: (cost: Cost) => number): number[] {
  return costs.flatMap((cost, round) => {
    const other = base[round];
    return other === undefined ? [] : value(cost) / value(other);
  });
}

function summarize(name: string, costs: Costs, base: Costs) {
  const toBase = ratios(costs, base, cpu);
  return {
    name,
    cpuOfB: { median: median(toBase), quartiles: [quantile(toBase, 0.25), quantile(toBase, 0.75)] },
    peakOfB: median(ratios(costs, base, ({ peak }) => peak)),
    cpu: median(costs.map(cpu)),
    user: median(costs.map(({ user }) => user)),
    system: median(costs.map(({ system }) => system)),
    wall: median(costs.map(({ wall }) => wall)),
    peak: median(costs.map(({ peak }) => peak)),
    written: median(costs.map(({ written }) => written)),
  };
}

type Summary = ReturnType<typeof summarize>;

function compare(exporter: readonly string[], directory: string, pairs: number): Summary[] {
  const commands = {
    'A  ssh-sessions-exporter': [...exporter, '--output', join(directory, 'a.prom')],
    'B  Node.js that only runs w': BARE_NODE,
    'C  Node.js that does nothing': [process.execPath, '-e', '0'],
    'D  w': ['w'],
    'E  Python, prometheus_client': [
      '/usr/bin/python3',
      bench('with-prometheus-client.py'),
      join(directory, 'e.prom'),
    ],
    'E  shell, awk': ['sh', bench('with-awk.sh'), join(directory, 'f.prom')],
    'A  --no-connections': [...exporter, '--no-connections', '--output', join(directory, 'a.prom')],
    'A  by Node.js itself': [...BUILD, '--output', join(directory, 'a.prom')],
  };
  return summarizeAll(Object.keys(commands), measure(Object.values(commands), pairs));
}

/** A and B once more, on a machine where much else runs. */
function compareAmongProcesses(exporter: readonly string[], directory: string, pairs: number): Summary[] {
  const sleepers: ChildProcess[] = [];
  try {
    const missing = BUDGETS.processes - countProcesses();
    for (let i = 0; i < missing; i++) sleepers.push(spawn('sleep', ['1d'], { stdio: 'ignore' }));
    const commands = [[...exporter, '--output', join(directory, 'a.prom')], BARE_NODE];
    const names = ['A', 'B'].map((name) => `${name}  among ${countProcesses()} processes`);
    return summarizeAll(names, measure(commands, pairs));
  } finally {
    for (const sleeper of sleepers) sleeper.kill('SIGKILL');
  }
}

/** The second command is B. */
function summarizeAll(names: readonly string[], costs: readonly Costs[]): Summary[] {
  const [, base = []] = costs;
  return costs.map((each, index) => summarize(names[index] ?? '', each, base));
}

/** Without what starts the program in a package. */
const BUILD = COMMAND;
const BARE_NODE = [process.execPath, '-e', "require('child_process').execFileSync('w')"];
const bench = (file: string) => join(ROOT, 'bench', file);
const countProcesses = () => readdirSync('/proc').filter((name) => /^\d/.test(name)).length;

/** Many different sessions, read from a file and through a stand-in for w. */
function scale(exporter: readonly string[], directory: string, sizes: readonly number[], rounds: number) {
  return sizes.map((rows) => {
    const saved = join(directory, `${rows}.txt`);
    writeFileSync(saved, sessions(rows));
    const output = ['--output', join(directory, 'rows.prom')];
    const [fromFile = []] = measure([[...exporter, '--input', saved, ...output]], rounds);
    const path = standInW(directory, `exec cat ${saved}`);
    const [fromW = []] = measure([[...exporter, ...output]], rounds, path);
    const size = readFileSync(join(directory, 'rows.prom')).length;
    rmSync(saved);
    const both = [fromFile, fromW].map((costs) => summarize('', costs, costs));
    const [file, w] = both.map(({ cpu, wall, peak }) => ({ cpu, wall, peak }));
    return { rows, size, file, w };
  });
}

type Scale = ReturnType<typeof scale>;

function sessions(count: number): Buffer {
  const rows = Array.from({ length: count }, (_, index) => ({
    user: `user${index % 1000}`,
    tty: `pts/${index}`,
    from: `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`,
    login: '11:19',
    idle: '  5.00s',
    jcpu: '  0.05s',
    pcpu: '  0.01s',
    what: `vi notes-${index}.txt`,
  }));
  return printW(rows, WIDEST_LAYOUT);
}

/** System calls that change a file, or make it wait for the disk. */
const CHANGES =
  /^(open|openat|openat2|creat|rename\w*|(?:un)?link\w*|symlink\w*|mkdir\w*|rmdir|mknod\w*|truncate|ftruncate|fallocate|f?chmod\w*|l?f?chown\w*|utime\w*|futimesat|setxattr|fsync|fdatasync|sync|syncfs|sync_file_range|msync)$/;

/** What one run does to files, by strace: paths that it changes, and calls that wait for the disk. */
function watchFiles(exporter: readonly string[], directory: string) {
  const output = join(directory, 'watched.prom');
  const log = join(directory, 'strace');
  const strace = ['-f', '-qq', '-y', '-s', '0', '-o', log, '-e', 'trace=all'];
  const { status, stderr, error } = spawnSync('strace', [...strace, ...exporter, '--output', output], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`strace failed: ${error?.message ?? stderr}`);
  const changed = new Set<string>();
  const synced: string[] = [];
  let writtenBytes = 0;
  for (const line of readFileSync(log, 'latin1').split('\n')) {
    const [, call = '', rest = ''] = /^\d+ +(\w+)\((.*)$/.exec(line) ?? [];
    if (/^p?write/.test(call) && rest.includes(directory))
      writtenBytes += Number(/ = (\d+)/.exec(rest)?.[1] ?? 0);
    if (!CHANGES.test(call) || / = -1 E/.test(rest)) continue;
    if (/^(?:f|fdata|m)?sync/.test(call)) synced.push(line);
    else if (!/^open/.test(call) || /O_WRONLY|O_RDWR|O_CREAT/.test(rest)) {
      for (const [, path = ''] of rest.matchAll(/["<](\/[^">]*)[">]/g)) changed.add(path);
    }
  }
  const isOwn = (path: string) =>
    path === output || path === directory || (path.startsWith(`${output}.`) && !existsSync(path));
  const others = [...changed].filter((path) => !isOwn(path) && path !== '/dev/null' && path !== ROOT);
  return {
    writesOutput: changed.has(output),
    others,
    synced,
    writtenBytes,
    size: readFileSync(output).length,
  };
}

function check(compared: readonly Summary[], among: readonly Summary[], curve: Scale, files: Files): Check[] {
  const atMost = (what: string, value = Number.NaN, limit: number): Check => ({
    what: `${what} (at most ${limit})`,
    value: value.toFixed(2),
    met: value <= limit,
  });
  const [exporter] = compared;
  const [alone, byNode] = compared.slice(-2);
  const [tens, tenThousand, hundredThousand] = [10, 10_000, 100_000].map((rows) =>
    curve.find((point) => point.rows === rows),
  );
  const perRow = (point = tens, source: 'file' | 'w' = 'file') =>
    ((point?.[source]?.wall ?? Number.NaN) - (tens?.[source]?.wall ?? Number.NaN)) / (point?.rows ?? 0);
  return [
    atMost('CPU time, of B', exporter?.cpuOfB.median, BUDGETS.cpu),
    atMost('CPU time with --no-connections, of B', alone?.cpuOfB.median, BUDGETS.cpu),
    atMost('CPU time by Node.js itself, of B', byNode?.cpuOfB.median, BUDGETS.cpu),
    atMost(
      `CPU time among ${BUDGETS.processes} processes, of B`,
      among[0]?.cpuOfB.median,
      BUDGETS.cpuAmongProcesses,
    ),
    atMost('peak memory, of B', exporter?.peakOfB, BUDGETS.memory),
    ...(['file', 'w'] as const).flatMap((source) => [
      atMost(`seconds for 100,000 rows from ${source}`, hundredThousand?.[source]?.wall, BUDGETS.seconds),
      atMost(
        `time for a row of 100,000 from ${source}, of that for a row of 10,000`,
        perRow(hundredThousand, source) / perRow(tenThousand, source),
        BUDGETS.growth,
      ),
    ]),
    {
      what: 'other files touched (none)',
      value: files.others.join(' ') || 'none',
      met: files.writesOutput && files.others.length === 0,
    },
    {
      what: 'waits for the disk (none)',
      value: files.synced.join(' ') || 'none',
      met: files.synced.length === 0,
    },
  ];
}

type Files = ReturnType<typeof watchFiles>;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ');
  return [head, ...rows].map(line).join('\n');
}

const milliseconds = (seconds = Number.NaN) => (seconds * 1000).toFixed(1);
const mebibytes = (bytes = Number.NaN) => (bytes / 1024 / 1024).toFixed(1);
/** A child starts as a copy of what started it, so no peak below that of measure.py itself can be told. */
const SMALLEST_PEAK = 16 * 1024 * 1024;

function costTable(summaries: readonly Summary[]): string {
  const head = [
    '',
    'CPU ms',
    'user',
    'system',
    'of B',
    'quartiles',
    'wall ms',
    'peak MiB',
    'of B',
    'to disk KiB',
  ];
  const rows = summaries.map(({ name, cpuOfB, peakOfB, ...each }) => [
    name,
    ...[each.cpu, each.user, each.system].map(milliseconds),
    cpuOfB.median.toFixed(2),
    cpuOfB.quartiles.map((ratio) => ratio.toFixed(2)).join(' '),
    milliseconds(each.wall),
    ...(each.peak < SMALLEST_PEAK ? ['< 16', ''] : [mebibytes(each.peak), peakOfB.toFixed(2)]),
    (each.written / 1024).toFixed(0),
  ]);
  return table(head, rows);
}

function scaleTable(curve: Scale): string {
  const head = [
    'rows',
    'file: CPU ms',
    'wall ms',
    'peak MiB',
    'w: CPU ms',
    'wall ms',
    'peak MiB',
    'written MiB',
  ];
  const rows = curve.map(({ rows, size, file, w }) => [
    rows.toLocaleString('en'),
    ...[file, w].flatMap((cost) => [
      milliseconds(cost?.cpu),
      milliseconds(cost?.wall),
      mebibytes(cost?.peak),
    ]),
    mebibytes(size),
  ]);
  return table(head, rows);
}

function requirePrograms(): void {
  const client = spawnSync('/usr/bin/python3', ['-c', 'import prometheus_client']).status === 0;
  const strace = spawnSync('strace', ['-V']).status === 0;
  const missing = [...(client ? [] : ['python3-prometheus-client']), ...(strace ? [] : ['strace'])];
  if (missing.length > 0)
    throw new Error(`missing: ${missing.join(' ')}; apt-get install ${missing.join(' ')}`);
}

function main(): void {
  const { values } = parseArgs({
    options: {
      check: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      pairs: { type: 'string', default: String(LEAST_PAIRS) },
      exporter: { type: 'string' },
      json: { type: 'string', default: 'build/bench.json' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const pairs = values.quick ? 10 : Number(values.pairs);
  if (!(pairs > 0)) throw new Error(`--pairs takes a number, not ${values.pairs}`);
  if (values.check && pairs < LEAST_PAIRS)
    throw new Error(`--check needs ${LEAST_PAIRS} pairs and the long curve`);
  requirePrograms();
  const exporter = values.exporter?.split(' ') ?? BUILD;
  // Not /tmp, which is memory on many machines.
  const directory = mkdtempSync('/var/tmp/ssh-sessions-exporter-bench-');
  try {
    const system = /^PRETTY_NAME="(.*)"/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
    const about = {
      node: process.version,
      system,
      processors: availableParallelism(),
      processes: countProcesses(),
      pairs,
      exporter,
    };
    console.log(
      `${system}, Node.js ${about.node}, ${about.processors} processors, ${about.processes} processes, ${pairs} runs each\n`,
    );
    const compared = compare(exporter, directory, pairs);
    const among = compareAmongProcesses(exporter, directory, pairs);
    console.log(`${costTable([...compared, ...among])}\n`);
    const curve = scale(exporter, directory, values.quick ? ROWS.slice(0, 4) : ROWS, values.quick ? 3 : 5);
    console.log(`${scaleTable(curve)}\n`);
    const files = watchFiles(exporter, directory);
    const checks = values.quick ? [] : check(compared, among, curve, files);
    for (const { what, value, met } of checks) console.log(`${met ? 'met   ' : 'MISSED'} ${what}: ${value}`);
    const figures = { about, compared, among, curve, files, checks };
    writeFileSync(resolve(values.json), `${JSON.stringify(figures, null, 2)}\n`);
    if (values.check && checks.some(({ met }) => !met)) process.exitCode = 1;
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
