import { lstatSync } from 'node:fs';
import { PATH_MAX, S_IFDIR, S_IFMT } from '../../../device/fs/constants.ts';
import { entryPath } from './containment.ts';
import { identityOf, LIKELY_NUMBERS, numbersOf } from './identity.ts';
import type { LiveInode } from './live-inode.ts';
import type { LiveInodes } from './live-inodes.ts';

/** Milliseconds that the result of a look is good for what belongs together. */
const FRESH = 1000;
/** Numbers that are found in one look: of a million files. */
const MAX_INDEXED = 2_000_000;

/** Where something was. */
interface Place {
  parent: Place | undefined;
  name: string;
}

/** A directory to look into. */
interface Directory {
  place: Place;
  above: LiveInode;
  /** Of its path, in bytes. */
  length: number;
}

/** Finds files by their inode numbers alone, for guests that come back from a snapshot, by a look through the whole directory. */
export class Recall {
  readonly #inodes: LiveInodes;
  /** When the action began that may look. */
  #since: number | undefined;
  #index: { map: Map<number, Place>; made: number } | undefined;

  constructor(inodes: LiveInodes) {
    this.#inodes = inodes;
  }

  /** Does `action`, in which {@link find} looks, once for all that is missing. No guest may ask for that. */
  during<T>(action: () => T): T {
    this.#since = performance.now();
    try {
      return action();
    } finally {
      this.#since = undefined;
    }
  }

  /** @throws Error of the host's, when it has gone since. */
  find(ino: number): LiveInode | undefined {
    const since = this.#since;
    if (since === undefined) return undefined;
    const known = this.#index?.map.has(ino) && this.#index.made > since - FRESH;
    if (!this.#index || (!known && this.#index.made < since)) {
      const index = { map: this.#look(), made: performance.now() };
      this.#index = index;
      setTimeout(() => {
        if (this.#index === index) this.#index = undefined;
      }, FRESH).unref();
    }
    const place = this.#index.map.get(ino);
    const inode = place && this.#reach(place);
    return inode?.ino === ino ? inode : undefined;
  }

  #reach(place: Place): LiveInode | undefined {
    const names: string[] = [];
    for (let at: Place | undefined = place; at; at = at.parent) names.push(at.name);
    let inode: LiveInode | undefined = this.#inodes.root;
    for (const name of names.reverse()) inode = inode && this.#inodes.lookup(inode, name)?.inode;
    return inode;
  }

  #look(): Map<number, Place> {
    const index = new Map<number, Place>();
    const directories: (Directory | undefined)[] = [undefined];
    while (directories.length && index.size < MAX_INDEXED) {
      const next = directories.pop();
      try {
        const dir = next ? this.#inodes.lookup(next.above, next.place.name)?.inode : this.#inodes.root;
        if (dir?.isDirectory) this.#lookInto(dir, next, index, directories);
      } catch {
        // What can't be read can't be found.
      }
    }
    return index;
  }

  #lookInto(
    dir: LiveInode,
    { place: parent, length = 0 }: Partial<Directory> = {},
    index: Map<number, Place>,
    directories: (Directory | undefined)[],
  ): void {
    const path = this.#inodes.self(dir);
    for (const name of this.#inodes.names(dir)) {
      const stats = lstatSync(entryPath(path, name), { bigint: true, throwIfNoEntry: false });
      if (!stats) continue;
      const place = { parent, name };
      const below = length + Buffer.byteLength(name) + 1;
      // What lies deeper than a path goes is not looked for: to get there takes longer with each level.
      if ((Number(stats.mode) & S_IFMT) === S_IFDIR && below < PATH_MAX)
        directories.push({ place, above: dir, length: below });
      let count = 0;
      for (const number of numbersOf(identityOf(stats), this.#inodes.root.identity.dev)) {
        if (!index.has(number)) index.set(number, place);
        if (++count === LIKELY_NUMBERS) break;
      }
    }
  }
}
