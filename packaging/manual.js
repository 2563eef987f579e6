// The option and metric tables of the manual page, taken from where the program has them.
import { execFileSync } from 'node:child_process';
import { build } from 'esbuild-wasm';

/** Fills in the version, the options that --help prints, and the metrics of the tables in src/metrics.ts. */
export async function fillManual(template, version) {
  return template
    .replaceAll('@VERSION@', roff(version))
    .replace('@OPTIONS@', () => options().map(entry).join('\n'))
    .replace('@METRICS@', await metrics().then((all) => () => all.map(entry).join('\n')));
}

/** `  -o, --output <file>   what it does`, the rest indented below. */
function options() {
  const help = execFileSync('node', ['bin/ssh-sessions-exporter.js', '--help'], { encoding: 'utf8' });
  const lines = help.slice(help.indexOf('Options:\n') + 'Options:\n'.length).replace(/\n {4,}(?!-)/g, ' ');
  return [...lines.matchAll(/^ +(-.*?) {2,}(.*)$/gm)].map(([, flags, text]) => ({ term: flags, text }));
}

async function metrics() {
  const contents = `
    import { allRules } from './src/metrics.ts';
    import { COLUMNS } from './src/w/parse.ts';
    export const rules = allRules(COLUMNS);`;
  const stdin = { contents, resolveDir: '.' };
  const { outputFiles } = await build({ stdin, bundle: true, platform: 'node', format: 'esm', write: false });
  const source = Buffer.from(outputFiles[0].contents).toString('base64');
  const { rules } = await import(`data:text/javascript;base64,${source}`);
  return rules.map(({ name, labels, help }) => ({
    term: labels.length === 0 ? name : `${name}{${labels.join(', ')}}`,
    text: help,
  }));
}

function entry({ term, text }) {
  return `.TP\n.B ${roff(term)}\n${roff(text)}`;
}

/** Any text as one line of roff. */
function roff(text) {
  return text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll("'", '\\(aq').replace(/^\./, '\\&.');
}
