/** What the program is made of besides its own code, and what is shipped. Expects a build and an `npm ci`. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ROOT, scratch } from './support/exporter.ts';
import { succeed } from './support/process.ts';
import { lacking } from './support/programs.ts';

/** A new line here is a decision: someone has read the package. */
const BUNDLED = ['commander 13.1.0', 'events 3.3.0', 'imurmurhash 0.1.4', 'write-file-atomic 6.0.0'];

const SHIPPED = [
  'LICENSE',
  'README.md',
  'bin/package.json',
  'bin/ssh-sessions-exporter.js',
  'dist/THIRD-PARTY-LICENSES.txt',
  'dist/commander.cjs',
  'dist/ssh-sessions-exporter.cjs',
  'package.json',
];

interface Metafile {
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly outputs: Readonly<Record<string, { readonly imports: readonly { readonly path: string }[] }>>;
}

interface LockEntry {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly hasInstallScript?: boolean;
}

function readJson<T>(...path: readonly string[]): T {
  return JSON.parse(readFileSync(join(ROOT, ...path), 'utf8'));
}

describe('the bundles', () => {
  const [node, commander, quickjs] = readJson<[Metafile, Metafile, Metafile]>('build/metafile.json');
  const inputs = { ...node.inputs, ...commander.inputs, ...quickjs.inputs };
  const packages = [
    ...new Set(
      Object.keys(inputs).flatMap((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1] ?? []),
    ),
  ];

  test('hold exactly these packages in these versions, and own code', () => {
    const versions = packages.map(
      (name) => `${name} ${readJson<LockEntry>('node_modules', name, 'package.json').version}`,
    );
    assert.deepEqual(versions.sort(), BUNDLED);
    const own = Object.keys(inputs).filter((input) => !input.startsWith('node_modules/'));
    assert.deepEqual(
      own.filter((input) => !/^(?:src|scripts)\//.test(input)),
      [],
    );
  });

  test('load nothing but modules of Node.js, and on QuickJS nothing but each other', () => {
    const importsOf = ({ outputs }: Metafile) =>
      Object.values(outputs).flatMap((output) => output.imports.map(({ path }) => path));
    for (const metafile of [node, commander]) {
      const others = importsOf(metafile).filter((path) => path !== './commander.cjs');
      assert.ok(others.length > 0);
      for (const path of others) assert.ok(builtinModules.includes(path.replace(/^node:/, '')), path);
    }
    for (const path of importsOf(quickjs)) assert.match(path, /^dist\/quickjs\//);
    for (const file of ['ssh-sessions-exporter.cjs', 'commander.cjs', ...quickJsFiles()]) {
      const bundle = readFileSync(join(ROOT, 'dist', file), 'utf8');
      assert.doesNotMatch(bundle, /\b(?:http|https|net|dgram|tls|dns|inspector)["']\)/);
      assert.doesNotMatch(bundle, /\beval\(|new Function\(/);
    }
  });

  function quickJsFiles(): string[] {
    return readdirSync(join(ROOT, 'dist/quickjs')).map((name) => join('quickjs', name));
  }

  test('come with the licence of each package', () => {
    const notices = readFileSync(join(ROOT, 'dist/THIRD-PARTY-LICENSES.txt'), 'utf8');
    for (const entry of BUNDLED) assert.ok(notices.includes(`\n${entry} (`), entry);
    for (const [name, file] of [
      ['commander', 'LICENSE'],
      ['write-file-atomic', 'LICENSE.md'],
    ] as const) {
      assert.ok(notices.includes(readFileSync(join(ROOT, 'node_modules', name, file), 'utf8').trim()), name);
    }
    // This one has its licence only at the end of its README.
    const readme = readFileSync(join(ROOT, 'node_modules/imurmurhash/README.md'), 'utf8');
    const licence = readme.slice(readme.indexOf('Copyright (c) 2013 Gary Court, Jens Taylor')).trim();
    assert.ok(licence.length > 1_000 && notices.includes(licence));
  });
});

describe('the lock file', () => {
  const { packages } = readJson<{ packages: Record<string, LockEntry> }>('package-lock.json');
  const entries = Object.entries(packages).filter(([path]) => path !== '');

  test('has a hash for every package, and no address', () => {
    assert.ok(entries.length > BUNDLED.length);
    for (const [path, { integrity, resolved }] of entries) {
      assert.match(integrity ?? '', /^sha512-[A-Za-z0-9+/]{86}==$/, path);
      assert.equal(resolved, undefined, path);
    }
  });

  test('has no package that runs a script when it is installed', () => {
    for (const [path, { hasInstallScript }] of entries) {
      assert.equal(hasInstallScript, undefined, path);
      if (!existsSync(join(ROOT, path, 'package.json'))) continue;
      const { scripts = {} } = readJson<{ scripts?: Record<string, string> }>(path, 'package.json');
      assert.deepEqual(
        ['preinstall', 'install', 'postinstall'].filter((name) => name in scripts),
        [],
        path,
      );
      assert.ok(!existsSync(join(ROOT, path, 'binding.gyp')), path);
    }
  });

  test('matches what is installed', () => {
    for (const [path, { version }] of entries) {
      if (!existsSync(join(ROOT, path))) continue;
      assert.equal(readJson<LockEntry>(path, 'package.json').version, version, path);
    }
    const installed = readdirSync(join(ROOT, 'node_modules')).filter((name) => !name.startsWith('.'));
    for (const name of installed) {
      assert.ok(
        entries.some(([path]) => path === `node_modules/${name}` || path.startsWith(`node_modules/${name}/`)),
        name,
      );
    }
  });
});

test('the npm tarball holds these files and no other, and no script', async (context) => {
  const directory = scratch(context);
  const file = join(directory, (await succeed([process.execPath, 'packaging/npm.js', directory])).trim());
  const list = (await succeed(['tar', '--list', '--verbose', '--file', file])).trim().split('\n');
  const files = list.map((line) => ({ mode: line.slice(0, 10), path: line.replace(/.* package\//, '') }));
  assert.deepEqual(files.map(({ path }) => path).sort(), SHIPPED);
  const executable = files.filter(({ mode }) => mode.includes('x')).map(({ path }) => path);
  assert.deepEqual(executable, ['bin/ssh-sessions-exporter.js']);
  const manifest = await succeed(['tar', '--extract', '--to-stdout', '--file', file, 'package/package.json']);
  assert.ok(!('scripts' in JSON.parse(manifest)));
});

const PACKAGED = [
  'etc/cron.d/ssh-sessions-exporter',
  'etc/default/ssh-sessions-exporter',
  'usr/bin/ssh-sessions-exporter',
  'usr/lib/ssh-sessions-exporter/commander.cjs',
  'usr/lib/ssh-sessions-exporter/quickjs/chunk.js',
  'usr/lib/ssh-sessions-exporter/quickjs/commandLine.js',
  'usr/lib/ssh-sessions-exporter/quickjs/main.js',
  'usr/lib/ssh-sessions-exporter/run-from-cron',
  'usr/lib/ssh-sessions-exporter/ssh-sessions-exporter.cjs',
  'usr/lib/systemd/system/ssh-sessions-exporter.service',
  'usr/lib/systemd/system/ssh-sessions-exporter.timer',
  'usr/lib/tmpfiles.d/ssh-sessions-exporter.conf',
  'usr/share/doc/ssh-sessions-exporter/alerts.md',
  'usr/share/doc/ssh-sessions-exporter/changelog.gz',
  'usr/share/doc/ssh-sessions-exporter/copyright',
  'usr/share/doc/ssh-sessions-exporter/examples/alertmanager.yml',
  'usr/share/doc/ssh-sessions-exporter/examples/alerts.days.test.yml',
  'usr/share/doc/ssh-sessions-exporter/examples/alerts.test.yml',
  'usr/share/doc/ssh-sessions-exporter/examples/alerts.yml',
  'usr/share/doc/ssh-sessions-exporter/examples/grafana-dashboard.json',
  'usr/share/doc/ssh-sessions-exporter/examples/prometheus.yml',
  'usr/share/man/man1/ssh-sessions-exporter.1.gz',
];

test('the Debian package holds these files and no other, the licences among them', {
  skip: lacking('/usr/bin/dpkg-deb'),
}, async (context) => {
  const output = await succeed([process.execPath, 'packaging/build.js']);
  const [file = ''] = /ssh-sessions-exporter_\S+_all\.deb/.exec(output) ?? [];
  context.after(() => rmSync(file, { force: true }));
  const list = await succeed(['sh', '-c', 'dpkg-deb --fsys-tarfile "$1" | tar --list', 'sh', file]);
  const files = list.split('\n').filter((path) => path !== '' && !path.endsWith('/'));
  assert.deepEqual(files.map((path) => path.replace(/^\.\//, '')).sort(), PACKAGED);
  const extract =
    'dpkg-deb --fsys-tarfile "$1" | tar --extract --to-stdout ./usr/share/doc/ssh-sessions-exporter/copyright';
  const copyright = await succeed(['sh', '-c', extract, 'sh', file]);
  for (const name of ['LICENSE', 'dist/THIRD-PARTY-LICENSES.txt']) {
    assert.ok(copyright.includes(readFileSync(join(ROOT, name), 'utf8')), name);
  }
});
