import { concat } from '../bytes.ts';
import type { Timespec } from '../fs/filesystem.ts';
import { encodeName } from '../fs/names.ts';

/**
 * The blocks of tar archives: ustar and PAX as POSIX.1-2017 has them (pax, "EXTENDED DESCRIPTION"), and what GNU tar
 * adds. Texts are strings in which bytes that are not UTF-8 are lone surrogates, as names of files are (names.ts).
 */
export const BLOCK = 512;
export const EMPTY = new Uint8Array(0);

/** Fields of a header block, as far as they are used here. */
export interface TarHeader {
  name: string;
  mode: number;
  uid: number;
  gid: number;
  /** Of what follows, in bytes. */
  size: number;
  mtime: Timespec;
  /** The type flag, a character. */
  type: string;
  linkname: string;
}

/** A part of a file that an archive has; the rest of the file is holes. */
export interface SparseMap {
  realSize: number;
  segments: { offset: number; length: number }[];
}

const encoder = new TextEncoder();
/** Of fields of 8 and 12 bytes, as octal digits. */
const MAX_OCTAL_8 = 0o7777777;
const MAX_OCTAL_12 = 0o77777777777;

/** Length that `length` bytes take in an archive. */
export function padded(length: number): number {
  return Math.ceil(length / BLOCK) * BLOCK;
}

/** The blocks of an entry's header: a PAX header first where ustar can't say it all. `records` are more of those. */
export function encodeHeader(header: TarHeader, records: [string, Uint8Array][] = []): Uint8Array[] {
  const { uid, gid, size, mtime } = header;
  const name = encodeName(header.name);
  const linkname = encodeName(header.linkname);
  const more: [string, Uint8Array][] = [];
  const text = (key: string, value: string) => more.push([key, encoder.encode(value)]);
  if (name.length > 100) more.push(['path', name]);
  if (linkname.length > 100) more.push(['linkpath', linkname]);
  if (uid > MAX_OCTAL_8) text('uid', String(uid));
  if (gid > MAX_OCTAL_8) text('gid', String(gid));
  if (size > MAX_OCTAL_12) text('size', String(size));
  if (mtime.nsec || mtime.sec < 0 || mtime.sec > MAX_OCTAL_12) text('mtime', toDecimal(mtime));
  more.push(...records);
  const block = encodeBlock(header, name, linkname);
  if (more.length === 0) return [block];
  const body = encodePax(more);
  const pax = { ...header, mode: 0o644, type: 'x', size: body.length };
  return [
    encodeBlock(pax, encoder.encode('PaxHeader'), EMPTY),
    body,
    new Uint8Array(padded(body.length) - body.length),
    block,
  ];
}

function encodeBlock(
  { mode, uid, gid, size, mtime, type }: TarHeader,
  name: Uint8Array,
  linkname: Uint8Array,
): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const put = (at: number, bytes: Uint8Array, length: number) => block.set(bytes.subarray(0, length), at);
  const octal = (at: number, length: number, value: number, max: number) =>
    put(
      at,
      encoder.encode(
        Math.min(Math.max(value, 0), max)
          .toString(8)
          .padStart(length - 1, '0'),
      ),
      length - 1,
    );
  put(0, name, 100);
  octal(100, 8, mode, MAX_OCTAL_8);
  octal(108, 8, uid, MAX_OCTAL_8);
  octal(116, 8, gid, MAX_OCTAL_8);
  octal(124, 12, size, MAX_OCTAL_12);
  octal(136, 12, mtime.sec, MAX_OCTAL_12);
  put(156, encoder.encode(type), 1);
  put(157, linkname, 100);
  put(257, encoder.encode('ustar\x0000'), 8);
  put(148, encoder.encode(`${checksum(block).toString(8).padStart(6, '0')}\0 `), 8);
  return block;
}

/** Records `LENGTH KEY=VALUE\n`, where the length counts its own digits. */
function encodePax(records: [string, Uint8Array][]): Uint8Array {
  const parts = records.flatMap(([key, value]) => {
    const head = encodeName(`${key}=`);
    const rest = head.length + value.length + 2;
    let length = rest + String(rest).length;
    length = rest + String(length).length;
    return [encoder.encode(`${length} `), head, value, encoder.encode('\n')];
  });
  return concat(parts);
}

