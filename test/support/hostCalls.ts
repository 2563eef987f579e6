/** Runs on either host, for test/command/host.test.ts: makes calls of a Host, and prints what each returned. */
import { type Host, type RunLimits, reasonOf } from '../../src/host/host.ts';

/** In ISO 8859-1, one character a byte. */
const text = (bytes: Uint8Array) => [...bytes].map((byte) => String.fromCharCode(byte)).join('');

const LIMITS: RunLimits = { env: {}, timeout: 10, outputLimit: 1000 };

/** Named like the functions of Host that they are about. */
const CALLS = {
  run: (host: Host, command: readonly string[], limits: Partial<RunLimits> = {}) => {
    const { stdout, stderr, end } = host.run(command, { ...LIMITS, ...limits });
    return { stdout: stdout.map(text).join(''), stderr: text(stderr), end };
  },
  /** Where a command is not found, the hosts differ in standard error. */
  find: (host: Host, command: string) => {
    const { stdout, end } = host.run([command], LIMITS);
    return stdout.map(text).join('') || end;
  },
  /** How much comes, and how it ends. */
  runLong: (host: Host, command: readonly string[], outputLimit: number) => {
    const { stdout, stderr, end } = host.run(command, { ...LIMITS, outputLimit });
    const read = stdout.reduce((sum, { length }) => sum + length, 0);
    return { stdout: Math.min(read, outputLimit), stderr: stderr.length, end };
  },
  read: (host: Host, path: string, size: number) => {
    const file = host.open(path);
    const pieces: string[] = [];
    for (let length = -1; length !== 0; ) {
      const piece = new Uint8Array(size + 2).subarray(1, size + 1);
      length = host.read(file, piece);
      pieces.push(text(piece.subarray(0, length)));
    }
    host.close(file);
    return pieces;
  },
  write: (host: Host, path: string, ...texts: readonly string[]) => {
    const file = host.openToWrite(path);
    try {
      for (const each of texts) host.write(file, each);
    } finally {
      host.close(file);
    }
    return 'written';
  },
  /** As many times a text of a million bytes. */
  writeLong: (host: Host, path: string, count: number) =>
    CALLS.write(host, path, ...Array.from({ length: count }, () => '€3456789\n\0'.repeat(100_000))),
  openDirectory: (host: Host, path: string) => {
    const file = host.openDirectory(path);
    const name = host.readLink(`/proc/self/fd/${file}`);
    const seen = host.list(`/proc/self/fd/${file}`).length;
    host.close(file);
    return [name, seen];
  },
  isTerminal: (host: Host, file: number) => host.isTerminal(file),
  readSmallFile: (host: Host, path: string) => {
    const text = host.readSmallFile(path);
    return [text.length, text.slice(0, 20)];
  },
  list: (host: Host, path: string) => host.list(path).sort(),
  inspect: (host: Host, path: string) => {
    const status = host.inspect(path);
    return status && { ...status, modified: Math.floor(status.modified) };
  },
  readLink: (host: Host, path: string) => host.readLink(path),
  makeDirectory: (host: Host, path: string) => host.makeDirectory(path),
  remove: (host: Host, path: string) => host.remove(path),
  utcOffset: (host: Host, times: readonly number[]) => times.map(host.utcOffset),
  about: (host: Host) => ({
    name: host.name.replace(/ .*/, ''),
    args: host.args.length,
    mark: host.env['MARK'],
    unset: host.env['NO_SUCH_VARIABLE'],
    uid: host.uid(),
    now: Math.abs(host.now() - Date.now()) < 1000,
    elapsed: host.elapsed() >= 0 && host.elapsed() < 600,
  }),
  actAs: (host: Host, uid: number) => host.actAs(uid, uid),
} as const;

export type Call = keyof typeof CALLS;

/** The only argument is a list of calls in JSON; prints the list of their results. */
export function main(host: Host): void {
  const calls: [Call, ...never[]][] = JSON.parse(host.args[0] ?? '');
  const results = calls.map(([name, ...args]) => {
    const call: (host: Host, ...args: never[]) => unknown = CALLS[name];
    try {
      return call(host, ...args) ?? 'nothing';
    } catch (error) {
      return reasonOf(error);
    }
  });
  host.write(1, JSON.stringify(results));
}
