const { mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { delimiter, join } = require('node:path');

const W = `#!/bin/sh
cat <<'END'

USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT
pi       pts/0    192.0.2.17       11:19    5.00s  0.05s   ?    bash
pi       pts/1    192.0.2.17       Mon11    1:15m  1:05   0.05s "vi"
END
`;

/**
 * Has `action` run the program, so that V8 compiles what runs need. For that time the PATH finds a stand-in for w.
 *
 * @param action gets the arguments for the program
 */
exports.withStandIn = (action) => {
  const directory = mkdtempSync(join(tmpdir(), 'ssh-sessions-exporter-'));
  try {
    writeFileSync(join(directory, 'w'), W, { mode: 0o755 });
    process.env.PATH = `${directory}${delimiter}${process.env.PATH}`;
    return action(['--log-level', 'error', '--output', join(directory, 'x.prom')]);
  } finally {
    rmSync(directory, { recursive: true });
  }
};