/** The records of a PAX header, in order. @throws Error when they are malformed. */
export function decodePax(bytes: Uint8Array): [string, Uint8Array][] {
  const records: [string, Uint8Array][] = [];
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const digits = space < 0 || space - at > 9 ? '' : latin1(bytes.subarray(at, space));
    const end = at + Number(digits);
    const equals = bytes.indexOf(0x3d, space);
    if (!/^\d{1,9}$/.test(digits) || end > bytes.length || equals < 0 || equals >= end - 1 || bytes[end - 1] !== 0x0a)
      throw new Error('a PAX header is malformed');
    records.push([utf8(bytes.subarray(space + 1, equals)), bytes.subarray(equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

/** @throws Error when the block is no header. `decode` makes texts of bytes. */
export function decodeBlock(block: Uint8Array, decode: (bytes: Uint8Array) => string): TarHeader {
  const stored = number(block, 148, 8);
  if (stored !== checksum(block) && stored !== checksum(block, true)) throw new Error('a header has a wrong checksum');
  const text = (at: number, length: number) => decode(untilNul(block.subarray(at, at + length)));
  const isUstar = latin1(block.subarray(257, 263)) === 'ustar\0';
  const prefix = isUstar ? text(345, 155) : '';
  return {
    name: prefix ? `${prefix}/${text(0, 100)}` : text(0, 100),
    mode: number(block, 100, 8),
    uid: number(block, 108, 8),
    gid: number(block, 116, 8),
    size: number(block, 124, 12),
    mtime: { sec: number(block, 136, 12), nsec: 0 },
    type: block[156] ? String.fromCharCode(block[156]) : '0',
    linkname: text(157, 100),
  };
}

/** Old GNU sparse files: parts that a block lists, up to the first empty one. */
export function decodeSparseBlock(block: Uint8Array, at: number, count: number): SparseMap['segments'] {
  const segments: SparseMap['segments'] = [];
  for (let n = 0; n < count; n++) {
    const start = at + 24 * n;
    if (block[start] === 0) break;
    segments.push({ offset: number(block, start, 12), length: number(block, start + 12, 12) });
  }
  return segments;
}

/** A field's number: octal digits, or base 256 with a sign as GNU tar has it. @throws Error for anything else. */
export function number(block: Uint8Array, at: number, length: number): number {
  const first = block[at]!;
  if (first === 0x80 || first === 0xff) {
    let value = first === 0xff ? -1 : 0;
    for (let n = at + 1; n < at + length; n++) value = value * 256 + block[n]!;
    return value;
  }
  const digits = latin1(untilNul(block.subarray(at, at + length))).trim();
  if (!/^[0-7]*$/.test(digits)) throw new Error('a header has a malformed number');
  return digits === '' ? 0 : parseInt(digits, 8);
}

function checksum(block: Uint8Array, isSigned = false): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < BLOCK; at++) {
    if (at >= 148 && at < 156) continue;
    const byte = block[at]!;
    sum += isSigned && byte > 127 ? byte - 256 : byte;
  }
  return sum;
}

/** PAX: seconds with a fraction, which is negative with them. Undefined for anything else. */
export function fromDecimal(text: string): Timespec | undefined {
  const [, sign, whole, fraction = ''] = /^(-?)(\d{1,20})(?:\.(\d*))?$/.exec(text) ?? [];
  if (whole === undefined) return undefined;
  const nsec = Number(fraction.padEnd(9, '0').slice(0, 9));
  if (!sign) return { sec: Number(whole), nsec };
  return nsec ? { sec: -Number(whole) - 1, nsec: 1_000_000_000 - nsec } : { sec: 0 - Number(whole), nsec: 0 };
}

export function toDecimal({ sec, nsec }: Timespec): string {
  const isNegative = sec < 0;
  const whole = isNegative && nsec ? -sec - 1 : Math.abs(sec);
  const fraction = isNegative && nsec ? 1_000_000_000 - nsec : nsec;
  return `${isNegative ? '-' : ''}${whole}${fraction ? `.${String(fraction).padStart(9, '0')}` : ''}`;
}

export function utf8(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function untilNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}
