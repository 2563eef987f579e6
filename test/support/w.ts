/** What procps' w prints, implemented again after w.c to test the parser. */
import type { Row } from '../../src/w/parse.ts';

/** A row before it is printed: durations have the blanks that w puts around them. */
export type WRow = Row;

/** What w shows of a terminal, in bytes. */
export const TTY_LENGTH = 8;

export interface WLayout {
  /** PROCPS_USERLEN, in bytes. */
  readonly userLength: number;
  /** PROCPS_FROMLEN, in bytes. */
  readonly fromLength: number;
  /** Whether there is a FROM column. */
  readonly from: boolean;
  /** procps 4.0.4 and later put two blanks before WHAT. */
  readonly wideWhat: boolean;
}

export const DEFAULT_LAYOUT: WLayout = { userLength: 8, fromLength: 16, from: true, wideWhat: false };
export const WIDEST_LAYOUT: WLayout = { userLength: 32, fromLength: 256, from: true, wideWhat: true };

/** An SSH session, to print and change. */
export const PRINTED: WRow = {
  user: 'pi',
  tty: 'pts/0',
  from: '10.0.0.5',
  login: '11:19',
  idle: printDuration(5),
  jcpu: printDuration(0.05),
  pcpu: printDuration(undefined),
  what: 'vim notes',
};

/** The same session as it is read. */
export const READ: Row = { ...PRINTED, idle: '5.00s', jcpu: '0.05s', pcpu: '?' };

const SYSTEM_LINE = ' 11:23:45 up 1 day,  2:03,  2 users,  load average: 0.00, 0.01, 0.05';

/**
 * The output of w for these rows; values are cut and padded by byte, as printf does.
 * @param encoding of the rows; latin1 if they are bytes, one to a character
 */
export function printW(rows: readonly WRow[], layout: WLayout, encoding: 'utf8' | 'latin1' = 'utf8'): Buffer {
  const printed = rows.map((row) => printRow(row, layout, encoding));
  const lines = [Buffer.from(SYSTEM_LINE), header(layout), ...printed];
  return Buffer.concat(lines.flatMap((line) => [line, Buffer.from('\n')]));
}

function header({ userLength, fromLength, from, wideWhat }: WLayout): Buffer {
  const head = `${'USER'.padEnd(userLength)} TTY      ${from ? 'FROM'.padEnd(fromLength) : ''}`;
  return Buffer.from(`${head} LOGIN@   IDLE   JCPU   PCPU ${wideWhat ? ' ' : ''}WHAT`);
}

function printRow(row: WRow, layout: WLayout, encoding: BufferEncoding): Buffer {
  const { userLength, fromLength, from } = layout;
  const encode = (text: string) => Buffer.from(text, encoding);
  return Buffer.concat([
    pad(encode(row.user), userLength, userLength + 1),
    pad(encode(row.tty), TTY_LENGTH, TTY_LENGTH + 1),
    from ? pad(encode(row.from), fromLength, fromLength) : Buffer.alloc(0),
    encode(` ${row.login}`.padEnd(8)),
    encode(`${row.idle}${row.jcpu}${row.pcpu} ${row.what}`),
  ]);
}

function pad(text: Buffer, precision: number, width: number): Buffer {
  const bytes = text.subarray(0, precision);
  return Buffer.concat([bytes, Buffer.alloc(Math.max(0, width - bytes.length), ' ')]);
}

/** Seconds, as print_time_ival7 prints them, seven bytes wide or more; undefined is what w does not know. */
export function printDuration(seconds: number | undefined): string {
  if (seconds === undefined) return '   ?   ';
  const whole = Math.floor(seconds);
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  const wide = (value: number) => String(Math.floor(value)).padStart(2);
  if (whole >= 48 * 3600) return ` ${wide(whole / 86_400)}days`;
  if (whole >= 3600) return ` ${wide(whole / 3600)}:${two((whole / 60) % 60)}m`;
  if (whole > 60) return ` ${wide(whole / 60)}:${two(whole % 60)} `;
  return ` ${wide(whole)}.${two(Math.round((seconds - whole) * 100))}s`;
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** A login time, as print_logintime prints it in the local time zone, without the blanks around it. */
export function printLogin(login: Date, now: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const hour = 3_600_000;
  const age = Math.floor(now.getTime() / 1000) * 1000 - Math.floor(login.getTime() / 1000) * 1000;
  if (age > 12 * hour && dayOfYear(login) !== dayOfYear(now)) {
    if (age > 6 * 24 * hour) {
      return `${two(login.getDate())}${MONTHS[login.getMonth()]}${two(login.getFullYear() % 100)}`;
    }
    return `${DAYS[login.getDay()]}${two(login.getHours())}`;
  }
  return `${two(login.getHours())}:${two(login.getMinutes())}`;
}

/** tm_yday: w compares it without the year. */
function dayOfYear(date: Date): number {
  return Math.round(
    (Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 1)) /
      86_400_000,
  );
}
