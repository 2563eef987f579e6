import { Failure } from '../failure.ts';
import { type FileHandle, type Host, reasonOf } from '../host/host.ts';
import { OUTPUT_LIMIT } from './command.ts';

const STANDARD_INPUT = 0;

/** In bytes: what a pipe holds. */
const PIECE = 64 * 1024;

/**
 * Output of w that was saved earlier, in pieces. Each is valid until the next is asked for.
 *
 * @param path a file, or "-" for standard input
 * @throws Failure when it cannot be read, or is longer than what is read from w itself
 */
export function* readSaved(host: Host, path: string): Generator<Uint8Array> {
  const name = path === '-' ? 'standard input' : path;
  try {
    if (path === '-') {
      yield* readAll(host, STANDARD_INPUT, name);
      return;
    }
    const file = host.open(path);
    try {
      yield* readAll(host, file, name);
    } finally {
      host.close(file);
    }
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(`cannot read ${name}: ${reasonOf(error)}; save it with: w -i > file`);
  }
}

function* readAll(host: Host, file: FileHandle, name: string): Generator<Uint8Array> {
  const piece = new Uint8Array(PIECE);
  for (let total = 0; total <= OUTPUT_LIMIT; ) {
    const length = host.read(file, piece);
    if (length === 0) return;
    total += length;
    yield piece.subarray(0, length);
  }
  const limit = OUTPUT_LIMIT / 1024 / 1024;
  throw new Failure(`cannot read ${name}: more than ${limit} MiB; save it with: w -i > file`);
}
