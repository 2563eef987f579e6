/**
 * Debian 13 for the processors of a Raspberry Pi, run by an emulator. Needs root, and the packages debootstrap,
 * qemu-user-static and binfmt-support.
 */
import { join } from 'node:path';
import { cached, isolated } from './guest.ts';
import { succeed } from './process.ts';

/** As Debian calls them, each with the name that QEMU has for it. */
const PROCESSORS = { armhf: 'arm', arm64: 'aarch64' } as const;

export type Architecture = keyof typeof PROCESSORS;
export const ARCHITECTURES: readonly Architecture[] = ['armhf', 'arm64'];

/**
 * Argument: QEMU's name of the processor. Lets the kernel start programs of that processor; where nothing else has
 * mounted this file system, that ends with this command.
 */
const emulateScript = `
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
update-binfmts --enable "qemu-$1"
shift
`;

/** Arguments: Debian's name of the processor, directory. */
const imageScript = `${emulateScript}
debootstrap --arch="$1" --variant=minbase --include=faketime,nodejs,procps,quickjs trixie "$2"
rm -rf "$2"/var/lib/apt/lists/* "$2"/var/cache/apt/archives/*.deb
`;

/** Directory of a Debian with both hosts of the program. Takes some minutes the first time. */
export function armImage(architecture: Architecture): Promise<string> {
  return cached(`trixie-${architecture}`, imageScript, (directory) =>
    succeed(
      [...isolated, imageScript, 'sh', PROCESSORS[architecture], architecture, join(directory, 'upper')],
      {
        timeoutMs: 1_800_000,
      },
    ),
  );
}
