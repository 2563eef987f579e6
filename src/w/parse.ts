import { Failure } from '../failure.ts';
import { byteText, cleanText } from '../text.ts';
import { DURATION, LOGIN } from './time.ts';

/** The columns of w, in its order. They are also the labels of ssh_session_info. */
export const COLUMNS = ['user', 'tty', 'from', 'login', 'idle', 'jcpu', 'pcpu', 'what'] as const;

export type Column = (typeof COLUMNS)[number];

/** A login as w prints it: clean text without the blanks around it, empty if w printed nothing. */
export type Row = Readonly<Record<Column, string>>;

/** The output of w. */
export interface Listing {
  /** Whether the output has a FROM column; without it, from is empty in every row. */
  readonly hasFrom: boolean;
  readonly rows: readonly Row[];
  /** The start of each row that could not be read, as clean text. */
  readonly unreadable: readonly string[];
}

/** The column names of procps, with one space between them; some builds have no FROM. */
const HEADERS = ['USER TTY FROM LOGIN@ IDLE JCPU PCPU WHAT', 'USER TTY LOGIN@ IDLE JCPU PCPU WHAT'];

/** LOGIN@, IDLE, JCPU and PCPU. As one expression they take 2 % of a run to compile. */
const TIMES = [LOGIN, DURATION, DURATION, DURATION];

/** How much of an unreadable line is kept, in bytes: it can be as long as the whole input. */
const MAX_KEPT = 1000;

/** How far before its name the column of LOGIN@ begins, in bytes: one, and two before procps 3.3. */
const LOGIN_INDENTS = [1, 2];

/** In bytes. A substring keeps its whole parent in memory (V8), so the input is decoded in small pieces. */
const PIECE = 64 * 1024;

/** In bytes. A row of w has at most some 800. A regular expression on megabytes can cost QuickJS a gigabyte. */
const MAX_ROW = 64 * 1024;

const SPACE = 0x20;

/**
 * Reads the output of procps' w (showinfo in w.c): a line about the system, which may be blank, the column
 * names, and a row per login. USER, TTY and FROM are cut by byte at the places that the header gives, for
 * each of them can be blank or hold blanks; the rest is known by its notation, for a long duration shifts
 * what follows it.
 *
 * @param output in pieces of any size
 * @throws Failure when the column names are not those of procps, or come a second time
 */
export function parse(output: Iterable<Uint8Array>): Listing {
  const lines = readLines(output);
  const header = readHeader(lines);
  const layout = layOut(header.names);
  return { hasFrom: layout.from !== undefined, ...readRows(lines, header, layout) };
}

