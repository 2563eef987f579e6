// Saves the code that V8 makes of the bundle, so that runs need not compile it: for the Node that runs this, and
// until the bundle is built anew. V8 compiles what is used, so a run is made here.
const { closeSync, fsyncSync, openSync, renameSync, writeFileSync } = require('node:fs');
const { BUNDLE, CODE, build, script } = require('./ssh-sessions-exporter.js');
const { withStandIn } = require('./stand-in.js');

withStandIn((args) => {
  process.argv.splice(2, Infinity, ...args);
  script.runInThisContext()(require, BUNDLE);
});
const code = script.createCachedData();
const file = openSync(`${CODE}.new`, 'w', 0o644);
writeFileSync(file, Buffer.concat([Buffer.from(build, 'latin1'), code, code]));
fsyncSync(file);
closeSync(file);
renameSync(`${CODE}.new`, CODE);
// Where that run fails, less has been compiled, and that is all.
process.exitCode = 0;
