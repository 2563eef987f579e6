import { WrongUsage } from './failure.ts';
import type { Host } from './host/host.ts';
import { createLog, logFailure } from './log.ts';
import { optionsWithoutArguments } from './options.ts';
import { print, run } from './run.ts';

/** The version in package.json; set by the bundler. */
declare const VERSION: string;

/** Exit statuses besides 0. */
const RUN_FAILED = 1;
const WRONG_USAGE = 2;

/** @returns the exit status: 0 when all is done, 1 when the run failed, 2 when the command line is wrong */
export async function main(host: Host): Promise<number> {
  try {
    const options = optionsWithoutArguments(host) ?? (await parseArguments(host));
    if (typeof options === 'string') {
      print([options], host);
      return 0;
    }
    return run(options, VERSION, host, createLog(options.logLevel, host)) ? 0 : RUN_FAILED;
  } catch (error) {
    logFailure(error, createLog('error', host));
    return error instanceof WrongUsage ? WRONG_USAGE : RUN_FAILED;
  }
}

/** Only this loads commander. */
async function parseArguments(host: Host) {
  const { parseCommandLine } = await import('./commandLine.ts');
  return parseCommandLine(host, VERSION);
}
