import { S_IFDIR } from '../../../device/fs/constants.ts';
import { DOT_COOKIE, DOT_DOT_COOKIE, firstAfter, MAX_COOKIE } from '../../../device/fs/cookies.ts';
import type { DirectoryEntry, OpenDirectory } from '../../../device/fs/filesystem.ts';
import { attrOf } from './attributes.ts';
import { onHost } from './host-error.ts';
import { hash } from './identity.ts';
import type { LiveInode } from './live-inode.ts';
import type { LiveInodes } from './live-inodes.ts';

/** Cookies are the places of hashes, with room for those that have the same. */
const ROOM = 16;
const PLACES = 2 ** 27 - 2 ** 23;
/** Names that are remembered for all that read directories. What was dropped is read again. */
const MAX_NAMES = 200_000;
/** What a listing costs beside its names. */
const LISTING = 16;

interface Listing {
  names: string[];
  /** Of each name; they rise. */
  cookies: Int32Array;
}

/**
 * The names of directories that are being read. They come in the order of hashes, and a name's cookie is the place of its hash, so that it is
 * good for ever, here and in another process: nothing of what stays is left out or comes twice, whatever else comes and goes.
 */
export class Listings {
  readonly #inodes: LiveInodes;
  /** The one used last at the end. */
  readonly #kept = new Map<OpenDirectory, Listing>();
  #names = 0;

  constructor(inodes: LiveInodes) {
    this.#inodes = inodes;
  }

  open(dir: LiveInode): OpenDirectory {
    const directory: OpenDirectory = {
      end: MAX_COOKIE,
      read: (cookie, plus) =>
        this.#entries(
          dir,
          onHost(() => this.#listing(directory, dir, cookie === 0)),
          cookie,
          plus,
        ),
    };
    return directory;
  }

  /** What was there when its reading began. */
  #listing(directory: OpenDirectory, dir: LiveInode, isNew: boolean): Listing {
    const before = this.#kept.get(directory);
    const listing = before && !isNew ? before : makeListing(this.#inodes.names(dir));
    if (before) this.#names -= before.names.length + LISTING;
    this.#kept.delete(directory);
    this.#kept.set(directory, listing);
    this.#names += listing.names.length + LISTING;
    for (const [oldest, { names }] of this.#kept) {
      if (this.#names <= MAX_NAMES || oldest === directory) break;
      this.#kept.delete(oldest);
      this.#names -= names.length + LISTING;
    }
    return listing;
  }

  *#entries(dir: LiveInode, listing: Listing, after: number, plus: boolean): Generator<DirectoryEntry> {
    if (after < DOT_COOKIE) yield { name: '.', inode: dir, mode: S_IFDIR, cookie: DOT_COOKIE };
    if (after < DOT_DOT_COOKIE) yield { name: '..', inode: dir.parent ?? dir, mode: S_IFDIR, cookie: DOT_DOT_COOKIE };
    const { names, cookies } = listing;
    for (let at = firstAfter(cookies, after); at < names.length; at++) {
      const entry = onHost(() => this.#entry(dir, names[at]!, cookies[at]!, plus));
      if (entry) yield entry;
    }
  }

  /** Undefined for what has gone meanwhile. */
  #entry(dir: LiveInode, name: string, cookie: number, plus: boolean): DirectoryEntry | undefined {
    if (!plus) {
      const peeked = this.#inodes.peek(dir, name);
      return peeked && { name, inode: peeked, mode: peeked.mode, cookie };
    }
    const found = this.#inodes.lookup(dir, name);
    if (!found) return undefined;
    const { inode, stats } = found;
    return { name, inode, mode: inode.type, cookie, attr: attrOf(stats, inode.ino) };
  }

  /** Forgets all. */
  close(): void {
    this.#kept.clear();
  }
}

function makeListing(names: string[]): Listing {
  const placed = names.map((name) => ({ name, place: placeOf(name) }));
  placed.sort((a, b) => a.place - b.place || (a.name < b.name ? -1 : 1));
  const cookies = new Int32Array(names.length);
  let last = DOT_DOT_COOKIE;
  placed.forEach(({ place }, at) => (cookies[at] = last = Math.max(last + 1, place * ROOM)));
  return { names: placed.map(({ name }) => name), cookies };
}

function placeOf(name: string): number {
  const words: number[] = [];
  for (let at = 0; at < name.length; at++) words.push(name.charCodeAt(at));
  return 1 + (hash(words) % PLACES);
}
