/** Starts Debian's Prometheus, and asks it through its HTTP API. */
import { join } from 'node:path';
import { listeningAddress } from './nodeExporter.ts';
import { collect, ended, killGroup, start, until } from './process.ts';

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
  readonly alerts: readonly Alert[];
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

/**
 * @param directory where its prometheus.yml is; its data goes there too
 */
export async function startPrometheus(directory: string): Promise<Prometheus> {
  const process = start([
    'prometheus',
    `--config.file=${join(directory, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(directory, 'data')}`,
    '--web.listen-address=127.0.0.1:0',
  ]);
  const log = collect(process.stderr);
  const address = await until('Prometheus is ready', () => {
    if (process.exitCode !== null) throw new Error(`Prometheus ended:\n${log()}`);
    return log().includes('Server is ready to receive web requests') ? listeningAddress(log()) : undefined;
  });
  return new Prometheus(`http://${address}`, log, async () => {
    killGroup(process);
    await ended(process);
  });
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
