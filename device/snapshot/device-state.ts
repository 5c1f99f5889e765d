import { concat } from '../bytes.ts';
import { cutByContent } from './cut.ts';
import { SnapshotError } from './errors.ts';
import { decodeFields, encodeFields } from './fields.ts';
import { type Frozen, hashNames, toHex } from './layer.ts';
import { readState, type SavedMachine } from './machine-state.ts';
import { CHUNK_BYTES } from './ram-map.ts';
import { STATE_VERSION } from './upgrades.ts';

/** Byte strings of the state from this length on are chunks of their own. */
const MIN_CHUNK = 4096;
/** A state up to this length stands in the head of its layer, a longer one in chunks. */
const MAX_INLINE = 64 << 10;
/** What the state may take beside the byte strings that are chunks, so that a forged one can't fill the memory. */
const MAX_STATE_BYTES = 2 ** 31 - 1;

/** How the state of the devices is kept in a snapshot. */
export type KeptState = Pick<Frozen, 'schema' | 'devices' | 'deviceParts' | 'deviceChunks'>;

/**
 * Takes the state of the devices apart. `add` is given every chunk, borrowed, and returns its hash.
 *
 * @throws SnapshotError when it is more than {@link readDeviceState} takes.
 */
export function keepDeviceState(saved: SavedMachine, add: (bytes: Uint8Array) => Uint8Array): KeptState {
  const chunks: Uint8Array[] = [];
  const encoded = encodeFields(saved, (bytes) => {
    if (bytes.length < MIN_CHUNK || bytes.length > CHUNK_BYTES) return undefined;
    const hash = add(bytes);
    chunks.push(hash);
    return hash;
  });
  checkLength(encoded.length);
  const isInline = encoded.length <= MAX_INLINE;
  return {
    schema: STATE_VERSION,
    devices: isInline ? encoded : new Uint8Array(0),
    deviceParts: concat(isInline ? [] : Array.from(cutByContent(encoded), add)),
    deviceChunks: concat(chunks),
  };
}

/** Bytes that the state takes, chunks that its tags name not counted. `lengthOf` gives those of its parts. */
export function deviceStateLength({ devices, deviceParts }: KeptState, lengthOf: (names: string[]) => number): number {
  const length = devices.length + lengthOf(hashNames(deviceParts));
  checkLength(length);
  return length;
}

/**
 * The state of the devices, in this release's schema and not checked further. `chunk` gives the bytes of a chunk by its name, those of
 * parts too, or undefined.
 *
 * @throws SnapshotError when it is damaged.
 */
export function readDeviceState(
  { schema, devices, deviceParts }: KeptState,
  chunk: (name: string) => Uint8Array | undefined,
): SavedMachine {
  const find = (name: string): Uint8Array => {
    const bytes = chunk(name);
    if (!bytes)
      throw new SnapshotError('the snapshot is invalid: its device state names a chunk that it does not list');
    return bytes;
  };
  const names = hashNames(deviceParts);
  const encoded = names.length ? concat(names.map(find)) : devices;
  return readState(
    schema,
    decodeFields(encoded, (hash) => find(toHex(hash))),
  );
}

function checkLength(length: number): void {
  if (length > MAX_STATE_BYTES) {
    throw new SnapshotError(
      `the names and attributes of the files take ${length} bytes, and a snapshot has room for ${MAX_STATE_BYTES}: remove files, or freeze with \`sessionOnly\``,
    );
  }
}
