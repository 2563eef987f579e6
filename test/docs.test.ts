import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { allRules } from '../src/metrics.ts';
import { COLUMNS } from '../src/w/parse.ts';
import { exporter, ROOT } from './support/exporter.ts';

const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

describe('the README', () => {
  it('has a row for each metric, as the program has it, and no other', () => {
    const rows = allRules(COLUMNS).map(({ name, labels, help }) => {
      const list = labels.map((label) => `\`${label}\``).join(' ');
      return `| \`${name}\` | ${list} | ${help} |`;
    });
    const [, table = ''] =
      /\| metric \| labels \| what it is \|\n\|[-|]+\|\n((?:\|.*\n)+)/.exec(README) ?? [];
    assert.deepEqual(table.trimEnd().split('\n'), rows);
  });

  it('shows what --help prints', () => {
    const { stdout } = exporter(['--help']);
    assert.ok(README.includes(`\`\`\`text\n${stdout}\`\`\`\n`));
  });

  for (const document of ['README.md', 'CONTRIBUTING.md', 'ARCHITECTURE.md', 'SECURITY.md', 'CHANGELOG.md']) {
    it(`and ${document}: links lead somewhere, and npm scripts exist`, () => {
      const text = readFileSync(join(ROOT, document), 'utf8');
      for (const [, target = ''] of text.matchAll(/\]\(([^)#]+)[^)]*\)/g)) {
        if (!/^https?:/.test(target)) assert.ok(existsSync(join(ROOT, target)), target);
      }
      const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
      for (const [, script = ''] of text.matchAll(/npm run ([\w:]+)/g)) assert.ok(script in scripts, script);
      for (const [, path = ''] of text.matchAll(
        /`((?:src|test|bin|scripts|monitoring|packaging|systemd|cron)\/[\w./-]+)`/g,
      )) {
        assert.ok(existsSync(join(ROOT, path)), path);
      }
    });
  }
});
