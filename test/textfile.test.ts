import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { host } from '../src/host/node.ts';
import { replaceFile as replaceFileBy } from '../src/textfile.ts';
import { scratch } from './support/exporter.ts';

const TEXT = 'ssh_sessions_total 0\n';

/** In pieces, one of which is empty. */
function replaceFile(path: string, text: string): void {
  replaceFileBy(host, path, [text.slice(0, 1), '', text.slice(1)]);
}

describe('replaceFile', () => {
  it('makes a file that everyone can read, whatever the umask, and leaves nothing else', (context) => {
    const directory = scratch(context);
    const file = join(directory, 'x.prom');
    const umask = process.umask(0o077);
    context.after(() => process.umask(umask));
    replaceFile(file, TEXT);
    assert.equal(statSync(file).mode & 0o777, 0o644);
    assert.equal(readFileSync(file, 'utf8'), TEXT);
    chmodSync(file, 0o600);
    replaceFile(file, 'ü\n');
    assert.equal(statSync(file).mode & 0o777, 0o644);
    assert.equal(readFileSync(file, 'utf8'), 'ü\n');
    assert.deepEqual(readdirSync(directory), ['x.prom']);
  });

  it('replaces the file rather than writing into it', (context) => {
    const file = join(scratch(context), 'x.prom');
    replaceFile(file, TEXT);
    const before = statSync(file).ino;
    replaceFile(file, TEXT);
    assert.notEqual(statSync(file).ino, before);
  });

  it('removes what killed runs left, and nothing else', (context) => {
    const directory = scratch(context);
    const old = new Date(Date.now() - 61_000);
    const young = new Date(Date.now() - 50_000);
    const make = (name: string, time: Date) => {
      writeFileSync(join(directory, name), '');
      utimesSync(join(directory, name), time, time);
    };
    make('x.prom.123', old);
    make('x.prom.4294967295', old);
    make('x.prom.456', young);
    make('x.prom.bak', old);
    make('x.prom.1a', old);
    make('y.prom.123', old);
    make('x.prom', old);
    mkdirSync(join(directory, 'x.prom.77'));
    symlinkSync('y.prom.123', join(directory, 'x.prom.78'));
    replaceFile(join(directory, 'x.prom'), TEXT);
    const kept = ['x.prom', 'x.prom.1a', 'x.prom.456', 'x.prom.77', 'x.prom.78', 'x.prom.bak', 'y.prom.123'];
    assert.deepEqual(readdirSync(directory).sort(), kept);
  });

  it('judges their age by the clock of its host', (context) => {
    const directory = scratch(context);
    writeFileSync(join(directory, 'x.prom.123'), '');
    const later = { ...host, now: () => Date.now() + 61_000 };
    replaceFileBy(later, join(directory, 'x.prom'), [TEXT]);
    assert.deepEqual(readdirSync(directory), ['x.prom']);
  });

  it('follows a link, even to a file that is not there yet', (context) => {
    const directory = scratch(context);
    mkdirSync(join(directory, 'elsewhere'));
    symlinkSync('elsewhere/y.prom', join(directory, 'x.prom'));
    for (const text of [TEXT, 'new\n']) {
      replaceFile(join(directory, 'x.prom'), text);
      assert.equal(readlinkSync(join(directory, 'x.prom')), 'elsewhere/y.prom');
      assert.equal(readFileSync(join(directory, 'elsewhere', 'y.prom'), 'utf8'), text);
    }
    assert.deepEqual(readdirSync(join(directory, 'elsewhere')), ['y.prom']);
  });

  it('goes up from where a link has led', (context) => {
    const directory = scratch(context);
    mkdirSync(join(directory, 'a/b'), { recursive: true });
    symlinkSync('a/b', join(directory, 'link'));
    symlinkSync('../../y.prom', join(directory, 'a/b/x.prom'));
    replaceFile(`${directory}/link/../x.prom`, TEXT);
    replaceFile(`${directory}/link/x.prom`, TEXT);
    assert.deepEqual(readdirSync(join(directory, 'a')), ['b', 'x.prom']);
    assert.deepEqual(readdirSync(directory).sort(), ['a', 'link', 'y.prom']);
  });

  const refused = [
    ['a directory', (path: string) => mkdirSync(path), /is a directory.*--output/],
    [
      'a link that leads to itself',
      (path: string) => symlinkSync('x.prom', path),
      /too many links.*--output/,
    ],
    [
      'a link into a directory that is missing',
      (path: string) => symlinkSync('no/y.prom', path),
      /does not exist.*--output/,
    ],
    [
      'a FIFO, which nobody reads',
      (path: string) => execFileSync('mkfifo', [path]),
      /not a regular file.*--output/,
    ],
    ['a device', (path: string) => symlinkSync('/dev/null', path), /not a regular file.*--output/],
  ] as const;
  for (const [what, make, message] of refused) {
    it(`refuses ${what}`, (context) => {
      const directory = scratch(context);
      const path = join(directory, 'x.prom');
      make(path);
      assert.throws(() => replaceFile(path, TEXT), message);
      assert.deepEqual(readdirSync(directory), ['x.prom']);
      assert.ok(existsSync('/dev/null') && statSync('/dev/null').isCharacterDevice());
    });
  }

  it('names a directory that is missing', (context) => {
    const directory = join(scratch(context), 'missing');
    assert.throws(
      () => replaceFile(join(directory, 'x.prom'), TEXT),
      (error: Error) => {
        assert.match(
          error.message,
          /^cannot write .*x\.prom: the directory .*missing does not exist; create it/,
        );
        return true;
      },
    );
  });
});
