import { copyOf } from '../bytes.ts';
import { MAX_FILE_SIZE } from '../filesystems/memory/values.ts';
import type { Timespec } from '../fs/filesystem.ts';
import { decodeName } from '../fs/names.ts';
import type { ByteQueue } from './byte-queue.ts';
import {
  BLOCK,
  decodeBlock,
  decodePax,
  decodeSparseBlock,
  fromDecimal,
  number,
  padded,
  type SparseMap,
  type TarHeader,
  utf8,
} from './tar-format.ts';
import { EntryError } from './tree-writer.ts';

/** Of headers that are read whole, PAX and long names, of one entry and for all: an archive may say anything. In bytes. */
const MAX_HEADERS = 8 << 20;
/** Parts of one sparse file: more than a file of 1 TiB has with holes of 1 MiB. */
const MAX_SEGMENTS = 1 << 20;
const XATTR = 'SCHILY.xattr.';
/** Records of attributes in forms that are not read: access control lists as text, security labels, flags of BSD, and bsdtar's own form of extended attributes. */
const UNREAD = /^(SCHILY\.acl\.|RHT\.security\.|SCHILY\.fflags$|LIBARCHIVE\.xattr\.)/;
const TWIN = /^LIBARCHIVE\.xattr\./;

/** One entry of an archive, with all that its headers say. */
export interface TarEntry extends TarHeader {
  atime: Timespec | undefined;
  xattrs: [string, Uint8Array][];
  /** PAX records of attributes that are not read. */
  unread: string[];
  /** How the parts in the archive make the file; undefined when they are all of it. */
  sparse: SparseMap | undefined;
  /** Bytes that are still to be read with {@link TarReader.body}. */
  remaining: number;
  /** Why this one can't be read, though the next ones can. */
  unfit: string | undefined;
}

/** Reads the entries of an archive one after the other. */
export class TarReader {
  readonly #queue: ByteQueue;
  #globals: [string, Uint8Array][] = [];
  #globalLength = 0;
  #entry: TarEntry | undefined;
  #padding = 0;

  constructor(queue: ByteQueue) {
    this.#queue = queue;
  }

