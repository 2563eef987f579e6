/**
 * What many hosts cost one Prometheus: series, memory, and the time of the alert rules. Scrapes this program's text for
 * each of them, an hour of it, from one HTTP server. See `npm run bench:fleet -- --help`.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { host } from '../src/host/node.ts';
import { DEFAULTS } from '../src/options.ts';
import { run } from '../src/run.ts';
import type { Column } from '../src/w/parse.ts';
import { ROOT } from '../test/support/exporter.ts';
import { cleanUp, until } from '../test/support/process.ts';
import { type Prometheus, startPrometheus } from '../test/support/prometheus.ts';
import { printDuration, printLogin, printW, WIDEST_LAYOUT, type WRow } from '../test/support/w.ts';

const HELP = `Usage: npm run bench:fleet -- [--hosts <n>] [--rounds <n>] [--interval <s>]
  --hosts     how many to simulate (default: 1000)
  --rounds    scrapes of each, 15 seconds of its time apart (default: 240, an hour)
  --interval  seconds between two scrapes (default: 1)`;

/** Seconds of a host's time from one scrape to the next. */
const STEP = 15;
/** The labels of ssh_session_info. */
const LABELS: readonly (readonly Column[])[] = [DEFAULTS.labels, ['user', 'tty', 'from', 'login']];
/** One of the networks that the alerts expect. */
const CLIENT = '192.168.7.23';

interface Activity {
  readonly name: string;
  /** How many of ten hosts. */
  readonly ofTen: number;
  /** Rows of w in a round; the login was at `login`. */
  readonly rows: (round: number, login: string) => readonly WRow[];
}

const ACTIVITIES: readonly Activity[] = [
  { name: 'nobody', ofTen: 7, rows: () => [] },
  {
    name: 'a session that nobody uses',
    ofTen: 2,
    rows: (round, login) => [session(login, 2 * 3600 + round * STEP, 1.5, 0.02)],
  },
  {
    name: 'a session in use',
    ofTen: 1,
    // Somebody types, reads for up to a minute, and types again.
    rows: (round, login) => [session(login, (round % 5) * STEP, 1 + Math.floor(round / 5) * 0.07, 0.02)],
  },
];

/** The activity of each of ten hosts. */
const OF_TEN = ACTIVITIES.flatMap(({ ofTen }, index) => new Array<number>(ofTen).fill(index));

function session(login: string, idle: number, jcpu: number, pcpu: number): WRow {
  return {
    user: 'pi',
    tty: 'pts/1',
    from: CLIENT,
    login,
    idle: printDuration(idle),
    jcpu: printDuration(jcpu),
    pcpu: printDuration(pcpu),
    what: '-bash',
  };
}

/** What node_exporter serves of a host, as far as metric_relabel_configs keeps it. */
function serve(
  { rows }: Activity,
  round: number,
  labels: readonly Column[],
  start: number,
  directory: string,
) {
  const now = start + round * STEP * 1000;
  const current = rows(round, printLogin(new Date(start - 3_600_000), new Date(now)));
  const [input, output] = [join(directory, 'w.txt'), join(directory, 'x.prom')];
  writeFileSync(input, printW(current, WIDEST_LAYOUT));
  const then = { ...host, now: () => now, elapsed: () => 0.1 };
  const failed = !run({ ...DEFAULTS, labels, input, output }, '0.0.0', then, () => {});
  if (failed) throw new Error(`no text was made of ${readFileSync(input, 'utf8')}`);
  // What a run with saved output of w does not export, and node_exporter's own.
  const others = [
    ...['terminal', 'notty', 'forward'].map((kind) => `ssh_sessions_unlisted{kind="${kind}"} 0`),
    'ssh_sessions_unverified 0',
    ...current.map(({ user }) => `ssh_connections{user="${user}",kind="terminal"} 1`),
    ...[1, 2, 3].map(
      (key) =>
        `ssh_last_login_timestamp_seconds{user="pi",from="${CLIENT}",method="publickey",key="SHA256:${key}"} ${start / 1000 - 3600}`,
    ),
    'ssh_login_failures_total 17',
    'ssh_login_log_success 1',
    ...['suppressed', 'limit'].map((reason) => `ssh_login_log_lost_total{reason="${reason}"} 0`),
    `node_textfile_mtime_seconds{file="ssh_sessions.prom"} ${now / 1000}`,
    'node_textfile_scrape_error 0',
    'node_time_zone_offset_seconds{time_zone="UTC"} 0',
  ];
  return `${readFileSync(output, 'utf8')}${others.join('\n')}\n`;
}

