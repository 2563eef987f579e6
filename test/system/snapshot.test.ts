import assert from 'node:assert/strict';
import { realpathSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { bootGuest, type Guest } from '../support/guest.ts';

const LIB = '/usr/lib/ssh-sessions-exporter';
const STATE = '/var/lib/ssh-sessions-exporter';
const MAKE = `node ${LIB}/bin/snapshot.js ${STATE}`;
const WARNING = new RegExp(
  `^warning: the snapshot in ${STATE} is missing, stale or damaged.*${MAKE}\n$`,
  'm',
);
const FIXTURE = 'test/fixtures/debian-13-busy/w.txt';

/** Puts the program where the package has it. */
async function bootWithProgram(release: 'bookworm' | 'trixie'): Promise<Guest> {
  const guest = await bootGuest(release, { packages: ['nodejs'] });
  for (const part of ['bin', 'dist']) guest.copyIn(part, `${LIB}/${part}`);
  guest.copyIn(FIXTURE, '/root/w.txt');
  await guest.run(`ln -s ${LIB}/bin/launch /usr/bin/ssh-sessions-exporter && node ${LIB}/bin/compile.js`);
  return guest;
}

/** What a run prints, without the lines that the clock decides. */
async function run(guest: Guest, command = 'ssh-sessions-exporter', env: Record<string, string> = {}) {
  const { status, stdout, stderr } = await guest.exec(`${command} --input /root/w.txt --output -`, {
    env: { LOG_LEVEL: 'warning', ...env },
  });
  const text = stdout.replace(/^ssh_sessions_exporter_(?:duration|last_run_timestamp)_seconds .*$/gm, '');
  return { status, text, stderr };
}

describe('the startup snapshot on Debian 13', () => {
  let guest: Guest;
  let plain: string;

  before(async () => {
    guest = await bootWithProgram('trixie');
    plain = (await run(guest, `node ${LIB}/bin/ssh-sessions-exporter.js`)).text;
    assert.match(plain, /^ssh_session_info\{/m);
    await guest.run(`${MAKE} && cp -a ${STATE} /root/good`);
  });
  after(() => guest.stop());

  const restore = () => guest.run(`rm -rf ${STATE} && cp -a /root/good ${STATE}`);
  const asPlain = async (env?: Record<string, string>) => {
    assert.deepEqual(await run(guest, undefined, env), { status: 0, text: plain, stderr: '' });
  };
  /** @param complains whether Node.js itself notices, and says so at length */
  const asPlainWithWarning = async (what: string, complains = false) => {
    const { status, text, stderr } = await run(guest);
    assert.deepEqual({ status, text }, { status: 0, text: plain }, what);
    assert.match(stderr, WARNING, what);
    assert.equal(stderr.startsWith('warning: '), !complains, what);
  };

  it('is what runs start from', async () => {
    await asPlain();
    // A stand-in for w tells who started it.
    await guest.run(
      `mkdir /root/bin && cd /root/bin && printf '%s\\n' '#!/bin/sh' 'cat /proc/$PPID/cmdline' >w && chmod +x w`,
    );
    const { stderr } = await guest.exec('PATH=/root/bin:$PATH ssh-sessions-exporter --output -');
    assert.match(stderr, new RegExp(`"/usr/bin/node.--snapshot-blob.${STATE}/snapshot.x.`));
  });

  it('knows nothing of the environment that it was made in', async () => {
    const zone = { TZ: 'Asia/Kolkata' };
    const there = await run(guest, `node ${LIB}/bin/ssh-sessions-exporter.js`, zone);
    assert.notEqual(there.text, plain);
    assert.deepEqual(await run(guest, undefined, zone), there);
    assert.match((await run(guest, undefined, { LOG_LEVEL: 'info' })).stderr, /^info: /);
  });

  it('ends with the statuses of the program', async () => {
    assert.equal((await guest.exec('ssh-sessions-exporter --no-such-option')).status, 2);
    assert.equal((await guest.exec('ssh-sessions-exporter --input /no/file --output -')).status, 1);
    const { status, stderr } = await guest.exec('ssh-sessions-exporter --output /no/directory/x.prom');
    assert.deepEqual([status, stderr.includes('warning')], [1, false]);
  });

  it('does not matter where it is damaged', async () => {
    const flip = (place: string) =>
      `printf '\\377\\000\\377' | dd of=${STATE}/snapshot bs=1 conv=notrunc status=none seek=$(($(stat -c %s ${STATE}/snapshot) ${place}))`;
    const damages = [
      `truncate -s -1 ${STATE}/snapshot`,
      `truncate -s -100000 ${STATE}/snapshot`,
      flip('* 0 + 64'),
      flip('/ 100'),
      flip('/ 2'),
      flip('* 9 / 10'),
      flip('- 3'),
      `rm ${STATE}/copy`,
      `rm ${STATE}/snapshot`,
      `rm ${STATE}/*`,
    ];
    // Node.js itself crashes, as the copy cannot tell.
    const damagedTwice = [`truncate -s 0 ${STATE}/snapshot ${STATE}/copy`];
    for (const damage of [...damages, ...damagedTwice]) {
      // The time must not give it away.
      await guest.run(`${damage}; for file in ${STATE}/*; do touch -c -r /usr/bin/node "$file"; done`);
      await asPlainWithWarning(damage, damagedTwice.includes(damage));
      await restore();
    }
    await asPlain();
  });

  it('says so with a priority under systemd', async () => {
    await guest.run(`rm ${STATE}/copy`);
    const { stderr } = await run(guest, undefined, { JOURNAL_STREAM: '8:1' });
    assert.match(stderr, /^<4>warning: /);
    await restore();
  });

  it('is left aside when Node.js is replaced, and made anew', async () => {
    await guest.run(
      'cp /usr/bin/node /usr/bin/new && touch -d 2001-01-01 /usr/bin/new && mv /usr/bin/new /usr/bin/node',
    );
    await asPlainWithWarning('another build of the same version');
    await guest.run(MAKE);
    await asPlain();

    // A build that starts from a snapshot of its own, or of another version than Debian's.
    guest.copyIn(realpathSync(process.execPath), '/usr/bin/new');
    await guest.run('mv /usr/bin/new /usr/bin/node');
    await asPlainWithWarning('another version');
    await guest.run(`touch -r /usr/bin/node ${STATE}/*`);
    await asPlainWithWarning('another version, of the same time', true);
    await guest.run(MAKE);
    await asPlain();
  });
});

describe('the startup snapshot on Debian 12', () => {
  it('is not made where Node.js cannot, and not missed', async () => {
    const guest = await bootWithProgram('bookworm');
    try {
      await guest.run(`${MAKE} && [ ! -e ${STATE} ]`);
      const plain = await run(guest, `node ${LIB}/bin/ssh-sessions-exporter.js`);
      assert.deepEqual(await run(guest), plain);
      assert.equal(plain.stderr, '');
    } finally {
      await guest.stop();
    }
  });
});
