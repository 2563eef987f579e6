#!/usr/bin/env node
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { Script } = require('node:vm');

const BUNDLE = join(__dirname, '../dist/ssh-sessions-exporter.cjs');
/** What compile.js saved: the first line of the bundle, and twice the code that V8 made of the rest. */
const CODE = join(__dirname, '../dist/ssh-sessions-exporter.code');

/**
 * The bundle is a script whose value is the program. Compiling it anew is a tenth of a run, so saved code is
 * used where it fits. V8 itself refuses the code of another version of Node, but crashes over damaged code.
 */
function load() {
  // The bundle is plain ASCII.
  const source = readFileSync(BUNDLE, 'latin1');
  const build = source.slice(0, source.indexOf('\n') + 1);
  const script = new Script(source, { filename: BUNDLE, cachedData: savedCode(build) });
  return { build, script, program: () => script.runInThisContext()(require, BUNDLE) };
}

function savedCode(build) {
  try {
    const saved = readFileSync(CODE);
    const middle = (build.length + saved.length) / 2;
    const code = saved.subarray(build.length, middle);
    // Comparing two copies is the one check that costs nothing: a digest takes longer than compiling.
    const isWhole =
      saved.toString('latin1', 0, build.length) === build && code.equals(saved.subarray(middle));
    return isWhole ? code : undefined;
  } catch {
    return undefined;
  }
}

if (require.main === module) {
  load().program();
  // All has been written, synchronously. To end here spares Node.js taking its heap apart: 3 % of a run.
  process.exit();
} else {
  module.exports = { CODE, load };
}
