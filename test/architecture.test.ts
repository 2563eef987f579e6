import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { ROOT } from './support/exporter.ts';

/** What each module of src may import, beside Node's own modules: see ARCHITECTURE.md. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'cli.ts': ['commander', 'log.ts', 'run.ts', 'w/parse.ts'],
  'run.ts': [
    'connections.ts',
    'exposition.ts',
    'failure.ts',
    'log.ts',
    'metrics.ts',
    'session.ts',
    'textfile.ts',
    'w/command.ts',
    'w/parse.ts',
    'w/saved.ts',
  ],
  'w/command.ts': ['failure.ts', 'log.ts', 'proc.ts', 'text.ts'],
  'w/saved.ts': ['failure.ts', 'w/command.ts'],
  'w/time.ts': [],
  'w/parse.ts': ['failure.ts', 'text.ts', 'w/time.ts'],
  'session.ts': ['failure.ts', 'w/parse.ts', 'w/time.ts'],
  'connections.ts': ['proc.ts', 'text.ts'],
  'metrics.ts': ['connections.ts', 'exposition.ts', 'session.ts', 'w/parse.ts', 'w/time.ts'],
  'exposition.ts': [],
  'textfile.ts': ['failure.ts', 'write-file-atomic'],
  'failure.ts': [],
  'log.ts': ['failure.ts'],
  'proc.ts': [],
  'text.ts': [],
  'write-file-atomic.d.ts': [],
};

it('every module of src imports only what ARCHITECTURE.md allows it', () => {
  const modules = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .sort();
  assert.deepEqual(modules, Object.keys(MAY_IMPORT).sort());
  for (const module of modules) {
    const source = readFileSync(join(ROOT, 'src', module), 'utf8');
    const imported = [...source.matchAll(/^(?:import|} from|export .* from).*'([^']+)';$/gm)]
      .map(([, target = '']) => target)
      .filter((target) => !target.startsWith('node:'))
      .map((target) => (target.startsWith('.') ? join(module, '..', target) : target));
    assert.deepEqual(
      imported.filter((target) => !MAY_IMPORT[module]?.includes(target)),
      [],
      module,
    );
    assert.deepEqual(
      MAY_IMPORT[module]?.filter((target) => !imported.includes(target)),
      [],
      `${module}: not needed`,
    );
  }
});
