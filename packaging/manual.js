// Generates the option and metric lists of the manual page.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Fills in the version, the options that --help prints, and the table of docs/metrics.md. */
export function fillManual(template, version) {
  return template
    .replaceAll('@VERSION@', roff(version))
    .replace('@OPTIONS@', () => options().map(entry).join('\n'))
    .replace('@METRICS@', () => metrics().map(entry).join('\n'));
}

/** `  -o, --output <file>   what it does`, the rest indented below. */
function options() {
  const help = execFileSync('node', ['bin/ssh-sessions-exporter.js', '--help'], { encoding: 'utf8' });
  const lines = help.slice(help.indexOf('Options:\n') + 'Options:\n'.length).replace(/\n {4,}(?!-)/g, ' ');
  return [...lines.matchAll(/^ +(-.*?) {2,}(.*)$/gm)].map(([, flags, text]) => ({ term: flags, text }));
}

/** `| \`name\` | \`label\` \`label\` | what it is |` */
function metrics() {
  const rows = readFileSync('docs/metrics.md', 'utf8').matchAll(/^\| `(ssh_\w+)` \| (.*?) \| (.*) \|$/gm);
  return [...rows].map(([, name, labels, help]) => ({
    term: labels === '' ? name : `${name}{${labels.replaceAll('`', '').replaceAll(' ', ', ')}}`,
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
