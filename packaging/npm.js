// Makes ssh-sessions-exporter-<version>.tgz from the built program, for `npm install -g`. Its package.json has no
// scripts, because what they run is not in it and npm 12 warns of scripts that it does not run. Argument: the target
// directory.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const { scripts, devDependencies, ...manifest } = JSON.parse(readFileSync('package.json', 'utf8'));
const parts = manifest.files.filter((file) => !file.startsWith('!'));
mkdirSync('build', { recursive: true });
const dir = mkdtempSync('build/npm-');
try {
  for (const part of ['LICENSE', 'README.md', ...parts]) cpSync(part, join(dir, part), { recursive: true });
  writeFileSync(join(dir, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  execFileSync('npm', ['pack', '--silent', '--pack-destination', process.argv[2] ?? '.', `./${dir}`], {
    stdio: 'inherit',
  });
} finally {
  rmSync(dir, { recursive: true });
}
