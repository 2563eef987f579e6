// Makes a startup snapshot of Node.js with the program in it, for bin/launch to start runs from. Argument: the
// directory for it, which is made anew. This halves a run on Debian 13, whose Node.js is built without the snapshot
// that others start from. Where there is nothing to win, or it does not work (Debian 12), no directory is left.
const { spawnSync } = require('node:child_process');
const { copyFileSync, mkdirSync, readFileSync, rmSync } = require('node:fs');
const { join } = require('node:path');
const { startupSnapshot } = require('node:v8');

/** In the process of which the snapshot is taken: its arguments and environment are for a run with a stand-in for w. */
function takeSnapshot() {
  const bundle = process.env.SSH_SESSIONS_EXPORTER_BUNDLE;
  // A vm.Script in the heap crashes Node.js when it takes the snapshot, and vm.runInThisContext makes one that only
  // may have been collected by then. An indirect eval leaves none, and sees nothing of what is around it.
  // biome-ignore lint/security/noGlobalEval: the one way that leaves no vm.Script; what is evaluated is the bundle
  const indirectEval = eval;
  const program = indirectEval(readFileSync(bundle, 'latin1'));
  program(require, bundle);
  process.exitCode = undefined;
  startupSnapshot.setDeserializeMainFunction(() => program(require, bundle));
}

function make(directory) {
  rmSync(directory, { recursive: true, force: true });
  if (process.config.variables.node_use_node_snapshot) return;
  mkdirSync(directory, { mode: 0o755 });
  const snapshot = join(directory, 'snapshot');
  if (!build(snapshot) || !works(snapshot)) {
    rmSync(directory, { recursive: true });
    return;
  }
  // bin/launch compares the two, and their time with that of Node.js.
  const copy = join(directory, 'copy');
  copyFileSync(snapshot, copy);
  spawnSync('touch', ['--reference', process.execPath, snapshot, copy], { stdio: 'inherit' });
  spawnSync('sync', [snapshot, copy], { stdio: 'inherit' });
}

function build(snapshot) {
  const { withStandIn } = require('./stand-in.js');
  process.env.SSH_SESSIONS_EXPORTER_BUNDLE = join(__dirname, '../dist/ssh-sessions-exporter.cjs');
  return (
    withStandIn((args) => node('--snapshot-blob', snapshot, '--build-snapshot', __filename, ...args)) === ''
  );
}

function works(snapshot) {
  const plain = node(join(__dirname, 'ssh-sessions-exporter.js'), '--help');
  return plain !== undefined && node('--snapshot-blob', snapshot, 'x', '--help') === plain;
}

/** @returns what it printed, or undefined where it failed */
function node(...args) {
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 300_000 });
  return status === 0 ? stdout : undefined;
}

if (startupSnapshot?.isBuildingSnapshot()) takeSnapshot();
else make(process.argv[2]);
