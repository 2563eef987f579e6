import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { defaults, readDashboard, substitute } from '../support/dashboard.ts';
import { exporter, ROOT, scratch } from '../support/exporter.ts';
import { type NodeExporter, startNodeExporter } from '../support/nodeExporter.ts';
import { cleanUp, succeed, until } from '../support/process.ts';
import { lacking, lackingRoot } from '../support/programs.ts';
import {
  type Alert,
  type Alertmanager,
  type Prometheus,
  prometheus3,
  startAlertmanager,
  startPrometheus,
} from '../support/prometheus.ts';
import { localSshServer, type SshServer } from '../support/ssh.ts';

const MONITORING = join(ROOT, 'monitoring');
const dashboard = readDashboard(join(MONITORING, 'grafana-dashboard.json'));

const RULE_TESTS = ['alerts.test.yml', 'alerts.days.test.yml'].map((name) => join(MONITORING, name));

/** The text of each rule in alerts.yml that begins with `- alert:` or so, with its comment. */
function rules(kind: 'alert' | 'record'): { readonly name: string; readonly text: string }[] {
  const blocks = readFileSync(join(MONITORING, 'alerts.yml'), 'utf8').split(/\n\n/);
  return blocks.flatMap((text) => {
    const [, name] = new RegExp(`- ${kind}: (\\S+)`).exec(text) ?? [];
    return name === undefined ? [] : [{ name, text }];
  });
}

const ALERTS = rules('alert');
const RULE_COUNT = ALERTS.length + rules('record').length;

