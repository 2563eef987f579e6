import type { MetricFamily, Sample } from './metrics.ts';

/**
 * Renders metric families in the Prometheus text format, version 0.0.4. A family without samples is left
 * out. Names of metrics and labels are taken to be valid, samples to be unique: the metric tables see to that.
 */
export function render(families: Iterable<MetricFamily>): string {
  let text = '';
  for (const family of families) text += renderFamily(family);
  return text;
}

/** HELP and TYPE once, then a line per sample; every line ends in a newline ("Comments, help text, and type"). */
function renderFamily({ name, help, labels, samples }: MetricFamily): string {
  const lines = [`# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} gauge\n`];
  for (const sample of samples) lines.push(renderSample(name, labels, sample));
  return lines.length > 1 ? lines.join('') : '';
}

function renderSample(name: string, labels: readonly string[], sample: Sample): string {
  return `${name}${renderLabels(labels, sample.labels)} ${renderValue(sample.value)}\n`;
}

function renderLabels(names: readonly string[], values: readonly string[]): string {
  if (names.length === 0) return '';
  return `{${names.map((name, index) => `${name}="${escapeLabelValue(values[index] ?? '')}"`).join(',')}}`;
}

/** A number as Go's ParseFloat reads it; JavaScript differs in the name of infinity only. */
function renderValue(value: number): string {
  if (value === Infinity) return '+Inf';
  if (value === -Infinity) return '-Inf';
  return String(value);
}

/** In a label value, backslash, quote and newline are escaped, and nothing else. */
function escapeLabelValue(value: string): string {
  // Few values have any of them, and to look costs half of what it costs to replace.
  if (!/[\\"\n]/.test(value)) return value;
  return value.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`));
}

/** In help text, backslash and newline are escaped; a quote is not. */
function escapeHelp(help: string): string {
  return help.replace(/[\\\n]/g, (character) => (character === '\n' ? '\\n' : '\\\\'));
}
