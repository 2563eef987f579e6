/** Starts Debian's Prometheus and Alertmanager, and asks them through their HTTP APIs. */
import { join } from 'node:path';
import { cached } from './guest.ts';
import { succeed } from './process.ts';
import { startServer } from './server.ts';

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  /** Of an instant query: Unix time, and the value as text. */
  readonly value?: readonly [number, string];
  /** Of a range query. */
  readonly values?: readonly (readonly [number, string])[];
}

export interface Rule {
  readonly name: string;
  readonly query: string;
  /** `unknown` until it has been evaluated, then `ok` or `err`. */
  readonly health: string;
  readonly lastError?: string;
  /** Of an alerting rule. */
  readonly alerts?: readonly Alert[];
}

export interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'firing';
}

/** See https://prometheus.io/docs/prometheus/2.42/querying/api/ */
interface Answer<T> {
  readonly status: 'success' | 'error';
  readonly data: T;
  readonly error?: string;
}

/** Arguments: directory. Debian's programs of Prometheus 3 run on Debian 12 as they are: they need its C library only. */
const prometheus3Script = `
apt=$1/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
mirror() { apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' | head -n 1; }
[ -n "$(mirror)" ] || apt-get -q update
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] $(mirror) forky main" >"$apt/sources.list"
set -- "$1" -q -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \\
  -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root
cd "$apt"
dir=$1; shift
apt-get "$@" update
apt-get "$@" download prometheus promtool
for package in *.deb; do dpkg-deb --extract "$package" "$dir/upper"; done
`;

/**
 * The directory of `prometheus` and `promtool` 3 from the suite after Debian 13. Downloads 50 MB the first time. Needs
 * root, for the cache.
 */
export async function prometheus3(): Promise<string> {
  const root = await cached('prometheus-3', prometheus3Script, (dir) =>
    succeed(['sh', '-ec', prometheus3Script, 'sh', dir], { timeoutMs: 600_000 }),
  );
  return join(root, 'usr/bin');
}

/** @param directory where its prometheus.yml is; its data goes there too */
export async function startPrometheus(directory: string): Promise<Prometheus> {
  const config = `--config.file=${join(directory, 'prometheus.yml')}`;
  const data = `--storage.tsdb.path=${join(directory, 'data')}`;
  const ready = 'Server is ready to receive web requests';
  const { address, log, stop } = await startServer('prometheus', [config, data], ready);
  return new Prometheus(`http://${address}`, log, stop);
}

/** An alert as Alertmanager takes it and gives it. */
export interface ManagedAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly status: { readonly inhibitedBy: readonly string[] };
}

export interface Alertmanager {
  /** Such as `127.0.0.1:9093`, on a free port. */
  readonly address: string;
  alerts(): Promise<readonly ManagedAlert[]>;
  /** Hands it alerts as Prometheus does. */
  post(labels: readonly Readonly<Record<string, string>>[]): Promise<void>;
  stop(): Promise<void>;
}

/** @param directory where its alertmanager.yml is; its data goes there too */
export async function startAlertmanager(directory: string): Promise<Alertmanager> {
  const { address, stop } = await startServer('prometheus-alertmanager', [
    `--config.file=${join(directory, 'alertmanager.yml')}`,
    `--storage.path=${join(directory, 'data')}`,
    '--cluster.listen-address=',
  ]);
  const url = `http://${address}/api/v2/alerts`;
  return {
    address,
    alerts: async () => (await (await fetch(url)).json()) as ManagedAlert[],
    post: async (labels) => {
      const body = JSON.stringify(labels.map((of) => ({ labels: of })));
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
      if (!response.ok) throw new Error(`Alertmanager refused: ${await response.text()}`);
    },
    stop,
  };
}

export class Prometheus {
  /** What it has logged so far. */
  readonly log: () => string;
  readonly stop: () => Promise<void>;
  readonly #url: string;

  constructor(url: string, log: () => string, stop: () => Promise<void>) {
    this.#url = url;
    this.log = log;
    this.stop = stop;
  }

  /** The value of an expression now. Rejects, with the reason, when it is not valid or cannot be evaluated. */
  async query(expression: string): Promise<readonly Series[]> {
    const { result } = await this.#get<{ result: Series[] }>('query', { query: expression });
    return result;
  }

  /** The values of an expression over the last minute. */
  async queryRange(expression: string): Promise<readonly Series[]> {
    const end = Date.now() / 1000;
    const range = { query: expression, start: `${end - 60}`, end: `${end}`, step: '1' };
    const { result } = await this.#get<{ result: Series[] }>('query_range', range);
    return result;
  }

  /** The values of a label in the series that match a selector: what `label_values` is in Grafana. */
  labelValues(label: string, selector: string): Promise<readonly string[]> {
    return this.#get(`label/${label}/values`, { 'match[]': selector });
  }

  async rules(): Promise<readonly Rule[]> {
    const { groups } = await this.#get<{ groups: { rules: Rule[] }[] }>('rules');
    return groups.flatMap((group) => group.rules);
  }

  /** Its metrics of itself, in the text format. */
  async metrics(): Promise<string> {
    return (await fetch(`${this.#url}/metrics`)).text();
  }

  async #get<T>(path: string, parameters: Readonly<Record<string, string>> = {}): Promise<T> {
    const response = await fetch(`${this.#url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const { status, data, error } = (await response.json()) as Answer<T>;
    if (status !== 'success') throw new Error(`${error}: ${parameters['query'] ?? path}`);
    return data;
  }
}
