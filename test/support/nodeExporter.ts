/** Starts Debian's node_exporter with a textfile directory and the time zone, and nothing else. */
import { collect, ended, killGroup, start, until } from './process.ts';

export interface NodeExporter {
  /** Such as `http://127.0.0.1:9100`, on a free port. */
  readonly url: string;
  /** What it has logged so far. */
  log(): string;
  /** What it serves now, in the text format. */
  metrics(): Promise<string>;
  stop(): Promise<void>;
}

/** @param directory where its textfile collector looks for .prom files */
export async function startNodeExporter(directory: string): Promise<NodeExporter> {
  const process = start([
    'prometheus-node-exporter',
    '--collector.disable-defaults',
    '--collector.textfile',
    '--collector.time',
    `--collector.textfile.directory=${directory}`,
    '--web.listen-address=127.0.0.1:0',
  ]);
  const log = collect(process.stderr);
  const address = await until('node_exporter listens', () => {
    if (process.exitCode !== null) throw new Error(`node_exporter ended:\n${log()}`);
    return listeningAddress(log());
  });
  const url = `http://${address}`;
  return {
    url,
    log,
    metrics: async () => (await fetch(`${url}/metrics`)).text(),
    stop: async () => {
      killGroup(process);
      await ended(process);
    },
  };
}

/** The address that a program of the Prometheus project logs when it listens, with the port that it was given. */
export function listeningAddress(log: string): string | undefined {
  return /msg="Listening on".* address=(\S+)/.exec(log)?.[1];
}
