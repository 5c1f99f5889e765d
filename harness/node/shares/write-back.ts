import { type BigIntStats, mkdirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import type { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../../device/fs/constants.ts';
import { formatBytes, note, type Skipped } from '../../../device/trees/report.ts';
import { MAX_FILE_LENGTH } from '../../../device/trees/sparse.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { EntryMaker, type Made } from './entry-maker.ts';
import { HostDirectory, type HostPath, ignoringPermission, isHostError, Refusal, reasonOf } from './host-directory.ts';
import { fingerprint, isTemporary, type Known, type LoadedTree, newTemporary, typeOf } from './host-tree.ts';
import { atOnce, type Break, type Steps } from './slices.ts';
import { forEach, type Item, isDirectory, survey } from './survey.ts';

/** One list of a report. */
const MAX_LISTED = 10_000;
const S_IRWXU = 0o700;

export interface WriteBackOptions {
  /**
   * Give what is written the owners, set-user-ID, set-group-ID and sticky bits that it has in the guest, and its permissions whatever the umask.
   * Only root can give owners. Default: false, as `tar -x` does it: the owner of what was replaced, or else this process's user, permissions
   * within the umask unless the host's file had them, and none of those bits, but what a directory had already.
   */
  owners?: boolean;
  /** Bytes, holes included, above which a file is left out and reported. Default: 1 TiB. */
  maxFileLength?: number;
  /** Called before each step that changes the host, for tests. */
  beforeOperation?: () => void;
}

/** Where a tree came from, and what both sides had. */
export type WriteBackTarget = Pick<LoadedTree, 'directory' | 'known'>;

export interface WriteBackReport {
  /** The first 10,000. */
  written: string[];
  removed: string[];
  /** Left as the host has them, and why. */
  kept: Skipped[];
}

/**
 * Carries what the guest changed back into the directory that `tree` was loaded from, and notes in `tree` what
 * both sides have then, so that it can be called again. See {@link writingBack} for doing it with breaks.
 *
 * - What the host has changed meanwhile is left alone and reported.
 * - Nothing outside the directory is opened for writing, changed or removed, whatever symbolic links guest and host
 *   put in place of directories meanwhile (see {@link HostDirectory} for what that means where there is no /proc).
 * - Files and symbolic links are written to a temporary name beside their own and renamed, new ones before old ones
 *   are removed: a crash leaves a whole file, the old or the new one. What it leaves under a temporary name is not
 *   loaded, and removed by the next write-back.
 * - Holes stay holes. Devices, FIFOs and sockets are not made.
 *
 * @throws VmError `share` when the directory is not there any more, or is another one.
 */
export function writeBack(
  tree: WriteBackTarget,
  filesystem: MemoryFileSystem,
  options: WriteBackOptions = {},
): WriteBackReport {
  return atOnce(writingBack(tree, filesystem, options));
}

/** {@link writeBack} for `inSlices`: what the guest changes meanwhile is written as it was before or after, or left to the next time. */
export function writingBack(
  tree: WriteBackTarget,
  filesystem: MemoryFileSystem,
  options: WriteBackOptions = {},
): Steps<WriteBackReport> {
  return (isDue) => new WriteBack(tree, filesystem, options, isDue).run();
}

class WriteBack {
  readonly #tree: WriteBackTarget;
  readonly #filesystem: MemoryFileSystem;
  readonly #options: WriteBackOptions;
  readonly #isDue: () => boolean;
  readonly #report: WriteBackReport = { written: [], removed: [], kept: [] };
  readonly #kept = new Set<string>();
  readonly #maker: EntryMaker;
  #root!: HostDirectory;

  constructor(tree: WriteBackTarget, filesystem: MemoryFileSystem, options: WriteBackOptions, isDue: () => boolean) {
    this.#tree = tree;
    this.#filesystem = filesystem;
    this.#options = options;
    this.#isDue = isDue;
    this.#maker = new EntryMaker(filesystem, options, isDue, (path, reason) => this.#keep(path, reason));
  }

  *run(): Generator<Break, WriteBackReport> {
    const { directory, known } = this.#tree;
    const items = survey(this.#filesystem, this.#filesystem.root, known);
    forEach(items, ({ inode }) => this.#filesystem.retain(inode));
    try {
      this.#root = openRoot(directory, known, this.#options.beforeOperation);
      yield* this.#save(items, known, this.#root, []);
      yield* this.#sweep(items, known, this.#root, []);
    } finally {
      this.#root?.close();
      forEach(items, ({ inode }) => this.#filesystem.release(inode));
    }
    return this.#report;
  }

  *#save(items: Item[], parent: Known, dir: HostDirectory, path: string[]): Generator<Break> {
    for (const item of items) {
      if (!item.isChanged) continue;
      const itemPath = [...path, item.name];
      try {
        if (item.obstacle !== undefined) throw new Refusal(item.obstacle);
        if (isTemporary(item.name))
          throw new Refusal('names like this are those of files that a write-back has not finished: rename it');
        if (item.items) yield* this.#saveDirectory(item, item.items, parent, dir, itemPath);
        else yield* this.#saveLeaf(item, parent, dir, itemPath);
      } catch (error) {
        this.#keep(itemPath, reasonOf(error));
      }
      if (this.#isDue()) yield;
    }
  }

  *#saveDirectory(
    { name, inode, stamp, known }: Item,
    items: Item[],
    parent: Known,
    dir: HostDirectory,
    path: string[],
  ): Generator<Break> {
    const attr = this.#maker.attrOf(inode);
    let stats = dir.lookup(name);
    if (stats && typeOf(stats) !== S_IFDIR) {
      this.#checkHost(known, stats);
      unlinkSync(dir.at(name));
      stats = undefined;
    }
    const isNew = !stats;
    if (isNew) mkdirSync(dir.at(name), S_IRWXU);
    const child = dir.child(name);
    try {
      const before = child.stats();
      const node: Known =
        known && isDirectory(known) ? known : { host: '', ino: 0, guest: '', mode: 0, children: new Map() };
      const isHostChanged = !isNew && fingerprint(before) !== node.host;
      const isOurs = isNew || (isDirectory(known) && known.mode !== attr.mode && !isHostChanged);
      if (!isOurs && isDirectory(known) && known.mode !== attr.mode)
        this.#keep(path, 'the host has changed or replaced the directory meanwhile: its permissions are left alone');
      const mode = this.#maker.modeOf(attr, isNew ? undefined : Number(before.mode));
      if (isOurs) child.chmod(mode | S_IRWXU);
      children(parent).set(name, Object.assign(node, { host: fingerprint(child.stats()), ino: inode.ino }));
      if (isOurs) this.#written(path);
      yield* this.#save(items, node, child, path);
      if (isOurs) child.chmod(this.#maker.given(path, mode, () => child.chown(attr.uid, attr.gid)));
      Object.assign(node, { host: fingerprint(child.stats()), guest: stamp, mode: attr.mode });
    } finally {
      child.close();
    }
  }

  *#saveLeaf({ name, inode, known }: Item, parent: Known, dir: HostDirectory, path: string[]): Generator<Break> {
    const attr = this.#maker.attrOf(inode);
    const type = attr.mode & S_IFMT;
    const { maxFileLength = MAX_FILE_LENGTH } = this.#options;
    if (type !== S_IFREG && type !== S_IFLNK) throw new Refusal('devices, FIFOs and sockets are not written back');
    if (attr.nlink === 0) throw new Refusal('the guest has removed it meanwhile');
    if (type === S_IFREG && attr.size > maxFileLength) {
      throw new Refusal(
        `its size of ${formatBytes(attr.size)}, holes included, is above the limit of ${formatBytes(maxFileLength)} for one file`,
      );
    }
    const old = dir.lookup(name);
    this.#checkHost(known, old);
    const temporary = newTemporary();
    let isPlaced = false;
    let made: Made | undefined;
    try {
      made = yield* this.#maker.make(inode, this.#root, dir, temporary, path, old);
      const now = dir.lookup(name);
      this.#checkHost(known, now);
      if (now && typeOf(now) === S_IFDIR && !this.#removeKnown(known!, name, dir, path))
        throw new Refusal('the host has put something into the directory that was there');
      renameSync(dir.at(temporary), dir.at(name));
      isPlaced = true;
    } finally {
      if (!isPlaced) removeIfThere(() => dir.at(temporary));
    }
    children(parent).set(name, { host: fingerprint(made.stats), ino: inode.ino, guest: made.stamp, mode: attr.mode });
    if (attr.nlink > 1) this.#maker.placed(inode, made, path);
    this.#written(path);
  }

  /** Removes what the share does not have any more. */
  *#sweep(items: Item[], known: Known, dir: HostDirectory, path: string[]): Generator<Break> {
    const present = new Map(items.map((item) => [item.name, item]));
    for (const [name, child] of known.children ?? []) {
      const item = present.get(name);
      const childPath = [...path, name];
      try {
        if (!item) {
          if (this.#removeKnown(child, name, dir, childPath)) known.children!.delete(name);
        } else if (item.items && item.isChanged && isDirectory(child)) {
          const below = dir.child(name);
          try {
            yield* this.#sweep(item.items, child, below, childPath);
            const { atime, mtime } = this.#filesystem.getattr(item.inode);
            // What was made and removed in it has moved them. Only its owner can set them.
            ignoringPermission(() => below.utimes(atime, mtime));
          } finally {
            below.close();
          }
        }
      } catch (error) {
        this.#keep(childPath, reasonOf(error));
      }
      if (this.#isDue()) yield;
    }
  }

  /** Removes what is known at a place, and below. Returns whether all of it has gone; what stays is reported. @throws what ends it. */
  #removeKnown(known: Known, name: string, dir: HostDirectory, path: string[]): boolean {
    const stats = dir.lookup(name);
    if (!stats) return true;
    if (isDirectory(known) && typeOf(stats) === S_IFDIR) {
      const child = dir.child(name);
      let isEmpty = true;
      try {
        for (const [below, each] of known.children ?? []) {
          try {
            if (this.#removeKnown(each, below, child, [...path, below])) known.children!.delete(below);
            else isEmpty = false;
          } catch (error) {
            isEmpty = false;
            this.#keep([...path, below], reasonOf(error));
          }
        }
      } finally {
        child.close();
      }
      if (!isEmpty) return false;
      rmdirSync(dir.at(name));
    } else {
      this.#checkHost(known, stats);
      unlinkSync(dir.at(name));
    }
    this.#report.removed.push(path.join('/'));
    return true;
  }

  /** @throws Refusal when the host's entry is not the one that is known. */
  #checkHost(known: Known | undefined, stats: BigIntStats | undefined): void {
    if (!stats) return;
    if (!known) throw new Refusal('the host has an entry of this name that the share was not loaded with');
    const isSame =
      isDirectory(known) && typeOf(stats) === S_IFDIR
        ? isSameDirectory(known, stats)
        : fingerprint(stats) === known.host;
    if (!isSame) throw new Refusal('the host has changed it meanwhile');
  }

  #written(path: string[]): void {
    if (this.#report.written.length < MAX_LISTED) this.#report.written.push(path.join('/'));
  }

  /** The first reason for a path is the one that is told. */
  #keep(path: string[], reason: string): void {
    const text = path.join('/');
    if (this.#kept.has(text)) return;
    if (this.#kept.size < MAX_LISTED) this.#kept.add(text);
    note(this.#report.kept, text, reason);
  }
}

/** The directory that was loaded: not another one that has its path now. @throws VmError `share`. */
function openRoot(path: string, known: Known, beforeOperation: (() => void) | undefined): HostDirectory {
  let root: HostDirectory | undefined;
  try {
    root = HostDirectory.open(path, beforeOperation);
    if (!isSameDirectory(known, root.stats()))
      throw new Refusal('another directory has taken its place since it was loaded');
    return root;
  } catch (error) {
    root?.close();
    throw new VmError('share', `can't write back to ${printable(path)}: ${reasonOf(error)}`, { cause: error });
  }
}

function isSameDirectory(known: Known, { dev, ino }: BigIntStats): boolean {
  return known.host.startsWith(`${dev}:${ino}:`);
}

function children(known: Known): Map<string, Known> {
  return (known.children ??= new Map());
}

/** Cleans up behind a failure, which is what is to be told. */
function removeIfThere(path: () => HostPath): void {
  try {
    unlinkSync(path());
  } catch (error) {
    if (!isHostError(error) && !(error instanceof Refusal)) throw error;
  }
}
