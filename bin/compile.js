// Saves the code that V8 makes of the bundle, so that runs need not compile it: for the Node that runs this, and
// until the bundle is built anew. V8 compiles what is used, so a run is made here, with a stand-in for w.
const { closeSync, fsyncSync, mkdtempSync, openSync, renameSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { delimiter, join } = require('node:path');
const { CODE, load } = require('./ssh-sessions-exporter.js');

const W = `#!/bin/sh
cat <<'END'

USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT
pi       pts/0    192.0.2.17       11:19    5.00s  0.05s   ?    bash
pi       pts/1    192.0.2.17       Mon11    1:15m  1:05   0.05s "vi"
END
`;

const directory = mkdtempSync(join(tmpdir(), 'ssh-sessions-exporter-'));
try {
  rmSync(CODE, { force: true });
  const { build, script, program } = load();
  writeFileSync(join(directory, 'w'), W, { mode: 0o755 });
  process.env.PATH = `${directory}${delimiter}${process.env.PATH}`;
  process.argv.splice(2, Infinity, '--log-level', 'error', '--output', join(directory, 'x.prom'));
  program();
  const code = script.createCachedData();
  const file = openSync(`${CODE}.new`, 'w', 0o644);
  writeFileSync(file, Buffer.concat([Buffer.from(build, 'latin1'), code, code]));
  fsyncSync(file);
  closeSync(file);
  renameSync(`${CODE}.new`, CODE);
  // Where that run fails, less has been compiled, and that is all.
  process.exitCode = 0;
} finally {
  rmSync(directory, { recursive: true });
}
