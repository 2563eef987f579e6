import { Failure } from './failure.ts';
import { isRemote, withoutMark } from './w/from.ts';
import type { Listing, Row } from './w/parse.ts';

/** An active SSH session, with only its client in from. If w does not list it, only user, tty and from are known. */
export interface Session extends Row {
  /** Set if w lists it in no row. */
  readonly unlisted?: true;
}

/**
 * The sessions of a listing that cannot be compared with connections, in w's order.
 *
 * @param leaveOut called for each other row, with the reason
 * @throws Failure when the rows have no FROM column and only SSH sessions are wanted
 */
export function* selectSessions(
  { hasFrom, rows }: Listing,
  all: boolean,
  leaveOut: (row: Row, reason: string) => void,
): Generator<Session> {
  if (!hasFrom && !all) {
    throw new Failure(
      'this output has no FROM column, so SSH sessions cannot be recognised; save it with w -i, or use --all',
    );
  }
  for (const row of rows) {
    if (all || isRemote(row.from)) yield withClient(row, withoutMark(row.from));
    else leaveOut(row, notRemote(row.from));
  }
}

/** Without a copy where none is needed: 100,000 take 24 MiB. */
export const withClient = (row: Row, from: string): Session => (from === row.from ? row : { ...row, from });

/** Why a row is left out. */
export const notRemote = (from: string) => `"${from}" is not a remote host`;

/** The same sessions with only the name of the command in what: arguments can hold secrets. */
export function* withoutArguments(sessions: Iterable<Session>): Generator<Session> {
  for (const session of sessions) yield { ...session, what: session.what.replace(/\s.*$/s, '') };
}
