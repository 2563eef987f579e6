// Bundles the program with its dependencies, so that it needs no node_modules and a run loads one small file: once for
// Node.js and once for QuickJS.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild-wasm';
import { noticesOf } from './notices.js';

const { version } = JSON.parse(readFileSync('package.json', 'utf8'));

// A file of an earlier build would be packaged as well.
rmSync('dist', { recursive: true, force: true });

const common = {
  bundle: true,
  metafile: true,
  minify: true,
  legalComments: 'none',
  define: { VERSION: JSON.stringify(version) },
};

/**
 * write-file-atomic needs these for what is not used here: worker threads, signals (this program writes synchronously,
 * so no handler can run before the file is there) and its asynchronous form.
 */
const unused = {
  worker_threads: './scripts/stub-worker-threads.js',
  'signal-exit': './scripts/stub-signal-exit.js',
  util: './scripts/stub-empty.js',
};

const forNode = {
  ...common,
  platform: 'node',
  target: 'node18.20',
  format: 'cjs',
};
// To load process by name loads all that it refers to, which takes 2 ms.
const nodeProcess = { 'node:process': './scripts/global-process.cjs' };

// commander is a file of its own, which a run without arguments does not load: 2 % of a run on Node.js.
const commander = await build({
  ...forNode,
  entryPoints: ['commander'],
  outfile: 'dist/commander.cjs',
  alias: nodeProcess,
});

const node = await build({
  ...forNode,
  entryPoints: ['src/host/node/main.ts'],
  outfile: 'dist/ssh-sessions-exporter.cjs',
  alias: { ...unused, ...nodeProcess, fs: './src/host/node/fs.ts', commander: './commander.cjs' },
  external: ['./commander.cjs'],
});

const quickjs = await build({
  ...common,
  entryPoints: { main: 'src/host/quickjs/main.ts' },
  outdir: 'dist/quickjs',
  chunkNames: '[name]',
  platform: 'neutral',
  mainFields: ['main'],
  target: 'es2022',
  format: 'esm',
  // The same for commander.
  splitting: true,
  define: { ...common.define, __filename: '""' },
  inject: ['src/host/quickjs/process.ts'],
  alias: {
    ...unused,
    fs: './src/host/quickjs/fs.ts',
    path: './scripts/stub-empty.js',
    'node:child_process': './scripts/stub-empty.js',
    'node:events': 'events',
    'node:fs': './scripts/stub-empty.js',
    'node:path': './scripts/stub-empty.js',
    'node:process': './scripts/global-process.cjs',
  },
});

writeFileSync(
  'dist/THIRD-PARTY-LICENSES.txt',
  noticesOf(node.metafile, commander.metafile, quickjs.metafile),
);
// What went into the bundles, for the tests.
mkdirSync('build', { recursive: true });
writeFileSync('build/metafile.json', JSON.stringify([node.metafile, commander.metafile, quickjs.metafile]));
