import { Token, Type, decode, encode, type DecodeOptions, type EncodeOptions } from 'cborg';
import { bigIntDecoder, bigNegIntDecoder, structBigIntEncoder, TAG_BIGINT_NEG, TAG_BIGINT_POS } from 'cborg/taglib';
import CRC32 from 'crc-32';

/**
 * The envelope of a device state: what a stock v86 carries in its own snapshot without looking
 * inside. All numbers little-endian:
 *
 * | offset | bytes | field |
 * |---|---|---|
 * | 0 | 8 | magic, "VIRTIOFS" |
 * | 8 | 4 | schema version |
 * | 12 | 4 | length of the payload |
 * | 16 | 4 | CRC-32 of the payload |
 * | 20 | … | payload: CBOR (RFC 8949) of the schema's named fields |
 */
const MAGIC = 'VIRTIOFS';
const HEADER_LENGTH = 20;

/** CBOR tag for strings with lone surrogates, which file names that are not UTF-8 have. */
const TAG_WTF8 = 273;
const ENCODE_OPTIONS: EncodeOptions = {
  typeEncoders: {
    bigint: structBigIntEncoder,
    string: (text: string) => (text.isWellFormed() ? null : [new Token(Type.tag, TAG_WTF8), new Token(Type.bytes, encodeWtf8(text))]),
  },
};
const DECODE_OPTIONS: DecodeOptions = {
  rejectDuplicateMapKeys: true,
  tags: {
    [TAG_BIGINT_POS]: bigIntDecoder,
    [TAG_BIGINT_NEG]: bigNegIntDecoder,
    [TAG_WTF8]: (content) => decodeWtf8(content() as Uint8Array),
  },
};

/** A snapshot that can't be restored. The message says what is wrong, and what to do where there is a cure. */
export class SnapshotError extends Error {
  override readonly name = 'SnapshotError';
}

/** `payload` is plain data: numbers, bigints, strings, arrays, objects, Uint8Arrays. The result is a copy. */
export function encodeBlob(version: number, payload: unknown): Uint8Array {
  const body = encode(payload, ENCODE_OPTIONS);
  const blob = new Uint8Array(HEADER_LENGTH + body.length);
  const view = new DataView(blob.buffer);
  blob.set(new TextEncoder().encode(MAGIC));
  view.setUint32(8, version, true);
  view.setUint32(12, body.length, true);
  view.setUint32(16, CRC32.buf(body) >>> 0, true);
  blob.set(body, HEADER_LENGTH);
  return blob;
}

/** Throws {@link SnapshotError} unless `blob` is whole and of schema `version`. */
export function decodeBlob(version: number, blob: Uint8Array): unknown {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  if (blob.length < HEADER_LENGTH) throw new SnapshotError(`the virtio-fs state is cut off: ${blob.length} bytes, its header alone has ${HEADER_LENGTH}`);
  const magic = new TextDecoder('latin1').decode(blob.subarray(0, 8));
  if (magic !== MAGIC) throw new SnapshotError(`this is no virtio-fs state: it begins with ${JSON.stringify(magic)}, not ${JSON.stringify(MAGIC)}`);
  const found = view.getUint32(8, true);
  if (found !== version) {
    throw new SnapshotError(
      `the virtio-fs state has schema version ${found}, this v86-virtiofs reads version ${version}: ${found > version ? 'restore it with a newer release' : 'make the snapshot anew'}`,
    );
  }
  const length = view.getUint32(12, true);
  const body = blob.subarray(HEADER_LENGTH);
  if (body.length !== length) throw new SnapshotError(`the virtio-fs state is cut off: ${body.length} bytes of ${length}`);
  const checksum = CRC32.buf(body) >>> 0;
  if (checksum !== view.getUint32(16, true)) throw new SnapshotError('the virtio-fs state is damaged: its checksum does not match');
  try {
    return decode(body, DECODE_OPTIONS);
  } catch (error) {
    throw new SnapshotError(`the virtio-fs state is damaged: ${(error as Error).message}`, { cause: error });
  }
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
