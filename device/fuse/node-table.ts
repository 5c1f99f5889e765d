import { ESTALE, FsError } from '../fs/errno.ts';
import type { FileSystem, Inode } from '../fs/filesystem.ts';
import { FUSE_ROOT_ID } from './constants.ts';

/** Nodes that one turn of the event loop lets go, when a session ends. */
const RELEASED_AT_ONCE = 20_000;

/** Rows that there is room for at least. */
const MIN_ROOM = 64;

/** By column, so that hundreds of thousands of nodes are cheap to save. */
export interface NodeTableState {
  ino: Uint32Array;
  generation: Uint32Array;
  nlookup: Float64Array;
}

/**
 * What the guest has looked up and not yet forgotten. A node id is the filesystem's own persistent
 * inode number. While its count is above 0 an inode is retained: it lives on without a name.
 */
export class NodeTable {
  readonly #filesystem: FileSystem;
  /** The row of each node id, in {@link #inodes} and in the columns, which have room for more. */
  readonly #rows = new Map<number, number>();
  #inodes: Inode[] = [];
  #columns = emptyColumns(MIN_ROOM);
  /** Of sessions that have ended. */
  readonly #leaving: Iterator<Inode>[] = [];

  constructor(filesystem: FileSystem) {
    if (filesystem.root.ino !== FUSE_ROOT_ID)
      throw new RangeError(`the root's inode number is ${filesystem.root.ino}; FUSE knows it as ${FUSE_ROOT_ID}`);
    this.#filesystem = filesystem;
  }

  /** Nodes held, the root not counted. */
  get size(): number {
    return this.#inodes.length;
  }

  /** @throws FsError ESTALE when the guest does not hold `nodeid`. */
  get(nodeid: number): Inode {
    if (nodeid === FUSE_ROOT_ID) return this.#filesystem.root;
    const row = this.#rows.get(nodeid);
    if (row === undefined) throw FsError.of(ESTALE);
    return this.#inodes[row]!;
  }

  /** Whether the guest holds `nodeid`. */
  has(nodeid: number): boolean {
    return nodeid === FUSE_ROOT_ID || this.#rows.has(nodeid);
  }

  /** Counts one lookup, as every reply with a `fuse_entry_out` is one. */
  add(inode: Inode): void {
    if (inode.ino === FUSE_ROOT_ID) return;
    const row = this.#rows.get(inode.ino);
    if (row === undefined) this.#append(inode, 1);
    else this.#columns.nlookup[row]!++;
  }

  #append(inode: Inode, nlookup: number): void {
    const row = this.#inodes.length;
    if (row === this.#columns.ino.length) this.#makeRoom(2 * row);
    this.#columns.ino[row] = inode.ino;
    this.#columns.generation[row] = inode.generation;
    this.#columns.nlookup[row] = nlookup;
    this.#inodes.push(inode);
    this.#rows.set(inode.ino, row);
    this.#filesystem.retain?.(inode);
  }

  /** Takes `nlookup` lookups back. Forgetting what is not held, or more than is, does nothing more. */
  forget(nodeid: number, nlookup: number): void {
    const row = this.#rows.get(nodeid);
    if (row === undefined) return;
    const { ino, generation, nlookup: counts } = this.#columns;
    counts[row]! -= nlookup;
    if (counts[row]! > 0) return;
    const inode = this.#inodes[row]!;
    // The last row takes its place.
    const moved = this.#inodes.pop()!;
    const last = this.#inodes.length;
    if (row < last) {
      this.#inodes[row] = moved;
      ino[row] = ino[last]!;
      generation[row] = generation[last]!;
      counts[row] = counts[last]!;
      this.#rows.set(moved.ino, row);
    }
    this.#rows.delete(nodeid);
    if (last >= MIN_ROOM && last === ino.length / 4) this.#makeRoom(2 * last);
    this.#filesystem.release?.(inode);
  }

  #makeRoom(rows: number): void {
    const columns = emptyColumns(rows);
    const { length } = this.#inodes;
    columns.ino.set(this.#columns.ino.subarray(0, length));
    columns.generation.set(this.#columns.generation.subarray(0, length));
    columns.nlookup.set(this.#columns.nlookup.subarray(0, length));
    this.#columns = columns;
  }

  /** Empties the table. Returns what it retained. */
  #clear(): Inode[] {
    const inodes = this.#inodes;
    this.#rows.clear();
    this.#inodes = [];
    this.#columns = emptyColumns(MIN_ROOM);
    return inodes;
  }

  /** Forgets all. What they retain goes at once, or what is more than a turn should take in later ones. */
  end(): void {
    if (this.size === 0) return;
    this.#leaving.push(this.#clear().values());
    if (this.#leaving.length === 1) this.#releaseSome();
  }

  #releaseSome(): void {
    for (let n = 0; n < RELEASED_AT_ONCE; n++) {
      const { done, value } = this.#leaving[0]!.next();
      if (!done) this.#filesystem.release?.(value);
      else if (this.#leaving.shift() && this.#leaving.length === 0) return;
    }
    setTimeout(() => this.#releaseSome(), 0);
  }

  /** A copy. The machine is paused while it is made. */
  state(): NodeTableState {
    const { ino, generation, nlookup } = this.#columns;
    const { size } = this;
    return { ino: ino.slice(0, size), generation: generation.slice(0, size), nlookup: nlookup.slice(0, size) };
  }

  /**
   * Replaces everything; what was held before is released. Nodes that the filesystem does not have
   * any more are left out: they are stale.
   */
  restore({ ino, generation, nlookup }: NodeTableState): void {
    const before = this.#clear();
    ino.forEach((number, index) => {
      const inode = this.#filesystem.inode?.(number);
      if (inode && inode.generation === generation[index]) this.#append(inode, nlookup[index]!);
    });
    for (const inode of before) this.#filesystem.release?.(inode);
  }
}

function emptyColumns(rows: number): NodeTableState {
  return { ino: new Uint32Array(rows), generation: new Uint32Array(rows), nlookup: new Float64Array(rows) };
}
