/** What commander and write-file-atomic ask of Node.js's process, on QuickJS. */
import { host } from '../quickjs.ts';

export const process = {
  argv: scriptArgs,
  env: host.env,
  pid: os.getpid(),
  platform: 'linux',
  stdout: { isTTY: false },
  stderr: { isTTY: false },
  exit: (status: number) => std.exit(status),
  getuid: host.uid,
};

/** V8's; commander calls it in each of its errors. */
Object.assign(Error, { captureStackTrace: () => {} });
