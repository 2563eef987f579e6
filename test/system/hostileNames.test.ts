/** Sessions whose processes call themselves what an attacker likes, through the real w of Debian 12 and 13. 200 names. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { labelsOf, readExposition } from '../support/exposition.ts';
import { bootGuest, type Guest, RELEASES } from '../support/guest.ts';
import { hostileNames } from '../support/hostile.ts';
import { HOSTS, installProgram } from '../support/machine.ts';
import { until } from '../support/process.ts';
import { lackingGuests } from '../support/programs.ts';
import { addUser, guestSshServer, type Session, type SshServer } from '../support/ssh.ts';

const NAMES = 200;
const CLIENT = '203.0.113.77';

/**
 * Reads lines of a number and, in base64 and between marks, a name. Runs a process under each name until the
 * next; the number is its argument.
 */
const RUN_NAMES = `
while read -r number name; do
  [ -z "$process" ] || { kill -KILL "$process"; wait "$process"; } 2>/dev/null
  name=$(base64 --decode <<<"$name")
  name=\${name#<} name=\${name%>}
  (exec -a "$name" sleep "$number") </dev/null &
  process=$!
  echo "running $number"
done`;

/** Longer ones leave no room in w's line for the argument. */
const SHORT = 100;

for (const release of RELEASES) {
  describe(`in a ${release} guest`, { skip: lackingGuests() }, () => {
    let guest: Guest;
    let ssh: SshServer;
    before(async () => {
      guest = await bootGuest(release, { packages: HOSTS[release] });
      await installProgram(guest);
      await addUser(guest, 'pi', 1000);
      await guest.run('cat >/opt/names.sh', { input: RUN_NAMES });
      ssh = await guestSshServer(guest);
    });
    after(() => guest.stop());
    afterEach(async () => {
      await ssh.close();
      await until('all are gone', async () => (await guest.run('w -h')) === '');
    });

    async function run(prefix = '') {
      const { status, stdout, stderr } = await guest.exec(
        `${prefix} env -u NODE_EXTRA_CA_CERTS ssh-sessions-exporter -o - --log-level warning`,
      );
      return { status, stderr, exposed: readExposition(stdout) };
    }

    it(`${NAMES} hostile names hide no session and make none up`, async (t) => {
      const options = { user: 'pi', from: CLIENT, command: 'bash /opt/names.sh' };
      const sessions = [await ssh.terminal(options), await ssh.command(options)];
      let shown = 0;
      let short = 0;
      for (const [index, name] of hostileNames(NAMES, 7).entries()) {
        const number = String(100_000 + index);
        for (const session of sessions) await setName(session, number, name);
        const { status, stderr, exposed } = await run();
        assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
        const value = (metric: string) =>
          exposed.samples.filter((sample) => sample.name === metric).map((sample) => sample.value);
        assert.deepEqual(value('ssh_sessions_exporter_success'), [1]);
        assert.deepEqual(value('ssh_sessions_exporter_unparsed_rows'), [0]);
        assert.deepEqual(value('ssh_sessions_total'), [sessions.length]);
        assert.deepEqual(value('ssh_user_sessions'), [sessions.length]);
        assert.deepEqual(labelsOf(exposed, 'ssh_user_sessions'), [{ user: 'pi', from: CLIENT }]);
        const infos = labelsOf(exposed, 'ssh_session_info');
        assert.equal(infos.length, sessions.length);
        for (const { user, from } of infos) assert.deepEqual({ user, from }, { user: 'pi', from: CLIENT });
        assert.deepEqual(labelsOf(exposed, 'ssh_connections'), [
          { user: 'pi', kind: 'terminal' },
          { user: 'pi', kind: 'notty' },
        ]);
        for (const { what = '' } of infos) assert.doesNotMatch(what, /\p{Cc}/u);
        if (name.length > SHORT) continue;
        short += 1;
        if (infos.some(({ what = '' }) => what.split(' ').pop() === number)) shown += 1;
      }
      t.diagnostic(`w shows ${shown} of the ${short} short names with their argument`);
      assert.ok(shown >= short * 0.9, 'w shows what the process calls itself');
    });

    /** The process of the session has that name once this is over. */
    async function setName(session: Session, number: string, name: string): Promise<void> {
      session.write(`${number} ${Buffer.from(`<${name}>`, 'latin1').toString('base64')}\n`);
      await session.printed(new RegExp(`running ${number}`));
      const find = `pgrep -f -- '${number}$' | wc -l`;
      await until('the process runs', async () => Number(await guest.run(find)) > 0);
    }

    it('a sandbox that hides /proc from an account without rights is a failure, not zero sessions', async () => {
      await ssh.terminal({ user: 'pi', from: CLIENT });
      for (const hidden of ['invisible', 'noaccess', 'ptraceable']) {
        const { status, stderr, exposed } = await run(
          `systemd-run --quiet --wait --pipe -p User=nobody -p ProtectProc=${hidden}`,
        );
        assert.equal(status, 1, hidden);
        assert.match(stderr, /hides other users' processes.*ProtectProc=/);
        // That the account may not read the log is no secret.
        const others = exposed.samples.filter(({ name }) =>
          /^ssh_(?!sessions_exporter_|login_log_)/.test(name),
        );
        assert.deepEqual(others, []);
      }
      // As root with no capability, it either sees the session or fails.
      for (const hidden of ['invisible', 'noaccess', 'ptraceable']) {
        const { status, exposed } = await run(
          `systemd-run --quiet --wait --pipe -p CapabilityBoundingSet= -p ProtectProc=${hidden}`,
        );
        const users = labelsOf(exposed, 'ssh_session_info').map(({ user }) => user);
        assert.deepEqual(users, status === 0 ? ['pi'] : [], hidden);
      }
    });
  });
}
