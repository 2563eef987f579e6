/** Runs a test in a time zone, which Node takes from TZ anew whenever it is set. */
export function inZone<T>(zone: string, test: () => T): T {
  const before = process.env['TZ'];
  process.env['TZ'] = zone;
  try {
    return test();
  } finally {
    if (before === undefined) delete process.env['TZ'];
    else process.env['TZ'] = before;
  }
}
