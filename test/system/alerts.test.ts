/**
 * Logins of a second, all the way to a telephone: sshd, the journal, the package's timer, node_exporter, Prometheus and
 * Alertmanager, each as Debian packages it, with the files of monitoring/ at their own pace.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from '../support/exporter.ts';
import { bootGuest, type Guest, RELEASES, type Release } from '../support/guest.ts';
import { buildPackage, HOSTS, VERSION } from '../support/machine.ts';
import { until } from '../support/process.ts';
import { lackingGuests } from '../support/programs.ts';
import type { Alert } from '../support/prometheus.ts';
import { guestSshServer } from '../support/ssh.ts';

const PACKAGES = ['curl', 'prometheus', 'prometheus-alertmanager', 'prometheus-node-exporter'];

/** One login a second, so that they meet every phase of the exporter's, the scrapes' and the rules' 15 seconds. */
const CLIENTS = [...Array(15).keys()].map((number) => `203.0.113.${77 + number}`);

/** In seconds. A login is read by the next run, scraped by the next scrape, and seen by the next evaluation. */
const INTERVAL = 15;
const PROMISE = 3 * INTERVAL;

/** In seconds: how long the alert fires. */
const KEPT = 300;

/** Takes what Alertmanager posts. Prints a line for each message, with the time that it came. */
const RECEIVER = `
require('http').createServer((request, response) => {
  let body = '';
  request.on('data', (data) => { body += data; });
  request.on('end', () => {
    if (body !== '') console.log(JSON.stringify({ received: Date.now() / 1000, ...JSON.parse(body) }));
    response.end();
  });
}).listen(8080, '127.0.0.1');
`;
const MESSAGES = '/opt/messages';

/** Alertmanager looks for others of its kind on a private network by default, and ends because there is none. */
const SET_UP = `
set -e
echo '127.0.0.1 localhost debian' >>/etc/hosts
useradd -m -s /bin/sh anna
for address in ${CLIENTS.join(' ')}; do ip address replace $address dev lo; done
systemd-run --quiet --unit=receiver --property=StandardOutput=append:${MESSAGES} node /opt/receiver.js
echo 'ARGS="--cluster.listen-address="' >/etc/default/prometheus-alertmanager
systemctl reset-failed
systemctl restart prometheus prometheus-alertmanager
for address in 127.0.0.1:8080 127.0.0.1:9090/-/ready 127.0.0.1:9093/-/ready; do
  curl --silent --show-error --fail --retry 30 --retry-connrefused --retry-delay 1 --output /dev/null $address
done
dpkg --install /opt/exporter.deb
`;

/** In milliseconds of Unix time. */
interface Period {
  readonly start: number;
  readonly end: number;
}

interface Series {
  readonly metric: Readonly<Record<string, string>>;
  /** Unix time, and the value as text. */
  readonly values: readonly (readonly [number, string])[];
}

/** What Alertmanager posts to a webhook. */
interface Message {
  readonly received: number;
  readonly alerts: readonly (Alert & { readonly startsAt: string })[];
}

/** One Debian after the other would take twice as long: all of the time is waiting. */
describe('a login of one second from outside', { concurrency: true, skip: lackingGuests() }, () => {
  for (const release of RELEASES) watched(release);
});

