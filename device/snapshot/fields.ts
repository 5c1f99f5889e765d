import { type DecodeOptions, decode, encode, Token, Tokenizer, Type } from 'cborg';
import {
  bigIntDecoder,
  bigNegIntDecoder,
  float64ArrayDecoder,
  float64ArrayEncoder,
  structBigIntEncoder,
  TAG_BIGINT_NEG,
  TAG_BIGINT_POS,
  TAG_FLOAT64_ARRAY_LE,
  TAG_UINT32_ARRAY_LE,
  uint32ArrayDecoder,
  uint32ArrayEncoder,
} from 'cborg/taglib';
import { concat, copyOf } from '../bytes.ts';
import { AbsentBytes, CONTENT_HASH_LENGTH } from '../fs/origin.ts';
import { SnapshotError } from './errors.ts';

/** CBOR tag for strings with lone surrogates, which file names that are not UTF-8 have. */
const TAG_WTF8 = 273;
/** CBOR tag, from the range for first come, first served, for the hash of a chunk that has the bytes. */
const TAG_CHUNK = 86_001;
/** As well, for bytes that an image has: their hash, and their length as u32. */
const TAG_ABSENT = 86_002;

/** Which byte strings are kept elsewhere: gives their hash, or undefined for those that stay. */
export type ToChunk = (bytes: Uint8Array) => Uint8Array | undefined;
/** The bytes of a chunk. @throws SnapshotError when no chunk has this hash. */
export type FromChunk = (hash: Uint8Array) => Uint8Array;

/** Plain data (numbers, bigints, strings, arrays, objects, Uint8Arrays, Uint32Arrays, Float64Arrays, {@link AbsentBytes}) as CBOR (RFC 8949). The result is a copy. */
export function encodeFields(payload: unknown, toChunk?: ToChunk): Uint8Array {
  return encode(payload, {
    typeEncoders: {
      bigint: structBigIntEncoder,
      Uint32Array: uint32ArrayEncoder,
      Float64Array: float64ArrayEncoder,
      string: (text: string) =>
        text.isWellFormed() ? null : [new Token(Type.tag, TAG_WTF8), new Token(Type.bytes, encodeWtf8(text))],
      Uint8Array: (bytes: Uint8Array) => {
        const hash = toChunk?.(bytes);
        return hash ? [new Token(Type.tag, TAG_CHUNK), new Token(Type.bytes, hash)] : null;
      },
      Object: (value: object) =>
        value instanceof AbsentBytes
          ? [new Token(Type.tag, TAG_ABSENT), new Token(Type.bytes, encodeAbsent(value))]
          : null,
    },
  });
}

/** Lists and records that any state may have. */
const FREE_CONTAINERS = 10_000;
/** Bytes for each further one: a record has names, so it is longer. */
const CONTAINER_BYTES = 16;

/**
 * How many lists and records may still come. A byte or two can make an empty list or one of one number, which take 50 to 190 bytes of heap.
 * One for all that belongs together.
 */
export class Allowance {
  #left = FREE_CONTAINERS;

  /** So many bytes more come with it. */
  add(bytes: number): void {
    this.#left += bytes / CONTAINER_BYTES;
  }

  take(): void {
    if (--this.#left < 0)
      throw new SnapshotError(
        'the state is damaged: it has more lists and records than so many bytes can say something with',
      );
  }
}

/** Refuses what would take many times its length while it is decoded. */
class ThriftyTokenizer extends Tokenizer {
  readonly #allowance: Allowance;

  constructor(bytes: Uint8Array, options: DecodeOptions, allowance: Allowance) {
    // Not a Buffer, whose slices are no copies. What cborg sets by default is set for its own tokenizer only.
    super(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length), {
      allowBigInt: true,
      allowUndefined: true,
      ...options,
    });
    this.#allowance = allowance;
    allowance.add(bytes.length);
  }

  override next(): Token {
    const token = super.next();
    const { type } = token;
    if (type === Type.array || type === Type.map) this.#allowance.take();
    return token;
  }
}

/** @throws SnapshotError for what {@link encodeFields} has not made. */
export function decodeFields(bytes: Uint8Array, fromChunk?: FromChunk, allowance = new Allowance()): unknown {
  const options: DecodeOptions = {
    rejectDuplicateMapKeys: true,
    tags: {
      [TAG_BIGINT_POS]: bigIntDecoder,
      [TAG_BIGINT_NEG]: bigNegIntDecoder,
      [TAG_UINT32_ARRAY_LE]: uint32ArrayDecoder,
      [TAG_FLOAT64_ARRAY_LE]: float64ArrayDecoder,
      [TAG_WTF8]: (content) => decodeWtf8(content() as Uint8Array),
      [TAG_CHUNK]: (content) => {
        if (!fromChunk) throw new SnapshotError('the state has parts that are kept elsewhere');
        return fromChunk(content() as Uint8Array);
      },
      [TAG_ABSENT]: (content) => decodeAbsent(content()),
    },
  };
  try {
    return decode(bytes, { ...options, tokenizer: new ThriftyTokenizer(bytes, options, allowance) });
  } catch (error) {
    if (error instanceof SnapshotError) throw error;
    throw new SnapshotError(`the state is damaged: ${(error as Error).message}`, { cause: error });
  }
}

function encodeAbsent({ hash, length }: AbsentBytes): Uint8Array {
  return concat([hash, new Uint8Array(Uint32Array.of(length).buffer)]);
}

/** @throws TypeError. */
function decodeAbsent(bytes: unknown): AbsentBytes {
  if (!(bytes instanceof Uint8Array) || bytes.length !== CONTENT_HASH_LENGTH + 4)
    throw new TypeError('it has content elsewhere, and does not say which');
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(CONTENT_HASH_LENGTH, true);
  return new AbsentBytes(copyOf(bytes.subarray(0, CONTENT_HASH_LENGTH)), length);
}

/** UTF-8 in which a lone surrogate is encoded like any other code point. */
function encodeWtf8(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (code < 0xd800 || code > 0xdfff) bytes.push(...new TextEncoder().encode(character));
    else bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
  }
  return Uint8Array.from(bytes);
}

function decodeWtf8(bytes: Uint8Array): string {
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let text = '';
  let start = 0;
  for (let at = 0; at + 2 < bytes.length; at++) {
    // 0xED 0xA0-0xBF begins a surrogate; in valid UTF-8, 0xED is followed by 0x80-0x9F.
    if (bytes[at] !== 0xed || bytes[at + 1]! < 0xa0) continue;
    text += utf8.decode(bytes.subarray(start, at));
    text += String.fromCharCode(0xd000 | ((bytes[at + 1]! & 0x3f) << 6) | (bytes[at + 2]! & 0x3f));
    start = at + 3;
    at += 2;
  }
  return text + utf8.decode(bytes.subarray(start));
}
