/** The library of the package faketime: a clock of its own for whatever it is preloaded into, in a guest too. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

export function findFaketime(): string {
  const paths = readdirSync('/usr/lib').map((name) => join('/usr/lib', name, 'faketime/libfaketime.so.1'));
  const path = paths.find(existsSync);
  if (path === undefined) throw new Error('this test needs the package faketime');
  return path;
}
