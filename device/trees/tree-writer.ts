import type { Backend, Inode, NewNode, Owner } from '../fs/backend.ts';
import { PATH_MAX, S_IFDIR, S_IFMT } from '../fs/constants.ts';
import { ENOENT, FsError } from '../fs/errno.ts';
import { isFileName, nameLength } from '../fs/names.ts';
import { BytesSource } from '../fs/tree/byte-io.ts';

const ROOT: Owner = { uid: 0, gid: 0 };

/** Why an entry is left out: not a failure of the whole. */
export class Unfit extends Error {}

/** Where an entry is to be. */
export interface Place {
  dir: Inode;
  name: string;
}

/**
 * Puts entries into a filesystem, the same way from wherever they come: no symbolic link is followed, no path leads
 * out, directories are joined, everything else replaces what is there.
 */
export class TreeWriter {
  readonly #backend: Backend;
  readonly #top: Inode;

  constructor(backend: Backend, top: Inode) {
    this.#backend = backend;
    this.#top = top;
  }

  /** The directory that is to hold the last name of `path`, made where it is missing. @throws Unfit. */
  place(path: string): Place {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw new Unfit('it has no name');
    let dir = this.#top;
    for (const part of names) dir = this.#directory(dir, part);
    return { dir, name };
  }

  /** The directory at `path`, made where it is missing, as {@link directoryAt}. @throws Unfit. */
  directory(path: string): Inode {
    return namesOf(path).length === 0 ? this.#top : this.directoryAt(this.place(path));
  }

  /** The directory at a place: the one that is there, or a new one, in place of what else is there. */
  directoryAt({ dir, name }: Place): Inode {
    const there = this.#lookup(dir, name);
    if (there && !this.#isDirectory(there)) this.#backend.unlink(dir, name);
    return this.#directory(dir, name);
  }

  /** The inode at `path`. @throws Unfit when there is none. */
  find(path: string): Inode {
    return namesOf(path).reduce((dir, name) => this.#lookup(dir, name) ?? fail(`${path} is not there`), this.#top);
  }

  /** What is at a place. */
  at({ dir, name }: Place): Inode | undefined {
    return this.#lookup(dir, name);
  }

  /** Takes away what is at a place, so that something else can go there. @throws Unfit for a directory that is not empty. */
  clear({ dir, name }: Place): void {
    const there = this.#lookup(dir, name);
    if (!there) return;
    if (this.#isDirectory(there)) {
      if (entriesOf(this.#backend, there).length) throw new Unfit('a directory that is not empty is in its place');
      this.#backend.rmdir(dir, name);
    } else this.#backend.unlink(dir, name);
  }

  /** A regular file that nobody sees before {@link publish}, made as one in `dir`. {@link discard} it in any case. */
  draft(dir: Inode, node: NewNode): Inode {
    const inode = this.#backend.tmpfile(dir, node);
    this.#backend.retain(inode);
    return inode;
  }

  /** Gives a draft its place. @throws Unfit as {@link clear}. */
  publish(inode: Inode, place: Place): void {
    this.clear(place);
    this.#backend.link(inode, place.dir, place.name);
  }

  /** Ends a draft: what was not published is gone. */
  discard(inode: Inode): void {
    this.#backend.release(inode);
  }

  /** Appends; `bytes` are copied. @throws FsError ENOSPC. */
  append(inode: Inode, bytes: Uint8Array): void {
    this.#backend.write(inode, this.#backend.getattr(inode).size, bytes.length, new BytesSource(bytes));
  }

  #directory(dir: Inode, name: string): Inode {
    const there = this.#lookup(dir, name);
    if (!there) return this.#backend.mknod(dir, name, { mode: S_IFDIR | 0o755, ...ROOT });
    if (!this.#isDirectory(there)) throw new Unfit(`${name} is not a directory`);
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
  if (nameLength(path) >= PATH_MAX) throw new Unfit(TOO_LONG);
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

/** Why an entry is left out whose path no program could open. */
export const TOO_LONG = `its path is longer than ${PATH_MAX - 1} bytes`;

/** The inode at a path like `/a/b`. @throws FsError ENOENT, ENOTDIR. */
export function inodeAt(backend: Backend, path: string): Inode {
  return path
    .split('/')
    .filter(Boolean)
    .reduce((dir, name) => backend.lookup(dir, name), backend.root);
}

/** The entries of a directory as they are now, without `.` and `..`. */
export function entriesOf(backend: Backend, dir: Inode): { name: string; inode: Inode; isDirectory: boolean }[] {
  const entries = [];
  const reader = backend.openDirectory(dir);
  for (let entry = reader.peek(); entry; reader.advance(), entry = reader.peek()) {
    const { name, inode, mode } = entry;
    if (name !== '.' && name !== '..') entries.push({ name, inode, isDirectory: (mode & S_IFMT) === S_IFDIR });
  }
  return entries;
}

/**
 * Everything below a directory, directories before what is in them; paths without a leading slash. Paths of
 * PATH_MAX bytes and more are given to `onTooLong` instead: a guest can make them as long as it has inodes.
 */
export function* walk(
  backend: Backend,
  top: Inode,
  onTooLong?: (path: string) => void,
): Generator<{ path: string; inode: Inode }> {
  const open = [{ entries: entriesOf(backend, top).values(), prefix: '', length: 0 }];
  for (let dir = open.at(-1); dir; dir = open.at(-1)) {
    const next = dir.entries.next();
    if (next.done) {
      open.pop();
      continue;
    }
    const { name, inode, isDirectory } = next.value;
    const length = dir.length + nameLength(name);
    const path = dir.prefix + name;
    if (length >= PATH_MAX) {
      onTooLong?.(path);
      continue;
    }
    yield { path, inode };
    if (isDirectory) open.push({ entries: entriesOf(backend, inode).values(), prefix: `${path}/`, length: length + 1 });
  }
}
