/**
 * Something that the user can mend. The message is one line that says what failed and what to do about it;
 * any other error that surfaces is a bug in this program.
 */
export class Failure extends Error {}
