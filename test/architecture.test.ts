import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ROOT } from './support/exporter.ts';

const NODE = 'Node.js';

/** The table "What may import what" of ARCHITECTURE.md. */
function readTable(): ReadonlyMap<string, readonly string[]> {
  const text = readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8');
  const start = text.indexOf('## What may import what');
  const rows = text.slice(start, text.indexOf('\n## ', start + 1)).matchAll(/^\| `([^`]+)` \|(.*)\|$/gm);
  return new Map(
    [...rows].map(([, module = '', allowed = '']) => [
      module,
      [
        ...[...allowed.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
        ...(allowed.includes(NODE) ? [NODE] : []),
      ],
    ]),
  );
}

/** What a module imports: paths below src, names of packages, and all of Node.js's modules as one. */
function importsOf(module: string): readonly string[] {
  const source = readFileSync(join(ROOT, 'src', module), 'utf8');
  const targets = [
    ...source.matchAll(/^(?:import|} from|export .* from).*'([^']+)';$/gm),
    ...source.matchAll(/\bimport\('([^']+)'\)/g),
  ].map(([, target = '']) => target);
  const names = targets.map((target) => {
    if (target.startsWith('node:')) return NODE;
    return target.startsWith('.') ? join(module, '..', target) : target;
  });
  return [...new Set(names)].sort();
}

const modules = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  .sort();

describe('ARCHITECTURE.md', () => {
  const table = readTable();

  it('names every module of src', () => assert.deepEqual([...table.keys()].sort(), modules));

  for (const module of modules) {
    it(`says what ${module} imports`, () =>
      assert.deepEqual([...(table.get(module) ?? [])].sort(), importsOf(module)));
  }
});

/** What is there on one of the hosts only, and what std.ts declares for all of src. */
const OF_A_HOST = /\b(?:process|Buffer|TextDecoder|TextEncoder|Intl|require|std|os|scriptArgs)\b\s*[.([]/;

describe('outside of src/host', () => {
  for (const module of modules.filter((name) => !name.startsWith('host/'))) {
    it(`${module} uses nothing that only one host has`, () => {
      const source = readFileSync(join(ROOT, 'src', module), 'utf8');
      const code = source.replace(/\/\*.*?\*\/|\/\/[^\n]*|'[^'\n]*'|"[^"\n]*"/gs, '');
      assert.doesNotMatch(code, OF_A_HOST);
    });
  }
});
