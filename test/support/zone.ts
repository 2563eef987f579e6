import { host } from '../../src/host/node.ts';
import { type Moment, parseLogin } from '../../src/w/time.ts';

/** Runs a test in a time zone, which Node.js reads again whenever TZ is set. */
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

/** A moment in the time zone of the test. */
export const momentOf = (date: Date): Moment => ({ now: date.getTime(), utcOffset: host.utcOffset });

/** What parseLogin makes of a LOGIN@. */
export function readLogin(text: string, now: Date): Date | undefined {
  const time = parseLogin(text, momentOf(now));
  return time === undefined ? undefined : new Date(time);
}
