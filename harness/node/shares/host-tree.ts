import { randomUUID } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { BytesSource } from '../../../device/bytes.ts';
import type { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import type { Inode } from '../../../device/filesystems/memory/inode.ts';
import { PATH_MAX, S_IALLUGO, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../../../device/fs/constants.ts';
import { EDQUOT, ENOSPC, errnoName, FsError } from '../../../device/fs/errno.ts';
import { decodeName } from '../../../device/fs/names.ts';
import { formatBytes, note, type TreeProgress, type TreeReport } from '../../../device/trees/report.ts';
import { SparseWriter } from '../../../device/trees/sparse.ts';
import { EntryError, TOO_LONG, TreeWriter } from '../../../device/trees/tree-writer.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { isAbandoned, temporaryName } from '../stores/whole-file.ts';
import { timespec } from '../timespec.ts';
import {
  HostDirectory,
  type HostEntry,
  type HostPath,
  isHostError,
  MAX_DEPTH,
  Refusal,
  reasonOf,
  TOO_DEEP,
} from './host-directory.ts';
import { atOnce, type Steps } from './slices.ts';

const CHUNK_LENGTH = 1024 * 1024;
/** Node can't ask where a file's holes are, so they are read; this much of them at most, in bytes. */
const MAX_HOLES = 64 * 1024 ** 3;
/** How often a file is read that is written to meanwhile. */
const ATTEMPTS = 3;

const REPLACED = 'something else took its place while the directory was read';

/** What an entry was on both sides when they agreed, to know later who has changed it. */
export interface Known {
  /** The host's file, see {@link fingerprint}. */
  host: string;
  ino: number;
  /** The guest side's, see {@link attrStamp}. */
  guest: string;
  /** The guest side's type and permission bits. */
  mode: number;
  /** A directory's entries, by names as the filesystem has them. */
  children?: Map<string, Known>;
}

export interface LoadedTree extends TreeReport {
  /** Of this loading. */
  id: string;
  directory: string;
  /** The root, and all that is below it. */
  known: Known;
}

/**
 * Copies a host directory into a filesystem: contents with their holes, modes, owners, times to the nanosecond,
 * symbolic links, hard links, FIFOs and device nodes. What is there already is replaced, directories are joined.
 * Nothing on the host changes, no symbolic link is followed, and an entry that can't be read as a whole is left out
 * and reported. See {@link loadingHostTree} for doing it with breaks.
 *
 * @throws VmError `share` when `directory` can't be read, or holds more than the share can.
 */
export function loadHostTree(directory: string, filesystem: MemoryFileSystem, onProgress?: TreeProgress): LoadedTree {
  return atOnce(loadingHostTree(directory, filesystem, onProgress));
}

/** {@link loadHostTree} for `inSlices`. `onProgress` gets the counts before each break and in the end. */
export function loadingHostTree(
  directory: string,
  filesystem: MemoryFileSystem,
  onProgress?: TreeProgress,
): Steps<LoadedTree> {
  return (isDue) => new Loader(directory, filesystem, isDue, onProgress).load();
}

class Loader {
  readonly #filesystem: MemoryFileSystem;
  readonly #writer: TreeWriter;
  readonly #isDue: () => boolean;
  readonly #onProgress: TreeProgress | undefined;
  readonly #tree: LoadedTree;
  readonly #chunk = new Uint8Array(CHUNK_LENGTH);
  /** Files with several names, by device and number. */
  readonly #links = new Map<string, { inode: Inode; known: Known[] }>();

  constructor(
    directory: string,
    filesystem: MemoryFileSystem,
    isDue: () => boolean,
    onProgress: TreeProgress | undefined,
  ) {
    this.#filesystem = filesystem;
    this.#writer = new TreeWriter(filesystem, filesystem.root);
    this.#isDue = isDue;
    this.#onProgress = onProgress;
    this.#tree = {
      id: randomUUID(),
      directory,
      known: { host: '', ino: filesystem.root.ino, guest: '', mode: 0 },
      files: 0,
      bytes: 0,
      skipped: [],
    };
  }

  *load(): Generator<void, LoadedTree> {
    const { directory } = this.#tree;
    let root: HostDirectory | undefined;
    try {
      let entries: HostEntry[];
      try {
        root = HostDirectory.open(directory);
        entries = root.list();
      } catch (error) {
        throw new VmError(
          'share',
          `the share's directory ${printable(directory)} ${refusal(error)}: give an existing directory, or none for an empty share`,
          { cause: error },
        );
      }
      const stats = root.stats();
      this.#tree.known.children = new Map();
      yield* this.#fill(root, entries, '', this.#filesystem.root, this.#tree.known.children);
      this.#settle(this.#filesystem.root, stats);
      Object.assign(this.#tree.known, this.#knownOf(this.#filesystem.root, stats));
    } finally {
      root?.close();
    }
    for (const { inode, known } of this.#links.values())
      for (const each of known) each.guest = attrStamp(this.#filesystem, inode);
    this.#onProgress?.(this.#tree.files, this.#tree.bytes);
    return this.#tree;
  }

  *#fill(
    dir: HostDirectory,
    entries: HostEntry[],
    path: string,
    parent: Inode,
    known: Map<string, Known>,
  ): Generator<void> {
    for (const entry of entries) {
      const name = decodeName(entry.name);
      const childPath = path + name;
      try {
        if (childPath.length >= PATH_MAX) throw new Refusal(TOO_LONG);
        if (dir.depth > MAX_DEPTH) throw new Refusal(TOO_DEEP);
        const made = yield* this.#entry(dir, entry, name, childPath, parent);
        known.set(name, made);
        this.#tree.files++;
      } catch (error) {
        note(this.#tree.skipped, childPath, this.#reasonToSkip(childPath, error));
      }
      if (this.#isDue()) {
        this.#onProgress?.(this.#tree.files, this.#tree.bytes);
        yield;
      }
    }
  }

  *#entry(dir: HostDirectory, entry: HostEntry, name: string, path: string, parent: Inode): Generator<void, Known> {
    if (isTemporary(name) && !entry.isDirectory()) return this.#leftover(dir, name, path);
    if (entry.isFile()) return yield* this.#file(dir, name, parent);
    return entry.isDirectory() ? yield* this.#directory(dir, name, path, parent) : this.#other(dir, name, parent);
  }

  *#directory(dir: HostDirectory, name: string, path: string, parent: Inode): Generator<void, Known> {
    const child = dir.child(name);
    try {
      const entries = child.list();
      const stats = child.stats();
      const inode = this.#writer.directoryAt({ dir: parent, name });
      const children = new Map<string, Known>();
      yield* this.#fill(child, entries, `${path}/`, inode, children);
      this.#settle(inode, stats);
      return { ...this.#knownOf(inode, stats), children };
    } finally {
      child.close();
    }
  }

  *#file(dir: HostDirectory, name: string, parent: Inode): Generator<void, Known> {
    const fd = this.#open(dir.reach(name));
    try {
      const stats = fstatSync(fd, { bigint: true });
      if (typeOf(stats) !== S_IFREG) throw new Refusal(REPLACED);
      const twin = this.#twin(stats);
      if (twin) return this.#linked(twin, stats, name, parent);
      const inode = this.#writer.draft(parent, { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
      try {
        const bytes = yield* this.#read(fd, stats, inode);
        this.#settle(inode, stats);
        this.#writer.publish(inode, { dir: parent, name });
        this.#tree.bytes += bytes;
      } finally {
        this.#writer.discard(inode);
      }
      return this.#remember(inode, stats);
    } finally {
      closeSync(fd);
    }
  }

  /** What was a file when its directory was listed: a link by now is not followed, and a FIFO not waited for. */
  #open(path: HostPath): number {
    try {
      return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if (isHostError(error) && (error.code === 'ELOOP' || error.code === 'ENXIO')) throw new Refusal(REPLACED);
      throw error;
    }
  }

  #other(dir: HostDirectory, name: string, parent: Inode): Known {
    const path = dir.reach(name);
    const stats = lstatSync(path, { bigint: true });
    const type = typeOf(stats);
    if (type === S_IFSOCK) throw new Refusal('a socket belongs to the program that listens on it');
    if (type === S_IFREG || type === S_IFDIR) throw new Refusal(REPLACED);
    const twin = this.#twin(stats);
    if (twin) return this.#linked(twin, stats, name, parent);
    const place = { dir: parent, name };
    const owner = { uid: Number(stats.uid), gid: Number(stats.gid) };
    const target = type === S_IFLNK ? decodeName(readlinkSync(path, { encoding: 'buffer' })) : undefined;
    this.#writer.clear(place);
    const inode =
      target === undefined
        ? this.#filesystem.mknod(parent, name, { mode: Number(stats.mode), rdev: Number(stats.rdev), ...owner })
        : this.#filesystem.symlink(parent, name, target, owner);
    try {
      this.#settle(inode, stats);
    } catch (error) {
      this.#filesystem.unlink(parent, name);
      throw error;
    }
    return this.#remember(inode, stats);
  }

  #twin({ nlink, dev, ino }: BigIntStats): { inode: Inode; known: Known[] } | undefined {
    return nlink > 1n ? this.#links.get(`${dev}:${ino}`) : undefined;
  }

  #linked(twin: { inode: Inode; known: Known[] }, stats: BigIntStats, name: string, parent: Inode): Known {
    this.#writer.clear({ dir: parent, name });
    this.#filesystem.link(twin.inode, parent, name);
    const known = this.#knownOf(twin.inode, stats);
    twin.known.push(known);
    return known;
  }

  #remember(inode: Inode, stats: BigIntStats): Known {
    const known = this.#knownOf(inode, stats);
    if (stats.nlink > 1n) this.#links.set(`${stats.dev}:${stats.ino}`, { inode, known: [known] });
    return known;
  }

  #knownOf(inode: Inode, stats: BigIntStats): Known {
    return {
      host: fingerprint(stats),
      ino: inode.ino,
      guest: attrStamp(this.#filesystem, inode),
      mode: this.#filesystem.getattr(inode).mode,
    };
  }

  /** What a write-back was writing: not the user's. What a process that was killed has left is known, so that the next write-back removes it. */
  #leftover(dir: HostDirectory, name: string, path: string): Known {
    const stats = lstatSync(dir.reach(name), { bigint: true });
    if (!isAbandoned(name, Number(stats.mtimeMs))) throw new Refusal('another process is writing it back');
    note(this.#tree.skipped, path, 'a write-back that was killed has left it; the next one removes it');
    this.#tree.files--;
    return { host: fingerprint(stats), ino: 0, guest: '', mode: typeOf(stats) };
  }

  /** Bytes of content, holes included. */
  *#read(fd: number, stats: BigIntStats, inode: Inode): Generator<void, number> {
    const size = Number(stats.size);
    // What procfs and sysfs have says that it is empty.
    if (size <= CHUNK_LENGTH && stats.blocks * 512n >= stats.size)
      return this.#readSmall(fd, size || CHUNK_LENGTH, inode);
    const holes = size - Number(stats.blocks) * 512;
    if (holes > MAX_HOLES)
      throw new Refusal(
        `it has ${formatBytes(holes)} of holes, and no more than ${formatBytes(MAX_HOLES)} are looked through`,
      );
    for (let attempt = 1; ; attempt++) {
      const length = yield* this.#readLarge(fd, size, inode, holes > 0);
      const after = fstatSync(fd, { bigint: true });
      // What only grows, as a log does, was read as it was in the beginning.
      if (after.mtimeNs === stats.mtimeNs || after.size > stats.size) return length;
      if (attempt === ATTEMPTS) throw new Refusal('it was changed each time that it was read');
      stats = after;
      this.#filesystem.setattr(inode, { size: 0 });
    }
  }

  #readSmall(fd: number, limit: number, inode: Inode): number {
    const length = readSync(fd, this.#chunk, 0, limit, 0);
    if (length) this.#filesystem.write(inode, 0, length, new BytesSource(this.#chunk.subarray(0, length)));
    return length;
  }

  *#readLarge(fd: number, size: number, inode: Inode, isSparse: boolean): Generator<void, number> {
    const writer = new SparseWriter(this.#filesystem, inode);
    for (let at = 0; at < size; ) {
      const length = readSync(fd, this.#chunk, 0, Math.min(CHUNK_LENGTH, size - at), at);
      if (length === 0) break;
      const bytes = this.#chunk.subarray(0, length);
      if (isSparse) writer.writeSparse(bytes);
      else writer.write(bytes);
      at += length;
      if (this.#isDue()) yield;
    }
    writer.end();
    return writer.size;
  }

  /** Metadata comes last: what is copied into an entry changes its times. */
  #settle(inode: Inode, stats: BigIntStats): void {
    this.#filesystem.setattr(inode, {
      ...(typeOf(stats) !== S_IFLNK && { mode: Number(stats.mode) & S_IALLUGO }),
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      atime: timespec(stats.atimeNs),
      mtime: timespec(stats.mtimeNs),
    });
  }

  /** @throws what ends the loading. */
  #reasonToSkip(path: string, error: unknown): string {
    if (error instanceof EntryError) return error.message;
    if (!(error instanceof FsError)) return reasonOf(error);
    if (error.code !== ENOSPC && error.code !== EDQUOT) return `the share refuses it: ${errnoName(error.code)}`;
    const { blocks, frsize, files } = this.#filesystem.statfs();
    const limit = `${formatBytes(blocks * frsize)} and ${files} inodes`;
    throw new VmError(
      'share',
      `${printable(path)} of ${printable(this.#tree.directory)} does not fit into the share, which holds ${limit}: share less, or give it more room (--size, \`size\`)`,
      { cause: error },
    );
  }
}

