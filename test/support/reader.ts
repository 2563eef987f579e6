/** Reads a file again and again while others replace it, as node_exporter might. */
import { readFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { withoutRunData } from './exposition.ts';

export interface Reader {
  /** Stops reading. Returns how often each text was read, by its name. */
  stop(): Promise<ReadonlyMap<string, number>>;
}

/**
 * @param texts what may be read, by name; the run's own metrics are not compared
 * @returns a reader whose `stop` rejects if it has read anything else, or found no file
 */
export function startReader(file: string, texts: ReadonlyMap<string, string>): Reader {
  const names = new Map([...texts].map(([name, text]) => [withoutRunData(text), name]));
  const counts = new Map<string, number>();
  let stopped = false;
  const reading = (async () => {
    while (!stopped) {
      const text = readFileSync(file, 'utf8');
      const name = names.get(withoutRunData(text));
      if (name === undefined)
        throw new Error(`read ${text.length} characters that are no whole file: ${text.slice(-300)}`);
      counts.set(name, (counts.get(name) ?? 0) + 1);
      await setImmediate();
    }
  })();
  reading.catch(() => {});
  return {
    stop: async () => {
      stopped = true;
      await reading;
      return counts;
    },
  };
}
