// Makes a startup snapshot of Node.js, for bin/launch to start runs from. Argument: the directory for it, which is
// made anew. This nearly halves a run on Debian 13, whose Node.js is built without the snapshot that others start from.
// Where there is nothing to win, or it does not work (Debian 12), no directory is left.
const { spawnSync } = require('node:child_process');
const { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { startupSnapshot } = require('node:v8');

const PROGRAM = join(__dirname, 'ssh-sessions-exporter.js');

/** In the process of which the snapshot is taken: what starts the program is in it, and what that asks Node.js for. */
function prepareSnapshot() {
  require('node:events');
  require('node:vm');
  const source = readFileSync(PROGRAM, 'utf8').replace(/^#!.*/, '');
  // A vm.Script in the heap crashes Node.js when it takes the snapshot, and a module that is loaded only in the run
  // takes 2 % of it. An indirect eval leaves no script, and sees nothing of what is around it.
  // biome-ignore lint/security/noGlobalEval: the one way that leaves no vm.Script; what is evaluated is our own file
  const indirectEval = eval;
  const main = indirectEval(`(function (require, module, __dirname) {${source}\n})`);
  // As the main module.
  startupSnapshot.setDeserializeMainFunction(() => main(require, require.main, __dirname));
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
  const config = `${snapshot}.json`;
  // The code of all that Node.js has is three fifths of a snapshot, and to read that takes longer than to compile what
  // is used.
  writeFileSync(config, JSON.stringify({ builder: __filename, withoutCodeCache: true }));
  const output = node('--snapshot-blob', snapshot, '--build-snapshot-config', config);
  rmSync(config);
  return output === '';
}

function works(snapshot) {
  const plain = node(PROGRAM, '--help');
  return plain !== undefined && node('--snapshot-blob', snapshot, 'x', '--help') === plain;
}

/** @returns what it printed, or undefined where it failed */
function node(...args) {
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 300_000 });
  return status === 0 ? stdout : undefined;
}

if (startupSnapshot?.isBuildingSnapshot()) prepareSnapshot();
else make(process.argv[2]);
