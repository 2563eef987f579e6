/** The share of its full count that a stress test does: STRESS_PERCENT, or all of it. */
const percent = Number(process.env['STRESS_PERCENT'] ?? 100);
if (!(percent > 0)) throw new Error('STRESS_PERCENT must be a number above 0');

/** @returns that share of the full count, at least 1 */
export function share(full: number): number {
  return Math.ceil((full * percent) / 100);
}
