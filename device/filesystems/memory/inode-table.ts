import { PAGE_SIZE } from '../../bytes.ts';
import { type Clock, systemClock } from '../../fs/clock.ts';
import { S_IFDIR } from '../../fs/constants.ts';
import { ENOSPC, ESTALE, FsError } from '../../fs/errno.ts';
import type { Owner, Timespec } from '../../fs/filesystem.ts';
import { MAX_CONTENT_CHUNK, type Origin } from '../../fs/origin.ts';
import { Watchers } from '../../fs/watchers.ts';
import type { Entry, Place } from './directory.ts';
import { FetchedContent } from './fetched-content.ts';
import { Inode } from './inode.ts';
import { Gone, Range, rangeOf } from './range.ts';
import { type Base, baseOf } from './range-difference.ts';
import { inodeCost, rangesCost, Space } from './space.ts';
import type { MemoryState } from './state.ts';
import { checkNode, checkOwner, MAX_INO } from './values.ts';

/** An image for filesystems in memory. */
export interface MemoryOrigin extends Origin {
  /** All that it has, its content absent: what is as it is there is not in snapshots. Never changed. Undefined: snapshots have all but content. */
  readonly tree: MemoryState | undefined;
}

export interface MemoryFileSystemOptions {
  /**
   * Bytes that everything may take: content in pages of 4 KiB, names, attributes and inodes as they take memory. The host's
   * memory for it stays below 1.25 times that. Default: 2 GiB.
   */
  size?: number;
  /**
   * Inodes there may be, the root included, up to 8,388,608. Of `size`, 512 bytes for each of them (in all at least 64 MiB) may go to
   * what is not content. Default: 1,048,576.
   */
  inodes?: number;
  /** Default: the host's. */
  clock?: Clock;
  /** Where content comes from that is not here yet. Default: all is here. */
  origin?: MemoryOrigin;
  /** Bytes of content of `origin` that are kept here, and on their way; a single action may take more for a moment. Default: 16 MiB. */
  maxContent?: number;
}

/** What happens in a {@link MemoryFileSystem}, for whoever shows it elsewhere. Told in the middle of a change, it makes no other one. */
export interface MemoryObserver {
  created(entry: Entry): void;
  /** `entry` is about to go. */
  deleting(entry: Entry): void;
  /** `entry` was at `from`, where there is nothing now, unless something else was put there. */
  moved(from: Place, entry: Entry): void;
  /** Each is where the other was. */
  exchanged(a: Entry, b: Entry): void;
  /** Everything is about to be replaced by what a snapshot has. */
  restoring(): void;
  modified(inode: Inode): void;
  attributesChanged(inode: Inode): void;
}

/** Several observers as one. */
class Everyone implements MemoryObserver {
  readonly #observers: readonly MemoryObserver[];

  constructor(observers: readonly MemoryObserver[]) {
    this.#observers = observers;
  }

