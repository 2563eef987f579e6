import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { allRules } from '../src/metrics.ts';
import { COLUMNS } from '../src/w/parse.ts';
import { exporter, ROOT } from './support/exporter.ts';

const read = (document: string) => readFileSync(join(ROOT, document), 'utf8');

const DOCUMENTS = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

describe('docs/metrics.md', () => {
  it('has a row for each metric, as the program has it, and no other', () => {
    const rows = allRules(COLUMNS).map(({ name, labels, help }) => {
      const list = labels.map((label) => `\`${label}\``).join(' ');
      return `| \`${name}\` | ${list} | ${help} |`;
    });
    const [, table = ''] =
      /\| metric \| labels \| what it is \|\n\|[-|]+\|\n((?:\|.*\n)+)/.exec(read('docs/metrics.md')) ?? [];
    assert.deepEqual(table.trimEnd().split('\n'), rows);
  });

  it('says rightly which metrics are counters', () => {
    for (const { name, type } of allRules(COLUMNS)) {
      assert.equal(type === 'counter', /_(?:failures|lost)_total$/.test(name), name);
    }
  });
});

describe('docs/options.md', () => {
  it('shows what --help prints', () => {
    const { stdout } = exporter(['--help']);
    assert.ok(read('docs/options.md').includes(`\`\`\`text\n${stdout}\`\`\`\n`));
  });
});

for (const document of DOCUMENTS) {
  describe(document, () => {
    const text = read(document);

    it('has links that lead somewhere', () => {
      for (const [, target = '', anchor = ''] of text.matchAll(/\]\(([^)#]*)#?([^)]*)\)/g)) {
        if (/^https?:/.test(target)) continue;
        const file = target === '' ? document : join(dirname(document), target);
        assert.ok(existsSync(join(ROOT, file)), target);
        if (anchor !== '') assert.ok(anchors(read(file)).includes(anchor), `${file}#${anchor}`);
      }
    });

    it('names npm scripts and files that exist', () => {
      const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
      for (const [, script = ''] of text.matchAll(/npm run ([\w:]+)/g)) assert.ok(script in scripts, script);
      for (const [, path = ''] of text.matchAll(
        /`((?:src|test|bin|scripts|monitoring|packaging|systemd|cron)\/[\w./-]+)`/g,
      )) {
        assert.ok(existsSync(join(ROOT, path)), path);
      }
    });
  });
}

/** The anchors of headings, as the forge makes them. */
function anchors(text: string): readonly string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
