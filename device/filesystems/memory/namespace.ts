import {
  NAME_MAX,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  S_IALLUGO,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_ISGID,
} from '../../fs/constants.ts';
import {
  EBUSY,
  EEXIST,
  EINVAL,
  EISDIR,
  EMLINK,
  ENAMETOOLONG,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  ESTALE,
  FsError,
} from '../../fs/errno.ts';
import type { NewNode, Owner, Timespec } from '../../fs/filesystem.ts';
import { nameLength } from '../../fs/names.ts';
import { ACL_ACCESS, ACL_DEFAULT, Acl } from './acl.ts';
import type { Directory, Entry, Place } from './directory.ts';
import type { Inode } from './inode.ts';
import type { InodeTable } from './inode-table.ts';
import { linksCost } from './space.ts';
import { checkName, LINK_MAX } from './values.ts';
import { setXattr } from './xattrs.ts';

/** The names that inodes have, and what makes, takes and moves them. */
export class Namespace {
  readonly #table: InodeTable;

  constructor(table: InodeTable) {
    this.#table = table;
  }

  /** Undefined: there is no such name. */
  lookup(dir: Inode, name: string): Inode | undefined {
    const entry = directoryOf(dir).get(name);
    if (entry) {
      const { inode } = entry;
      inode.entry = entry;
      return inode;
    }
    if (name === '.') return dir;
    if (name === '..') return this.parent(dir);
    if (nameLength(name) > NAME_MAX) throw FsError.of(ENAMETOOLONG);
    return undefined;
  }

  /** The directory that `dir` is in; the root's is the root. @throws FsError ESTALE when it was removed. */
  parent(dir: Inode): Inode {
    const { parent } = directoryOf(dir);
    if (!parent) throw FsError.of(ESTALE);
    return parent;
  }

  /** Names from the root to the inode, by its last known name; undefined when that is gone. */
  path(inode: Inode): string[] | undefined {
    const names: string[] = [];
    for (let at = inode; at !== this.#table.root; ) {
      const { entry } = at;
      if (!entry || at.nlink === 0) return undefined;
      names.push(entry.name);
      at = entry.dir;
    }
    return names.reverse();
  }

  mknod(dir: Inode, name: string, node: NewNode): Inode {
    const type = node.mode & S_IFMT || S_IFREG;
    const mode = type | (node.mode & S_IALLUGO);
    return this.#create(dir, name, node, () => this.#allocateNew(dir, { ...node, mode }));
  }

  symlink(dir: Inode, name: string, target: string, node: Owner & Pick<NewNode, 'xattrs'>): Inode {
    return this.#create(dir, name, node, () => this.#allocateIn(dir, S_IFLNK | 0o777, node, 0, target));
  }

  tmpfile(dir: Inode, node: NewNode): Inode {
    if (!directoryOf(dir).parent) throw FsError.of(ENOENT);
    if ((node.mode & S_IFMT || S_IFREG) !== S_IFREG) throw FsError.of(EINVAL);
    const inode = this.#allocateNew(dir, { ...node, mode: S_IFREG | (node.mode & S_IALLUGO), rdev: 0 });
    this.#label(inode, node);
    inode.linkable = true;
    return inode;
  }

  link(inode: Inode, dir: Inode, name: string): void {
    if (inode.isDirectory) throw FsError.of(EPERM);
    const directory = this.#vacancy(dir, name);
    if (inode.nlink === 0 && !inode.linkable) throw FsError.of(ENOENT);
    if (inode.nlink >= LINK_MAX) throw FsError.of(EMLINK);
    const entry = this.#add(directory, dir, name, inode);
    this.#touch(dir);
    inode.ctime = dir.mtime;
    this.#changed(dir, name, inode);
    this.#table.observer?.created(entry);
  }

  unlink(dir: Inode, name: string): void {
    const entry = this.#existing(dir, name);
    if (entry.inode.isDirectory) throw FsError.of(EISDIR);
    this.#table.observer?.deleting(entry);
    this.remove(entry);
  }

  rmdir(dir: Inode, name: string): void {
    if (name === '.') throw FsError.of(EINVAL);
    if (name === '..') throw FsError.of(ENOTEMPTY);
    const entry = this.#existing(dir, name);
    if (directoryOf(entry.inode).length) throw FsError.of(ENOTEMPTY);
    this.#table.observer?.deleting(entry);
    this.remove(entry);
  }

  /** Takes an entry away, and everything below it, without telling {@link observer}. */
  remove(entry: Entry): void {
    const pending = [entry];
    for (let next = pending.at(-1); next; next = pending.at(-1)) {
      const child = next.inode.directory?.entries().next().value;
      if (child) {
        pending.push(child);
        continue;
      }
      pending.pop();
      const { dir, name, inode } = next;
      dir.directory!.delete(name);
      this.#touch(dir);
      this.#detached(next, inode);
      this.#changed(dir, name, inode);
    }
  }

