import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { exporter, scratch } from '../support/exporter.ts';
import { type Exposition, labelsOf, readExposition, soleValue } from '../support/exposition.ts';
import { startNodeExporter } from '../support/nodeExporter.ts';
import { capture, until } from '../support/process.ts';
import { lacking, lackingRoot } from '../support/programs.ts';
import { localSshServer, type SshServer } from '../support/ssh.ts';

const unfit =
  lacking('/usr/sbin/sshd', '/usr/bin/w', '/usr/bin/prometheus-node-exporter', '/usr/bin/promtool') ||
  lackingRoot();

/** Rows of w of sessions from this machine. */
async function countRows(): Promise<number> {
  const { stdout } = await capture(['w', '-hi']);
  return stdout.split('\n').filter((row) => row.includes(' 127.0.0.')).length;
}

describe('live sessions', { skip: unfit }, () => {
  let server: SshServer;
  before(async () => {
    server = await localSshServer();
  });
  after(() => server.close());

  it('of a real sshd appear on the page of a real node_exporter, and disappear', async (context) => {
    const directory = scratch(context);
    const file = join(directory, 'ssh_sessions.prom');
    const nodeExporter = await startNodeExporter(directory);
    context.after(() => nodeExporter.stop());
    const scrape = async () => {
      const { status, stderr } = exporter(['--output', file]);
      assert.equal(status, 0, stderr);
      return readExposition(await nodeExporter.metrics());
    };

    const before = await scrape();
    const rowsBefore = await countRows();
    const first = await server.terminal({ command: 'sleep 100', from: '127.0.0.2' });
    const second = await server.terminal({ from: '127.0.0.3' });
    const third = await server.command({ command: 'sleep 101' });
    const during = await scrape();

    // Where w reads utmp it does not list the third one, which has no terminal.
    const rows = (await countRows()) - rowsBefore;
    assert.ok(rows === 2 || rows === 3, `w lists ${rows} more`);
    assert.equal(soleValue(during, 'ssh_sessions_total') - soleValue(before, 'ssh_sessions_total'), 3);
    const info = labelsOf(during, 'ssh_session_info').find((labels) => labels['what'] === 'sleep 100');
    assert.equal(info?.['from'], '127.0.0.2');
    assert.equal(info?.['user'], 'root');
    assert.match(info?.['tty'] ?? '', /^pts\/\d+$/);
    assert.ok(labelsOf(during, 'ssh_user_sessions').some(({ from }) => from === '127.0.0.3'));
    assert.equal(connections(during, 'terminal') - connections(before, 'terminal'), 2);
    assert.equal(connections(during, 'notty') - connections(before, 'notty'), 1);
    const login = during.samples.find(
      ({ name, labels }) => name === 'ssh_session_login_timestamp_seconds' && labels['tty'] === info?.['tty'],
    );
    const age = Date.now() / 1000 - (login?.value ?? 0);
    assert.ok(age >= 0 && age < 120, `logged in ${age} s ago`);

    for (const session of [first, second, third]) await session.close();
    await until('the sessions are gone', async () => {
      const now = await scrape();
      return soleValue(now, 'ssh_sessions_total') === soleValue(before, 'ssh_sessions_total');
    });
    assert.equal(soleValue(during, 'node_textfile_scrape_error'), 0);
    assert.doesNotMatch(nodeExporter.log(), /level=error|error gathering|collected before/);
  });

  it('pass promtool, except for the name ssh_sessions_total', async (context) => {
    const sessions = [await server.terminal(), await server.command()];
    const file = join(scratch(context), 'x.prom');
    assert.equal(exporter(['-o', file]).status, 0);
    const { stdout, stderr } = await capture(['promtool', 'check', 'metrics'], {
      input: readFileSync(file, 'utf8'),
    });
    assert.equal(
      `${stdout}${stderr}`,
      'ssh_sessions_total non-counter metrics should not have "_total" suffix\n',
    );
    for (const session of sessions) await session.close();
  });
});

function connections({ samples }: Exposition, kind: string): number {
  return samples
    .filter(({ name, labels }) => name === 'ssh_connections' && labels['kind'] === kind)
    .reduce((total, { value }) => total + value, 0);
}
