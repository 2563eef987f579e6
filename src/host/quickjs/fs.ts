/** What write-file-atomic asks of node:fs in its synchronous form, on QuickJS. */
import { check } from './std.ts';

/** A path through a file descriptor of this process, in a form that its children can also use. */
const shared = (path: string) => path.replace(/^\/proc\/self\//, `/proc/${os.getpid()}/`);

/** Never an existing file: its temporary name can be guessed, and a link of that name could lead anywhere. */
export const openSync = (path: string, _flags: string, mode: number) =>
  check(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode));

/** Text for a file is written by the host (textfile.ts). */
export const writeSync = () => 0;

export const closeSync = (file: number) => void check(os.close(file));
export const renameSync = (from: string, to: string) => void check(os.rename(from, to));
export const unlinkSync = (path: string) => void check(os.remove(path));

/** The path has been resolved (textfile.ts), and is to stay as it is. */
export const realpathSync = (path: string) => path;

/** The owner is to stay as it is. */
export const chownSync = () => {};

/** QuickJS has no chmod; it is needed only if the umask has removed bits. */
export function chmodSync(path: string, mode: number): void {
  const [stats] = os.lstat(path);
  if ((stats.mode & 0o7777) === mode) return;
  const status = os.exec(['/bin/chmod', mode.toString(8), shared(path)], { block: true });
  if (status !== 0) throw new Error(`chmod ended with status ${status}`);
}
