import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { anonymise } from '../scripts/anonymise.ts';
import { isRemote } from '../src/w/from.ts';
import { parse, type Row } from '../src/w/parse.ts';
import { ROOT } from './support/exporter.ts';
import { DEFAULT_LAYOUT, PRINTED, printW, WIDEST_LAYOUT, type WRow } from './support/w.ts';

const row: WRow = {
  ...PRINTED,
  user: 'alice',
  from: '203.0.113.77',
  what: '/home/alice/bin/deploy --token s3cr3t Ärger',
};

const readRows = (output: Buffer) => parse([output]).rows;

describe('anonymise', () => {
  it('replaces users, clients, paths and arguments, and keeps widths', () => {
    const output = printW([row, { ...row, user: 'bobby', from: '10.0.0.5-' }, row], DEFAULT_LAYOUT);
    const result = anonymise(output);
    assert.equal(result.length, output.length);
    const rows = readRows(result);
    assert.deepEqual(
      rows.map(({ user, from }) => [user.length, from.length]),
      [
        [5, 12],
        [5, 9],
        [5, 12],
      ],
    );
    assert.deepEqual(rows[0], rows[2]);
    assert.notEqual(rows[0]?.user, rows[1]?.user);
    assert.match(rows[0]?.from ?? '', /^[12]{3}\.[12]\.[12]{3}\.[12]{2}$/);
    assert.match(rows[1]?.from ?? '', /^[12]{2}\.[12]\.[12]\.[12]-$/);
    assert.equal(rows[0]?.what, '/xxxx/xxxxx/xxx/deploy --xxxxx x0xx0x éxxxx');
    for (const secret of ['alice', 'bobby', '203.0', '10.0', 's3cr3t', 'token', 'home']) {
      assert.ok(!result.includes(secret), secret);
    }
  });

  it('replaces clients that are only called like a seat, a greeter, a display or mosh', () => {
    const names = ['tty1.acme', 'localhost.acme', 'login-1.acme', 'mosh-1.acme'];
    const kept = ['tty1', 'localhost', 'localhost:10.0', 'login-', 'mosh-'];
    const rows = [...names, ...kept].map((from) => ({ ...row, from }));
    const clients = readRows(anonymise(printW(rows, DEFAULT_LAYOUT))).map(({ from }) => from);
    for (const client of clients.slice(0, names.length)) assert.doesNotMatch(client, /acme/);
    assert.deepEqual(clients.slice(names.length), kept);
  });

  it('refuses text without column names', () => {
    assert.throws(() => anonymise(Buffer.from('hello\n')), /not the output of w/);
  });

  for (const name of readdirSync(join(ROOT, 'test/fixtures'))) {
    const output = readFileSync(join(ROOT, 'test/fixtures', name, 'w.txt'));
    if (!/^USER .*JCPU.* WHAT *\n/m.test(output.toString('latin1'))) continue;
    it(`changes nothing in how the capture ${name} is read`, () => {
      const result = anonymise(output);
      assert.equal(result.length, output.length);
      const shape = ({ user, from, what, ...rest }: Row) => ({ ...rest, ssh: isRemote(from) });
      assert.deepEqual(readRows(result).map(shape), readRows(output).map(shape));
      for (const { user } of readRows(output)) {
        assert.ok(!readRows(result).some((each) => each.user === user), user);
      }
    });
  }

  it('keeps the number of bytes of characters that are not ASCII', () => {
    const output = printW([{ ...row, user: 'jürgen漢🎉' }], WIDEST_LAYOUT);
    assert.equal(anonymise(output).length, output.length);
    assert.match(readRows(anonymise(output))[0]?.user ?? '', /^[a-f]é[a-f]{4}漢🎉$/);
  });
});
