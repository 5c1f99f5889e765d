import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { viewOf } from '../../../device/bytes.ts';
import { BlockCache } from '../../../device/image/block-cache.ts';
import { BlockMemory } from '../../../device/image/block-memory.ts';
import { BLOCK } from '../../../device/image/blocks.ts';
import type { FileStore } from '../../../device/index.ts';

/** Bytes of objects that the files may have, and that are kept in memory until they have them. */
const LIMIT = 2 * 2 ** 30;
const MEMORY = 64 << 20;
/** Each block ends with its CRC-32. */
const CHECKSUM = 4;
/** Bytes of an object that a block has. */
export const PIECE = BLOCK - CHECKSUM;
/** Blocks of one file. */
const TOGETHER = 2048;

/** An object that never changes: whatever has this etag has its content. */
export interface CachedObject {
  /** Server, bucket and key. */
  place: string;
  etag: string;
}

/** What was read of objects, for the next one who reads them, in this process or another. What is damaged in it is fetched again. */
export class ObjectCache {
  readonly #files: BlockCache;
  readonly #memory: BlockMemory;

  /** `limit`, `memory`: bytes. */
  constructor(files: FileStore, { limit = LIMIT, memory = MEMORY }: { limit?: number; memory?: number } = {}) {
    this.#files = new BlockCache(files, { limit });
    this.#memory = new BlockMemory(memory);
  }

  /** Those of these pieces that are here; each borrowed. */
  async read(object: CachedObject, pieces: readonly number[]): Promise<Map<number, Uint8Array>> {
    const key = keyOf(object);
    const found = new Map<number, Uint8Array>();
    const missing = pieces.filter((piece) => {
      const bytes = this.#memory.use(`${key}/${piece}`);
      if (bytes) found.set(piece, bytes);
      return !bytes;
    });
    if (!missing.length) return found;
    const damaged: number[] = [];
    for (const [piece, block] of await this.#files.read(key, missing)) {
      const bytes = block.subarray(0, -CHECKSUM);
      if (block.length > CHECKSUM && crc32(bytes) === viewOf(block).getUint32(bytes.length, true))
        found.set(piece, bytes);
      else damaged.push(piece);
    }
    if (damaged.length) await this.#files.forget(key, damaged);
    return found;
  }

  /** Keeps a part of an object, sooner or later: it begins with a piece, and ends with one or the object. `bytes` are borrowed for good. */
  keep(object: CachedObject, first: number, bytes: Uint8Array): void {
    const key = keyOf(object);
    let blocks: Uint8Array[] = [];
    let begin = first;
    for (let at = 0, piece = first; at < bytes.length; at += PIECE, piece++) {
      const content = bytes.subarray(at, at + PIECE);
      this.#memory.keep(`${key}/${piece}`, content);
      const checksum = Buffer.alloc(CHECKSUM);
      checksum.writeUInt32LE(crc32(content));
      blocks.push(Buffer.concat([content, checksum]));
      if (blocks.length < TOGETHER) continue;
      this.#files.keep({ key, first: begin, blocks });
      begin = piece + 1;
      blocks = [];
    }
    this.#files.keep({ key, first: begin, blocks });
  }

  /** Waits until all that is to be kept is. */
  settle(): Promise<void> {
    return this.#files.settle();
  }
}

function keyOf({ place, etag }: CachedObject): string {
  return createHash('sha256').update(`${place}\n${etag}`).digest('hex');
}
