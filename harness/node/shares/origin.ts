import { decodeName, encodeName } from '../../../device/fs/names.ts';
import { MAX_DEPTH } from './host-directory.ts';
import type { Known, LoadedTree } from './host-tree.ts';

/**
 * What a share was loaded from, as it travels in snapshots, so that it can be written back after a restore.
 * It is a claim: whoever made the snapshot may name any directory of the host.
 */
export interface ShareOrigin {
  /** Of the loading: the same in all snapshots that were taken after it. */
  id: string;
  directory: string;
  /** What both sides had; missing when it was too much to take along. */
  known?: EncodedKnown;
}

/** Of a machine's shares, by tag. */
export type ShareOrigins = Record<string, ShareOrigin>;

/** {@link Known}: `[host, ino, guest, mode, names and what is there]`. Names are bytes, which every encoding of snapshots keeps. */
type EncodedKnown = [string, number, string, number, [Uint8Array, EncodedKnown][]?];

/** Characters of names and stamps that a snapshot takes along: some 2,000 entries. All snapshots of a store are listed with it. */
const MAX_LENGTH = 256 << 10;

export function originOf({ id, directory, known }: Pick<LoadedTree, 'id' | 'directory' | 'known'>): ShareOrigin {
  let room = MAX_LENGTH;
  const encode = ({ host, ino, guest, mode, children }: Known): EncodedKnown | undefined => {
    room -= host.length + guest.length + 16;
    const entries: [Uint8Array, EncodedKnown][] = [];
    for (const [name, child] of children ?? []) {
      room -= name.length;
      const encoded = room >= 0 ? encode(child) : undefined;
      if (!encoded) return undefined;
      entries.push([encodeName(name), encoded]);
    }
    return children ? [host, ino, guest, mode, entries] : [host, ino, guest, mode];
  };
  const encoded = encode(known);
  return { id, directory, ...(encoded && room >= 0 && { known: encoded }) };
}

/** What a snapshot says, as far as it is sound; undefined for anything else. */
export function readOrigin(origin: unknown): { id: string; directory: string; known: Known | undefined } | undefined {
  const { id, directory, known } = (origin ?? {}) as Partial<ShareOrigin>;
  if (typeof id !== 'string' || typeof directory !== 'string') return undefined;
  return { id, directory, known: known === undefined ? undefined : decode(known, 0) };
}

function decode(encoded: unknown, depth: number): Known | undefined {
  if (!Array.isArray(encoded) || depth > MAX_DEPTH + 1) return undefined;
  const [host, ino, guest, mode, entries] = encoded as unknown[];
  if (typeof host !== 'string' || typeof guest !== 'string' || !Number.isInteger(ino) || !Number.isInteger(mode))
    return undefined;
  const known: Known = { host, ino: ino as number, guest, mode: mode as number };
  if (entries === undefined) return known;
  if (!Array.isArray(entries)) return undefined;
  known.children = new Map();
  for (const entry of entries as unknown[]) {
    const [name, below] = Array.isArray(entry) ? (entry as unknown[]) : [];
    const child = name instanceof Uint8Array ? decode(below, depth + 1) : undefined;
    if (!child) return undefined;
    known.children.set(decodeName(name as Uint8Array), child);
  }
  return known;
}
