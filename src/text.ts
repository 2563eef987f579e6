const NOT_PLAIN = /[^ -~]/;

/** Whether a text is ASCII without control characters, and so is the same in bytes and needs no cleaning. */
const isPlain = (text: string) => !NOT_PLAIN.test(text);

/** C0 controls, DEL and C1 controls: what a terminal would act on. */
const CONTROL = /\p{Cc}/gu;

/** In bytes. With 16 KiB in one call V8 takes three times as long. */
const MAX_ARGUMENTS = 8 * 1024;

/** Bytes as text of one character per byte, so that it can be cut by byte. */
export function byteText(bytes: Uint8Array): string {
  if (bytes.length <= MAX_ARGUMENTS) return Reflect.apply(String.fromCharCode, undefined, bytes);
  let text = '';
  for (let start = 0; start < bytes.length; start += MAX_ARGUMENTS) {
    const piece: string = Reflect.apply(
      String.fromCharCode,
      undefined,
      bytes.subarray(start, start + MAX_ARGUMENTS),
    );
    text += piece;
  }
  return text;
}

/**
 * Bytes that another program or user chose, as text that is safe in a label value and in a log line.
 *
 * @param bytes one per character, as `byteText` returns them
 * @returns the same bytes read as UTF-8; what is not UTF-8 and every control character is U+FFFD, all else is kept
 */
export function cleanText(bytes: string): string {
  return isPlain(bytes) ? bytes : decodeUtf8(bytes).replace(CONTROL, '\uFFFD');
}

/**
 * UTF-8 (RFC 3629, section 4): the second alternative is a character that is cut short. TextDecoder also replaces that
 * as a whole, but QuickJS has none.
 */
const NOT_ASCII =
  /([\xc2-\xdf][\x80-\xbf]|(?:\xe0[\xa0-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]|\xed[\x80-\x9f])[\x80-\xbf]|(?:\xf0[\x90-\xbf]|[\xf1-\xf3][\x80-\xbf]|\xf4[\x80-\x8f])[\x80-\xbf]{2})|\xe0[\xa0-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]|\xed[\x80-\x9f]|(?:\xf0[\x90-\xbf]|[\xf1-\xf3][\x80-\xbf]|\xf4[\x80-\x8f])[\x80-\xbf]?|[\x80-\xff]/g;

function decodeUtf8(bytes: string): string {
  return bytes.replace(NOT_ASCII, (_, character: string | undefined) =>
    character === undefined ? '\uFFFD' : decodeURIComponent(escape(character)),
  );
}

/** vis(3): octal for a byte that is not ASCII, a letter for a control character, and a backslash twice. */
const ESCAPE = /\\([0-7]{3}|.)/gs;

/**
 * Undoes how sshd escapes names, in the titles of its processes and in its log.
 *
 * @returns bytes, one per character
 */
export function unescapeName(text: string): string {
  return text.includes('\\') ? text.replace(ESCAPE, decodeEscape) : text;
}

/** Every control character ends up as U+FFFD, so it does not matter which one it was. */
function decodeEscape(_: string, escaped: string): string {
  if (escaped === '\\') return '\\';
  return escaped.length === 3 ? String.fromCharCode(Number.parseInt(escaped, 8) & 0xff) : '\x7f';
}
