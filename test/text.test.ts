import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { byteText } from '../src/text.ts';

it('byteText makes one character of each byte, whatever the bytes', () => {
  const ascii = fc.string({ unit: 'binary-ascii' }).map((text) => Buffer.from(text));
  const utf8 = fc.string({ unit: 'binary' }).map((text) => Buffer.from(text));
  const any = fc.uint8Array().map((bytes) => Buffer.from(bytes));
  const long = fc
    .tuple(any, fc.nat(2))
    .map(([bytes, n]) => Buffer.concat([bytes, Buffer.alloc(n * 32 * 1024)]));
  fc.assert(
    fc.property(fc.oneof(ascii, utf8, any, long), (bytes) => {
      assert.equal(byteText(bytes), bytes.toString('latin1'));
    }),
    {
      examples: [
        [Buffer.from('\uFFFD')],
        [Buffer.from([0x80])],
        [Buffer.from([0xef, 0xbf])],
        [Buffer.from('')],
      ],
    },
  );
});
