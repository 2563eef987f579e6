/**
 * An independent reader of the Prometheus text format, version 0.0.4, as strict as the format's description:
 * it shares nothing with the writer. Throws an Error that shows the line that breaks the format.
 */

export interface ReadSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Exposition {
  /** By name, in the order of the file. */
  readonly help: ReadonlyMap<string, string>;
  readonly type: ReadonlyMap<string, string>;
  readonly samples: readonly ReadSample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const NUMBER = /^(?:[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?Inf|NaN)$/;

export function readExposition(text: string): Exposition {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line does not end in a newline');
  const help = new Map<string, string>();
  const type = new Map<string, string>();
  const samples: ReadSample[] = [];
  const finished = new Set<string>();
  let family = '';
  for (const line of text.split('\n').slice(0, -1)) {
    if (line === '') continue;
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/s.exec(line);
    if (comment) {
      const [, kind = '', name = '', rest = ''] = comment;
      const seen = kind === 'HELP' ? help : type;
      if (!NAME.test(name) || seen.has(name) || finished.has(name)) throw new Error(`misplaced: ${line}`);
      if (kind === 'TYPE' && samples.some((sample) => sample.name === name)) throw new Error(`late: ${line}`);
      seen.set(name, kind === 'HELP' ? unescapeHelp(rest) : rest);
    } else if (!line.startsWith('#')) {
      const sample = readSample(line);
      if (sample.name !== family) {
        if (finished.has(sample.name)) throw new Error(`not with its family: ${line}`);
        finished.add(family);
        family = sample.name;
      }
      samples.push(sample);
    }
  }
  requireUnique(samples);
  return { help, type, samples };
}

/** The labels of every sample of a metric. */
export function labelsOf({ samples }: Exposition, name: string): Readonly<Record<string, string>>[] {
  return samples.filter((sample) => sample.name === name).map((sample) => sample.labels);
}

/** The value of the one sample of a metric. */
export function soleValue({ samples }: Exposition, name: string): number {
  const [sample, ...more] = samples.filter((candidate) => candidate.name === name);
  if (!sample || more.length > 0) throw new Error(`${name} has not exactly one sample`);
  return sample.value;
}

/** The text without the two values that always differ between runs: its time and its duration. */
export function withoutRunData(text: string): string {
  return text.replace(/^(ssh_sessions_exporter_(?:last_run_timestamp|duration)_seconds) .+$/gm, '$1');
}

function readSample(line: string): ReadSample {
  const name = /^[^{ ]+/.exec(line)?.[0] ?? '';
  if (!NAME.test(name)) throw new Error(`no metric name: ${line}`);
  let position = name.length;
  const labels: Record<string, string> = {};
  if (line[position] === '{') {
    position++;
    while (line[position] !== '}') {
      const equals = line.indexOf('=', position);
      const label = line.slice(position, equals);
      if (!LABEL_NAME.test(label) || line[equals + 1] !== '"') throw new Error(`no label name: ${line}`);
      if (Object.hasOwn(labels, label)) throw new Error(`${label} twice: ${line}`);
      let value = '';
      position = equals + 2;
      while (line[position] !== '"') {
        const character = line[position];
        if (character === undefined) throw new Error(`label value without end: ${line}`);
        position++;
        if (character !== '\\') {
          value += character;
          continue;
        }
        const escaped = { '\\': '\\', '"': '"', n: '\n' }[line[position] ?? ''];
        if (escaped === undefined) throw new Error(`unknown escape: ${line}`);
        value += escaped;
        position++;
      }
      labels[label] = value;
      position++;
      if (line[position] === ',') position++;
      else if (line[position] !== '}') throw new Error(`no end of labels: ${line}`);
    }
    position++;
  }
  const number = line.slice(position + 1);
  if (line[position] !== ' ' || !NUMBER.test(number)) throw new Error(`no value: ${line}`);
  return { name, labels, value: Number(number.replace('Inf', 'Infinity')) };
}

function unescapeHelp(text: string): string {
  return text.replace(/\\(.)/g, (_, character) => {
    if (character === '\\') return '\\';
    if (character === 'n') return '\n';
    throw new Error(`unknown escape in help: ${text}`);
  });
}

/** Prometheus treats an empty label as absent, so it does not distinguish two samples. */
function requireUnique(samples: readonly ReadSample[]): void {
  const seen = new Set<string>();
  for (const { name, labels } of samples) {
    const present = Object.entries(labels).filter(([, value]) => value !== '');
    const key = JSON.stringify([name, present.sort()]);
    if (seen.has(key)) throw new Error(`twice: ${key}`);
    seen.add(key);
  }
}
