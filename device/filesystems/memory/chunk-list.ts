import type { Chunk } from './chunk.ts';

/** Chunks in one leaf, at most. */
const LEAF = 512;

/**
 * The chunks of a file by the pages that they begin at, none over another: an ordered list in leaves. Finding, adding
 * and removing one stays cheap however many there are.
 */
export class ChunkList {
  /** All that most files have. */
  #only: Chunk | undefined;
  /** In place of {@link #only} once there were two; none of them is empty. */
  #leaves: Chunk[][] | undefined;

  /** The chunk that `page` is in. */
  at(page: number): Chunk | undefined {
    const chunk = this.atOrBefore(page);
    return chunk && page < chunk.end ? chunk : undefined;
  }

  /** The last chunk that begins at `page` or before. */
  atOrBefore(page: number): Chunk | undefined {
    if (!this.#leaves) return this.#only && this.#only.at <= page ? this.#only : undefined;
    const n = this.#leafOf(page);
    const leaf = this.#leaves[n];
    return leaf?.[positionIn(leaf, page + 1) - 1];
  }

  /** The first chunk that begins at `page` or after. */
  atOrAfter(page: number): Chunk | undefined {
    if (!this.#leaves) return this.#only && this.#only.at >= page ? this.#only : undefined;
    const n = this.#leafOf(page);
    const leaf = this.#leaves[n];
    return leaf && (leaf[positionIn(leaf, page)] ?? this.#leaves[n + 1]?.[0]);
  }

  /** Puts a chunk where none is. */
  add(chunk: Chunk): void {
    if (!this.#leaves) {
      if (!this.#only) {
        this.#only = chunk;
        return;
      }
      this.#leaves = [[this.#only]];
      this.#only = undefined;
    }
    const n = this.#leafOf(chunk.at);
    const leaf = this.#leaves[n];
    if (!leaf) {
      this.#leaves.push([chunk]);
      return;
    }
    if (leaf.at(-1)!.at < chunk.at) leaf.push(chunk);
    else leaf.splice(positionIn(leaf, chunk.at), 0, chunk);
    if (leaf.length <= LEAF) return;
    // What is appended to fills leaves.
    const kept = n === this.#leaves.length - 1 && leaf.at(-1) === chunk ? LEAF : LEAF / 2;
    this.#leaves.splice(n + 1, 0, leaf.splice(kept));
  }

  /** Puts a chunk in the place of the one that begins at the same page. */
  replace(chunk: Chunk): void {
    if (!this.#leaves) {
      this.#only = chunk;
      return;
    }
    const leaf = this.#leaves[this.#leafOf(chunk.at)]!;
    leaf[positionIn(leaf, chunk.at)] = chunk;
  }

  /** Takes away the chunks that begin at pages `from` to before `to`, and returns how many pages they had. */
  remove(from: number, to: number): number {
    if (!this.#leaves) {
      const chunk = this.#only;
      if (!chunk || chunk.at < from || chunk.at >= to) return 0;
      this.#only = undefined;
      return chunk.pages;
    }
    let pages = 0;
    const first = this.#leafOf(from);
    let n = first;
    for (; n < this.#leaves.length; n++) {
      const leaf = this.#leaves[n]!;
      const start = positionIn(leaf, from);
      const end = positionIn(leaf, to);
      for (const chunk of leaf.splice(start, end - start)) pages += chunk.pages;
      if (leaf.length > start) break;
    }
    // Those that are empty now stand together.
    const empty = this.#leaves.slice(first, n + 1).findIndex(({ length }) => length === 0);
    if (empty >= 0) {
      let end = first + empty;
      while (this.#leaves[end]?.length === 0) end++;
      this.#leaves.splice(first + empty, end - first - empty);
    }
    return pages;
  }

  /** Moves all that begin at `page` or after by `pages`; there is room for them. */
  shift(page: number, pages: number): void {
    if (this.#only && this.#only.at >= page) this.#only.at += pages;
    if (!this.#leaves) return;
    for (let n = this.#leafOf(page); n < this.#leaves.length; n++) {
      for (const chunk of this.#leaves[n]!) if (chunk.at >= page) chunk.at += pages;
    }
  }

  /** The chunks that pages `from` to before `to` are in, in order. The list must not change meanwhile. */
  *over(from: number, to: number): Generator<Chunk> {
    const first = this.at(from);
    if (first) yield first;
    for (const chunk of this.#from(first ? first.end : from)) {
      if (chunk.at >= to) return;
      yield chunk;
    }
  }

  *#from(page: number): Generator<Chunk> {
    if (this.#only && this.#only.at >= page) yield this.#only;
    if (!this.#leaves) return;
    for (let n = this.#leafOf(page); n < this.#leaves.length; n++) {
      const leaf = this.#leaves[n]!;
      for (let at = positionIn(leaf, page); at < leaf.length; at++) yield leaf[at]!;
    }
  }

  /** The last leaf that begins at `page` or before; the first one when there is none. */
  #leafOf(page: number): number {
    const leaves = this.#leaves!;
    let low = 0;
    let high = leaves.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (leaves[middle]![0]!.at <= page) low = middle;
      else high = middle;
    }
    return low;
  }
}

/** The first position whose chunk begins at `page` or after. */
function positionIn(leaf: readonly Chunk[], page: number): number {
  let low = 0;
  let high = leaf.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (leaf[middle]!.at < page) low = middle + 1;
    else high = middle;
  }
  return low;
}
