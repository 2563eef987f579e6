/** Reads a file again and again while others replace it, as node_exporter might. */
import { readFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { withoutRunData } from './exposition.ts';

export interface Reader {
  /** Ends it. Gives how often each text was read, by the name that was given for it. */
  stop(): Promise<ReadonlyMap<string, number>>;
}

/**
 * @param texts what may be read, by name; what a run says of itself is left out of the comparison
 * @returns a reader whose `stop` rejects when it has read anything else, or found no file
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