/** Names and labels of all samples. */
const seriesOf = (text: string) => text.match(/^[^#\n].*(?= \S+$)/gm) ?? [];

/** A server of all hosts: each scrape of /3 gets the next round of host 3. */
async function startFleet(texts: readonly (readonly string[])[], hosts: number) {
  const rounds = new Array<number>(hosts).fill(0);
  const server: Server = createServer(({ url = '' }, response) => {
    const number = Number(url.slice(1));
    const round = rounds[number] ?? 0;
    rounds[number] = round + 1;
    const ofHost = texts[OF_TEN[number % 10] ?? 0] ?? [];
    response.setHeader('Content-Type', 'text/plain; version=0.0.4');
    response.end(ofHost[Math.min(round, ofHost.length - 1)]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no free port');
  const { port } = address;
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return { port, stop, leastRounds: () => Math.min(...rounds) };
}

interface Scraping {
  /** In seconds. */
  readonly interval: number;
  readonly rules: boolean;
}

function configure(directory: string, port: number, hosts: number, { interval, rules }: Scraping): void {
  const targets = Array.from({ length: hosts }, (_, number) => `host-${number}:9100`);
  const relabel = [
    { source_labels: ['__address__'], target_label: 'instance' },
    {
      source_labels: ['__address__'],
      regex: 'host-(.*):9100',
      target_label: '__metrics_path__',
      replacement: '/$1',
    },
    { target_label: '__address__', replacement: `127.0.0.1:${port}` },
  ];
  const config = {
    global: {
      scrape_interval: `${interval}s`,
      scrape_timeout: `${interval}s`,
      evaluation_interval: `${STEP}s`,
    },
    rule_files: rules ? [join(ROOT, 'monitoring/alerts.yml')] : [],
    scrape_configs: [{ job_name: 'node', static_configs: [{ targets }], relabel_configs: relabel }],
  };
  // JSON is YAML.
  writeFileSync(join(directory, 'prometheus.yml'), JSON.stringify(config));
}

interface Figures {
  readonly series: number;
  /** Resident memory in MiB. */
  readonly memory: number;
  /** Seconds that all rules took, evaluated once. */
  readonly rules: number;
}

async function look(prometheus: Prometheus): Promise<Figures> {
  const text = await prometheus.metrics();
  const sum = (name: string) =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))].reduce(
      (all, [, value]) => all + Number(value),
      0,
    );
  return {
    series: sum('prometheus_tsdb_head_series'),
    memory: sum('process_resident_memory_bytes') / 2 ** 20,
    rules: sum('prometheus_rule_group_last_duration_seconds'),
  };
}

/**
 * First an hour of each host's time at the given interval, then the rules with all of that in memory, scraping no more
 * often than one would.
 */
async function measure(
  labels: readonly Column[],
  hosts: number,
  rounds: number,
  interval: number,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'ssh-sessions-fleet-'));
  const remove = cleanUp(() => rmSync(directory, { recursive: true, force: true }));
  const start = Date.now() - rounds * STEP * 1000;
  const numbers = Array.from({ length: rounds }, (_, round) => round);
  const texts = ACTIVITIES.map((activity) =>
    numbers.map((round) => serve(activity, round, labels, start, directory)),
  );
  console.log(`\nLabels ${labels.join(',')}`);
  ACTIVITIES.forEach(({ name, ofTen }, index) => {
    const [first = ''] = texts[index] ?? [];
    const all = new Set((texts[index] ?? []).flatMap(seriesOf)).size;
    const now = seriesOf(first).length;
    console.log(`  ${ofTen} of 10 hosts, ${name}: ${now} series, ${all - now} more in ${rounds} rounds`);
  });
  const fleet = await startFleet(texts, hosts);

  configure(directory, fleet.port, hosts, { interval, rules: false });
  const scraping = await startPrometheus(directory);
  await until('every host is scraped', () => fleet.leastRounds() >= 1, 60_000);
  const first = await look(scraping);
  let peak = 0;
  while (fleet.leastRounds() < rounds) {
    await sleep(2000);
    peak = Math.max(peak, (await look(scraping)).memory);
  }
  const last = await look(scraping);
  await scraping.stop();
  console.log(`  ${hosts} hosts: ${first.series} series at first, ${last.series} after ${rounds} rounds`);
  console.log(`  memory: ${first.memory.toFixed()} MiB at first, ${peak.toFixed()} MiB at most`);

  configure(directory, fleet.port, hosts, { interval: STEP, rules: true });
  const alerting = await startPrometheus(directory);
  const figures: Figures[] = [];
  for (let evaluation = 0; evaluation < 6; evaluation++) {
    await sleep(STEP * 1000);
    figures.push(await look(alerting));
  }
  await alerting.stop();
  fleet.stop();
  remove();
  const times = figures.map(({ rules }) => rules).sort((a, b) => a - b);
  console.log(`  rules: ${times[3]?.toFixed(3)} s (median), ${times.at(-1)?.toFixed(3)} s at most`);
  console.log(`  memory with the rules: ${figures.at(-1)?.memory.toFixed()} MiB`);
}

const { values } = parseArgs({
  options: {
    hosts: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '240' },
    interval: { type: 'string', default: '1' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) console.log(HELP);
else {
  for (const labels of LABELS) {
    await measure(labels, Number(values.hosts), Number(values.rounds), Number(values.interval));
  }
}