describe('the rules', { skip: lacking('/usr/bin/promtool') }, () => {
  it('pass their tests', async () => {
    await succeed(['promtool', 'test', 'rules', ...RULE_TESTS]);
  });

  it('pass their tests on Prometheus 3', { skip: lackingRoot() }, async () => {
    const promtool = join(await prometheus3(), 'promtool');
    assert.match(await succeed([promtool, '--version']), /^promtool, version 3\./);
    await succeed([promtool, 'test', 'rules', ...RULE_TESTS]);
  });

  it('fire SshLoginByUnexpectedKey for keys that are not listed, once the line that turns it off is removed', async (context) => {
    const text = readFileSync(join(MONITORING, 'alerts.yml'), 'utf8');
    const [, listed = ''] = /key!="(SHA256:[^"]+)"/.exec(text) ?? [];
    await fireWithout(context, / +key!~"\.\*",.*\n/, {
      alert: 'SshLoginByUnexpectedKey',
      label: 'key',
      logins: ['', listed, 'SHA256:other'],
      fires: 'SHA256:other',
    });
  });

  it('fire SshLoginFromOutside for a private network, once its line is removed', async (context) => {
    await fireWithout(context, / +from!~.*# 192\.168\.0\.0\/16\n/, {
      alert: 'SshLoginFromOutside',
      label: 'from',
      logins: ['10.0.0.5', '172.16.0.5', '192.168.1.23'],
      fires: '192.168.1.23',
    });
  });

  it('are loaded by a configuration that promtool accepts', async () => {
    const said = await succeed(['promtool', 'check', 'config', join(MONITORING, 'prometheus.yml')]);
    assert.match(said, new RegExp(`${RULE_COUNT} rules found`));
  });

  for (const { name, text } of ALERTS) {
    it(`${name} says what it is, what to adjust, and where its section in docs/alerts.md is`, () => {
      assert.match(text, /# To adjust: /);
      assert.match(text, /severity: (info|warning|critical)\n/);
      // A sentence that is the same for every host.
      assert.match(text, /\n {10}summary: [^{]+\.\n/);
      assert.match(text, /\n {10}description: (>-|")/);
      assert.ok(text.includes(`/alerts.md#${name.toLowerCase()}`));
    });
  }

  it('are each explained in docs/alerts.md, and tested', () => {
    const guide = readFileSync(join(ROOT, 'docs/alerts.md'), 'utf8');
    const sections = [...guide.matchAll(/^### (Ssh\w+)$/gm)].map(([, name]) => name);
    assert.deepEqual(
      sections,
      ALERTS.map(({ name }) => name),
    );
    const tests = RULE_TESTS.map((file) => readFileSync(file, 'utf8')).join('');
    for (const { name } of ALERTS) assert.ok(tests.includes(`alertname: ${name}`), name);
  });
});

interface Expectation {
  readonly alert: string;
  /** In which the logins differ, and its values. */
  readonly label: string;
  readonly logins: readonly string[];
  /** The only one that it fires for. */
  readonly fires: string;
}

/** Logins of ten seconds ago, judged by the rules without one line. */
async function fireWithout(context: TestContext, line: RegExp, expected: Expectation): Promise<void> {
  const { alert, label, logins, fires } = expected;
  const directory = scratch(context);
  const text = readFileSync(join(MONITORING, 'alerts.yml'), 'utf8');
  assert.match(text, line);
  writeFileSync(join(directory, 'alerts.yml'), text.replace(line, ''));
  const series = logins.map((value) => `ssh_last_login_timestamp_seconds{user="anna", ${label}="${value}"}`);
  const run = { series: 'ssh_sessions_exporter_last_run_timestamp_seconds', values: '100x9' };
  const test = {
    rule_files: ['alerts.yml'],
    tests: [
      {
        input_series: [run, ...series.map((each) => ({ series: each, values: '90x9' }))],
        promql_expr_test: [
          {
            expr: `count by (${label}) (ALERTS{alertname="${alert}"})`,
            eval_time: '1m',
            exp_samples: [{ labels: `{${label}="${fires}"}`, value: 1 }],
          },
        ],
      },
    ],
  };
  writeFileSync(join(directory, 'test.yml'), JSON.stringify(test));
  await succeed(['promtool', 'test', 'rules', join(directory, 'test.yml')]);
}

describe('alertmanager.yml', { skip: lacking('/usr/bin/amtool') }, () => {
  it('is accepted by amtool', async () => {
    await succeed(['amtool', 'check-config', join(MONITORING, 'alertmanager.yml')]);
  });

  it('names alerts that exist', () => {
    const text = readFileSync(join(MONITORING, 'alertmanager.yml'), 'utf8');
    const matchers = [...text.matchAll(/alertname=~"(.*)"/g)].map(
      ([, names]) => new RegExp(`^(?:${names})$`),
    );
    const matched = matchers.map((matcher) => ALERTS.filter(({ name }) => matcher.test(name)).length);
    assert.deepEqual(matched, [2, 8]);
  });
});

describe('the dashboard', () => {
  it('imports without edits', () => {
    assert.equal(dashboard.id, null);
    assert.match(dashboard.uid, /^[\w-]{1,40}$/);
    // custom.cellOptions needs schema 38, which Grafana 10.0 has.
    assert.equal(dashboard.schemaVersion, 38);
    assert.equal(dashboard.__requires.find(({ id }) => id === 'grafana')?.version, '10.0.0');
    assert.ok(!('__inputs' in dashboard));
    assert.deepEqual(
      dashboard.templating.list.map(({ name, type }) => [name, type]),
      [
        ['datasource', 'datasource'],
        ['job', 'query'],
        ['instance', 'query'],
        ['private', 'constant'],
      ],
    );
    const known = ['bargauge', 'stat', 'table', 'timeseries'];
    for (const { type, title, description, datasource, targets } of dashboard.panels) {
      assert.ok(known.includes(type), type);
      assert.ok(title !== '' && description !== '');
      for (const source of [datasource, ...targets.map((target) => target.datasource)]) {
        assert.match(source.uid, /^\$\{datasource\}$/);
      }
      unique(targets.map(({ refId }) => refId));
    }
    unique(dashboard.panels.map(({ id }) => id));
  });

  it('conforms to the types of Grafana', async () => {
    const directory = join(ROOT, 'build', 'dashboard-types');
    mkdirSync(directory, { recursive: true });
    const file = join(directory, 'dashboard.ts');
    const json = readFileSync(join(MONITORING, 'grafana-dashboard.json'), 'utf8').trimEnd();
    writeFileSync(
      file,
      "import type { Dashboard } from '../../test/support/grafanaTypes.ts';\n" +
        `export const dashboard: Dashboard = ${json};\n`,
    );
    const tsc = [
      process.execPath,
      join(ROOT, 'node_modules/typescript/bin/tsc'),
      '--ignoreConfig',
      '--noEmit',
    ];
    const options = ['--strict', '--skipLibCheck', '--module', 'nodenext', '--allowImportingTsExtensions'];
    await succeed([...tsc, ...options, file]);
  });

  it('queries only the selected hosts, and gives the unit of every number', () => {
    for (const { title, type, pluginVersion, targets, fieldConfig } of dashboard.panels) {
      assert.equal(pluginVersion, '10.0.0', title);
      if (type !== 'table') assert.ok(fieldConfig.defaults.unit, title);
      for (const { expr } of targets) {
        const names = expr.match(/\b(ssh|node)_\w+/g) ?? [];
        const selectors = expr.match(/\b(ssh|node)_\w+\{job=~"\$job", instance=~"\$instance"[,}]/g) ?? [];
        assert.ok(names.length > 0 && selectors.length === names.length, expr);
      }
    }
    const selecting = dashboard.templating.list.filter(({ type }) => type === 'query');
    for (const { allValue } of selecting) assert.equal(allValue, '.+');
    // It is long, and would be in every address.
    assert.ok(dashboard.templating.list.find(({ name }) => name === 'private')?.skipUrlSync);
  });

  it('has no panel over another or beyond the edge', () => {
    const taken = new Set<string>();
    for (const { title, gridPos } of dashboard.panels) {
      assert.ok(gridPos.x + gridPos.w <= 24, title);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.ok(!taken.has(`${x} ${y}`), `${title} lies over another panel`);
          taken.add(`${x} ${y}`);
        }
      }
    }
  });

  it('has the same private networks as the alerts', () => {
    const test = readFileSync(join(MONITORING, 'alerts.test.yml'), 'utf8');
    const clients = [...test.matchAll(/ssh_user_sessions\{from="([^"]+)"\}/g)].map(([, from = '']) => from);
    const outside = [...test.matchAll(/'\{from="([^"]+)"\}'/g)].map(([, from = '']) => from);
    const isPrivate = new RegExp(`^(?:${defaults(dashboard)['private']})$`);
    assert.ok(outside.length > 20 && clients.length > outside.length);
    assert.deepEqual(
      clients.filter((from) => !isPrivate.test(from)),
      outside,
    );
  });
});

/** A host with node_exporter. */
interface Host {
  readonly directory: string;
  readonly node: NodeExporter;
  /** The label that Prometheus gives it. */
  readonly instance: string;
}

/** What each host's w has printed, if anything, and the alerts that are then due at any time of the day. */
const HOSTS: Readonly<Record<string, { readonly w?: string; readonly due: readonly string[] }>> = {
  'idle for days': { w: capture('debian-12-long-ago'), due: ['SshSessionFromOutside', 'SshSessionIdle'] },
  root: { w: capture('debian-12-ssh'), due: ['SshSessionFromOutside', 'SshRootLogin'] },
  crowded: { w: crowd(), due: ['SshUserFromManyClients', 'SshManySessions'] },
  'cut short': {
    w: capture('hand-made-cut-short'),
    due: ['SshSessionFromOutside', 'SshSessionsRowsUnparsed'],
  },
  failing: { w: capture('debian-12-no-header'), due: ['SshSessionsExporterFailing'] },
  // It has never had the exporter.
  bare: { due: [] },
  quiet: { w: capture('debian-13-nobody'), due: [] },
};

function capture(name: string): string {
  return readFileSync(join(ROOT, 'test/fixtures', name, 'w.txt'), 'latin1');
}

/** Twelve sessions of one user, each from a client of its own in a private network. */
function crowd(): string {
  const [first, header, row = ''] = capture('debian-12-ssh').split('\n');
  const rows = Array.from({ length: 12 }, (_, i) =>
    row.replace('203.0.113.77', `10.10.10.1${i}`.padEnd(12)).replace('pts/1 ', `pts/${i}`.padEnd(6)),
  );
  return `${[first, header, ...rows].join('\n')}\n`;
}

const programs = lacking(
  '/usr/bin/prometheus',
  '/usr/bin/prometheus-alertmanager',
  '/usr/bin/prometheus-node-exporter',
  '/usr/bin/promtool',
  '/usr/bin/w',
  '/usr/sbin/sshd',
);

describe('a Prometheus', { skip: programs || lackingRoot() }, () => {
  let base: string;
  let removeBase: () => void;
  let prometheus: Prometheus;
  let alertmanager: Alertmanager;
  let receiver: Receiver;
  let ssh: SshServer;
  let replacing: NodeJS.Timeout;
  const hosts = new Map<string, Host>();

  before(async () => {
    base = mkdtempSync(join(tmpdir(), 'ssh-sessions-monitoring-'));
    removeBase = cleanUp(() => rmSync(base, { recursive: true, force: true }));
    for (const [name, { w }] of Object.entries(HOSTS)) {
      const { directory } = await addHost(name);
      if (w !== undefined) runExporter(directory, w);
    }
    const file = join(find('quiet').directory, 'ssh_sessions.prom');
    replacing = setInterval(() => utimesSync(file, new Date(), new Date()), 200);

    ssh = await localSshServer();
    await ssh.terminal({ from: '127.44.0.1' });
    await ssh.command({ from: '127.44.0.1' });
    runExporter((await addHost('live')).directory);

    writeLogin((await addHost('with logins')).directory);

    receiver = await startReceiver();
    alertmanager = await startAlertmanagerWith(receiver.url, join(base, 'alertmanager'));
    const instances = [...hosts.values()].map(({ instance }) => instance);
    const config = readFileSync(join(MONITORING, 'prometheus.yml'), 'utf8');
    assert.ok(config.includes('localhost:9093'));
    const managed = config.replace('localhost:9093', alertmanager.address);
    prometheus = await startWith(managed, instances, join(base, 'prometheus'));
    await until('every host has been scraped', async () => {
      return (await prometheus.query('up == 1')).length === hosts.size;
    });
  });

  after(async () => {
    clearInterval(replacing);
    await prometheus?.stop();
    await alertmanager?.stop();
    receiver?.close();
    await ssh?.close();
    for (const { node } of hosts.values()) await node.stop();
    removeBase();
  });

  async function addHost(name: string): Promise<Host> {
    const directory = join(base, name.replaceAll(' ', '-'));
    mkdirSync(directory);
    const node = await startNodeExporter(directory);
    const host = { directory, node, instance: new URL(node.url).host };
    hosts.set(name, host);
    return host;
  }

  function find(name: string): Host {
    const host = hosts.get(name);
    if (host === undefined) throw new Error(`no such host: ${name}`);
    return host;
  }

  it('raises on each host the alerts that are due there, and no others', async () => {
    const expected = () =>
      Object.entries(HOSTS).map(([name, { w, due }]) => {
        // A host whose file nobody replaces any more is stale whatever is in it.
        const stale = w === undefined || name === 'quiet' ? [] : ['SshSessionsFileStale'];
        const late = hasSessions(w) && !areWorkingHours() ? ['SshSessionOutsideWorkingHours'] : [];
        return [name, [...due, ...stale, ...late].sort()];
      });
    const raised = async () => {
      const alerts = await allAlerts();
      return Object.keys(HOSTS).map((name) => {
        const { instance } = find(name);
        const own = alerts.filter(({ labels }) => labels['instance'] === instance);
        return [name, [...new Set(own.map(({ labels }) => labels['alertname']))].sort()];
      });
    };
    await settle(raised, expected);
    for (const { health, lastError, name } of await prometheus.rules()) {
      assert.equal(health, 'ok', `${name}: ${lastError}`);
    }
  });

  it('raises alerts about live sessions of every kind', async () => {
    const { instance } = find('live');
    const raised = async () => {
      const own = (await allAlerts()).filter(({ labels }) => labels['instance'] === instance);
      return ['SshRootLogin', 'SshConnectionWithoutTerminal'].map((name) =>
        own.some(({ labels, state }) => labels['alertname'] === name && state === 'firing'),
      );
    };
    await settle(raised, () => [true, true]);
  });

  it('has data for every query of the dashboard', async () => {
    const values = defaults(dashboard);
    for (const { title, targets } of dashboard.panels) {
      for (const { expr, instant } of targets) {
        const expression = substitute(expr, values);
        const ask = () => (instant ? prometheus.query(expression) : prometheus.queryRange(expression));
        // A rate needs two scrapes.
        await until(`${title}: ${expression} gives data`, async () => (await ask()).length > 0);
      }
    }
  });

  it('fills the variables of the dashboard', async () => {
    const values = { ...defaults(dashboard) };
    for (const { type, query } of dashboard.templating.list) {
      if (type !== 'query' || typeof query === 'string') continue;
      const [, selector = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(query.query) ?? [];
      const found = await prometheus.labelValues(label, substitute(selector, values));
      const instances = [...hosts.values()].map(({ instance }) => instance).sort();
      assert.deepEqual([...found], label === 'job' ? ['node'] : instances);
    }
  });

  it('gives the right numbers for each host to the dashboard', async () => {
    const titles = ['Sessions now', 'From outside private networks', 'Hosts without data'];
    const figures: Record<string, string[]> = {};
    for (const name of ['root', 'crowded', 'quiet', 'failing', 'bare']) {
      figures[name] = await Promise.all(titles.map((title) => figure(title, name)));
    }
    assert.deepEqual(figures, {
      root: ['4', '1', '0'],
      crowded: ['12', '0', '0'],
      quiet: ['0', '0', '0'],
      failing: ['none', 'none', '1'],
      bare: ['none', 'none', '1'],
    });
  });

  it('gives every query of a table the same columns for each session', async () => {
    const panel = dashboard.panels.find(({ title }) => title === 'Who is logged in from where');
    assert.ok(panel);
    const values = { ...defaults(dashboard), instance: find('idle for days').instance };
    const tables = await Promise.all(
      panel.targets.map(async ({ expr }) => {
        const rows = await prometheus.query(substitute(expr, values));
        return rows.map(({ metric }) => JSON.stringify(Object.entries(metric).sort())).sort();
      }),
    );
    const [sessions = [], logins = [], idle = []] = tables;
    assert.equal(sessions.length, 8);
    assert.deepEqual(logins, sessions);
    // One of them has no idle time.
    assert.equal(idle.length, 7);
    assert.ok(idle.every((row) => sessions.includes(row)));
  });

  it('fires while a session is open, and resolves after the logout', async () => {
    const { directory, instance } = find('live');
    const from = '127.44.0.2';
    const states = async () =>
      (await allAlerts())
        .filter(({ labels }) => labels['alertname'] === 'SshRootLogin' && labels['from'] === from)
        .map(({ labels, state }) => [labels['instance'], state]);
    assert.deepEqual(await states(), []);

    const session = await ssh.terminal({ from });
    runExporter(directory);
    await settle(states, () => [[instance, 'firing']]);
    await session.close();
    await until('the session is gone from w', async () => !(await succeed(['w', '-i'])).includes(from));
    runExporter(directory);
    await settle(states, () => []);
  });

  it('alerts a webhook to a login of one second, with user, client and host', async () => {
    const { directory, instance } = find('with logins');
    writeLogin(directory, '203.0.113.77');
    const told = await until('the webhook hears of the login', () =>
      receiver.messages
        .filter(({ groupLabels }) => groupLabels['instance'] === instance)
        .flatMap(({ alerts }) => alerts)
        .find(({ labels }) => labels['alertname'] === 'SshLoginFromOutside'),
    );
    const text = told.annotations['description'] ?? '';
    for (const part of ['anna', '203.0.113.77', instance, 'publickey', 'SHA256:']) {
      assert.ok(text.includes(part), `no ${part} in: ${text}`);
    }
    assert.equal(
      told.annotations['summary'],
      'Somebody logged in over SSH from outside the expected networks.',
    );
  });

  it('mutes the alerts that a failing exporter silences, on that host and no others', async () => {
    const alert = (instance: string, alertname: string) => ({ job: 'test', instance, alertname });
    await alertmanager.post([
      alert('a', 'SshSessionsExporterFailing'),
      alert('a', 'SshSessionFromOutside'),
      alert('a', 'SshLoginFromOutside'),
      alert('a', 'SshRootLogin'),
      alert('b', 'SshSessionFromOutside'),
    ]);
    const muted = async () =>
      (await alertmanager.alerts())
        .filter(({ labels, status }) => labels['job'] === 'test' && status.inhibitedBy.length > 0)
        .map(({ labels }) => [labels['instance'], labels['alertname']]);
    await settle(muted, () => [['a', 'SshSessionFromOutside']]);
  });

  /** The value of a panel with one number for one host. */
  async function figure(title: string, name: string): Promise<string> {
    const panel = dashboard.panels.find((candidate) => candidate.title === title);
    const expression = panel?.targets[0]?.expr ?? '';
    const values = { ...defaults(dashboard), instance: find(name).instance };
    const [series] = await prometheus.query(substitute(expression, values));
    return series?.value?.[1] ?? 'none';
  }

  /** Those that fire, and those that will when they have lasted long enough. */
  async function allAlerts(): Promise<readonly Alert[]> {
    return (await prometheus.rules()).flatMap(({ alerts = [] }) => alerts);
  }

  describe('with what the documents show', () => {
    const text = ['README.md', 'docs/metrics.md', 'docs/fleet.md']
      .map((name) => readFileSync(join(ROOT, name), 'utf8'))
      .join('\n');

    it('runs with their configurations', async (context) => {
      const blocks = fences(text, 'ya?ml');
      assert.ok(blocks.length > 0);
      for (const block of blocks) {
        if (/^scrape_configs:/m.test(block)) {
          await tryConfig(block, join(scratch(context), 'prometheus'));
        } else if (/^groups:/m.test(block)) {
          const file = join(scratch(context), 'rules.yml');
          writeFileSync(file, block);
          await succeed(['promtool', 'check', 'rules', file]);
        } else if (/^- hosts:/m.test(block)) {
          // A playbook. Ansible is not among the packages of the tests; its builtin modules need nothing else.
          const modules = [...block.matchAll(/^ {6}([a-z_.]+):$/gm)].map(([, module = '']) => module);
          assert.ok(modules.length > 0 && modules.every((module) => module.startsWith('ansible.builtin.')));
        } else {
          assert.fail(`nothing tests this block of YAML:\n${block}`);
        }
      }
    });

    it('has data for their queries', async () => {
      const blocks = fences(text, 'promql');
      assert.ok(blocks.length >= 3);
      for (const block of blocks) assert.ok((await prometheus.query(block)).length > 0, block);
    });
  });

  /** Has a Prometheus run with it, and looks at what that keeps of a host. */
  async function tryConfig(config: string, directory: string): Promise<void> {
    const another = await startWith(config, [find('live').instance], directory);
    try {
      await until('it has the metrics', async () => (await another.query('ssh_sessions_total')).length > 0);
      await until('it has the rules', async () => (await another.rules()).length === RULE_COUNT);
      const names = await another.labelValues('__name__', '{job!=""}');
      assert.deepEqual(
        names.filter(
          (name) => !/^(ssh[_:]|node_textfile_|node_time_zone_offset_seconds$|scrape_|up$|ALERTS)/.test(name),
        ),
        [],
      );
    } finally {
      await another.stop();
    }
  }
});

/** What Alertmanager posts to a webhook. */
interface Message {
  readonly groupLabels: Readonly<Record<string, string>>;
  readonly alerts: readonly Alert[];
}

interface Receiver {
  readonly url: string;
  readonly messages: readonly Message[];
  close(): void;
}

/** Takes what Alertmanager posts. */
async function startReceiver(): Promise<Receiver> {
  const messages: Message[] = [];
  const server = createServer(async (request, response) => {
    messages.push(JSON.parse(await text(request)));
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return {
    url: `http://127.0.0.1:${address.port}`,
    messages,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Starts the Alertmanager of alertmanager.yml with another webhook. Its mails reach nobody. */
function startAlertmanagerWith(webhook: string, directory: string): Promise<Alertmanager> {
  const config = readFileSync(join(MONITORING, 'alertmanager.yml'), 'utf8');
  const adapted = config
    .replace(/url: \S+/, `url: ${webhook}`)
    .replace('smtp_smarthost: localhost:25', 'smtp_smarthost: 127.0.0.1:1');
  assert.ok(adapted.includes(webhook) && adapted.includes('127.0.0.1:1'));
  mkdirSync(directory);
  writeFileSync(join(directory, 'alertmanager.yml'), adapted);
  return startAlertmanager(directory);
}

/** Writes what the exporter writes, with or without a login of a second ago. */
function writeLogin(directory: string, from?: string): void {
  const now = Date.now() / 1000;
  const key = 'SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDnlfBq4NnZzF0VBJE';
  const lines = [
    // A session that w does not list.
    'ssh_sessions_total 1',
    'ssh_session_info{user="anna",tty="pts/4",from="10.0.0.7",login="",idle="",jcpu="",pcpu="",what=""} 1',
    'ssh_user_sessions{user="anna",from="10.0.0.7"} 1',
    'ssh_connections{user="anna",kind="terminal"} 1',
    'ssh_sessions_unlisted{kind="terminal"} 1',
    'ssh_sessions_unlisted{kind="notty"} 0',
    'ssh_sessions_unlisted{kind="forward"} 0',
    'ssh_sessions_unverified 0',
    'ssh_login_failures_total 3',
    'ssh_login_log_success 1',
    'ssh_login_log_lost_total{reason="suppressed"} 0',
    'ssh_login_log_lost_total{reason="limit"} 0',
    'ssh_sessions_exporter_success 1',
    `ssh_sessions_exporter_last_run_timestamp_seconds ${now}`,
    `ssh_last_login_timestamp_seconds{user="pi",from="10.0.0.5",method="password",key=""} ${now - 3600}`,
  ];
  if (from !== undefined) {
    const labels = `user="anna",from="${from}",method="publickey",key="${key}"`;
    lines.push(`ssh_last_login_timestamp_seconds{${labels}} ${now - 1}`);
  }
  const file = join(directory, 'ssh_sessions.prom');
  writeFileSync(`${file}.new`, `${lines.join('\n')}\n`);
  renameSync(`${file}.new`, file);
}

/**
 * Starts a Prometheus with a configuration that is written for a machine as it is, on other hosts and at a
 * faster pace.
 */
async function startWith(config: string, hosts: readonly string[], directory: string): Promise<Prometheus> {
  const targets = 'targets: ["localhost:9100"]';
  assert.ok(config.includes(targets), `no ${targets} in:\n${config}`);
  const pace = 'global: { scrape_interval: 500ms, evaluation_interval: 500ms }\n';
  const adapted = config
    .replace(/^global:\n( .*\n)+/m, '')
    .replace('scrape_interval: 15s', 'scrape_interval: 500ms')
    .replace(targets, `targets: ${JSON.stringify(hosts)}`)
    .replaceAll('/etc/prometheus/', '');
  mkdirSync(directory);
  writeFileSync(join(directory, 'prometheus.yml'), `${pace}${adapted}`);
  for (const [, file = ''] of adapted.matchAll(/^ +- (\S+\.yml)$/gm)) {
    copyFileSync(join(MONITORING, 'alerts.yml'), join(directory, file));
  }
  await succeed(['promtool', 'check', 'config', join(directory, 'prometheus.yml')]);
  return startPrometheus(directory);
}

/** @param w what w has printed; without it, w is run */
function runExporter(directory: string, w?: string): void {
  const output = ['--output', join(directory, 'ssh_sessions.prom')];
  const input = w === undefined ? [] : ['--input', '-'];
  const env = { TZ: 'UTC', LOG_LEVEL: 'error' };
  exporter([...output, ...input], { env, input: Buffer.from(w ?? '', 'latin1') });
  assert.ok(existsSync(join(directory, 'ssh_sessions.prom')));
}

/** Waits until both give the same, and shows the difference when they do not in time. */
async function settle(actual: () => Promise<unknown>, expected: () => unknown): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (JSON.stringify(await actual()) !== JSON.stringify(expected()) && Date.now() < deadline)
    await sleep(100);
  assert.deepEqual(await actual(), expected());
}

/** Monday to Friday, 07:00 to 18:59, in the time zone of this machine, which node_exporter exports. */
function areWorkingHours(now = new Date()): boolean {
  return now.getHours() >= 7 && now.getHours() < 19 && now.getDay() >= 1 && now.getDay() <= 5;
}

/** Whether there are rows below a line of column names. */
function hasSessions(w: string | undefined): boolean {
  return /^USER .*\n./m.test(w ?? '');
}

/**
 * The blocks of code of a text in Markdown.
 *
 * @param language a regular expression
 */
function fences(markdown: string, language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms');
  return [...markdown.matchAll(fence)].map(([, block = '']) => block);
}

function unique(values: readonly unknown[]): void {
  assert.equal(new Set(values).size, values.length, `twice: ${values}`);
}
