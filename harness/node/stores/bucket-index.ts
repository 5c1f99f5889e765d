import { randomBytes } from 'node:crypto';
import { SnapshotError } from '../../../device/index.ts';

/** Bytes of an index: some 100,000 files. */
export const MAX_INDEX = 16 << 20;
const FORMAT = 'v86-virtiofs store';
const VERSION = 1;
const NAME = /^[a-z0-9-][a-z0-9.-]{0,199}$/;
const OBJECT = /^[a-z0-9-][a-z0-9.-]{0,199}\.[0-9a-f]{16}$/;
const ID = /^[0-9a-f]{16}$/;
/** Changes that are remembered, so that who made one finds it. */
const REMEMBERED = 256;

/** A file of a store, which is one object that never changes. */
export interface IndexedFile {
  /** The object, as {@link objectName} names it. */
  object: string;
  /** Bytes. */
  length: number;
  etag: string;
}

/** What a store in a bucket has. It is one object, and the only one that ever changes. */
export interface BucketIndex {
  /** By name. */
  files: ReadonlyMap<string, IndexedFile>;
  /** The last changes, newest last: random names. */
  changes: readonly string[];
  /** The last change that removed something; '' for none yet. What was begun before has to begin again. */
  removed: string;
}

export const EMPTY: BucketIndex = { files: new Map(), changes: [], removed: '' };

/** A name that no object had before. */
export function objectName(file: string): string {
  return `${file}.${randomId()}`;
}

export function isObjectName(name: string): boolean {
  return OBJECT.test(name);
}

export function randomId(): string {
  return randomBytes(8).toString('hex');
}

/** The index after another change. */
export function changed(index: Omit<BucketIndex, 'changes'>, before: readonly string[], change: string): BucketIndex {
  return { ...index, changes: [...before, change].slice(-REMEMBERED) };
}

/** @throws SnapshotError for what {@link decodeIndex} would refuse. */
export function encodeIndex({ files, changes, removed }: BucketIndex, place: string): Uint8Array {
  const bytes = new TextEncoder().encode(
    JSON.stringify({ format: FORMAT, version: VERSION, changes, removed, files: Object.fromEntries(files) }),
  );
  if (bytes.length > MAX_INDEX)
    throw new SnapshotError(`${place} would have too many snapshots: remove some, or use another store for these`);
  decodeIndex(bytes, place);
  return bytes;
}

/** Reads what anybody may have written. @throws SnapshotError. */
export function decodeIndex(bytes: Uint8Array, place: string): BucketIndex {
  const damaged = (what: string) =>
    new SnapshotError(
      `the index of ${place} is damaged (${what}): bring back an earlier version of index.json, or remove all objects there`,
    );
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as Record<string, unknown>;
  } catch {
    throw damaged('it is not JSON');
  }
  if (typeof value !== 'object' || value?.['format'] !== FORMAT) throw damaged('it has another format');
  const { version, files, changes, removed } = value;
  if (version !== VERSION)
    throw new SnapshotError(
      `the index of ${place} has version ${String(version)}, and this release reads ${VERSION}: use a newer release`,
    );
  if (typeof files !== 'object' || files === null) throw damaged('files');
  const isId = (id: unknown): id is string => typeof id === 'string' && ID.test(id);
  if (!Array.isArray(changes) || changes.length > REMEMBERED || !changes.every(isId)) throw damaged('changes');
  if (removed !== '' && !isId(removed)) throw damaged('removed');
  const objects = new Set<string>();
  const entries = Object.entries(files as Record<string, Partial<IndexedFile> | null>).map(([name, file]) => {
    const { object, length, etag } = file ?? {};
    const isSound =
      NAME.test(name) &&
      typeof object === 'string' &&
      isObjectName(object) &&
      !objects.has(object) &&
      Number.isSafeInteger(length) &&
      length! >= 0 &&
      typeof etag === 'string' &&
      /^[\x21-\x7e]{1,200}$/.test(etag);
    if (!isSound) throw damaged(`the file ${JSON.stringify(name.slice(0, 50))}`);
    objects.add(object);
    return [name, { object, length: length!, etag }] as const;
  });
  return { files: new Map(entries), changes, removed };
}
