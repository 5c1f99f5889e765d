import { BytesSource } from '../bytes.ts';
import type { MemoryFileSystem } from '../filesystems/memory/filesystem.ts';
import type { Inode } from '../filesystems/memory/inode.ts';
import { PATH_MAX } from '../fs/constants.ts';
import { ENOENT, FsError } from '../fs/errno.ts';
import type { NewNode, Owner } from '../fs/filesystem.ts';
import { isFileName, nameLength } from '../fs/names.ts';

const ROOT: Owner = { uid: 0, gid: 0 };

/** Why an entry is left out: not a failure of the whole. */
export class EntryError extends Error {}

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
  readonly #filesystem: MemoryFileSystem;
  readonly #top: Inode;
  readonly #replacesTrees: boolean;

  /** `replacesTrees`: what is no directory takes the place of one with all that is in it. Default: of an empty one only. */
  constructor(filesystem: MemoryFileSystem, top: Inode, { replacesTrees = false }: { replacesTrees?: boolean } = {}) {
    this.#filesystem = filesystem;
    this.#top = top;
    this.#replacesTrees = replacesTrees;
  }

  /** The directory that is to hold the last name of `path`, made where it is missing. @throws EntryError. */
  place(path: string): Place {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw new EntryError('it has no name');
    let dir = this.#top;
    for (const part of names) dir = this.#directory(dir, part);
    return { dir, name };
  }

  /** The directory at `path`, made where it is missing, as {@link directoryAt}. @throws EntryError. */
  directory(path: string): Inode {
    return namesOf(path).length === 0 ? this.#top : this.directoryAt(this.place(path));
  }

  /** The directory at a place: the one that is there, or a new one, in place of what else is there. */
  directoryAt({ dir, name }: Place): Inode {
    const there = this.#filesystem.lookup(dir, name);
    if (there && !there.isDirectory) this.#filesystem.unlink(dir, name);
    return this.#directory(dir, name);
  }

  /** The inode at `path`. @throws EntryError when there is none. */
  find(path: string): Inode {
    return namesOf(path).reduce(
      (dir, name) => this.#filesystem.lookup(dir, name) ?? fail(`${path} is not there`),
      this.#top,
    );
  }

  /** What is at a place. */
  at({ dir, name }: Place): Inode | undefined {
    return this.#filesystem.lookup(dir, name);
  }

  /** Takes away what is at a place, so that something else can go there. @throws EntryError for a directory that is not empty. */
  clear({ dir, name }: Place): void {
    const there = this.#filesystem.lookup(dir, name);
    if (!there) return;
    if (there.isDirectory) {
      if (this.#replacesTrees) return removeTree(this.#filesystem, dir, name);
      if (this.#filesystem.entries(there).length) throw new EntryError('a directory of this name is not empty');
      this.#filesystem.rmdir(dir, name);
    } else this.#filesystem.unlink(dir, name);
  }

  /** A regular file that nobody sees before {@link publish}, made as one in `dir`. {@link discard} it in any case. */
  draft(dir: Inode, node: NewNode): Inode {
    const inode = this.#filesystem.tmpfile(dir, node);
    this.#filesystem.retain(inode);
    return inode;
  }

  /** Gives a draft its place. @throws EntryError as {@link clear}. */
  publish(inode: Inode, place: Place): void {
    this.clear(place);
    this.#filesystem.link(inode, place.dir, place.name);
  }

  /** Ends a draft: what was not published is gone. */
  discard(inode: Inode): void {
    this.#filesystem.release(inode);
  }

  /** Appends; `bytes` are copied. @throws FsError ENOSPC. */
  append(inode: Inode, bytes: Uint8Array): void {
    this.#filesystem.write(inode, 'end', bytes.length, new BytesSource(bytes));
  }

  /** A regular file with `bytes`, which are copied, in the place of what is there: whole or not at all. @throws FsError ENOSPC; EntryError as {@link clear}. */
  file(place: Place, node: NewNode, bytes: Uint8Array): void {
    const inode = this.draft(place.dir, node);
    try {
      this.append(inode, bytes);
      this.publish(inode, place);
    } finally {
      this.discard(inode);
    }
  }

  #directory(dir: Inode, name: string): Inode {
    const there = this.#filesystem.lookup(dir, name);
    if (!there) return this.#filesystem.mkdir(dir, name, { mode: 0o755, ...ROOT });
    if (!there.isDirectory) throw new EntryError(`${name} is not a directory`);
    return there;
  }
}

function namesOf(path: string): string[] {
  if (nameLength(path) >= PATH_MAX) throw new EntryError(TOO_LONG);
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  for (const name of names) {
    if (name === '..') throw new EntryError('its path leads out with ".."');
    if (!isFileName(name)) throw new EntryError('no file can have this name');
  }
  return names;
}

function fail(message: string): never {
  throw new EntryError(message);
}

/** Why an entry is left out whose path no program could open. */
export const TOO_LONG = `its path is longer than ${PATH_MAX - 1} bytes`;

/** Takes away what has this name in `dir`, and all that is in it. */
export function removeTree(filesystem: MemoryFileSystem, dir: Inode, name: string): void {
  const open = [{ dir, name }];
  for (let last = open.at(-1); last; last = open.at(-1)) {
    const inode = filesystem.lookup(last.dir, last.name);
    const below = inode?.isDirectory ? filesystem.entries(inode) : [];
    for (const entry of below) open.push({ dir: inode!, name: entry.name });
    if (below.length) continue;
    if (inode?.isDirectory) filesystem.rmdir(last.dir, last.name);
    else if (inode) filesystem.unlink(last.dir, last.name);
    open.pop();
  }
}

/** The inode at a path like `/a/b`. @throws FsError ENOENT, ENOTDIR. */
export function inodeAt(filesystem: MemoryFileSystem, path: string): Inode {
  let inode = filesystem.root;
  for (const name of path.split('/').filter(Boolean)) {
    const found = filesystem.lookup(inode, name);
    if (!found) throw FsError.of(ENOENT);
    inode = found;
  }
  return inode;
}

/**
 * Everything below a directory, directories before what is in them; paths without a leading slash. Paths of
 * PATH_MAX bytes and more are given to `onTooLong` instead: a guest can make them as long as it has inodes.
 */
export function* walk(
  filesystem: MemoryFileSystem,
  top: Inode,
  onTooLong?: (path: string) => void,
): Generator<{ path: string; name: string; inode: Inode }> {
  const open = [{ entries: filesystem.entries(top).values(), prefix: '', length: 0 }];
  for (let dir = open.at(-1); dir; dir = open.at(-1)) {
    const next = dir.entries.next();
    if (next.done) {
      open.pop();
      continue;
    }
    const { name, inode } = next.value;
    const length = dir.length + nameLength(name);
    const path = dir.prefix + name;
    if (length >= PATH_MAX) {
      onTooLong?.(path);
      continue;
    }
    yield { path, name, inode };
    if (inode.isDirectory)
      open.push({ entries: filesystem.entries(inode).values(), prefix: `${path}/`, length: length + 1 });
  }
}
