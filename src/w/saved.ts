import { closeSync, openSync, readSync } from 'node:fs';
import { Failure } from '../failure.ts';
import { OUTPUT_LIMIT } from './command.ts';

const STANDARD_INPUT = 0;

/**
 * Output of w that was saved earlier.
 *
 * @param path a file, or "-" for standard input
 * @throws Failure when it cannot be read, or is longer than what is read from w itself
 */
export function readSaved(path: string): Buffer {
  try {
    if (path === '-') return readAll(STANDARD_INPUT);
    const file = openSync(path, 'r');
    try {
      return readAll(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Failure(
      `cannot read ${path === '-' ? 'standard input' : path}: ${reason}; save it with: w -i > file`,
    );
  }
}

function readAll(file: number): Buffer {
  const chunks: Buffer[] = [];
  let total = 0;
  while (total <= OUTPUT_LIMIT) {
    const chunk = Buffer.allocUnsafe(64 * 1024);
    const length = readSync(file, chunk);
    if (length === 0) return Buffer.concat(chunks);
    chunks.push(chunk.subarray(0, length));
    total += length;
  }
  throw new Error(`more than ${OUTPUT_LIMIT / 1024 / 1024} MiB`);
}
