import { PAGE_SIZE } from '../../bytes.ts';
import { S_IFDIR, S_IFMT } from '../../fs/constants.ts';
import { ENOSPC, FsError } from '../../fs/errno.ts';
import type { Chunk } from './chunk.ts';
import type { FetchedContent } from './fetched-content.ts';

/*
 * What things take of the host's memory in V8, in bytes; test/device/fs/heap.test.ts measures them. Tables have more places
 * than entries: up to twice as many while they grow, up to four times when most was removed.
 */
/** An inode with its record, and half of what a session keeps of it. */
const INODE = 212;
/** A range of inodes, whose array has places for more records than it has. */
const RANGE_COST = 680;
/** What a directory has besides, empty. */
const DIRECTORY = 180;
/** A name, besides its text. */
const ENTRY = 26;
/** What a file that has several names has besides, and each further one. */
const LINKS = 300;
const LINK = 135;
/** The first attribute of an inode, besides what each one takes. */
const XATTRS = 180;
/** An attribute, besides the texts of its name and value. */
const XATTR = 230;
/** A string of one-byte characters takes so much, and its length. */
const TEXT = 16;

/** So many times 60 KiB, a megabyte, may be spare. */
const MAX_GROWING = 16;

/** For each inode that there may be, so much of the size may go to what is not content: it stands in V8's own heap, which is smaller than memory. */
const METADATA_PER_INODE = 512;
const MIN_METADATA = 64 << 20;

/** Of all ranges that have any inode. */
export function rangesCost(count: number): number {
  return RANGE_COST * count;
}

/** What something is charged, in bytes: the same when it comes to be, and when a snapshot brings it back. */
export function inodeCost(mode: number, target: string | undefined): number {
  return INODE + ((mode & S_IFMT) === S_IFDIR ? DIRECTORY : 0) + (target === undefined ? 0 : textCost(target));
}

export function entryCost(name: string): number {
  return ENTRY + textCost(name);
}

/** {@link entryCost} of a name that is so many bytes of ASCII. */
export function plainEntryCost(length: number): number {
  return ENTRY + TEXT + length;
}

/** Of an inode with so many names. */
export function linksCost(names: number): number {
  return names < 2 ? 0 : LINKS + LINK * (names - 1);
}

export function xattrCost(name: string, value: Uint8Array): number {
  return XATTR + textCost(name) + value.length;
}

/** Of an inode's attributes that together take `bytes`. */
export function xattrsCost(bytes: number): number {
  return bytes && XATTRS + bytes;
}

/** V8 keeps strings by one byte a character, or by two. */
function textCost(text: string): number {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0xff) return TEXT + 2 * text.length;
  return TEXT + text.length;
}

/** How much of a {@link Space} something takes. */
export interface Usage {
  /** Of content. */
  pages: number;
  /** Of everything else, in bytes. */
  metadata: number;
  inodes: number;
}

/** What a filesystem may use and does use, and which snapshot its content is shared with. */
export class Space implements Usage {
  readonly maxBytes: number;
  readonly maxMetadata: number;
  readonly maxInodes: number;
  pages = 0;
  metadata = 0;
  inodes = 0;
  /**
   * Content written in an earlier epoch may belong to a snapshot: it is copied before it changes.
   * One step here shares a whole filesystem, and tells what was written since.
   */
  epoch = 1;
  /** Where content is that is not here; undefined where all is. */
  readonly fetched: FetchedContent | undefined;
  /** Chunks that have room for more pages than they have: the last ones that were appended to. */
  readonly #growing: Chunk[] = [];

  constructor({ maxBytes, maxInodes }: { maxBytes: number; maxInodes: number }, fetched?: FetchedContent) {
    this.fetched = fetched;
    this.maxBytes = maxBytes;
    this.maxMetadata = Math.min(maxBytes, Math.max(MIN_METADATA, maxInodes * METADATA_PER_INODE));
    this.maxInodes = maxInodes;
  }

  get freePages(): number {
    return Math.max(0, Math.floor((this.maxBytes - this.metadata) / PAGE_SIZE) - this.pages);
  }

  /** How many more inodes there is room for, each with a name. */
  get freeInodes(): number {
    const bytes = Math.min(this.maxMetadata - this.metadata, this.maxBytes - this.metadata - this.pages * PAGE_SIZE);
    return Math.max(0, Math.min(this.maxInodes - this.inodes, Math.floor(bytes / (INODE + ENTRY + TEXT))));
  }

  /** `chunk` gets room for all its pages, which others that had it longest give back. */
  grows(chunk: Chunk): void {
    if (this.#growing.includes(chunk)) return;
    this.#growing.push(chunk);
    if (this.#growing.length > MAX_GROWING) this.#growing.shift()!.trim();
  }

  /** @throws FsError ENOSPC, with nothing taken. */
  takePages(count: number): void {
    if (count > 0 && count > this.freePages) throw FsError.of(ENOSPC);
    this.pages += count;
  }

  givePages(count: number): void {
    this.pages -= count;
  }

  /** Takes `bytes` for something that is not content, or gives them back when negative. @throws FsError ENOSPC, with nothing taken. */
  takeMetadata(bytes: number): void {
    const metadata = this.metadata + bytes;
    if (bytes > 0 && (metadata > this.maxMetadata || metadata + this.pages * PAGE_SIZE > this.maxBytes))
      throw FsError.of(ENOSPC);
    this.metadata = metadata;
  }

  /** Takes one, and what it is charged. @throws FsError ENOSPC, with nothing taken. */
  takeInode(cost: number): void {
    if (this.inodes >= this.maxInodes) throw FsError.of(ENOSPC);
    this.takeMetadata(cost);
    this.inodes++;
  }

  /** @throws RangeError that says so when there is not room for all this in an empty filesystem. */
  checkFits({ pages, metadata, inodes }: Usage): void {
    const { maxBytes, maxMetadata, maxInodes } = this;
    const bytes = pages * PAGE_SIZE + metadata;
    if (bytes > maxBytes || inodes > maxInodes) {
      throw new RangeError(
        `the files take ${bytes} bytes and ${inodes} inodes, more than the quota here (${maxBytes} and ${maxInodes}): give the volume at least that`,
      );
    }
    if (metadata > maxMetadata) {
      throw new RangeError(
        `names, attributes and inodes take ${metadata} bytes, more than ${maxInodes} inodes may here (${maxMetadata}): give the volume at least ${Math.ceil(metadata / METADATA_PER_INODE)}`,
      );
    }
  }
}