/** w counts its columns in bytes, so a line has one character a byte. */
function* readLines(output: Iterable<Uint8Array>): Generator<string> {
  let rest = '';
  for (const bytes of output) {
    for (let start = 0; start < bytes.length; start += PIECE) {
      const text = byteText(bytes.subarray(start, start + PIECE));
      // A line can be as long as the whole input, and must not be concatenated again for every piece.
      if (rest.length <= MAX_ROW) rest += text;
      else if (text.includes('\n')) rest += text.slice(text.indexOf('\n'));
      if (!text.includes('\n')) continue;
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
  }
  yield rest;
}

/** The line of the column names, as it is and without what saving or pasting it added. */
interface Header {
  readonly names: string;
  /** What each line begins with. */
  readonly indent: string;
  /** What each line may end with. */
  readonly end: string;
}

/** @param lines consumed up to the column names, which must be the first or second line that is not blank */
function readHeader(lines: Generator<string>): Header {
  const others: string[] = [];
  while (others.length < 2) {
    const { done, value } = lines.next();
    if (done) break;
    if (isBlank(value)) continue;
    const header = toHeader(value);
    if (header) return header;
    others.push(value.slice(0, MAX_KEPT));
  }
  throw new Failure(unknownHeader(others.find((line) => line.includes('USER')) ?? others[0] ?? ''));
}

function toHeader(line: string): Header | undefined {
  if (line.length > MAX_KEPT || !line.trimStart().startsWith('USER ')) return undefined;
  const indent = line.slice(0, line.indexOf('USER'));
  const end = line.endsWith('\r') ? '\r' : '';
  const names = line.slice(indent.length, line.length - end.length);
  const words = names.split(' ').filter((name) => name !== '');
  return HEADERS.includes(words.join(' ')) && /^ *$/.test(indent) ? { names, indent, end } : undefined;
}

const isBlank = (line: string) => line.length <= MAX_KEPT && line.trim() === '';

function readRows(lines: Iterable<string>, header: Header, layout: Layout): Omit<Listing, 'hasFrom'> {
  const rows: Row[] = [];
  const unreadable: string[] = [];
  for (const line of lines) {
    if (isBlank(line)) continue;
    const row = line.length > MAX_ROW ? undefined : readRow(strip(line, header), layout);
    if (row) rows.push(row);
    else if (toHeader(line))
      throw new Failure('this holds the output of w more than once; save it once with: w -i > file');
    else unreadable.push(cleanText(line.slice(0, MAX_KEPT)));
  }
  return { rows, unreadable };
}

/** @returns an empty line if it lacks the indent of the column names */
function strip(line: string, { indent, end }: Header): string {
  if (!line.startsWith(indent)) return '';
  const cut = end !== '' && line.endsWith(end) ? line.length - end.length : line.length;
  return line.slice(indent.length, cut);
}

/** Where the names of columns begin, in bytes. */
interface Layout {
  readonly tty: number;
  readonly from: number | undefined;
  readonly login: number;
}

function layOut(header: string): Layout {
  const from = header.indexOf('FROM');
  return {
    tty: header.indexOf('TTY'),
    from: from < 0 ? undefined : from,
    login: header.indexOf('LOGIN@'),
  };
}

function readRow(line: string, layout: Layout): Row | undefined {
  for (const indent of LOGIN_INDENTS) {
    const row = readRowAt(line, layout, layout.login - indent);
    if (row) return row;
  }
  return undefined;
}

/** @param times where LOGIN@ and what follows it begin; other text hardly ever has their shapes */
function readRowAt(line: string, { tty, from }: Layout, times: number): Row | undefined {
  const texts: string[] = [];
  let end = times;
  for (const shape of TIMES) {
    shape.lastIndex = end;
    // Not exec, which allocates an object per match.
    if (!shape.test(line)) return undefined;
    texts.push(line.slice(end, shape.lastIndex).trim());
    end = shape.lastIndex;
  }
  const [login = '', idle = '', jcpu = '', pcpu = ''] = texts;
  return {
    user: cell(line, 0, tty),
    tty: cell(line, tty, from ?? times),
    from: from === undefined ? '' : cell(line, from, times),
    login,
    idle,
    jcpu,
    pcpu,
    what: cell(line, end, line.length),
  };
}

/** Only spaces pad a column. Other blanks, such as the byte 0xA0 in a name, belong to the value. */
function cell(line: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && line.charCodeAt(start) === SPACE) start++;
  // FROM is 256 bytes wide, and each step of the loop below takes QuickJS as long as all of this.
  const space = line.indexOf(' ', start);
  if (space >= 0 && space < end && line.startsWith(' '.repeat(end - space), space)) end = space;
  while (end > start && line.charCodeAt(end - 1) === SPACE) end--;
  return cleanText(line.slice(start, end));
}

/** @param line that should have the column names */
function unknownHeader(line: string): string {
  const start = cell(line, 0, line.length).slice(0, 80);
  const what = start === '' ? 'w printed nothing' : `this is not the output of procps' w: "${start}"`;
  return `${what}; install procps (apt-get install procps), or save the output with: LC_ALL=C.UTF-8 w -i`;
}
