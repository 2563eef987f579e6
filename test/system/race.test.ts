/** An account that owns the textfile directory and the one above it moves them about while root writes there. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bootGuest, RELEASES } from '../support/guest.ts';
import { buildPackage, VERSION } from '../support/machine.ts';
import { killGroup, start } from '../support/process.ts';
import { lackingGuests } from '../support/programs.ts';

const RUNS = 200;

/**
 * Exchanges two names in a loop: `dir`, a directory of the account, and `other`, a link to a directory of root's. In the
 * account's directory each name that a temporary file of root could have is a link to a file of root's.
 */
const ATTACK = `
use strict;
my ($names) = @ARGV;
chdir '/srv/theirs' or die;
mkdir 'dir'; symlink '/srv/roots', 'other';
open my $list, '<', $names or die;
while (<$list>) { chomp; symlink '/srv/precious', "dir/$_"; }
my $exchange = 0 + $ENV{RENAMEAT2};
$| = 1; print "ready\\n";
my ($dir, $other) = ('dir', 'other');
while (1) { syscall($exchange, -100, $dir, -100, $other, 2) == 0 or die $!; }
`;

/** The names that write-file-atomic makes for the process IDs to come: see getTmpname there. */
const NAMES = `
const hash = require('/opt/imurmurhash.js');
for (const file of ['/usr/lib/ssh-sessions-exporter/ssh-sessions-exporter.cjs', '']) {
  for (let pid = 1; pid < 30000; pid++) {
    console.log('x.prom.' + hash(file).hash(String(pid)).hash('0').hash('1').result());
  }
}`;

for (const release of RELEASES) {
  describe(`root on ${release}, while another account exchanges a directory above`, {
    skip: lackingGuests(),
  }, () => {
    test(`overwrites no file of root's in ${RUNS} runs`, async (context) => {
      const guest = await bootGuest(release, { packages: ['nodejs'], network: 'internet' });
      try {
        guest.copyIn(await buildPackage(VERSION), '/root/exporter.deb');
        guest.copyIn('node_modules/imurmurhash/imurmurhash.js', '/opt/imurmurhash.js');
        await guest.run('apt-get update && apt-get install -y --no-install-recommends /root/exporter.deb', {
          timeoutMs: 600_000,
        });
        await guest.run('systemctl stop ssh-sessions-exporter.timer');
        await guest.run('cat >/opt/attack.pl', { input: ATTACK });
        await guest.run('cat >/opt/names.js && node /opt/names.js >/opt/names && chmod 644 /opt/names', {
          input: NAMES,
        });
        await guest.run('install -d -o nobody /srv/theirs && install -d /srv/roots');
        await guest.run('echo precious >/srv/precious && chmod 600 /srv/precious');
        const arch = (await guest.run('uname -m')).trim();
        const number = { x86_64: 316, aarch64: 276 }[arch];
        assert.ok(number, `the number of renameat2 on ${arch}`);
        const command = `RENAMEAT2=${number} exec perl /opt/attack.pl /opt/names >/tmp/attack`;
        const attack = start(guest.argv(command, 'nobody'), { stdio: 'ignore' });
        context.after(() => killGroup(attack));
        await guest.run('until grep -q ready /tmp/attack; do sleep 0.2; done');
        const { stdout } = await guest.exec(
          `written=0 refused=0
          for run in $(seq ${RUNS}); do
            if ssh-sessions-exporter --no-connections --log-level error -o /srv/theirs/dir/x.prom 2>>/tmp/errors
            then written=$((written + 1)); else refused=$((refused + 1)); fi
          done
          echo "$written written, $refused refused"; sort /tmp/errors | uniq -c; cat /srv/precious`,
          { timeoutMs: 600_000 },
        );
        context.diagnostic(stdout.trim());
        assert.match(stdout, /^precious$/m);
        assert.equal((await guest.run('stat -c %a /srv/precious')).trim(), '600');
        const [, written, refused] = /^(\d+) written, (\d+) refused/.exec(stdout) ?? [];
        assert.equal(Number(written) + Number(refused), RUNS);
        // Both sides of the exchange were met, so the race took place.
        assert.ok(Number(refused) > 0, 'none was refused');
        assert.doesNotMatch(stdout, /internal error/);
      } finally {
        await guest.stop();
      }
    });
  });
}
