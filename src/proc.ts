import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';

/**
 * From 20.10 on, Node.js reads a whole file as text in one call, and makes the least garbage so. Before, that
 * takes three times as long as the calls of which it is made.
 */
const [MAJOR = 0, MINOR = 0] = process.versions.node.split('.').map(Number);
const READS_TEXT_AT_ONCE = MAJOR > 20 || (MAJOR === 20 && MINOR >= 10);

/** Of an encoding alone Node.js makes such options each time, which is a third of a read. */
const AS_TEXT = { encoding: 'utf8', flag: 'r' } as const;

/** In bytes; far more than what is read here has. */
const MOST = 64 * 1024;
let buffer: Buffer | undefined;

/**
 * Reads a small file of the process file system as text: what counts where every process of the machine is read.
 *
 * @throws what open(2) and read(2) fail with, as they do for a process that has ended
 */
export function readProc(path: string): string {
  if (READS_TEXT_AT_ONCE) return readFileSync(path, AS_TEXT);
  buffer ??= Buffer.allocUnsafeSlow(MOST);
  const file = openSync(path, constants.O_RDONLY);
  try {
    let length = 0;
    for (let read = -1; read !== 0; length += read)
      read = readSync(file, buffer, length, MOST - length, null);
    return buffer.toString('utf8', 0, length);
  } finally {
    closeSync(file);
  }
}
