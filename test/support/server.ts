/** Programs of the Prometheus project, each on a free port of this machine. */
import { collect, ended, killGroup, start, until } from './process.ts';

export interface Server {
  /** Such as `127.0.0.1:9090`. */
  readonly address: string;
  /** What it has logged so far. */
  log(): string;
  stop(): Promise<void>;
}

/** @param ready what it logs when it answers requests */
export async function startServer(
  program: string,
  args: readonly string[],
  ready = 'Listening on',
): Promise<Server> {
  const process = start([program, ...args, '--web.listen-address=127.0.0.1:0']);
  const log = collect(process.stderr);
  const address = await until(`${program} answers`, () => {
    if (process.exitCode !== null) throw new Error(`${program} ended:\n${log()}`);
    return log().includes(ready) ? listeningAddress(log()) : undefined;
  });
  const stop = async () => {
    killGroup(process);
    await ended(process);
  };
  return { address, log, stop };
}

/** The address that it logs, with the port that it was given. */
function listeningAddress(log: string): string | undefined {
  return /msg="Listening on".* address=(\S+)/.exec(log)?.[1];
}
