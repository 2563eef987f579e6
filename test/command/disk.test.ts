/** File systems that are full, or take no file for another reason: the reader sees the old or the new file, whole. */
import assert from 'node:assert/strict';
import {
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import { publicDirectory, runExporter } from '../support/exporter.ts';
import { withoutRunData } from '../support/exposition.ts';
import { type Result, succeed } from '../support/process.ts';
import { lacking, lackingRoot } from '../support/programs.ts';
import { exporterAs, mount, NOBODY } from '../support/root.ts';
import { makeVersions, type Version } from '../support/versions.ts';

const BLOCK = 4096;
/** About 60 KiB, so 18 sizes of disk; node_exporter's own file is smaller yet. */
const ROWS = 60;

const root = lackingRoot();
const directory = publicDirectory();
let old: Version;
let fresh: Version;

before(async () => {
  [old, fresh] = await makeVersions(directory, ROWS);
});

function replace(file: string): Promise<Result> {
  return runExporter(['-i', fresh.input, '-o', file, '--log-level', 'warning']);
}

function replaceAs(user: number, file: string): Promise<Result> {
  return exporterAs(user, ['-i', fresh.input, '-o', file, '--log-level', 'warning']);
}

/** The run says that it failed and why, in one line, and all is as it was. */
async function assertUnchanged(file: string, run: () => Promise<Result>, complaint: RegExp): Promise<void> {
  const entries = () => readdirSync(dirname(file)).sort();
  const state = entries();
  const { status, stdout, stderr } = await run();
  assert.deepEqual(
    { status, stdout, lines: stderr.split('\n').length - 1 },
    { status: 1, stdout: '', lines: 1 },
  );
  assert.match(stderr, complaint);
  assert.deepEqual(entries(), state);
  if (state.includes(basename(file)) && statSync(file).isFile()) {
    assert.equal(readFileSync(file, 'utf8'), old.text);
  }
}

function isNew(file: string): boolean {
  return withoutRunData(readFileSync(file, 'utf8')) === withoutRunData(fresh.text);
}

describe('a run that cannot write changes nothing', { skip: root }, () => {
  for (const state of ['that holds an old file', 'that holds none']) {
    test(`on a tmpfs ${state}, for every size of free space up to enough, in steps of 4 KiB`, async (t) => {
      const needed = Math.ceil(Buffer.byteLength(fresh.text) / BLOCK);
      const directory = await mount('-t', 'tmpfs', '-o', `size=${(2 * needed + 20) * BLOCK}`, 'tmpfs');
      const file = join(directory, 'ssh.prom');
      const outcomes: boolean[] = [];
      for (let free = 0; free <= needed + 2; free++) {
        rmSync(file, { force: true });
        if (state === 'that holds an old file') writeFileSync(file, old.text);
        await fill(directory, free);
        if (free < needed) {
          await assertUnchanged(
            file,
            () => replace(file),
            /^error: cannot write .*: no space .*; free some\n$/,
          );
        } else {
          assert.deepEqual(await replace(file), { status: 0, stdout: '', stderr: '' });
          assert.ok(isNew(file));
          assert.deepEqual(readdirSync(directory).sort(), ['filler', 'ssh.prom']);
        }
        outcomes.push(free >= needed);
      }
      t.diagnostic(`${outcomes.length} sizes`);
    });
  }

  test('on ext4, in the same steps', {
    skip: lacking('/usr/sbin/mkfs.ext4'),
  }, async (t) => {
    const directory = await makeDisk(
      4,
      'mkfs.ext4',
      '-q',
      '-b',
      String(BLOCK),
      '-O',
      '^has_journal',
      '-m',
      '0',
    );
    const file = join(directory, 'ssh.prom');
    const needed = Math.ceil(Buffer.byteLength(fresh.text) / BLOCK);
    const outcomes = new Map<number, number>();
    for (let free = 0; free <= needed + 2; free++) {
      writeFileSync(file, old.text);
      await fill(directory, free);
      const { status } = await replace(file);
      const left = readFileSync(file, 'utf8');
      assert.equal(withoutRunData(left), withoutRunData(status === 0 ? fresh.text : old.text));
      assert.deepEqual(readdirSync(directory).sort(), ['filler', 'lost+found', 'ssh.prom']);
      outcomes.set(status, (outcomes.get(status) ?? 0) + 1);
    }
    t.diagnostic(`${outcomes.get(0)} runs replaced the file, ${outcomes.get(1)} left the old one`);
    assert.deepEqual([...outcomes.keys()].sort(), [0, 1]);
  });

  test('without a free inode', async () => {
    const directory = await mount('-t', 'tmpfs', '-o', 'size=1M,nr_inodes=3', 'tmpfs');
    const file = join(directory, 'ssh.prom');
    writeFileSync(file, old.text);
    writeFileSync(join(directory, 'other'), '');
    await assertUnchanged(file, () => replace(file), /^error: cannot write .*: no space or no inodes left/);
    rmSync(join(directory, 'other'));
    assert.equal((await replace(file)).status, 0);
    assert.ok(isNew(file));
  });

  test('beyond the disk quota', { skip: lacking('/usr/sbin/mkfs.btrfs') }, async () => {
    const volume = join(await makeDisk(128, 'mkfs.btrfs', '--quiet', '--mixed'), 'volume');
    await succeed(['btrfs', 'quota', 'enable', dirname(volume)]);
    await succeed(['btrfs', 'subvolume', 'create', volume]);
    const limit = (bytes: number) => succeed(['btrfs', 'qgroup', 'limit', String(Math.ceil(bytes)), volume]);
    const file = join(volume, 'ssh.prom');
    writeFileSync(file, old.text);
    await succeed(['sync', '--file-system', volume]);
    await limit(Buffer.byteLength(old.text) * 1.5);
    await assertUnchanged(
      file,
      () => replace(file),
      /^error: cannot write .*: the disk quota is used up; free some space\n$/,
    );
    await limit(Buffer.byteLength(old.text) * 4);
    assert.equal((await replace(file)).status, 0);
    assert.ok(isNew(file));
  });

  test('on a read-only file system', async () => {
    const directory = await mount('-t', 'tmpfs', 'tmpfs');
    const file = join(directory, 'ssh.prom');
    writeFileSync(file, old.text);
    await succeed(['mount', '-o', 'remount,ro', directory]);
    await assertUnchanged(
      file,
      () => replace(file),
      /^error: cannot write .*: the file system is read-only; remount it/,
    );
  });

  test('over a file that is a mount point, as a container can have it', async () => {
    const file = join(await mount('-t', 'tmpfs', 'tmpfs'), 'ssh.prom');
    writeFileSync(file, old.text);
    await succeed(['mount', '--bind', file, file]);
    await assertUnchanged(
      file,
      () => replace(file),
      /^error: cannot write .*: it is a mount point; mount its directory instead, or name another file/,
    );
    await succeed(['umount', file]);
  });

  test('without permission', async () => {
    const file = join(publicDirectory(), 'ssh.prom');
    writeFileSync(file, old.text);
    await assertUnchanged(file, () => replaceAs(NOBODY, file), /^error: cannot write .*: no permission in /);
  });
});

/** Mounts a disk of that many MiB, made by a command that takes its image. */
async function makeDisk(size: number, ...command: readonly string[]): Promise<string> {
  const image = join(publicDirectory(), 'image');
  writeFileSync(image, '');
  truncateSync(image, size * 1024 * 1024);
  await succeed([...command, image]);
  return mount('-o', 'loop', image);
}

/** Leaves that many blocks of the file system free. */
async function fill(directory: string, blocks: number): Promise<void> {
  const filler = join(directory, 'filler');
  rmSync(filler, { force: true });
  // ext4 finds out late what is free.
  await succeed(['sync', '--file-system', directory]);
  const length = (statfsSync(directory).bavail - blocks) * BLOCK;
  await succeed(['fallocate', '--length', String(length), filler]);
  assert.equal(statfsSync(directory).bavail, blocks);
}
