/** Starts Debian's node_exporter with a textfile directory and the time zone, and nothing else. */
import { startServer } from './server.ts';

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
  const { address, log, stop } = await startServer('prometheus-node-exporter', [
    '--collector.disable-defaults',
    '--collector.textfile',
    '--collector.time',
    `--collector.textfile.directory=${directory}`,
  ]);
  const url = `http://${address}`;
  return {
    url,
    log,
    metrics: async () => (await fetch(`${url}/metrics`)).text(),
    stop,
  };
}
