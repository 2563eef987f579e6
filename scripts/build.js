// Bundles the program with its dependencies into one file that needs no node_modules: loading one file
// is what keeps a run close to the cost of starting Node.
import { readFileSync } from 'node:fs';
import { build } from 'esbuild-wasm';

const { version } = JSON.parse(readFileSync('package.json', 'utf8'));

await build({
  entryPoints: ['src/cli.ts'],
  outfile: 'dist/ssh-sessions-exporter.cjs',
  bundle: true,
  platform: 'node',
  target: 'node18.20',
  format: 'cjs',
  minify: true,
  legalComments: 'none',
  define: { 'process.env.SSH_SESSIONS_EXPORTER_VERSION': JSON.stringify(version) },
  // write-file-atomic asks worker_threads which thread it is in, and has signal-exit remove its temporary file
  // on a signal. This program has one thread, and it writes synchronously, so that no handler can run before
  // the file is there. Loading the two costs every run 2 ms of CPU time.
  alias: {
    worker_threads: './scripts/stub-worker-threads.js',
    'signal-exit': './scripts/stub-signal-exit.js',
  },
});
