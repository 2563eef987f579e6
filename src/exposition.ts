/** A metric family of the text format. */
export interface MetricFamily {
  readonly name: string;
  /** A gauge by default. */
  readonly type?: MetricType | undefined;
  readonly help: string;
  readonly samples: Iterable<Sample>;
}

export type MetricType = 'gauge' | 'counter';

export interface Sample {
  /** As `labelRenderer` has them. */
  readonly labels: string;
  readonly value: number;
}

/** In characters. Pieces keep the text of 100,000 sessions out of memory. */
const PIECE = 64 * 1024;

/**
 * Renders metric families in the Prometheus text format, version 0.0.4. A family without samples is omitted. Names
 * of metrics and labels must be valid and samples unique: the metric tables ensure that.
 *
 * @returns the text in pieces
 */
export function* render(families: Iterable<MetricFamily>): Generator<string> {
  let text = '';
  for (const { name, type = 'gauge', help, samples } of families) {
    // Once, before the first sample; every line ends in a newline ("Comments, help text, and type").
    let head = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
    for (const sample of samples) {
      text += `${head}${name}${sample.labels} ${renderValue(sample.value)}\n`;
      head = '';
      if (text.length >= PIECE) {
        yield text;
        text = '';
      }
    }
  }
  yield text;
}

/**
 * Renders the labels of a sample in braces, or nothing if it has none. Equal values give equal texts.
 *
 * @param names of the labels
 * @returns a function that takes the values by label name
 */
export function labelRenderer<L extends string>(
  names: readonly L[],
): (values: Readonly<Record<L, string>>) => string {
  if (names.length === 0) return () => '';
  // Joined, because V8 keeps what is put together by + in pieces: 1 KiB for a session.
  return (values) => `{${names.map((name) => `${name}="${escapeLabelValue(values[name])}"`).join(',')}}`;
}

/** A number as Go's ParseFloat reads it; JavaScript only names infinity differently. */
function renderValue(value: number): string {
  if (value === Infinity) return '+Inf';
  if (value === -Infinity) return '-Inf';
  return String(value);
}

const ESCAPED = /[\\"\n]/;

/** In a label value, backslash, quote and newline are escaped, and nothing else. */
function escapeLabelValue(value: string): string {
  if (!ESCAPED.test(value)) return value;
  return value.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`));
}

/** In help text, backslash and newline are escaped; a quote is not. */
function escapeHelp(help: string): string {
  return help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
