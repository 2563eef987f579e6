import { fstatSync, writeSync } from 'node:fs';
import { Failure } from './failure.ts';

/** The levels, from the most to the least talkative, each with its priority in sd-daemon(3). */
const PRIORITIES = { debug: 7, info: 6, warning: 4, error: 3 } as const;

export type Level = keyof typeof PRIORITIES;
export const LEVELS: readonly Level[] = ['debug', 'info', 'warning', 'error'];

/**
 * Writes a message to standard error, one line of it a line, or drops it when its level is not asked for. A
 * message that costs something to make is a function, which is then not called.
 */
export type Log = (level: Level, message: string | (() => string)) => void;

const STANDARD_ERROR = 2;

/** @param least the lowest level that is written */
export function createLog(least: Level): Log {
  return (level, message) => {
    if (PRIORITIES[level] > PRIORITIES[least]) return;
    const text = typeof message === 'string' ? message : message();
    for (const line of text.split('\n')) write(`${prefix(level)}${level}: ${line}\n`);
  };
}

/**
 * journald takes the priority from the head of the line. A terminal that was started by a service has
 * JOURNAL_STREAM in its environment too, and a person reads what is printed there.
 */
function prefix(level: Level): string {
  const toJournal = process.env['JOURNAL_STREAM'] !== undefined && !isTerminal(STANDARD_ERROR);
  return toJournal ? `<${PRIORITIES[level]}>` : '';
}

function isTerminal(file: number): boolean {
  return fstatSync(file).isCharacterDevice();
}

/** Synchronous, because process.stderr costs every run the set-up of a stream. */
function write(line: string): void {
  try {
    writeSync(STANDARD_ERROR, line);
  } catch {
    // Standard error is closed or full: there is nowhere left to say so.
  }
}

/** Logs what ended a run: one line, and for those who debug the stack as well. */
export function logFailure(error: unknown, log: Log): void {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  if (error instanceof Failure) log('error', message);
  else log('error', `this is a bug: ${message}; please report it with the output of --log-level debug`);
  if (stack !== undefined) log('debug', stack);
}
