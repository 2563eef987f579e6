/** What write-file-atomic gets for node:fs, on Node.js. */
import { openSync as open } from 'node:fs';

export { chmodSync, closeSync, renameSync, unlinkSync, writeSync } from 'node:fs';

/** Never an existing file: its temporary name can be guessed, and a link of that name could lead anywhere. */
export const openSync = (path: string, _flags: string, mode: number) => open(path, 'wx', mode);

/** The path has been resolved (textfile.ts), and is to stay as it is. */
export const realpathSync = (path: string) => path;

/** The owner is to stay as it is. */
export const chownSync = () => {};