/** Changes whenever a host file's content or metadata does; a directory's when it is replaced, or its mode is changed. */
export function fingerprint(stats: BigIntStats): string {
  const { dev, ino, mode, size, mtimeNs } = stats;
  return typeOf(stats) === S_IFDIR ? `${dev}:${ino}:${mode}` : `${dev}:${ino}:${mode}:${size}:${mtimeNs}`;
}

/** Changes whenever the guest or the host program changed the inode's content or metadata. */
export function attrStamp(filesystem: MemoryFileSystem, inode: Inode): string {
  const { mode, uid, gid, size, mtime, ctime } = filesystem.getattr(inode);
  return `${mode}:${uid}:${gid}:${size}:${mtime.sec}:${mtime.nsec}:${ctime.sec}:${ctime.nsec}`;
}

export function typeOf(stats: BigIntStats): number {
  return Number(stats.mode) & S_IFMT;
}

const TEMPORARY = '.v86-virtiofs';

/** A name for what a write-back has not finished. */
export function newTemporary(): string {
  return temporaryName(TEMPORARY);
}

export function isTemporary(name: string): boolean {
  return name.startsWith(TEMPORARY) && /\.\d+\.[0-9a-f]{8}\.tmp$/.test(name);
}

function refusal(error: unknown): string {
  if (!isHostError(error)) throw error;
  return error.code === 'ENOENT'
    ? 'does not exist'
    : error.code === 'ENOTDIR'
      ? 'is not a directory'
      : `can't be read (${reasonOf(error)})`;
}
