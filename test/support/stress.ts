/** How much of its full count a stress test does: all of it, or what the environment variable STRESS_PERCENT says. */
const percent = Number(process.env['STRESS_PERCENT'] ?? 100);
if (!(percent > 0)) throw new Error('STRESS_PERCENT must be a number above 0');

/** @param full the count that is promised; at least one is left of it */
export function share(full: number): number {
  return Math.ceil((full * percent) / 100);
}