  rename(dir: Inode, name: string, newDir: Inode, newName: string, flags: number, owner: Owner): void {
    if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) throw FsError.of(EINVAL);
    if (flags & RENAME_EXCHANGE && flags !== RENAME_EXCHANGE) throw FsError.of(EINVAL);
    directoryOf(dir);
    const newDirectory = directoryOf(newDir);
    if (isDots(name) || isDots(newName)) throw FsError.of(flags & RENAME_NOREPLACE && isDots(newName) ? EEXIST : EBUSY);
    const from = this.#existing(dir, name);
    checkName(newName);
    const to = newDirectory.get(newName);
    if (to && flags & RENAME_NOREPLACE) throw FsError.of(EEXIST);
    if (!to && flags & RENAME_EXCHANGE) throw FsError.of(ENOENT);
    if (!newDirectory.parent) throw FsError.of(ENOENT);
    if (this.#isWithin(newDir, from.inode)) throw FsError.of(EINVAL);
    if (to && this.#isWithin(dir, to.inode)) throw FsError.of(flags & RENAME_EXCHANGE ? EINVAL : ENOTEMPTY);
    if (to?.inode === from.inode) return;
    if (to && flags & RENAME_EXCHANGE) {
      this.#exchange(from, to);
      return;
    }
    if (to) {
      if (from.inode.isDirectory && !to.inode.isDirectory) throw FsError.of(ENOTDIR);
      if (!from.inode.isDirectory && to.inode.isDirectory) throw FsError.of(EISDIR);
      if (to.inode.directory?.length) throw FsError.of(ENOTEMPTY);
    }
    const whiteout = flags & RENAME_WHITEOUT ? this.#allocateIn(dir, S_IFCHR, owner, 0, undefined) : undefined;
    this.#move(from, newDir, newName, to, whiteout);
  }

  /**
   * Gives an inode a name, without telling {@link observer}; a directory gets one only.
   * On failure an inode that has none is gone.
   */
  attach(inode: Inode, dir: Inode, name: string): Entry {
    if (inode.isDirectory && inode.nlink > 0) throw FsError.of(EPERM);
    let entry: Entry;
    try {
      entry = this.#add(this.#vacancy(dir, name), dir, name, inode);
    } catch (error) {
      this.#table.freeUnused(inode);
      throw error;
    }
    this.#touch(dir);
    this.#changed(dir, name, inode);
    return entry;
  }

  #create(dir: Inode, name: string, node: Pick<NewNode, 'xattrs'>, allocate: () => Inode): Inode {
    this.#vacancy(dir, name);
    const inode = allocate();
    this.#label(inode, node);
    const entry = this.attach(inode, dir, name);
    this.#table.observer?.created(entry);
    return inode;
  }

  /** Gives a new inode the attributes that it is to begin with; on failure it is gone. */
  #label(inode: Inode, { xattrs }: Pick<NewNode, 'xattrs'>): void {
    if (!xattrs) return;
    try {
      for (const { name, value } of xattrs) setXattr(this.#table.space, inode, name, value, 0);
    } catch (error) {
      this.#table.freeUnused(inode);
      throw error;
    }
  }

  /** An inode with all that its directory hands down. @throws FsError ENOSPC. */
  #allocateNew(dir: Inode, { mode, umask = 0, rdev, uid, gid }: NewNode): Inode {
    const owner = { uid, gid };
    const inherited = dir.xattrs?.get(ACL_DEFAULT);
    if (!inherited) return this.#allocateIn(dir, mode & ~umask, owner, rdev, undefined);
    // acl(5), "OBJECT CREATION AND DEFAULT ACLs"
    const acl = Acl.decode(inherited);
    acl.mode &= mode;
    const inode = this.#allocateIn(dir, (mode & ~0o777) | acl.mode, owner, rdev, undefined);
    try {
      if (!acl.isMinimal) setXattr(this.#table.space, inode, ACL_ACCESS, acl.encode(), 0);
      if (inode.isDirectory) setXattr(this.#table.space, inode, ACL_DEFAULT, inherited, 0);
    } catch (error) {
      this.#table.freeUnused(inode);
      throw error;
    }
    return inode;
  }

  /** Like {@link allocate}, with what a set-gid directory hands down. */
  #allocateIn(dir: Inode, mode: number, owner: Owner, rdev: number | undefined, target: string | undefined): Inode {
    if (!(dir.mode & S_ISGID)) return this.#table.allocate(mode, owner, rdev, target);
    const inherited = (mode & S_IFMT) === S_IFDIR ? mode | S_ISGID : mode;
    return this.#table.allocate(inherited, { uid: owner.uid, gid: dir.gid }, rdev, target);
  }

