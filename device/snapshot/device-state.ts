import { concat } from '../bytes.ts';
import { cutByContent } from './cut.ts';
import { SnapshotError } from './errors.ts';
import { decodeFields, encodeFields } from './fields.ts';
import { ChunkReference, KeptRanges, MIN_CHUNK, nameOf, Room } from './kept-ranges.ts';
import { type Frozen, hashNames, toHex } from './layer.ts';
import { readState, type SavedMachine } from './machine-state.ts';
import { CHUNK_BYTES } from './ram-map.ts';
import { FIRST_WITH_RANGES, STATE_VERSION } from './upgrades.ts';

/** A state up to this length stands in the head of its layer, a longer one in chunks. */
const MAX_INLINE = 64 << 10;
/** What the state may take beside the byte strings that are chunks, so that a forged one can't fill the memory. */
const MAX_STATE_BYTES = 2 ** 31 - 1;

/** How the state of the devices is kept in a snapshot. */
export type KeptState = Pick<Frozen, 'schema' | 'devices' | 'deviceParts' | 'deviceChunks' | 'bases'>;

/**
 * Takes the state of the devices apart. `add` is given every chunk, borrowed, and returns its hash; but not those of ranges that `ranges`
 * has kept already.
 *
 * @throws SnapshotError when it is more than {@link readDeviceState} takes.
 */
export function keepDeviceState(
  saved: SavedMachine,
  ranges: KeptRanges,
  add: (bytes: Uint8Array) => Uint8Array,
): KeptState {
  const chunks: Uint8Array[] = [];
  const filesystems = saved.filesystems.map((filesystem) => {
    const { ranges: all } = filesystem as { ranges?: object[] };
    if (!all) return filesystem;
    const kept = all.map((range) => ranges.keep(range, add));
    for (const range of kept) chunks.push(range.chunks);
    return { ...(filesystem as object), ranges: kept.map(({ pieces }) => pieces) };
  });
  const encoded = encodeFields({ ...saved, filesystems }, (bytes) => {
    if (bytes instanceof ChunkReference) return bytes;
    if (bytes.length < MIN_CHUNK || bytes.length > CHUNK_BYTES) return undefined;
    const hash = add(bytes);
    chunks.push(hash);
    return hash;
  });
  checkLength(encoded.length);
  const origins = saved.filesystems.map((filesystem) => (filesystem as { origin?: string }).origin);
  const bases = [...new Set(origins)].filter((id) => id !== undefined);
  const isInline = encoded.length <= MAX_INLINE;
  return {
    schema: STATE_VERSION,
    devices: isInline ? encoded : new Uint8Array(0),
    deviceParts: concat(isInline ? [] : Array.from(cutByContent(encoded), add)),
    deviceChunks: concat(chunks),
    ...(bases.length && { bases }),
  };
}

/** Bytes that the state takes, chunks that its tags name not counted. `lengthOf` gives those of its parts. */
export function deviceStateLength({ devices, deviceParts }: KeptState, lengthOf: (names: string[]) => number): number {
  const length = devices.length + lengthOf(hashNames(deviceParts));
  checkLength(length);
  return length;
}

/** Where what a state is made of comes from. */
export interface StateSource {
  /** The bytes of a chunk by its name, parts of the state included, or undefined. */
  chunk(name: string): Uint8Array | undefined;
  /** A range that is here and is the one with this name: it need not be read again. Default: there is none. */
  range?(name: string): object | undefined;
  /** Learns how the ranges that are read are kept. Default: nobody does. */
  ranges?: KeptRanges;
  /** Bytes that the ranges may take, content in chunks of its own not counted. */
  limit?: number;
}

/**
 * The state of the devices, in this release's schema and not checked further.
 *
 * @throws SnapshotError when it is damaged.
 */
export function readDeviceState({ schema, devices, deviceParts }: KeptState, source: StateSource): SavedMachine {
  const find = (name: string): Uint8Array => {
    const bytes = source.chunk(name);
    if (!bytes)
      throw new SnapshotError('the snapshot is invalid: its device state names a chunk that it does not list');
    return bytes;
  };
  const findHash = (hash: Uint8Array) => find(toHex(hash));
  const names = hashNames(deviceParts);
  const encoded = names.length ? concat(names.map(find)) : devices;
  if (schema < FIRST_WITH_RANGES) return readState(schema, decodeFields(encoded, findHash));
  const saved = decodeFields(encoded, (hash) => new ChunkReference(hash)) as { filesystems?: unknown };
  const { ranges = new KeptRanges(), limit = MAX_STATE_BYTES } = source;
  const room = new Room(Math.min(limit, MAX_STATE_BYTES));
  for (const filesystem of Array.isArray(saved?.filesystems) ? (saved.filesystems as unknown[]) : []) {
    const { ranges: all } = (filesystem ?? {}) as { ranges?: unknown[] };
    if (!Array.isArray(all)) continue;
    all.forEach((pieces, n) => {
      const name = nameOf(pieces);
      all[n] = (name && source.range?.(name)) ?? ranges.read(pieces, findHash, room);
    });
  }
  return readState(schema, withChunks(saved, findHash));
}

/** The names of the chunks that {@link readDeviceState} needs besides the content of files. `part` gives the bytes of a part. */
export function ownChunks({ devices, deviceParts }: KeptState, part: (name: string) => Uint8Array): Set<string> {
  const parts = hashNames(deviceParts);
  const found = new Set<string>();
  const encoded = parts.length ? concat(parts.map(part)) : devices;
  collect(
    decodeFields(encoded, (hash) => new ChunkReference(hash)),
    found,
  );
  return found;
}

/** What stands in lists is content, but for ranges. */
function collect(value: unknown, found: Set<string>, isRange = false): void {
  if (value instanceof ChunkReference) found.add(toHex(value));
  else if (Array.isArray(value)) {
    for (const item of value) if (isRange || !(item instanceof ChunkReference)) collect(item, found, isRange);
  } else if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) {
    for (const [name, field] of Object.entries(value)) collect(field, found, name === 'ranges');
  }
}

/** Puts the bytes of chunks in the place of their references, everywhere but in ranges, which have theirs. */
function withChunks(value: unknown, find: (hash: Uint8Array) => Uint8Array): unknown {
  if (value instanceof ChunkReference) return find(value);
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  const fields = value as Record<string, unknown>;
  for (const name of Object.keys(fields)) {
    if (name === 'ranges') continue;
    const field = fields[name];
    const whole = withChunks(field, find);
    if (whole !== field) fields[name] = whole;
  }
  return value;
}

function checkLength(length: number): void {
  if (length > MAX_STATE_BYTES) {
    throw new SnapshotError(
      `the names and attributes of the files take ${length} bytes, and a snapshot has room for ${MAX_STATE_BYTES}: remove files, or freeze with \`sessionOnly\``,
    );
  }
}
