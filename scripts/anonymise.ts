/**
 * Output of w without anything that identifies people or machines, at the same widths: users, clients, paths and
 * arguments are replaced. Equal names stay equal; different ones stay different as far as their length allows.
 *
 * @param output of w, with its column names
 */
export function anonymise(output: Buffer): Buffer {
  const lines = output.toString('latin1').split('\n');
  const header = lines.findIndex((line) => /^USER .* WHAT *$/.test(line));
  const names = lines[header];
  if (names === undefined) throw new Error('this is not the output of w: it has no column names');
  const replace = replacer();
  const rows = lines.slice(header + 1).map((line) => anonymiseRow(line, names, replace));
  return Buffer.from([...lines.slice(0, header + 1), ...rows].join('\n'), 'latin1');
}

function anonymiseRow(line: string, names: string, replace: (name: string) => string): string {
  const tty = names.indexOf('TTY');
  const times = names.indexOf('LOGIN@') - 2;
  const from = names.includes('FROM') ? names.indexOf('FROM') : times;
  // A long duration shifts WHAT to the right, which costs the name of the command.
  const what = names.indexOf('WHAT');
  return [
    replace(line.slice(0, tty)),
    line.slice(tty, from),
    anonymiseClient(line.slice(from, times), replace),
    line.slice(times, what),
    anonymiseCommand(line.slice(what)),
  ].join('');
}

/** The words that w and other programs print for no client decide what is an SSH session, so they stay. */
function anonymiseClient(from: string, replace: (name: string) => string): string {
  if (/^(?:[-: ]|tmux\(|localhost:|(?:tty\d+|login-|mosh-|localhost) *$)/.test(from)) return from;
  const window = from.indexOf(':S.');
  return window < 0 ? replace(from) : replace(from.slice(0, window)) + from.slice(window);
}

/** The name of the command stays, without its directory. */
function anonymiseCommand(what: string): string {
  const [, directory = '', name = '', args = ''] = /^( *(?:[^ ]*\/)?)([^ ]*)(.*)$/s.exec(what) ?? [];
  return mask(directory) + name + mask(args);
}

function mask(text: string): string {
  return hideForeign(text.replace(/[a-z]/gi, 'x').replace(/\d/g, '0'));
}

/** Gives each name one of its own, of the same form: hexadecimal digits, so that an address stays one. */
function replacer(): (name: string) => string {
  const known = new Map<string, string>();
  return (name) => {
    const replacement = known.get(name) ?? disguise(name, known.size);
    known.set(name, replacement);
    return replacement;
  };
}

function disguise(name: string, number: number): string {
  let rest = number;
  const pick = (alphabet: string) => {
    const letter = alphabet.charAt(rest % alphabet.length);
    rest = Math.floor(rest / alphabet.length);
    return letter;
  };
  // No part of an address made of 1 and 2 is too large.
  return hideForeign(name.replace(/[a-z]|(\d)/gi, (_, digit) => pick(digit === undefined ? 'abcdef' : '12')));
}

/** Any character that is not ASCII becomes another one of as many bytes; `text` has one character a byte. */
function hideForeign(text: string): string {
  const stand = (character: string) => Buffer.from(character).toString('latin1');
  return text
    .replace(/[\xf0-\xf4][\x80-\xbf]{3}/g, stand('🎉'))
    .replace(/[\xe0-\xef][\x80-\xbf]{2}/g, stand('漢'))
    .replace(/[\xc2-\xdf][\x80-\xbf]/g, stand('é'));
}