  /** The directory to which `name` can be added. */
  #vacancy(dir: Inode, name: string): Directory {
    const directory = directoryOf(dir);
    if (isDots(name)) throw FsError.of(EEXIST);
    checkName(name);
    if (directory.get(name)) throw FsError.of(EEXIST);
    if (!directory.parent) throw FsError.of(ENOENT);
    return directory;
  }

  #existing(dir: Inode, name: string): Entry {
    const entry = directoryOf(dir).get(name);
    if (entry) return entry;
    if (isDots(name)) throw FsError.of(EISDIR);
    if (nameLength(name) > NAME_MAX) throw FsError.of(ENAMETOOLONG);
    throw FsError.of(ENOENT);
  }

  #isWithin(dir: Inode, ancestor: Inode): boolean {
    if (!ancestor.isDirectory) return false;
    for (let at: Inode | undefined = dir; at; at = at.directory!.parent) {
      if (at === ancestor) return true;
      if (at === this.#table.root) return false;
    }
    return false;
  }

  #move(from: Entry, newDir: Inode, newName: string, to: Entry | undefined, whiteout: Inode | undefined): void {
    const { inode, dir, name } = from;
    const directory = dir.directory!;
    const newDirectory = newDir.directory!;
    const row = directory.rowOf(name);
    if (to) {
      this.#table.observer?.deleting(to);
      newDirectory.set(newDirectory.rowOf(newName), from);
      const replaced = to.inode;
      this.#detached(to, replaced);
      this.#table.watchers.inodeChanged(replaced, false);
    } else {
      try {
        newDirectory.charge(newName);
      } catch (error) {
        if (whiteout) this.#table.freeUnused(whiteout);
        throw error;
      }
    }
    if (whiteout) directory.set(row, whiteout.addName(dir, name));
    else directory.removeName(row, name);
    inode.moveName(from, newDir, newName);
    if (!to) newDirectory.append(from);
    inode.ctime = this.#touch(dir);
    if (newDir !== dir) newDir.mtime = newDir.ctime = inode.ctime;
    this.#changed(dir, name, inode);
    this.#changed(newDir, newName, inode);
    this.#table.observer?.moved({ dir, name }, from);
    if (whiteout) this.#table.observer?.created(whiteout);
  }

  #exchange(a: Entry, b: Entry): void {
    const [place, other] = [placeOf(a), placeOf(b)];
    const [directory, otherDirectory] = [place.dir.directory!, other.dir.directory!];
    const [row, otherRow] = [directory.rowOf(place.name), otherDirectory.rowOf(other.name)];
    directory.set(row, b);
    otherDirectory.set(otherRow, a);
    a.inode.moveName(a, other.dir, other.name);
    b.inode.moveName(b, place.dir, place.name);
    const now = this.#touch(place.dir);
    a.inode.ctime = b.inode.ctime = other.dir.mtime = other.dir.ctime = now;
    this.#changed(place.dir, place.name, b.inode);
    this.#changed(other.dir, other.name, a.inode);
    this.#table.observer?.exchanged(a, b);
  }

  /** A name for an inode, which may have others. @throws FsError ENOSPC, with nothing added. */
  #add(directory: Directory, dir: Inode, name: string, inode: Inode): Entry {
    const { space } = this.#table;
    const cost = inode.isDirectory ? 0 : linksCost(inode.nlink + 1) - linksCost(inode.nlink);
    space.takeMetadata(cost);
    try {
      directory.charge(name);
    } catch (error) {
      space.takeMetadata(-cost);
      throw error;
    }
    const entry = inode.addName(dir, name);
    directory.append(entry);
    return entry;
  }

  /** `entry`, which is in no directory any more, named `inode`. */
  #detached(entry: Entry, inode: Inode): void {
    const cost = inode.isDirectory ? 0 : linksCost(inode.nlink);
    inode.removeName(entry);
    this.#table.space.takeMetadata((inode.isDirectory ? 0 : linksCost(inode.nlink)) - cost);
    inode.linkable = false;
    inode.ctime = this.#table.now();
    this.#table.freeUnused(inode);
  }

  /** Tells who watches that the name is that of `inode` now, or was so before. */
  #changed(dir: Inode, name: string, inode: Inode): void {
    const { watchers } = this.#table;
    watchers.entryChanged(dir, name);
    watchers.inodeChanged(dir, true);
    watchers.inodeChanged(inode, false);
  }

  /** The entries of `dir` have changed. */
  #touch(dir: Inode): Timespec {
    return (dir.mtime = dir.ctime = this.#table.now());
  }
}

export function directoryOf(inode: Inode): Directory {
  if (!inode.directory) throw FsError.of(ENOTDIR);
  return inode.directory;
}

/** Where an entry is now. */
function placeOf({ dir, name }: Entry): Place {
  return { dir, name };
}

function isDots(name: string): boolean {
  return name === '.' || name === '..';
}
