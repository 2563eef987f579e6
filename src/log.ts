import { Failure } from './failure.ts';
import type { Host } from './host/host.ts';

/** The levels, from the most to the least verbose, with their priorities in sd-daemon(3). */
const PRIORITIES = { debug: 7, info: 6, warning: 4, error: 3 } as const;

export type Level = keyof typeof PRIORITIES;
export const LEVELS: readonly Level[] = ['debug', 'info', 'warning', 'error'];

/**
 * Writes a message to standard error, one log line per line of text, unless its level is below the configured one. An
 * expensive message is a function, which is called only if it is written.
 */
export type Log = (level: Level, message: string | (() => string)) => void;

const STANDARD_ERROR = 2;

/** @param least the lowest level that is written */
export function createLog(least: Level, host: Host): Log {
  // journald reads the priority from the start of a line. A terminal that was started by a service has JOURNAL_STREAM
  // in its environment too, and a person reads what is printed there.
  const toJournal = host.env['JOURNAL_STREAM'] !== undefined && !host.isTerminal(STANDARD_ERROR);
  return (level, message) => {
    if (PRIORITIES[level] > PRIORITIES[least]) return;
    const text = typeof message === 'string' ? message : message();
    const priority = toJournal ? `<${PRIORITIES[level]}>` : '';
    for (const line of text.split('\n')) write(`${priority}${level}: ${line}\n`, host);
  };
}

function write(line: string, host: Host): void {
  try {
    host.write(STANDARD_ERROR, line);
  } catch {
    // Standard error is closed or full: nowhere is left to report it.
  }
}

/** Logs what ended a run: one line, and at debug the stack as well. */
export function logFailure(error: unknown, log: Log): void {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  if (error instanceof Failure) log('error', message);
  else log('error', `internal error: ${message}; please report it with the output of --log-level debug`);
  if (stack !== undefined) log('debug', stack);
}
