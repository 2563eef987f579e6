/**
 * Debian 13 for the processors of a Raspberry Pi, run by an emulator, with both hosts of the program. Needs root, and
 * the packages debootstrap, qemu-user-static and binfmt-support.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cached, isolated } from './guest.ts';
import { cleanUp, collect, ended, killGroup, start, succeed, until } from './process.ts';

/** As Debian calls them, each with the name that QEMU has for it. */
const PROCESSORS = { armhf: 'arm', arm64: 'aarch64' } as const;

export type Architecture = keyof typeof PROCESSORS;
export const ARCHITECTURES: readonly Architecture[] = ['armhf', 'arm64'];

/**
 * First argument: QEMU's name of the processor. Lets the kernel start its programs. If nothing else has mounted that
 * file system, the kernel forgets it when the mount is gone with this command.
 */
const emulateScript = `
binfmt=/proc/sys/fs/binfmt_misc
[ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
update-binfmts --enable "qemu-$1"
shift
`;

/** Further arguments: Debian's name of the processor, directory. */
const imageScript = `${emulateScript}
debootstrap --arch="$1" --variant=minbase --include=faketime,nodejs,procps,quickjs trixie "$2"
rm -rf "$2"/var/lib/apt/lists/* "$2"/var/cache/apt/archives/*.deb
`;

/** Further arguments: image, directory. */
const mountScript = `${emulateScript}
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount --bind /dev "$2/root/dev"
echo mounted
exec sleep infinity
`;

/** A Debian that has not been booted: commands run in it one by one, among the processes of this machine. */
export interface ArmDebian {
  /** The command that runs `command` in it when it is started on this machine. */
  argv(command: readonly string[]): readonly string[];
  /** Runs a shell command in it; a failure is an error. Gives standard output. */
  run(command: string): Promise<string>;
  /** Where a file of it is on this machine. */
  path(file: string): string;
  /** Removes all that was written in it. */
  stop(): Promise<void>;
}

/** Takes some minutes the first time. Stop it when done. */
export async function startArmDebian(architecture: Architecture): Promise<ArmDebian> {
  const processor = PROCESSORS[architecture];
  const image = await cached(`trixie-${architecture}`, imageScript, (building) =>
    succeed([...isolated, imageScript, 'sh', processor, architecture, join(building, 'upper')], {
      timeoutMs: 1_800_000,
    }),
  );
  const directory = mkdtempSync(join(tmpdir(), 'ssh-sessions-arm-'));
  const remove = cleanUp(() => rmSync(directory, { recursive: true, force: true }));
  for (const name of ['upper', 'work', 'root']) mkdirSync(join(directory, name));
  // Its mounts are its own, and gone when it ends.
  const holder = start(['unshare', '--mount', 'sh', '-ec', mountScript, 'sh', processor, image, directory]);
  const [output, errors] = [collect(holder.stdout), collect(holder.stderr)];
  await until('the file systems are mounted', () => {
    if (holder.exitCode !== null) throw new Error(errors());
    return output().includes('mounted');
  });
  const root = join(directory, 'root');
  const argv = (command: readonly string[]) => [
    ...['nsenter', `--mount=/proc/${holder.pid}/ns/mnt`, 'chroot', root],
    ...command,
  ];
  return {
    argv,
    run: (command) => succeed(argv(['sh', '-ec', command]), { env: ENVIRONMENT, timeoutMs: 300_000 }),
    path: (file) => join(`/proc/${holder.pid}/root`, root, file),
    stop: async () => {
      killGroup(holder);
      await ended(holder);
      remove();
    },
  };
}

/** Of a command in it. */
export const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LANG: 'C.UTF-8',
  DEBIAN_FRONTEND: 'noninteractive',
};
