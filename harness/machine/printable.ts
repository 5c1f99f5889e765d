/**
 * What must not reach a terminal, or be read by people, as it stands: control characters (C0, DEL, C1), which steer
 * terminals; what changes the direction of text or can't be seen, which makes a name look like another one; line and
 * paragraph separators; and halves of surrogate pairs, among them the bytes of names that are not UTF-8.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;
const UNSAFE_BUT_LINES = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

/** ECMA-48, 5.4. */
const CONTROL_SEQUENCE = /\x1b\[[0-?]*[ -/]*[@-~]/g;

/**
 * Text of a guest, a host's directory, an archive, a snapshot or a peer, for a message on one line: what is unsafe is
 * shown as `\x1b`, `\u202e`, or `\u{e0001}`, a byte that is not UTF-8 as `\xff`.
 */
export function printable(text: string): string {
  return text.replace(UNSAFE, escaped);
}

/** As {@link printable}, for text of several lines: line breaks and tabs stay. */
export function printableLines(text: string): string {
  return text.replace(UNSAFE_BUT_LINES, escaped);
}

/** A line of a guest's console, on a line with other words: colours and cursor movements are taken out, the rest is as {@link printable}. */
export function printableConsole(line: string): string {
  return printable(line.replace(CONTROL_SEQUENCE, '').replaceAll('\t', '    '));
}

/** JSON for programs and terminals: the same value, with all that is unsafe as JSON's own escapes. */
export function printableJson(json: string): string {
  return json.replace(UNSAFE_BUT_LINES, (character) =>
    [...Array(character.length).keys()].map((n) => `\\u${hex(character.charCodeAt(n), 4)}`).join(''),
  );
}

function escaped(character: string): string {
  const code = character.codePointAt(0)!;
  // How names carry bytes that are not UTF-8: device/fs/names.ts.
  if (code >= 0xdc80 && code <= 0xdcff) return `\\x${hex(code - 0xdc00, 2)}`;
  if (code < 0x100) return `\\x${hex(code, 2)}`;
  return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\u{${hex(code, 5)}}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
