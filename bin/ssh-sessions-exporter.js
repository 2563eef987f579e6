#!/usr/bin/env node
const { closeSync, openSync, readFileSync, readSync } = require('node:fs');
const { Script } = require('node:vm');

// The bundle is a script whose value is the program. Compiling it anew is a tenth of a run, so saved code is
// used where it fits. What Node.js does here for the first time costs more than what there is to do: see the bench
// before adding a call.
const BUNDLE = `${__dirname}/../dist/ssh-sessions-exporter.cjs`;
/** What compile.js saved: the first line of the bundle, and twice the code that V8 made of the rest. */
const CODE = `${__dirname}/../dist/ssh-sessions-exporter.code`;
/** In bytes; what is longer is not taken for whole. */
const MOST_CODE = 1024 * 1024;

const source = readFileSync(BUNDLE, 'utf8');
const build = source.slice(0, source.indexOf('\n') + 1);
const script = new Script(source, { filename: BUNDLE, cachedData: readSavedCode() });

/** V8 itself refuses the code of another version of Node, but crashes over damaged code. */
function readSavedCode() {
  try {
    // Memory that is not written to costs nothing; to ask for the size first takes as long as to read.
    const saved = new Uint8Array(MOST_CODE);
    const file = openSync(CODE);
    const length = readSync(file, saved);
    closeSync(file);
    if (String.fromCharCode(...saved.subarray(0, build.length)) !== build) return undefined;
    // Comparing two copies is the one check that costs nothing: a digest takes longer than compiling.
    const middle = (build.length + length) / 2;
    const code = saved.subarray(build.length, middle);
    return Buffer.compare(code, saved.subarray(middle, length)) === 0 ? code : undefined;
  } catch {
    return undefined;
  }
}

if (require.main === module) {
  script.runInThisContext()(require, BUNDLE);
  // All has been written, synchronously. To end here spares Node.js taking its heap apart: 3 % of a run.
  process.exit();
} else {
  module.exports = { BUNDLE, CODE, build, script };
}
