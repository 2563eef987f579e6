// Bundles the program with its dependencies into one file that needs no node_modules: loading one file
// is what keeps a run close to the cost of starting Node.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild-wasm';
import { noticesOf } from './notices.js';

const { version } = JSON.parse(readFileSync('package.json', 'utf8'));

const { outputFiles, metafile } = await build({
  entryPoints: ['src/cli.ts'],
  outfile: 'dist/ssh-sessions-exporter.cjs',
  write: false,
  bundle: true,
  metafile: true,
  platform: 'node',
  target: 'node18.20',
  format: 'cjs',
  // A script whose value is the program, for the loader: wrapped there, it would be copied twice in memory, and
  // bring on a garbage collection. As a module, `node dist/ssh-sessions-exporter.cjs`, it runs the program. Each module
  // of Node.js is asked for once, not by every file that needs it: that takes 0.2 % of a run.
  banner: {
    js: `(program => {
  const start = (require, file, loaded = {}) => program(name => loaded[name] ??= require(name), file);
  return typeof module === 'object' ? start(require, __filename) : start;
})(function (require, __filename) {`,
  },
  footer: { js: '})' },
  minify: true,
  legalComments: 'none',
  define: { 'process.env.SSH_SESSIONS_EXPORTER_VERSION': JSON.stringify(version) },
  // write-file-atomic asks worker_threads which thread it is in, and has signal-exit remove its temporary file
  // on a signal; it needs util for what is not used here, its asynchronous form. This program has one thread,
  // and it writes synchronously, so that no handler can run before the file is there. Loading the three, and the
  // module that commander takes process from, costs every run 2 to 10 ms of CPU time: a module that is loaded by
  // name loads all that its exports refer to.
  alias: {
    worker_threads: './scripts/stub-worker-threads.js',
    'signal-exit': './scripts/stub-signal-exit.js',
    util: './scripts/stub-util.js',
    'node:process': './scripts/global-process.cjs',
    // One name each, for what is asked for once.
    fs: 'node:fs',
    path: 'node:path',
  },
});

// The first line differs from build to build: saved code (bin/compile.js) is bound to it.
for (const { path, text } of outputFiles) {
  const digest = createHash('sha256').update(text).digest('hex');
  mkdirSync('dist', { recursive: true });
  writeFileSync(path, `// ssh-sessions-exporter ${version} ${digest}\n${text}`);
}

writeFileSync('dist/THIRD-PARTY-LICENSES.txt', noticesOf(metafile));
// What went into the bundle, for the tests.
mkdirSync('build', { recursive: true });
writeFileSync('build/metafile.json', JSON.stringify(metafile));

const { status } = spawnSync(process.execPath, ['bin/compile.js'], { stdio: 'inherit' });
if (status !== 0) throw new Error('bin/compile.js failed');
