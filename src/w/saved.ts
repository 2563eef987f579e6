import { closeSync, openSync, readSync } from 'node:fs';
import { Failure } from '../failure.ts';
import { OUTPUT_LIMIT } from './command.ts';

const STANDARD_INPUT = 0;

/** In bytes: what a pipe holds. */
const PIECE = 64 * 1024;

/**
 * Output of w that was saved earlier, in pieces. Each is there until the next is asked for: to read 100,000 rows into new
 * memory, and to put them together, takes half as long as all that is done with them.
 *
 * @param path a file, or "-" for standard input
 * @throws Failure when it cannot be read, or is longer than what is read from w itself
 */
export function* readSaved(path: string): Generator<Buffer> {
  try {
    if (path === '-') {
      yield* readAll(STANDARD_INPUT);
      return;
    }
    const file = openSync(path, 'r');
    try {
      yield* readAll(file);
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

function* readAll(file: number): Generator<Buffer> {
  const piece = Buffer.allocUnsafe(PIECE);
  let total = 0;
  while (total <= OUTPUT_LIMIT) {
    const length = readSync(file, piece);
    if (length === 0) return;
    total += length;
    yield piece.subarray(0, length);
  }
  throw new Error(`more than ${OUTPUT_LIMIT / 1024 / 1024} MiB`);
}
