/** Root writes into a directory that belongs to another account, such as node_exporter's, which may not be trusted. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lchownSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { COMMAND, HOST, publicDirectory, runExporter } from '../support/exporter.ts';
import { capture } from '../support/process.ts';
import { lackingRoot } from '../support/programs.ts';
import { NOBODY } from '../support/root.ts';
import { makeVersions, type Version } from '../support/versions.ts';

/** Debian 13's Node.js cannot, nor can QuickJS: see the same test in test/system. */
const refusal =
  HOST !== 'QuickJS' && spawnSync(process.execPath, ['-e', 'process.seteuid(0)']).status === 0
    ? false
    : 'this host does not let root act as another account';

describe('root in the directory of another account', { skip: lackingRoot() }, () => {
  let version: Version;

  before(async () => {
    [version] = await makeVersions(publicDirectory(), 10);
  });

  function foreignDirectory(): string {
    const directory = publicDirectory();
    chownSync(directory, NOBODY, NOBODY);
    return directory;
  }

  test('writes with the rights of that account, also over a file of either', {
    skip: refusal,
  }, async () => {
    const file = join(foreignDirectory(), 'ssh.prom');
    for (const owner of [undefined, NOBODY, 0]) {
      if (owner !== undefined) chownSync(file, owner, owner);
      assert.equal((await runExporter(['-i', version.input, '-o', file])).status, 0);
      const { uid, gid, mode } = statSync(file);
      assert.deepEqual({ uid, gid, mode: mode & 0o7777 }, { uid: NOBODY, gid: NOBODY, mode: 0o644 });
      assert.deepEqual(readdirSync(join(file, '..')), ['ssh.prom']);
    }
  });

  test('writes nothing if it cannot take on the rights of that account', async () => {
    const file = join(foreignDirectory(), 'ssh.prom');
    const bounded = ['setpriv', '--bounding-set=-all,+dac_override', '--inh-caps=-all', '--'];
    const run = [...bounded, ...COMMAND, '-i', version.input, '-o', file];
    const { status, stderr } = await capture(run);
    assert.equal(status, 1);
    assert.match(stderr, /^error: cannot write into .*: it belongs to another account.*sudo -u '#65534'/);
    assert.deepEqual(readdirSync(join(file, '..')), []);
  });

  test('does not follow a link of that account to a file of root', async () => {
    const victim = join(publicDirectory(), 'victim.prom');
    writeFileSync(victim, 'precious');
    const link = join(foreignDirectory(), 'ssh.prom');
    symlinkSync(victim, link);
    lchownSync(link, NOBODY, NOBODY);
    const { status, stderr } = await runExporter(['-i', version.input, '-o', link]);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^error: cannot write .*: it is a symbolic link of another account \(uid 65534\); name the file itself/,
    );
    assert.equal(readFileSync(victim, 'utf8'), 'precious');
    assert.equal(readlinkSync(link), victim);
  });

  test('does not follow a link of that account to a directory of root', async () => {
    const directory = publicDirectory();
    const link = join(foreignDirectory(), 'textfile');
    symlinkSync(directory, link);
    lchownSync(link, NOBODY, NOBODY);
    const { status, stderr } = await runExporter(['-i', version.input, '-o', join(link, 'ssh.prom')]);
    assert.equal(status, 1);
    assert.match(stderr, /^error: cannot write .*: it is a symbolic link of another account \(uid 65534\)/);
    assert.deepEqual(readdirSync(directory), []);
  });

  test('does not write where other accounts can, unless the directory is sticky', async () => {
    const directory = publicDirectory();
    const run = () => runExporter(['-i', version.input, '-o', join(directory, 'ssh.prom')]);
    for (const mode of [0o777, 0o757]) {
      chmodSync(directory, mode);
      const { status, stderr } = await run();
      assert.equal(status, 1);
      assert.match(
        stderr,
        /^error: cannot write into .*: other accounts can write there too; run chmod go-w /,
      );
    }
    assert.deepEqual(readdirSync(directory), []);
    chmodSync(directory, 0o1777);
    assert.equal((await run()).status, 0);
  });

  test('follows a link of root', async () => {
    const file = join(publicDirectory(), 'real.prom');
    const link = join(foreignDirectory(), 'ssh.prom');
    symlinkSync(file, link);
    assert.equal((await runExporter(['-i', version.input, '-o', link])).status, 0);
    assert.match(readFileSync(file, 'utf8'), /^ssh_sessions_exporter_success 1$/m);
    assert.equal(statSync(file).uid, 0);
  });
});
