import CRC32 from 'crc-32';
import { SnapshotError } from './errors.ts';
import { decodeFields, encodeFields } from './fields.ts';

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

/** `payload` as {@link encodeFields} takes it. The result is a copy. @throws SnapshotError when it is longer than the header can say. */
export function encodeBlob(version: number, payload: unknown): Uint8Array {
  const body = encodeFields(payload);
  if (body.length > 0xffffffff)
    throw new SnapshotError(
      `the virtio-fs state has ${body.length} bytes, and a snapshot of v86's own has room for ${0xffffffff}: freeze into a store`,
    );
  const blob = new Uint8Array(HEADER_LENGTH + body.length);
  const view = new DataView(blob.buffer);
  blob.set(new TextEncoder().encode(MAGIC));
  view.setUint32(8, version, true);
  view.setUint32(12, body.length, true);
  view.setUint32(16, CRC32.buf(body) >>> 0, true);
  blob.set(body, HEADER_LENGTH);
  return blob;
}

/** The payload and its schema version. @throws SnapshotError unless `blob` is whole and of a version that `checkVersion` lets pass. */
export function decodeBlob(
  blob: Uint8Array,
  checkVersion: (version: number) => void,
): { version: number; payload: unknown } {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  if (blob.length < HEADER_LENGTH)
    throw new SnapshotError(
      `the virtio-fs state is truncated: ${blob.length} bytes, and the header alone has ${HEADER_LENGTH}`,
    );
  const magic = new TextDecoder('latin1').decode(blob.subarray(0, 8));
  if (magic !== MAGIC)
    throw new SnapshotError(
      `this is not a virtio-fs state: it begins with ${JSON.stringify(magic)}, not ${JSON.stringify(MAGIC)}`,
    );
  const version = view.getUint32(8, true);
  checkVersion(version);
  const length = view.getUint32(12, true);
  const body = blob.subarray(HEADER_LENGTH);
  if (body.length !== length)
    throw new SnapshotError(`the virtio-fs state is truncated: ${body.length} bytes of ${length}`);
  const checksum = CRC32.buf(body) >>> 0;
  if (checksum !== view.getUint32(16, true))
    throw new SnapshotError('the virtio-fs state is damaged: its checksum does not match');
  return { version, payload: decodeFields(body) };
}