function watched(release: Release): void {
  describe(`to ${release}`, { concurrency: 1 }, () => {
    let guest: Guest;
    let fingerprint: string;
    /** By client. */
    const logins = new Map<string, Period>();
    before(async () => {
      guest = await bootGuest(release, { packages: [...HOSTS[release], ...PACKAGES] });
      for (const [name, text] of Object.entries(configuration())) {
        await guest.run(`cat >${name}`, { input: text });
      }
      guest.copyIn(await buildPackage(VERSION), '/opt/exporter.deb');
      await guest.run(SET_UP);
      const ssh = await guestSshServer(guest);
      fingerprint = (await guest.run('ssh-keygen -lf /etc/ssh/test_keys')).split(' ')[1] ?? '';
      await until(
        'the log of sshd is read, and scraped',
        async () => (await query('ssh_login_log_success[1m]')).length === 1,
        90_000,
      );
      assert.deepEqual(await messages(), []);
      await Promise.all(
        CLIENTS.map(async (from, second) => {
          await sleep(second * 1000);
          const start = Date.now();
          await ssh.logIn({ user: 'anna', from });
          logins.set(from, { start, end: Date.now() });
        }),
      );
    });
    after(() => guest.stop());

    /** Stored samples, with the times of their scrapes or evaluations. */
    async function query(selector: string): Promise<readonly Series[]> {
      const url = 'http://127.0.0.1:9090/api/v1/query';
      const answer = await guest.run(
        `curl --silent --show-error --data-urlencode 'query=${selector}' ${url}`,
      );
      const { data }: { data: { result: Series[] } } = JSON.parse(answer);
      return data.result;
    }

    async function messages(): Promise<readonly Message[]> {
      const lines = (await guest.run(`cat ${MESSAGES}`)).trim().split('\n').filter(Boolean);
      return lines.map((line): Message => JSON.parse(line));
    }

    /** When the exporter says that it was, by client. */
    async function told(): Promise<ReadonlyMap<string, number>> {
      const series = await query('ssh_last_login_timestamp_seconds[15m]');
      return new Map(series.map(({ metric, values }) => [metric['from'] ?? '', Number(values[0]?.[1])]));
    }

    it(`fires within ${PROMISE} s, and a webhook gets user, client, host and key`, {
      timeout: 240_000,
    }, async (context) => {
      const alerts = await until(
        'the webhook hears of all logins',
        async () => {
          const found = (await messages()).flatMap(({ received, alerts }) =>
            alerts
              .filter(({ labels }) => labels['alertname'] === 'SshLoginFromOutside')
              .map((alert) => ({ received, ...alert })),
          );
          return new Set(found.map(({ labels }) => labels['from'])).size === CLIENTS.length && found;
        },
        180_000,
      );
      const times = await told();
      const delays: number[] = [];
      for (const client of CLIENTS) {
        const alert = alerts.find(({ labels }) => labels['from'] === client);
        assert.ok(alert);
        const { description = '' } = alert.annotations;
        for (const part of ['anna', client, 'debian:9100', 'publickey', fingerprint]) {
          assert.ok(description.includes(part), `no ${part} in: ${description}`);
        }
        const login = times.get(client) ?? Number.NaN;
        const [fired, heard] = [Date.parse(alert.startsAt) / 1000 - login, alert.received - login];
        delays.push(fired);
        assert.ok(fired > 0 && fired <= PROMISE, `${client}: after ${fired} s`);
        // The first ones of the host are sent at once, and what follows within a minute.
        assert.ok(heard - fired < 60 + INTERVAL, `${client}: sent after ${heard} s`);
      }
      context.diagnostic(`fired ${range(delays)} s after the login`);
      // That can be about a session that a run has met.
      const [first] = await messages();
      const [earliest] = first?.alerts ?? [];
      assert.ok(first && earliest && first.received - Date.parse(earliest.startsAt) / 1000 < INTERVAL);
    });

    it('fires for five minutes', { timeout: 600_000 }, async (context) => {
      const lastLogin = Math.max(...[...logins.values()].map(({ end }) => end));
      await sleep(lastLogin + (KEPT + PROMISE) * 1000 - Date.now());
      const firing = '{alertname="SshLoginFromOutside",alertstate="firing"}';
      await until(
        'no alert fires any more',
        async () => (await query(`ALERTS${firing}[${INTERVAL}s]`)).length === 0,
        60_000,
      );
      const times = await told();
      const series = await query(`ALERTS${firing}[15m]`);
      assert.deepEqual(series.map(({ metric }) => metric['from']).sort(), [...CLIENTS].sort());
      const lasts: number[] = [];
      for (const { metric, values } of series) {
        const client = metric['from'] ?? '';
        const login = times.get(client) ?? Number.NaN;
        const { start = NaN, end = NaN } = logins.get(client) ?? {};
        // On a busy machine journald notes it late: 12 ms after the end was seen.
        assert.ok(
          login * 1000 > start - 1000 && login * 1000 < end + 1000,
          `${client}: ${start} ${login} ${end}`,
        );
        const moments = values.map(([time]) => time - login);
        const [first = NaN, last = NaN] = [moments[0], moments.at(-1)];
        lasts.push(last);
        // A Prometheus that has just started keeps an alert from its second evaluation on.
        assert.ok(first <= PROMISE + INTERVAL, `${client}: first after ${first} s`);
        // At the last evaluation of the five minutes, and at no more than the time of seeing that they are over.
        assert.ok(last >= KEPT - INTERVAL && last <= KEPT + PROMISE, `${client}: last after ${last} s`);
        const evaluations = Math.round((last - first) / INTERVAL) + 1;
        assert.equal(moments.length, evaluations, `${client}: not at each evaluation`);
      }
      context.diagnostic(`fired until ${range(lasts)} s after the login`);
    });
  });
}

const range = (values: readonly number[]) =>
  `${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)}`;

/** Where each file goes in the guest, and what is in it. */
function configuration(): Readonly<Record<string, string>> {
  const read = (name: string) => readFileSync(join(ROOT, 'monitoring', name), 'utf8');
  const adapted = (name: string, from: RegExp, to: string) => {
    const text = read(name);
    assert.match(text, from);
    return text.replace(from, to);
  };
  return {
    '/etc/prometheus/prometheus.yml': adapted('prometheus.yml', /localhost:9100/, 'debian:9100'),
    '/etc/prometheus/alerts.yml': read('alerts.yml'),
    '/etc/prometheus/alertmanager.yml': adapted(
      'alertmanager.yml',
      /url: \S+/,
      'url: http://127.0.0.1:8080/',
    ),
    '/opt/receiver.js': RECEIVER,
  };
}
