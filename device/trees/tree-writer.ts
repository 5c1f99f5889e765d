import type { Backend, Inode, Owner } from '../fs/backend.ts';
import { S_IFDIR, S_IFMT } from '../fs/constants.ts';
import { ENOENT, FsError } from '../fs/errno.ts';
import { isFileName } from '../fs/names.ts';
import { BytesSource } from '../fs/tree/byte-io.ts';

const ROOT: Owner = { uid: 0, gid: 0 };

/** What became of a tree on its way in or out. */
export interface TreeReport {
  files: number;
  /** Of content. */
  bytes: number;
  /** What could not be taken along, and why. */
  skipped: { path: string; reason: string }[];
}

export type TreeProgress = (files: number, bytes: number) => void;

export function emptyReport(): TreeReport {
  return { files: 0, bytes: 0, skipped: [] };
}

/** Why an entry is left out: not a failure of the whole. */
export class Unfit extends Error {}

/** Puts entries into a filesystem by their paths. No symbolic link is followed, and no path leads out. */
export class TreeWriter {
  readonly #backend: Backend;
  readonly #top: Inode;

  constructor(backend: Backend, top: Inode) {
    this.#backend = backend;
    this.#top = top;
  }

  /** The directory that is to hold the last name of `path`, made where it is missing. @throws Unfit. */
  place(path: string): { dir: Inode; name: string } {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw new Unfit('it has no name');
    let dir = this.#top;
    for (const part of names) dir = this.#directory(dir, part);
    return { dir, name };
  }

  /** A directory, made where it is missing. @throws Unfit. */
  directory(path: string): Inode {
    return namesOf(path).reduce((dir, name) => this.#directory(dir, name), this.#top);
  }

  /** The inode at `path`. @throws Unfit when there is none. */
  find(path: string): Inode {
    return namesOf(path).reduce((dir, name) => this.#lookup(dir, name) ?? fail(`${path} is not there`), this.#top);
  }

  /** Takes away what is at a place, so that something else can go there. @throws Unfit for a directory that is not empty. */
  clear({ dir, name }: { dir: Inode; name: string }): void {
    const there = this.#lookup(dir, name);
    if (!there) return;
    if (this.#isDirectory(there)) {
      if (!walk(this.#backend, there).next().done) throw new Unfit('a directory that is not empty is in its place');
      this.#backend.rmdir(dir, name);
    } else this.#backend.unlink(dir, name);
  }

  /** Appends; `bytes` are copied. @throws FsError ENOSPC. */
  append(inode: Inode, bytes: Uint8Array): void {
    this.#backend.write(inode, this.#backend.getattr(inode).size, bytes.length, new BytesSource(bytes));
  }

  #directory(dir: Inode, name: string): Inode {
    const there = this.#lookup(dir, name);
    if (!there) return this.#backend.mknod(dir, name, { mode: S_IFDIR | 0o755, ...ROOT });
    if (!this.#isDirectory(there)) throw new Unfit(`${name} is no directory`);
    return there;
  }

  #lookup(dir: Inode, name: string): Inode | undefined {
    try {
      return this.#backend.lookup(dir, name);
    } catch (error) {
      if (error === FsError.of(ENOENT)) return undefined;
      throw error;
    }
  }

  #isDirectory(inode: Inode): boolean {
    return (this.#backend.getattr(inode).mode & S_IFMT) === S_IFDIR;
  }
}

function namesOf(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  for (const name of names) {
    if (name === '..') throw new Unfit('its path leads out with ".."');
    if (!isFileName(name)) throw new Unfit('no file can have this name');
  }
  return names;
}

function fail(message: string): never {
  throw new Unfit(message);
}

/** The inode at a path like `/a/b`. @throws FsError ENOENT, ENOTDIR. */
export function inodeAt(backend: Backend, path: string): Inode {
  return path.split('/').filter(Boolean).reduce((dir, name) => backend.lookup(dir, name), backend.root);
}

/** Everything below a directory, directories before what is in them; paths without a leading slash. */
export function* walk(backend: Backend, top: Inode, prefix = ''): Generator<{ path: string; inode: Inode }> {
  const reader = backend.openDirectory(top);
  for (let entry = reader.peek(); entry; reader.advance(), entry = reader.peek()) {
    const { name, inode, mode } = entry;
    if (name === '.' || name === '..') continue;
    yield { path: prefix + name, inode };
    if ((mode & S_IFMT) === S_IFDIR) yield* walk(backend, inode, `${prefix}${name}/`);
  }
}
