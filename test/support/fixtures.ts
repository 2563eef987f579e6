import { join } from 'node:path';
import { ROOT } from './exporter.ts';

/**
 * A folder per capture: what w printed (w.txt), where, when and how it was made (capture.txt), and what is
 * exported from it (expected.prom). After a change on purpose, UPDATE_FIXTURES=1 regenerates expected.prom:
 * read the difference before you commit it.
 */
export const FIXTURES = join(ROOT, 'test/fixtures');

/** @param capture the text of capture.txt */
export function fact(capture: string, name: string): string {
  const value = new RegExp(`^${name}: (\\S+)`, 'm').exec(capture)?.[1];
  if (value === undefined) throw new Error(`capture.txt does not tell: ${name}`);
  return value;
}
