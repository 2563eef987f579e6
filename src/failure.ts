/**
 * A problem that the user can fix. The message is one line that says what failed and what to do about it.
 * Any other error that reaches the user is a bug in this program.
 */
export class Failure extends Error {}

/** The command line is wrong. */
export class WrongUsage extends Failure {}
