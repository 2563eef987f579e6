import { Failure } from './failure.ts';
import { isRemote, withoutMark } from './w/from.ts';
import type { Listing, Row } from './w/parse.ts';

/** An active SSH session, with only its client in from. If w does not list it, only user, tty and from are known. */
export interface Session extends Row {
  /** Set if w lists it in no row. */
  readonly unlisted?: true;
}

/** What is an SSH session, and what is not. */
export interface Selection {
  /** In w's order. For the caller to keep. */
  readonly sessions: Session[];
  /** The rows that are no SSH session, and why not. */
  readonly leftOut: readonly LeftOut[];
}

export interface LeftOut {
  readonly row: Row;
  readonly reason: string;
}

/**
 * Judges the rows of a listing that cannot be compared with connections.
 *
 * @param all count every row as a session
 * @throws Failure when the rows have no FROM column and only SSH sessions are wanted
 */
export function selectSessions({ hasFrom, rows }: Listing, all: boolean): Selection {
  if (!hasFrom && !all) {
    throw new Failure(
      'this output has no FROM column, so SSH sessions cannot be recognised; save it with w -i, or use --all',
    );
  }
  const sessions: Session[] = [];
  const leftOut: LeftOut[] = [];
  for (const row of rows) {
    if (all || isRemote(row.from)) sessions.push(withClient(row, withoutMark(row.from)));
    else leftOut.push({ row, reason: notRemote(row.from) });
  }
  return { sessions, leftOut };
}

/** Without a copy where none is needed: 100,000 take 24 MiB. */
export const withClient = (row: Row, from: string): Session => (from === row.from ? row : { ...row, from });

/** Why a row is left out. */
export const notRemote = (from: string) => `"${from}" is not a remote host`;

/** The same sessions with only the name of the command in what: arguments can hold secrets. */
export function* withoutArguments(sessions: Iterable<Session>): Generator<Session> {
  for (const session of sessions) yield { ...session, what: session.what.replace(/\s.*$/s, '') };
}
