import assert from 'node:assert/strict';
import { readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { exporter, scratch } from '../support/exporter.ts';
import { copyCheckout, packageName } from '../support/machine.ts';
import { capture, succeed } from '../support/process.ts';
import { lacking } from '../support/programs.ts';

describe('the Debian package', { skip: lacking('/usr/bin/dpkg-deb', '/usr/bin/lintian') }, () => {
  const { dir, remove } = copyCheckout();
  const file = join(dir, packageName());
  before(async () => {
    for (const built of ['node_modules', 'dist']) symlinkSync(resolve(built), join(dir, built));
    await build();
  });
  after(remove);

  it('has what Debian expects, where it expects it', async () => {
    const listing = await succeed(['dpkg-deb', '--contents', file]);
    const files = listing
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/))
      .filter(([mode]) => !mode?.startsWith('d'));
    assert.ok(files.every(([, owner]) => owner === 'root/root'));
    const programs = files.filter(([mode]) => mode === '-rwxr-xr-x').map((fields) => fields[5]);
    const lib = './usr/lib/ssh-sessions-exporter';
    assert.deepEqual(programs, ['./usr/bin/ssh-sessions-exporter', `${lib}/run-from-cron`]);
    assert.equal(
      await succeed(['dpkg-deb', '--info', file, 'conffiles']),
      '/etc/cron.d/ssh-sessions-exporter\n/etc/default/ssh-sessions-exporter\n',
    );
    assert.equal(
      await succeed(['dpkg-deb', '--field', file, 'Depends']),
      'quickjs (>= 2024.01.13) | nodejs (>= 18.20), procps\n',
    );
    assert.equal(await succeed(['dpkg-deb', '--field', file, 'Breaks']), 'quickjs (<< 2024.01.13)\n');
  });

  it('passes lintian', async () => {
    assert.equal(await succeed(['lintian', '--allow-root', '--pedantic', file]), '');
  });

  it('is the same, byte for byte, when it is built again', async () => {
    const once = readFileSync(file);
    rmSync(file);
    await build();
    assert.ok(readFileSync(file).equals(once));
  });

  it('has a manual of every option and metric', async (context) => {
    const directory = scratch(context);
    await succeed(['dpkg-deb', '--extract', file, directory]);
    const page = join(directory, 'usr/share/man/man1/ssh-sessions-exporter.1.gz');
    const manual = gunzipSync(readFileSync(page)).toString().replaceAll('\\-', '-');
    assert.doesNotMatch(manual, /@[A-Z]+@/);
    const terms = (chapter: string) => {
      const text = manual.slice(manual.indexOf(`.SH ${chapter}\n`) + 1);
      return [...text.slice(0, text.indexOf('\n.SH')).matchAll(/^\.TP\n\.B ([^\n{]+)/gm)].map(
        ([, term]) => term,
      );
    };
    const options = exporter(['--help']).stdout.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm);
    assert.deepEqual(
      terms('OPTIONS').map((term) => /--[\w-]+/.exec(term ?? '')?.[0]),
      [...options].map(([, option]) => option),
    );
    const table = readFileSync('docs/metrics.md', 'utf8').matchAll(/^\| `(ssh_\w+)`/gm);
    assert.deepEqual(
      terms('METRICS'),
      [...table].map(([, metric]) => metric),
    );
  });

  it('is not built if a part is missing, and the error names the part', async () => {
    rmSync(join(dir, 'systemd/ssh-sessions-exporter.timer'));
    const { status, stderr } = await capture(['env', '-C', dir, 'node', 'packaging/build.js']);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^error: no package was made: systemd\/ssh-sessions-exporter\.timer is missing; [^\n]+\n$/,
    );
  });

  function build(): Promise<string> {
    return succeed(['env', '-C', dir, 'SOURCE_DATE_EPOCH=1700000000', 'node', 'packaging/build.js']);
  }
});

describe('the npm package', () => {
  it('installs a command that works, without a warning of npm 12', {
    timeout: 240_000,
  }, async (context) => {
    const directory = scratch(context);
    const file = join(directory, (await succeed([process.execPath, 'packaging/npm.js', directory])).trim());
    const quiet = ['--no-audit', '--no-fund'];
    const npm12 = join(directory, 'node_modules/npm/bin/npm-cli.js');
    await succeed(['npm', 'install', ...quiet, '--prefix', directory, 'npm@12']);
    for (const npm of [['npm'], [process.execPath, npm12]]) {
      const prefix = scratch(context);
      const installed = await capture([...npm, 'install', ...quiet, '--global', '--prefix', prefix, file]);
      assert.equal(installed.status, 0, installed.stderr);
      // It has things to say of an older Node.js, and of settings of this machine.
      const warnings = installed.stderr
        .split('\n')
        .filter((line) => !/^(?:npm warn (?:cli|.* config) |$)/i.test(line));
      assert.deepEqual(warnings, []);
      const help = await succeed([join(prefix, 'bin/ssh-sessions-exporter'), '--help']);
      assert.match(help, /^Usage: ssh-sessions-exporter/);
    }
  });
});
