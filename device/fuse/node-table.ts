import { ESTALE, FsError } from '../fs/errno.ts';
import type { FileSystem, Inode } from '../fs/filesystem.ts';
import { FUSE_ROOT_ID } from './constants.ts';

/** Nodes that one turn of the event loop lets go, when a session ends. */
const RELEASED_AT_ONCE = 20_000;

interface Node {
  readonly inode: Inode;
  nlookup: number;
}

/** By column, so that a hundred thousand nodes stay cheap to save. */
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
  #nodes = new Map<number, Node>();
  /** Of sessions that have ended. */
  readonly #leaving: Iterator<Node>[] = [];

  constructor(filesystem: FileSystem) {
    if (filesystem.root.ino !== FUSE_ROOT_ID)
      throw new RangeError(`the root's inode number is ${filesystem.root.ino}; FUSE knows it as ${FUSE_ROOT_ID}`);
    this.#filesystem = filesystem;
  }

  /** Nodes held, the root not counted. */
  get size(): number {
    return this.#nodes.size;
  }

  /** @throws FsError ESTALE when the guest does not hold `nodeid`. */
  get(nodeid: number): Inode {
    if (nodeid === FUSE_ROOT_ID) return this.#filesystem.root;
    const node = this.#nodes.get(nodeid);
    if (!node) throw FsError.of(ESTALE);
    return node.inode;
  }

  /** Whether the guest holds `nodeid`. */
  has(nodeid: number): boolean {
    return nodeid === FUSE_ROOT_ID || this.#nodes.has(nodeid);
  }

  /** Counts one lookup, as every reply with a `fuse_entry_out` is one. */
  add(inode: Inode): void {
    if (inode.ino === FUSE_ROOT_ID) return;
    const node = this.#nodes.get(inode.ino);
    if (node) {
      node.nlookup++;
    } else {
      this.#nodes.set(inode.ino, { inode, nlookup: 1 });
      this.#filesystem.retain?.(inode);
    }
  }

  /** Takes `nlookup` lookups back. Forgetting what is not held, or more than is, does nothing more. */
  forget(nodeid: number, nlookup: number): void {
    const node = this.#nodes.get(nodeid);
    if (!node) return;
    node.nlookup -= nlookup;
    if (node.nlookup > 0) return;
    this.#nodes.delete(nodeid);
    this.#filesystem.release?.(node.inode);
  }

  /** Forgets all. What they retain goes at once, or what is more than a turn should take in later ones. */
  end(): void {
    if (this.#nodes.size === 0) return;
    this.#leaving.push(this.#nodes.values());
    this.#nodes = new Map();
    if (this.#leaving.length === 1) this.#releaseSome();
  }

  #releaseSome(): void {
    for (let n = 0; n < RELEASED_AT_ONCE; n++) {
      const { done, value } = this.#leaving[0]!.next();
      if (!done) this.#filesystem.release?.(value.inode);
      else if (this.#leaving.shift() && this.#leaving.length === 0) return;
    }
    setTimeout(() => this.#releaseSome(), 0);
  }

  state(): NodeTableState {
    const { size } = this.#nodes;
    const state = {
      ino: new Uint32Array(size),
      generation: new Uint32Array(size),
      nlookup: new Float64Array(size),
    };
    let row = 0;
    for (const { inode, nlookup } of this.#nodes.values()) {
      state.ino[row] = inode.ino;
      state.generation[row] = inode.generation;
      state.nlookup[row++] = nlookup;
    }
    return state;
  }

  /**
   * Replaces everything; what was held before is released. Nodes that the filesystem does not have
   * any more are left out: they are stale.
   */
  restore({ ino, generation, nlookup }: NodeTableState): void {
    const before = [...this.#nodes.values()];
    this.#nodes.clear();
    ino.forEach((number, index) => {
      const inode = this.#filesystem.inode?.(number);
      if (!inode || inode.generation !== generation[index]) return;
      this.#nodes.set(number, { inode, nlookup: nlookup[index]! });
      this.#filesystem.retain?.(inode);
    });
    for (const { inode } of before) this.#filesystem.release?.(inode);
  }
}
