// Saves the code that V8 makes of the bundle, so that runs need not compile it: for the Node that runs this, and
// until the bundle is built anew.
const fs = require('node:fs');
const { tmpdir } = require('node:os');
const { delimiter, dirname, join } = require('node:path');
const { BUNDLE, CODE, build, script } = require('./ssh-sessions-exporter.js');

const W = `#!/bin/sh
cat <<'END'

USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT
pi       pts/0    192.0.2.17       11:19    5.00s  0.05s   ?    bash
pi       pts/1    192.0.2.17       Mon11    1:15m  1:05   0.05s "vi"
anna              2001:db8::17     23Nov26 12days  0.00s  0.00s sshd-session: anna [priv]
END
`;

/** A listener of sshd that serves one connection, and the parent of the kernel's threads, as /proc shows them. */
const PROC = {
  '/proc/2/comm': 'kthreadd\n',
  '/proc/2/task/2/children': '3 ',
  '/proc/101/comm': 'sshd\n',
  '/proc/101/cmdline': 'sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\0',
  '/proc/101/status': status(1, 0),
  '/proc/102/comm': 'sshd-session\n',
  '/proc/102/cmdline': 'sshd-session: pi [priv]\0',
  '/proc/102/status': status(101, 0),
  '/proc/103/comm': 'sshd-session\n',
  '/proc/103/cmdline': 'sshd-session: pi@pts/0\0',
  '/proc/103/status': status(102, 1000),
};

function status(parent, id) {
  const ids = Array(4).fill(id).join('\t');
  return `Name:\tsshd\nPPid:\t${parent}\nUid:\t${ids}\nGid:\t${ids}\nNSpid:\t${parent + 1}\n`;
}

/** V8 compiles what is used, so a run is made here, with a stand-in for w and one for the processes in /proc. */
function run() {
  const directory = fs.mkdtempSync(join(tmpdir(), 'ssh-sessions-exporter-'));
  try {
    fs.writeFileSync(join(directory, 'w'), W, { mode: 0o755 });
    for (const [path, text] of Object.entries(PROC)) {
      fs.mkdirSync(dirname(join(directory, path)), { recursive: true });
      fs.writeFileSync(join(directory, path), text);
    }
    process.env.PATH = `${directory}${delimiter}${process.env.PATH}`;
    process.argv.splice(2, Infinity, '--log-level', 'error', '--output', join(directory, 'x.prom'));
    script.runInThisContext()((name) => (name === 'node:fs' ? divert(directory) : require(name)), BUNDLE);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

/** node:fs, with the processes of PROC for those of this machine. */
function divert(directory) {
  const place = (path) => (path === '/proc' || path in PROC ? join(directory, path) : path);
  const diverted = ['openSync', 'readdirSync', 'readFileSync'].map((name) => [
    name,
    (path, ...rest) => fs[name](place(path), ...rest),
  ]);
  return { ...fs, ...Object.fromEntries(diverted) };
}

run();
const code = script.createCachedData();
const file = fs.openSync(`${CODE}.new`, 'w', 0o644);
fs.writeFileSync(file, Buffer.concat([Buffer.from(build, 'latin1'), code, code]));
fs.fsyncSync(file);
fs.closeSync(file);
fs.renameSync(`${CODE}.new`, CODE);
// Where that run fails, less has been compiled, and that is all.
process.exitCode = 0;