  created(entry: Entry): void {
    for (const observer of this.#observers) observer.created(entry);
  }

  deleting(entry: Entry): void {
    for (const observer of this.#observers) observer.deleting(entry);
  }

  moved(from: Place, entry: Entry): void {
    for (const observer of this.#observers) observer.moved(from, entry);
  }

  exchanged(a: Entry, b: Entry): void {
    for (const observer of this.#observers) observer.exchanged(a, b);
  }

  restoring(): void {
    for (const observer of this.#observers) observer.restoring();
  }

  modified(inode: Inode): void {
    for (const observer of this.#observers) observer.modified(inode);
  }

  attributesChanged(inode: Inode): void {
    for (const observer of this.#observers) observer.attributesChanged(inode);
  }
}

const DEFAULT_SIZE = 2 * 1024 ** 3;
const DEFAULT_INODES = 2 ** 20;
const DEFAULT_CONTENT = 16 << 20;
/** Half of what a `Map` can have, which has places for removed ones too. */
const MAX_INODES = 2 ** 23;

/** The inodes there are, with and without names, and the space they may take. */
export class InodeTable {
  readonly root: Inode;
  readonly space: Space;
  /** Who is told what happens: see {@link observe}. */
  observer: MemoryObserver | undefined;
  readonly #observers = new Set<MemoryObserver>();
  /** Are told what changes, the host's changes too. */
  readonly watchers = new Watchers();
  readonly #clock: Clock;
  readonly #ranges = new Map<number, Range>();
  readonly origin: MemoryOrigin | undefined;
  /** What the image has, by index; undefined where there is none, or it does not say. */
  readonly base: Base | undefined;
  nextIno = 2;

  /** @throws RangeError for a limit that is out of range. */
  constructor({
    size = DEFAULT_SIZE,
    inodes = DEFAULT_INODES,
    clock = systemClock(),
    origin,
    maxContent = DEFAULT_CONTENT,
  }: MemoryFileSystemOptions = {}) {
    if (!Number.isSafeInteger(size) || size < PAGE_SIZE)
      throw new RangeError(`size is ${size}: a filesystem has at least ${PAGE_SIZE} bytes`);
    if (!Number.isSafeInteger(inodes) || inodes < 1 || inodes > MAX_INODES)
      throw new RangeError(`inodes is ${inodes}: a filesystem has 1 to ${MAX_INODES}`);
    if (!Number.isSafeInteger(maxContent) || maxContent < MAX_CONTENT_CHUNK)
      throw new RangeError(
        `maxContent is ${maxContent}: there has to be room for a chunk of ${MAX_CONTENT_CHUNK} bytes`,
      );
    this.#clock = clock;
    const fetched = origin && new FetchedContent(origin, maxContent);
    this.origin = origin;
    this.base = origin?.tree && baseOf(origin.tree);
    this.space = new Space({ maxBytes: size, maxInodes: inodes }, fetched);
    this.root = this.make(1, S_IFDIR | 0o755);
    this.root.nlink = 2;
    this.root.directory!.parent = this.root;
    this.space.takeInode(this.root.metadata + rangesCost(1));
  }

  /** Tells `observer` what happens from now on, until the function that this returns is called. */
  observe(observer: MemoryObserver): () => void {
    this.#observers.add(observer);
    this.#choose();
    return () => {
      this.#observers.delete(observer);
      this.#choose();
    };
  }

  get observerCount(): number {
    return this.#observers.size;
  }

  #choose(): void {
    const all = [...this.#observers];
    this.observer = all.length > 1 ? new Everyone(all) : all[0];
  }

  now(): Timespec {
    return this.#clock();
  }

  inode(ino: number): Inode | undefined {
    return this.#ranges.get(rangeOf(ino))?.find(ino);
  }

  /** Those that have any inode, by growing index. */
  ranges(): Range[] {
    const ranges: Range[] = [];
    for (const range of this.#ranges.values()) if (range.count) ranges.push(range);
    return ranges.sort((a, b) => a.index - b.index);
  }

  /** The range with this index, which is made if it does not exist. */
  range(index: number): Range {
    let range = this.#ranges.get(index);
    if (!range) this.#ranges.set(index, (range = new Range(index)));
    return range;
  }

  /** Every inode there is, those without a name too. */
  *inodes(): Generator<Inode> {
    for (const range of this.ranges()) yield* range.inodes();
  }

  /** An inode that is not charged yet. */
  make(ino: number, mode: number, target?: string, range = this.range(rangeOf(ino))): Inode {
    const inode = new Inode(range);
    range.add(inode, ino);
    inode.begin(mode, this.now());
    inode.embody(this, target);
    return inode;
  }

  /** Takes a range out, and all inodes in it. */
  drop(range: Range): void {
    for (const inode of range.inodes()) inode.place(new Gone(inode), 0);
    this.#ranges.delete(range.index);
  }

  retain(inode: Inode): void {
    inode.retained++;
  }

  release(inode: Inode): void {
    inode.retained--;
    this.freeUnused(inode);
  }

  /** What is put into an inode that is gone would be charged for ever. @throws FsError ESTALE. */
  checkAlive(inode: Inode): void {
    if (inode.nlink === 0 && inode.isGone) throw FsError.of(ESTALE);
  }

  /** Frees what has no name and no one retains: what a restored state had and no session claimed. */
  settle(): void {
    for (const range of this.ranges()) for (const inode of range.unused()) this.freeUnused(inode);
  }

  /** An inode without a name yet. @throws FsError ENOSPC, and as {@link checkNode} and {@link checkOwner} say. */
  allocate(mode: number, owner: Owner, rdev = 0, target?: string): Inode {
    checkNode(mode, rdev, target);
    checkOwner(owner.uid, owner.gid);
    if (this.nextIno > MAX_INO) throw FsError.of(ENOSPC);
    const range = this.range(rangeOf(this.nextIno));
    this.space.takeInode(inodeCost(mode, target) + rangesCost(range.count ? 0 : 1));
    const inode = this.make(this.nextIno++, mode, target, range);
    inode.uid = owner.uid;
    inode.gid = owner.gid;
    inode.rdev = rdev;
    return inode;
  }

  /** Frees an inode that has no name and that no one retains. */
  freeUnused(inode: Inode): void {
    if (inode.nlink > 0 || inode.retained > 0 || inode.isGone) return;
    inode.written?.clear();
    this.space.takeMetadata(-inode.metadata);
    this.space.inodes--;
    const range = this.range(rangeOf(inode.ino));
    range.remove(inode);
    if (range.count) return;
    this.space.takeMetadata(-rangesCost(1));
    // Others will be in the newest one.
    if (range.index !== rangeOf(this.nextIno)) this.#ranges.delete(range.index);
  }
}
