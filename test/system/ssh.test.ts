import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { bootGuest, type Guest, RELEASES } from '../support/guest.ts';
import { until } from '../support/process.ts';
import { lackingGuests } from '../support/programs.ts';
import { addUser, guestSshServer, type SshServer } from '../support/ssh.ts';

for (const release of RELEASES) {
  describe(`the test client in a ${release} guest`, { skip: lackingGuests() }, () => {
    let guest: Guest;
    let ssh: SshServer;
    before(async () => {
      guest = await bootGuest(release);
      await addUser(guest, 'pi', 1000);
      ssh = await guestSshServer(guest);
    });
    after(() => guest.stop());

    it('opens every kind at once, from several addresses, and closes them', async () => {
      const sessions = [
        await ssh.terminal({ user: 'pi', from: '203.0.113.77' }),
        await ssh.terminal({
          user: 'pi',
          from: 'fd00::1:2:3:4:5:6',
          command: "bash -c 'exec -a top sleep 600'",
        }),
        ...(await ssh.sharedTerminals({ user: 'pi' })),
        await ssh.command({ user: 'pi', from: '203.0.113.77' }),
        await ssh.command({ user: 'pi', command: 'sleep 600' }),
        await ssh.sftp({ user: 'pi', from: 'fd00::1:2:3:4:5:6' }),
        await ssh.forward({ user: 'pi' }),
      ];
      const connections = (await guest.run('ps -C sshd -C sshd-session -o args='))
        .split('\n')
        .filter((title) => /: pi(@|$)/.test(title))
        .map((title) => title.replace(/.*: /, '').replaceAll(/\d/g, 'N'));
      assert.deepEqual(connections.sort(), [
        'pi',
        'pi@notty',
        'pi@notty',
        'pi@notty',
        'pi@pts/N',
        'pi@pts/N',
        'pi@pts/N,pts/N',
      ]);
      assert.equal(await countRows(), { bookworm: 4, trixie: 7 }[release]);

      for (const session of sessions) await session.close();
      await until('w lists nobody', async () => (await countRows()) === 0);
      assert.equal((await guest.exec('pgrep -x sleep')).stdout, '');
    });

    async function countRows(): Promise<number> {
      return (await guest.run('w -h')).split('\n').length - 1;
    }
  });
}
