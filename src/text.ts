const PLAIN = /^[ -~]*$/;

/** Whether a text is ASCII without control characters, and so clean, and the same in bytes. */
export const isPlain = (text: string) => PLAIN.test(text);

/**
 * C0 controls, DEL and C1 controls: what a terminal would act on. Said by what they are not: to look up their Unicode
 * category takes 1.4 % of a run.
 */
const CONTROL = /[^ -~\xa0-\uffff]/g;

/** In bytes: what w prints of a hundred sessions. */
const SHORT = 32 * 1024;

/**
 * Bytes as text of one character a byte ("latin1"), so that it can be cut by byte.
 *
 * Short output is most often ASCII, and then UTF-8 is the same: to ask a Buffer for any other encoding takes 0.4 % of
 * a run, the first time. Of long output the other is faster.
 */
export function byteText(bytes: Buffer): string {
  if (bytes.length <= SHORT) {
    const text = bytes.toString();
    // UTF-8 has fewer characters than bytes, but where all are ASCII or some are not UTF-8.
    if (text.length === bytes.length && !text.includes('\uFFFD')) return text;
  }
  return bytes.toString('latin1');
}

/**
 * Bytes that another program or user chose, as text that is safe in a label value and in a log line.
 *
 * @param bytes one to a character, as `byteText` has them
 * @returns the same bytes read as UTF-8; what is not UTF-8 and every control character is U+FFFD, all else is kept
 */
export function cleanText(bytes: string): string {
  if (isPlain(bytes)) return bytes;
  return Buffer.from(bytes, 'latin1').toString('utf8').replace(CONTROL, '\uFFFD');
}
