import { NAME_MAX } from './constants.ts';

/**
 * Linux file names are any bytes but NUL and `/`; the `fs` API has strings. A name that is UTF-8 is
 * its text. A byte that is not part of valid UTF-8 becomes the lone surrogate U+DC00 + byte
 * (U+DC80 to U+DCFF), the way Python's `surrogateescape` does it, and back: {@link encodeName} of
 * {@link decodeName} is the same bytes, always.
 */
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** `bytes` is borrowed for the call. */
export function decodeName(bytes: Uint8Array): string {
  if (bytes.length <= 64) {
    let ascii = '';
    let at = 0;
    for (; at < bytes.length && bytes[at]! < 0x80; at++) ascii += String.fromCharCode(bytes[at]!);
    if (at === bytes.length) return ascii;
  }
  try {
    return strict.decode(bytes);
  } catch {
    return decodeEscaped(bytes);
  }
}

/**
 * The name's bytes, freshly made. A surrogate that {@link decodeName} would not have made (the
 * host's `fs` API lets any string in) gets the three bytes its code point would have in UTF-8.
 */
export function encodeName(name: string): Uint8Array {
  return name.isWellFormed() ? encoder.encode(name) : encodeEscaped(name);
}

/** `encodeName(name).length` without making it. */
export function nameLength(name: string): number {
  let length = 0;
  for (let at = 0; at < name.length; at++) {
    const unit = name.charCodeAt(at);
    if (unit < 0x80) length += 1;
    else if (unit < 0x800) length += 2;
    else if (isEscape(unit)) length += 1;
    else if (unit >= 0xd800 && unit < 0xdc00 && isLowSurrogate(name.charCodeAt(at + 1))) {
      length += 4;
      at++;
    } else length += 3;
  }
  return length;
}

/** Whether a directory entry on Linux can have this name. Two strings for the same bytes would be two files of one name, so only {@link decodeName}'s is good. */
export function isFileName(name: string): boolean {
  return isEntryName(name) && isCanonical(name);
}

/** Whether {@link decodeName} gives this string. */
export function isCanonical(text: string): boolean {
  return text.isWellFormed() || decodeName(encodeName(text)) === text;
}

/** {@link isFileName}, and what the host could name a file before version 0.2. */
export function isEntryName(name: string): boolean {
  return (
    name !== '' &&
    name !== '.' &&
    name !== '..' &&
    !name.includes('/') &&
    !name.includes('\0') &&
    nameLength(name) <= NAME_MAX
  );
}

function decodeEscaped(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    let end = at;
    for (let length = sequenceLength(bytes, end); length; length = end < bytes.length ? sequenceLength(bytes, end) : 0)
      end += length;
    if (end > at) parts.push(strict.decode(bytes.subarray(at, end)));
    if (end < bytes.length) parts.push(String.fromCharCode(0xdc00 + bytes[end]!));
    at = end + 1;
  }
  return parts.join('');
}

/** Length of the well-formed UTF-8 sequence at `at` (Unicode 15, table 3-7); 0 where there is none. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!;
  if (lead < 0x80) return 1;
  const length =
    lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
  if (!length || at + length > bytes.length) return 0;
  const second = bytes[at + 1]!;
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let next = at + 2; next < at + length; next++) if ((bytes[next]! & 0xc0) !== 0x80) return 0;
  return length;
}

function encodeEscaped(name: string): Uint8Array {
  const bytes = new Uint8Array(nameLength(name));
  let to = 0;
  for (const character of name) {
    const code = character.codePointAt(0)!;
    if (isEscape(code)) bytes[to++] = code & 0xff;
    else if (code >= 0xd800 && code <= 0xdfff) {
      bytes[to++] = 0xe0 | (code >> 12);
      bytes[to++] = 0x80 | ((code >> 6) & 0x3f);
      bytes[to++] = 0x80 | (code & 0x3f);
    } else to += encoder.encodeInto(character, bytes.subarray(to)).written;
  }
  return bytes;
}

function isEscape(unit: number): boolean {
  return unit >= 0xdc80 && unit <= 0xdcff;
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}
