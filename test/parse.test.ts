import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { COLUMNS, parse } from '../src/w/parse.ts';
import {
  DEFAULT_LAYOUT,
  READ as parsed,
  printDuration,
  printLogin,
  printW,
  PRINTED as row,
  WIDEST_LAYOUT,
  type WRow,
} from './support/w.ts';

const NOW = new Date('2026-11-23T15:00:00');

/** @param size of the pieces that the output comes in, in bytes */
function read(output: Buffer, size = output.length) {
  const pieces: Buffer[] = [];
  for (let start = 0; start < output.length; start += size) pieces.push(output.subarray(start, start + size));
  return parse(pieces);
}

describe('parse', () => {
  it('reads a row by its columns', () => {
    assert.deepEqual(read(printW([row], DEFAULT_LAYOUT)), { hasFrom: true, rows: [parsed], unreadable: [] });
  });

  it('keeps a row whose terminal, idle time and client are blank', () => {
    const blank = { ...row, tty: '', from: '', idle: '       ' };
    assert.deepEqual(read(printW([blank], WIDEST_LAYOUT)).rows, [{ ...parsed, tty: '', from: '', idle: '' }]);
  });

  it('reads the layout before procps 3.3, which has the name LOGIN@ one byte further right', () => {
    const output = printW([row], DEFAULT_LAYOUT).toString().replace('LOGIN@ ', ' LOGIN@');
    assert.deepEqual(read(Buffer.from(output)).rows, [parsed]);
  });

  it('reads output without FROM and without a line about the system', () => {
    const output = printW([row], { ...DEFAULT_LAYOUT, from: false }).toString();
    const expected = { hasFrom: false, rows: [{ ...parsed, from: '' }], unreadable: [] };
    assert.deepEqual(read(Buffer.from(output)), expected);
    assert.deepEqual(read(Buffer.from(output.replace(/^.*\n/, '\n'))), expected, 'a blank first line');
    assert.deepEqual(read(Buffer.from(output.replace(/^.*\n/, ''))), expected, 'none at all');
  });

  it('is not shifted by a duration that is wider than its column', () => {
    const long = { ...row, idle: printDuration(100 * 86_400), jcpu: printDuration(12_345 * 86_400) };
    const [first] = read(printW([long], DEFAULT_LAYOUT)).rows;
    assert.deepEqual(first, { ...parsed, idle: '100days', jcpu: '12345days' });
  });

  it('reads the last row without its newline, and one without WHAT whose blanks were cut', () => {
    const output = printW([{ ...row, what: '' }], DEFAULT_LAYOUT)
      .toString()
      .trimEnd();
    assert.deepEqual(read(Buffer.from(output)).rows, [], 'the duration itself lost its blanks');
    assert.deepEqual(read(Buffer.from(`${output}   `)).rows, [{ ...parsed, what: '' }]);
  });

  it('replaces control characters and bytes that are not UTF-8 by U+FFFD, and keeps the rest', () => {
    const output = printW(
      [{ ...row, user: 'jörg\u00a0', what: 'a\u0007\u001b[31m\u0085b \u202e' }],
      WIDEST_LAYOUT,
    );
    const broken = Buffer.concat([
      output.subarray(0, -1),
      Buffer.from([0xff, 0xed, 0xa0, 0x80]),
      Buffer.from('\n'),
    ]);
    const [first] = read(broken).rows;
    assert.equal(first?.user, 'jörg\u00a0');
    assert.equal(first?.what, 'a\uFFFD\uFFFD[31m\uFFFDb \u202e\uFFFD\uFFFD\uFFFD\uFFFD');
  });

  it('reports what it cannot read and reads the rest', () => {
    const output = printW([row, row], DEFAULT_LAYOUT).toString().split('\n');
    output.splice(3, 0, 'no row at all', row.user, '\u001b[2J');
    const { rows, unreadable } = read(Buffer.from(output.join('\n')));
    assert.equal(rows.length, 2);
    assert.deepEqual(unreadable, ['no row at all', row.user, '\uFFFD[2J']);
  });

  it('reads text that saving or pasting changed: line ends of Windows, an indent, blank lines in between', () => {
    const output = printW([row, row], DEFAULT_LAYOUT).toString();
    const expected = { hasFrom: true, rows: [parsed, parsed], unreadable: [] };
    assert.deepEqual(read(Buffer.from(output.replaceAll('\n', '\r\n'))), expected);
    assert.deepEqual(read(Buffer.from(output.replaceAll('\n', '\r\n\r\n'))), expected);
    assert.deepEqual(read(Buffer.from(`\n${output.replaceAll('\n', '\n  \n')}`)), expected);
    assert.deepEqual(read(Buffer.from(output.replaceAll(/^/gm, '    '))), expected);
  });

  it('reports a row that lost its indent as unreadable', () => {
    const lines = printW([row, row], DEFAULT_LAYOUT).toString().replaceAll(/^/gm, '  ').split('\n');
    const shifted = lines.map((line, index) => (index === 2 ? line.slice(2) : line));
    const { rows, unreadable } = read(Buffer.from(shifted.join('\n')));
    assert.deepEqual([rows.length, unreadable.length], [1, 1]);
  });

  it('quotes the line of the column names if it does not recognise that line', () => {
    const output = printW([row], DEFAULT_LAYOUT)
      .toString()
      .replace(/USER +TTY +/, 'USER\tTTY\t');
    assert.throws(() => read(Buffer.from(output)), /"USER\uFFFDTTY\uFFFDFROM /);
  });

  it('refuses two outputs in one', () => {
    const output = printW([row], DEFAULT_LAYOUT);
    assert.throws(() => read(Buffer.concat([output, output])), /more than once.*w -i/);
  });

  it('reports a row of more than 64 KiB as unreadable', () => {
    const long = (length: number) => printW([{ ...row, what: '"'.repeat(length) }, row], DEFAULT_LAYOUT);
    assert.equal(read(long(65_000)).rows.length, 2);
    for (const length of [66_000, 1_000_000]) {
      const { rows, unreadable } = read(long(length), 1000);
      assert.deepEqual([rows, unreadable.length], [[parsed], 1]);
    }
  });

  const foreign = [
    ['nothing', ''],
    ['a blank line', '\n'],
    ['another program', 'bash: w: command not found\n'],
    ['another program, below blank lines', '\n \n\nbash: w: command not found\n'],
    ['the column names of BusyBox', 'USER\t\tTTY\t\tIDLE\tTIME\t\t HOST\n'],
    ['the column names of BSD', ' 3:04PM  up 1 day\nUSER    TTY      FROM    LOGIN@  IDLE WHAT\n'],
    [
      'the column names further down',
      'one\ntwo\nUSER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT\n',
    ],
  ] as const;
  for (const [what, output] of foreign) {
    it(`refuses ${what}, and shows it`, () => {
      const lines = output.split('\n').filter((line) => line.trim() !== '');
      const shown =
        lines.slice(0, 2).find((line) => line.includes('USER')) ?? lines[0] ?? 'w printed nothing';
      assert.throws(
        () => read(Buffer.from(output)),
        (error: Error) => {
          assert.ok(error.message.includes(shown.trim().replaceAll('\t', '\uFFFD')), error.message);
          assert.match(error.message, /w -i/);
          return true;
        },
      );
    });
  }

  it('reads back any rows that are printed in the layout of w', () => {
    const text = (maxLength: number) =>
      fc
        .string({ unit: 'binary', maxLength })
        .map((value) => value.replace(/[\p{Cc}]|^ +| +$/gu, ''))
        .filter((value) => value === value.replace(/^ +| +$/g, ''));
    const bytes = (value: string, max: number) => Buffer.from(value).length <= max;
    const seconds = fc.option(fc.nat(300 * 86_400), { nil: undefined }).map(printDuration);
    const anyRow = fc.record<WRow>({
      user: text(32).filter((value) => bytes(value, 32)),
      tty: text(8).filter((value) => bytes(value, 8)),
      from: text(40).filter((value) => bytes(value, 256)),
      login: fc.nat(86_400 * 30).map((ago) => printLogin(new Date(NOW.getTime() - ago * 1000), NOW)),
      idle: fc.oneof(seconds, fc.constantFrom(' ?xdm? ', '       ')),
      jcpu: seconds,
      pcpu: seconds,
      what: text(200),
    });
    const layout = fc.constantFrom(WIDEST_LAYOUT, { ...WIDEST_LAYOUT, wideWhat: false });
    fc.assert(
      fc.property(fc.array(anyRow, { maxLength: 10 }), layout, (rows, chosen) => {
        const trimmed = rows.map((each) => ({
          ...each,
          idle: each.idle.trim(),
          jcpu: each.jcpu.trim(),
          pcpu: each.pcpu.trim(),
        }));
        assert.deepEqual(read(printW(rows, chosen)), { hasFrom: true, rows: trimmed, unreadable: [] });
      }),
      { numRuns: 2000 },
    );
  });

  it('reads the same from pieces of any size', () => {
    const umlauts = { ...row, user: 'jörg', from: '\u{1f427}', what: 'a\u{1f427}'.repeat(100) };
    const output = Buffer.concat([
      printW([row, umlauts, row], WIDEST_LAYOUT),
      Buffer.from('no row \u{1f427}'),
    ]);
    const expected = read(output);
    assert.deepEqual([expected.rows.length, expected.unreadable], [3, ['no row \u{1f427}']]);
    for (let size = 1; size < output.length; size++)
      assert.deepEqual(read(output, size), expected, `${size}`);
  });

  it('reads rows and lines that are longer than the pieces that it decodes', () => {
    const rows = Array.from({ length: 1000 }, (_, index) => ({
      ...row,
      tty: `pts/${index}`,
      what: '\u{1f427} '.repeat(index),
    }));
    const flood = 'x'.repeat(1_000_000);
    const output = Buffer.concat([
      printW(rows, WIDEST_LAYOUT),
      Buffer.from(`${flood}\n`),
      Buffer.from(
        printW(rows, WIDEST_LAYOUT)
          .toString()
          .replace(/^.*\n.*\n/, ''),
      ),
    ]);
    const result = read(output);
    const printed = rows.map(({ tty, what }) => ({ ...parsed, tty, what: what.trim() }));
    assert.deepEqual(result.rows, [...printed, ...printed]);
    assert.equal(result.unreadable[0], flood.slice(0, 1000));
  });

  it('never throws for bytes below the column names, and accounts for every line', () => {
    const head = printW([], DEFAULT_LAYOUT);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (junk) => {
        const { rows, unreadable } = read(Buffer.concat([head, junk]));
        const lines = Buffer.from(junk)
          .toString('latin1')
          .split('\n')
          .filter((line) => line.trim() !== '');
        assert.equal(rows.length + unreadable.length, lines.length);
        for (const each of rows) assert.deepEqual(Object.keys(each), [...COLUMNS]);
      }),
      { examples: [[Uint8Array.of(0x09, 0x0a, 0xa0)]] },
    );
  });
});