  /** The next entry; undefined at the end of the archive. @throws Error for what is no archive, or breaks off. */
  async next(): Promise<TarEntry | undefined> {
    if (this.#entry) {
      for await (const _ of this.body(this.#entry));
      await this.#take(this.#padding);
    }
    let records: [string, Uint8Array][] = [];
    let longName: string | undefined;
    let longLink: string | undefined;
    for (let headers = this.#globalLength; ; ) {
      const block = copyOf(await this.#queue.take(BLOCK));
      if (block.length === 0) throw new Error('its end is missing: copy it again');
      if (block.length < BLOCK) throw new Error('it is truncated in a header: copy it again');
      if (block.every((byte) => byte === 0)) return undefined;
      const header = decodeBlock(block, decodeName);
      if (!Number.isSafeInteger(header.size) || header.size < 0) throw new Error('an entry has an impossible size');
      if ('xgLK'.includes(header.type)) headers += header.size;
      if (headers > MAX_HEADERS) throw new Error('the headers of an entry are too long');
      switch (header.type) {
        case 'x':
          records = records.concat(decodePax(await this.#whole(header)));
          continue;
        case 'g':
          this.#globalLength += header.size;
          this.#globals = latest(this.#globals.concat(decodePax(await this.#whole(header))));
          continue;
        case 'L':
          longName = longText(await this.#whole(header));
          continue;
        case 'K':
          longLink = longText(await this.#whole(header));
          continue;
      }
      if (longName !== undefined) header.name = longName;
      if (longLink !== undefined) header.linkname = longLink;
      return (this.#entry = await this.#begin(header, this.#globals.concat(records), block));
    }
  }

  /** What the archive has of an entry, in parts, borrowed until the next one. @throws Error when it breaks off. */
  async *body(entry: TarEntry, length = entry.remaining): AsyncGenerator<Uint8Array> {
    for (let left = Math.min(length, entry.remaining); left > 0; ) {
      const bytes = await this.#queue.some(left);
      if (bytes.length === 0) throw new Error(`it is truncated in ${entry.name}: copy it again`);
      entry.remaining -= bytes.length;
      left -= bytes.length;
      yield bytes;
    }
  }

  async #begin(header: TarHeader, records: [string, Uint8Array][], block: Uint8Array): Promise<TarEntry> {
    const pax = new Map(records);
    const text = (key: string) => (pax.has(key) ? utf8(pax.get(key)!) : undefined);
    const count = (key: string) => (pax.get(key)?.length ? decimalOrNot(pax.get(key)!) : undefined);
    const entry: TarEntry = {
      ...header,
      name: named(pax.get('GNU.sparse.name') ?? pax.get('path')) ?? header.name,
      linkname: named(pax.get('linkpath')) ?? header.linkname,
      uid: count('uid') ?? header.uid,
      gid: count('gid') ?? header.gid,
      size: count('size') ?? header.size,
      mtime: fromDecimal(text('mtime') ?? '') ?? header.mtime,
      atime: fromDecimal(text('atime') ?? ''),
      xattrs: records.flatMap(([key, value]) =>
        key.startsWith(XATTR) ? [[decodeXattrName(key.slice(XATTR.length)), value] satisfies [string, Uint8Array]] : [],
      ),
      unread: [...pax.keys()].filter(
        // bsdtar says it in both forms.
        (key) => UNREAD.test(key) && !(TWIN.test(key) && pax.has(key.replace(TWIN, XATTR))),
      ),
      sparse: undefined,
      remaining: 0,
      unfit: undefined,
    };
    if (!Number.isSafeInteger(entry.size)) throw new Error('an entry has an impossible size');
    // What these say of a size is not what follows.
    const hasBody = !'123456'.includes(entry.type);
    entry.remaining = hasBody ? entry.size : 0;
    this.#padding = padded(entry.remaining) - entry.remaining;
    try {
      if (entry.type === 'S') entry.sparse = await this.#oldSparse(block, entry);
      else if (hasBody) entry.sparse = await this.#paxSparse(entry, records, pax);
    } catch (error) {
      if (!(error instanceof EntryError)) throw error;
      entry.unfit = error.message;
    }
    if (entry.sparse) checkSparse(entry);
    return entry;
  }

  /** GNU tar's own format. */
  async #oldSparse(block: Uint8Array, entry: TarEntry): Promise<SparseMap> {
    const segments = decodeSparseBlock(block, 386, 4);
    const realSize = number(block, 483, 12);
    for (let isMore = block[482] !== 0; isMore; ) {
      const extension = copyOf(await this.#take(BLOCK));
      if (segments.length < MAX_SEGMENTS) segments.push(...decodeSparseBlock(extension, 0, 21));
      isMore = extension[504] !== 0;
    }
    entry.type = '0';
    return { realSize, segments };
  }

  /** GNU tar's formats in PAX headers: 1.0, where the list precedes the content, 0.1 and 0.0. */
  async #paxSparse(
    entry: TarEntry,
    records: [string, Uint8Array][],
    pax: Map<string, Uint8Array>,
  ): Promise<SparseMap | undefined> {
    const size = pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size');
    const major = pax.get('GNU.sparse.major');
    if (!size && !major) return undefined;
    const realSize = decimal(size ?? new Uint8Array(0));
    if (major) {
      if (utf8(major) !== '1') throw new EntryError(`its holes are listed in the unknown format ${utf8(major)}`);
      return { realSize, segments: await this.#sparseList(entry) };
    }
    const list = pax.has('GNU.sparse.map')
      ? utf8(pax.get('GNU.sparse.map')!)
          .split(',')
          .map((digits) => decimal(digits))
      : records
          .filter(([key]) => key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes')
          .map(([, value]) => decimal(value));
    return { realSize, segments: pairs(list) };
  }

  /** Decimal numbers, each with a line feed, filled up to a whole block: how many parts, and each one's offset and length. */
  async #sparseList(entry: TarEntry): Promise<SparseMap['segments']> {
    let digits = '';
    const numbers: number[] = [];
    for (let expected = 1; numbers.length < expected; ) {
      if (entry.remaining < BLOCK) throw new EntryError(LYING);
      const block = copyOf(await this.#take(BLOCK));
      entry.remaining -= BLOCK;
      for (const byte of block) {
        if (numbers.length === expected) break;
        if (byte !== 0x0a) {
          digits += String.fromCharCode(byte);
          if (digits.length > 20) throw new EntryError(LYING);
          continue;
        }
        numbers.push(decimal(digits));
        digits = '';
        if (numbers.length === 1) expected = 1 + 2 * numbers[0]!;
        if (expected > 2 * MAX_SEGMENTS) throw new EntryError(LYING);
      }
    }
    return pairs(numbers.slice(1));
  }

  async #whole({ size }: TarHeader): Promise<Uint8Array> {
    return copyOf((await this.#take(padded(size))).subarray(0, size));
  }

  async #take(length: number): Promise<Uint8Array> {
    const bytes = await this.#queue.take(length);
    if (bytes.length < length) throw new Error('it is truncated: copy it again');
    return bytes;
  }
}

const LYING = 'the list of its holes is malformed';

/** What is said twice holds as it is said last; GNU.sparse.offset and its like are lists. */
function latest(records: [string, Uint8Array][]): [string, Uint8Array][] {
  return [...new Map(records)];
}

function pairs(numbers: number[]): SparseMap['segments'] {
  if (numbers.length % 2 || numbers.length > 2 * MAX_SEGMENTS) throw new EntryError(LYING);
  return Array.from({ length: numbers.length / 2 }, (_, n) => ({
    offset: numbers[2 * n]!,
    length: numbers[2 * n + 1]!,
  }));
}

/** Parts in order, that don't overlap, within the file, and as long together as what the archive has. */
function checkSparse(entry: TarEntry): void {
  const { realSize, segments } = entry.sparse!;
  let end = 0;
  let sum = 0;
  let isSound = Number.isSafeInteger(realSize) && realSize >= 0 && realSize <= MAX_FILE_SIZE;
  for (const { offset, length } of segments) {
    isSound &&=
      Number.isSafeInteger(offset) &&
      Number.isSafeInteger(length) &&
      offset >= end &&
      length >= 0 &&
      offset + length <= realSize;
    end = offset + length;
    sum += length;
  }
  if (!isSound || sum !== entry.remaining) entry.unfit = LYING;
}

function decimal(value: Uint8Array | string): number {
  const digits = typeof value === 'string' ? value : utf8(value);
  const result = Number(digits);
  if (!/^\d{1,16}$/.test(digits) || !Number.isSafeInteger(result))
    throw new EntryError('its header has a malformed number');
  return result;
}

/** For the code that judges values: NaN for what is not a number. */
function decimalOrNot(value: Uint8Array): number {
  const digits = utf8(value);
  return /^\d{1,16}$/.test(digits) ? Number(digits) : NaN;
}

/** An empty record takes back what was said before. */
function named(bytes: Uint8Array | undefined): string | undefined {
  return bytes?.length ? decodeName(bytes) : undefined;
}

function longText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decodeName(end < 0 ? bytes : bytes.subarray(0, end));
}

/** GNU tar's: `=` would end the key. */
function decodeXattrName(name: string): string {
  return name.replace(/%3D/gi, '=').replace(/%25/g, '%');
}
