// Builds ssh-sessions-exporter_<version>_all.deb from the built program, with only Node.js and dpkg-deb, so that it
// works on a Raspberry Pi. The version is in package.json only.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { fillManual } from './manual.js';

const name = 'ssh-sessions-exporter';
const { version, engines } = JSON.parse(readFileSync('package.json', 'utf8'));
const NOTICES = 'dist/THIRD-PARTY-LICENSES.txt';
const debianVersion = version.replace('-', '~');
// Not in a temporary directory: TMPDIR could point anywhere.
mkdirSync('build', { recursive: true });
const root = mkdtempSync('build/package-');

try {
  process.umask(0o022);
  chmodSync(root, 0o755);
  installProgram();
  installSettings();
  installDocumentation();
  writeControl();
  setModes();
  const file = `${name}_${debianVersion}_all.deb`;
  execFileSync('dpkg-deb', ['--build', '--root-owner-group', '-Zxz', root, file], { stdio: 'inherit' });
} catch (error) {
  console.error(`error: no package was made: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(root, { recursive: true });
}

function installProgram() {
  copy('dist', `usr/lib/${name}`, (source) => source !== NOTICES);
  copy('packaging/launch', `usr/bin/${name}`);
}

function installSettings() {
  for (const unit of ['service', 'timer']) {
    copy(`systemd/${name}.${unit}`, `usr/lib/systemd/system/${name}.${unit}`);
  }
  copy('packaging/tmpfiles.conf', `usr/lib/tmpfiles.d/${name}.conf`);
  copy('packaging/default', `etc/default/${name}`);
  copy(`cron/${name}`, `etc/cron.d/${name}`);
  copy('cron/run-from-cron', `usr/lib/${name}/run-from-cron`);
}

function installDocumentation() {
  const doc = `usr/share/doc/${name}`;
  const manual = fillManual(readFileSync(`packaging/${name}.1`, 'utf8'), version);
  write(`usr/share/man/man1/${name}.1.gz`, gzipSync(manual, { level: 9 }));
  write(`${doc}/changelog.gz`, gzipSync(changelog(), { level: 9 }));
  write(`${doc}/copyright`, copyright());
  copy('monitoring', `${doc}/examples`);
  copy('docs/alerts.md', `${doc}/alerts.md`);
}

function writeControl() {
  for (const part of ['postinst', 'prerm', 'postrm']) copy(`packaging/debian/${part}`, `DEBIAN/${part}`);
  const files = list(root).filter((file) => !file.startsWith('DEBIAN/'));
  const bytes = files.reduce((sum, file) => sum + statSync(join(root, file)).size, 0);
  const control = readFileSync('packaging/debian/control', 'utf8')
    .replace('@VERSION@', debianVersion)
    .replace('@NODE_VERSION@', engines.node.replace('>=', ''))
    .replace('@INSTALLED_SIZE@', String(Math.ceil(bytes / 1024)));
  write('DEBIAN/control', control);
  const settings = files.filter((file) => file.startsWith('etc/'));
  write('DEBIAN/conffiles', settings.map((file) => `/${file}\n`).join(''));
  write('DEBIAN/md5sums', files.map((file) => `${md5(file)}  ${file}\n`).join(''));
}

/** Debian requires a changelog; CHANGELOG.md has the changes. */
function changelog() {
  const maintainer = /^Maintainer: (.*)/m.exec(readFileSync('packaging/debian/control', 'utf8'))?.[1];
  const date = new Date(Number(timestamp()) * 1000).toUTCString().replace('GMT', '+0000');
  return `${name} (${debianVersion}) unstable; urgency=medium\n\n  * Release ${version}.\n\n -- ${maintainer}  ${date}\n`;
}

/** The licences of the program and of the packages bundled with it. */
function copyright() {
  return `${name}:\n\n${readFileSync('LICENSE', 'utf8')}\n${readFileSync(NOTICES, 'utf8')}`;
}

/** Unix time of the last commit if it is known, so that equal sources give equal packages; dpkg-deb reads it as well. */
function timestamp() {
  const { SOURCE_DATE_EPOCH: given } = process.env;
  if (given) return given;
  try {
    const options = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] };
    const committed = execFileSync('git', ['log', '-1', '--format=%ct'], options).trim();
    process.env['SOURCE_DATE_EPOCH'] = committed;
    return committed;
  } catch {
    return String(Math.floor(Date.now() / 1000));
  }
}

function copy(from, to, filter = () => true) {
  if (!existsSync(from)) throw new Error(`${from} is missing; restore it (git checkout ${from})`);
  cpSync(from, join(root, to), { recursive: true, dereference: true, filter });
}

function write(to, content) {
  mkdirSync(dirname(join(root, to)), { recursive: true });
  writeFileSync(join(root, to), content);
}

/** Does not depend on the modes in the checkout: files that start with #! are programs. */
function setModes() {
  for (const file of list(root)) {
    const path = join(root, file);
    chmodSync(path, readFileSync(path).subarray(0, 2).toString() === '#!' ? 0o755 : 0o644);
  }
  for (const dir of list(root, (entry) => entry.isDirectory())) chmodSync(join(root, dir), 0o755);
}

/** The paths below `dir` of all regular files, or of what `select` selects, sorted. */
function list(dir, select = (entry) => entry.isFile()) {
  const below = readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    const inside = entry.isDirectory() ? list(path, select).map((file) => join(path, file)) : [];
    return [...(select(entry) ? [path] : []), ...inside];
  });
  return below.map((path) => relative(dir, path)).sort();
}

function md5(file) {
  return createHash('md5')
    .update(readFileSync(join(root, file)))
    .digest('hex');
}
