/** evidence.md: every sentence in it is still in its document, and every test that it names exists. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ROOT } from './support/exporter.ts';

const MANUAL = 'packaging/ssh-sessions-exporter.1';

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** A chapter for each document, with a table: the sentence, and what shows it. `\|` is a bar within a cell. */
const [, ...chapters] = read('test/evidence.md').split(/^## /m);

for (const chapter of chapters) {
  const [document = ''] = chapter.split('\n');
  const rows = [...chapter.matchAll(/^\| ((?:[^|\\]|\\.)+) \| (.+) \|$/gm)].slice(1);

  describe(`the evidence for ${document}`, () => {
    const text = flatten(document === MANUAL ? readManual() : read(document));

    it('quotes sentences that are there, each once', () => {
      const sentences = rows.map(([, sentence = '']) => flatten(sentence.replaceAll('\\|', '|')));
      assert.ok(sentences.length > 5);
      for (const sentence of sentences) assert.equal(text.split(sentence).length, 2, sentence);
      assert.deepEqual(
        sentences.filter((sentence, index) => sentences.indexOf(sentence) !== index),
        [],
      );
    });

    it('names tests that exist, or says what was tried', () => {
      for (const [row, , evidence = ''] of rows) {
        const tests = [...evidence.matchAll(/`([\w/.]+\.(?:ts|yml)): ([^`]+)`/g)];
        assert.ok(tests.length > 0 || /(?:^|<br>)trial: \w/.test(evidence), row);
        for (const [named, file = '', title = ''] of tests) {
          const path = file.endsWith('.yml') ? join('monitoring', file) : join('test', file);
          assert.ok(existsSync(join(ROOT, path)) && flatten(read(path)).includes(title), named);
        }
      }
    });
  });
}

/** Without line breaks and marks of quotations, comments and tables. */
function flatten(text: string): string {
  return text
    .replace(/^[>#] ?/gm, '')
    .replace(/\s+/g, ' ')
    .trim();
}

/** The manual as text, with what packaging/manual.js fills in. */
function readManual(): string {
  const script = `import { fillManual } from './packaging/manual.js';
    import { readFileSync } from 'node:fs';
    process.stdout.write(fillManual(readFileSync('${MANUAL}', 'utf8'), '1'));`;
  const roff = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return roff
    .replace(/^\.[A-Z]+ ?/gm, '')
    .replaceAll('\\(aq', "'")
    .replaceAll('\\e', '\\')
    .replace(/\\([-&.])/g, '$1')
    .replaceAll('"', '');
}
