import {
  closeSync,
  constants,
  fchmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  statfsSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import type { ByteSink, ByteSource } from '../../../device/bytes.ts';
import {
  O_ACCMODE,
  O_APPEND,
  O_EXCL,
  O_RDONLY,
  O_TRUNC,
  RENAME_NOREPLACE,
  S_IALLUGO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from '../../../device/fs/constants.ts';
import { EEXIST, EINVAL, EISDIR, ENOENT, EOPNOTSUPP, EPERM, ESTALE, FsError } from '../../../device/fs/errno.ts';
import type {
  Answer,
  Attr,
  Entry,
  FileSystem,
  NewNode,
  OpenDirectory,
  OpenOptions,
  Owner,
  SetAttr,
  StatFs,
} from '../../../device/fs/filesystem.ts';
import { decodeName, encodeName } from '../../../device/fs/names.ts';
import { AttributeChanges } from './attribute-changes.ts';
import { attrOf, statfsOf } from './attributes.ts';
import { namesOf } from './containment.ts';
import { FileContent, type FileContentOptions } from './file-content.ts';
import { onHost } from './host-error.ts';
import { identityOf, isSameFile, uuidOfDirectory } from './identity.ts';
import { Listings } from './listing.ts';
import type { LiveInode } from './live-inode.ts';
import { type Found, LiveInodes, type LiveInodesOptions } from './live-inodes.ts';
import { Recall } from './recall.ts';

/** Options of {@link LiveDirectory.open}. */
export interface LiveDirectoryOptions extends LiveInodesOptions, FileContentOptions {
  /** Lets guests give files set-user-ID and set-group-ID bits, which would lend the rights of whoever they belong to on the host. Default: false. */
  setIds?: boolean;
}

interface LiveEntry extends Entry {
  readonly inode: LiveInode;
}

/**
 * A directory of the host, shared as it is: what the guest changes is changed there, and what the host changes is what the guest finds. Nothing
 * outside of it is ever opened or changed, whatever links guest and host make and whatever they put in place of directories meanwhile; on Linux with
 * /proc, as there each file is reached through descriptors. Elsewhere paths are resolved and checked right before each use, which leaves a moment.
 *
 * Files belong to whoever runs this, unless that is root, and guests may do what he may. Snapshots don't have its files: its `uuid` is the directory's
 * own, and inode numbers come from the host's, so that another process finds them again.
 */
export class LiveDirectory implements FileSystem {
  readonly root: LiveInode;
  readonly uuid: string;
  /** Where it was when it was opened. */
  readonly directory: string;
  readonly #inodes: LiveInodes;
  readonly #content: FileContent;
  readonly #listings: Listings;
  readonly #recall: Recall;
  readonly #changes: AttributeChanges;

  private constructor(path: string, options: LiveDirectoryOptions) {
    this.#inodes = new LiveInodes(path, options);
    this.#content = new FileContent(this.#inodes, options);
    this.#listings = new Listings(this.#inodes);
    this.#recall = new Recall(this.#inodes);
    this.#changes = new AttributeChanges(this.#inodes, this.#content, options.setIds ?? false);
    this.root = this.#inodes.root;
    this.directory = this.#inodes.path;
    this.uuid = uuidOfDirectory(this.root.identity, this.directory);
  }

  /** @throws Error of the host's when there is no such directory. */
  static open(path: string, options: LiveDirectoryOptions = {}): LiveDirectory {
    return new LiveDirectory(path, options);
  }

  /** Gives all descriptors back. What is asked of it from now on is refused. */
  end(): void {
    this.#listings.close();
    this.#inodes.close();
  }

  /** Looks through the whole directory for what a guest knows and this object does not, some 100,000 entries a second, at once. */
  recall<T>(action: () => T): T {
    return this.#recall.during(action);
  }

  inode(ino: number): LiveInode | undefined {
    const known = this.#inodes.find(ino);
    try {
      return known && this.#inodes.isThere(known) ? known : this.#recall.find(ino);
    } catch {
      return undefined;
    }
  }

  /** Where it was seen last: the host may have moved it since. */
  path(inode: LiveInode): string[] | undefined {
    return namesOf(inode);
  }

  retain(inode: LiveInode): void {
    this.#inodes.retain(inode);
  }

  release(inode: LiveInode): void {
    this.#inodes.release(inode);
  }

  lookup(dir: LiveInode, name: string): LiveEntry | undefined {
    return onHost(() => {
      if (name === '..') {
        const inode = this.#inodes.parentOf(dir);
        return { inode, attr: this.getattr(inode) };
      }
      const found = this.#inodes.lookup(dir, name);
      return found && entryOf(found);
    });
  }

  getattr(inode: LiveInode): Attr {
    return onHost(() => attrOf(this.#inodes.stats(inode), inode.ino));
  }

  setattr(inode: LiveInode, changes: SetAttr): Attr {
    return onHost(() => {
      this.#changes.apply(inode, changes);
      return this.getattr(inode);
    });
  }

  readlink(inode: LiveInode): string {
    return onHost(() => {
      if (inode.type !== S_IFLNK) throw FsError.of(EINVAL);
      if (inode.target === undefined) {
        const path = this.#inodes.placeOf(inode);
        const target = readlinkSync(path, { encoding: 'buffer' });
        // A link's text never changes, so this one's was read if it still has the name.
        if (!isSameFile(identityOf(lstatSync(path, { bigint: true })), inode.identity)) throw FsError.of(ESTALE);
        inode.target = decodeName(target);
      }
      return inode.target;
    });
  }

  statfs(): StatFs {
    return onHost(() => statfsOf(statfsSync(this.#inodes.self(this.root), { bigint: true })));
  }

  /** Node can make regular files only. */
  mknod(dir: LiveInode, name: string, node: NewNode): LiveEntry {
    if ((node.mode & S_IFMT) !== S_IFREG) throw FsError.of(EPERM);
    const inode = this.#make(dir, node, (mode) => this.#makeFile(dir, name, mode));
    this.#inodes.settle(inode.inode);
    return inode;
  }

  mkdir(dir: LiveInode, name: string, node: NewNode): LiveEntry {
    return this.#make(dir, node, (mode) => {
      mkdirSync(this.#inodes.at(dir, name), mode);
      return this.#inodes.lookup(dir, name);
    });
  }

  symlink(dir: LiveInode, name: string, target: string, node: NewNode): LiveEntry {
    return this.#make(dir, { ...node, mode: S_IFLNK | 0o777 }, () => {
      symlinkSync(Buffer.from(encodeName(target)), this.#inodes.at(dir, name));
      return this.#inodes.lookup(dir, name);
    });
  }

  link(inode: LiveInode, dir: LiveInode, name: string): LiveEntry {
    return onHost(() => {
      if (inode.isDirectory) throw FsError.of(EPERM);
      const to = this.#inodes.at(dir, name);
      this.#inodes.holding(dir, () => linkSync(this.#inodes.placeOf(inode), to));
      const found = this.#inodes.lookup(dir, name);
      if (found?.inode === inode) return entryOf(found);
      // Another one had taken its place, and keeps its own name.
      if (found && found.stats.nlink > 1n) unlinkSync(this.#inodes.at(dir, name));
      throw FsError.of(ESTALE);
    });
  }

  unlink(dir: LiveInode, name: string): void {
    onHost(() =>
      this.#remove(dir, name, (path, inode) => {
        if (inode.isDirectory) throw FsError.of(EISDIR);
        unlinkSync(path);
      }),
    );
  }

  rmdir(dir: LiveInode, name: string): void {
    onHost(() => this.#remove(dir, name, (path) => rmdirSync(path)));
  }

  rename(dir: LiveInode, name: string, newDir: LiveInode, newName: string, flags: number, _owner: Owner): void {
    if (flags & ~RENAME_NOREPLACE) throw FsError.of(EINVAL);
    onHost(() => {
      const moved = this.#inodes.lookup(dir, name);
      if (!moved) throw FsError.of(ENOENT);
      // Held, so that who has it open keeps it.
      const replaced = this.#inodes.lookup(newDir, newName);
      try {
        if (flags & RENAME_NOREPLACE) {
          if (replaced) throw FsError.of(EEXIST);
          this.#moveBeside(moved, dir, name, newDir, newName);
        } else {
          this.#move(dir, name, newDir, newName);
        }
        this.#inodes.lookup(newDir, newName);
        moved.inode.isGone(dir, name);
        if (replaced && replaced.inode !== moved.inode) replaced.inode.isGone(newDir, newName);
      } finally {
        if (replaced) this.#inodes.settle(replaced.inode);
      }
    });
  }

  open(inode: LiveInode, flags: number, { killSuidgid }: OpenOptions): void {
    onHost(() => {
      const access = flags & O_ACCMODE;
      if (access === O_RDONLY || access === constants.O_RDWR) this.#inodes.descriptor(inode, 'reading');
      if (access !== O_RDONLY) this.#inodes.descriptor(inode, 'writing');
      if (access !== O_RDONLY && flags & O_APPEND) this.#inodes.descriptor(inode, 'appending');
      if (flags & O_TRUNC) {
        this.#content.truncate(inode, 0);
        if (killSuidgid) this.#changes.killSetIds(inode);
      }
      inode.opens++;
    });
  }

  close(inode: LiveInode): void {
    // A session that came back had it open before.
    inode.opens = Math.max(0, inode.opens - 1);
    if (inode.opens === 0) this.#inodes.settle(inode);
  }

  create(dir: LiveInode, name: string, node: NewNode, flags: number, options: OpenOptions): LiveEntry {
    try {
      const entry = this.#make(dir, { ...node, mode: S_IFREG | (node.mode & S_IALLUGO) }, (mode) =>
        this.#makeFile(dir, name, mode),
      );
      entry.inode.opens++;
      return entry;
    } catch (error) {
      if (!(error instanceof FsError) || error.code !== EEXIST || flags & O_EXCL) throw error;
    }
    const found = onHost(() => this.#inodes.lookup(dir, name));
    if (!found) throw FsError.of(ENOENT);
    if (found.inode.type !== S_IFREG) throw FsError.of(found.inode.isDirectory ? EISDIR : EEXIST);
    this.open(found.inode, flags, options);
    return { inode: found.inode, attr: this.getattr(found.inode) };
  }

  read(
    inode: LiveInode,
    offset: number,
    length: number,
    sink: ByteSink,
    position: number,
    noatime?: boolean,
  ): Answer<number> {
    return this.#content.read(inode, offset, length, sink, position, noatime);
  }

  write(
    inode: LiveInode,
    offset: number | 'end',
    length: number,
    source: ByteSource,
    killSuidgid?: boolean,
  ): Answer<number> {
    if (killSuidgid) onHost(() => this.#changes.killSetIds(inode));
    return this.#content.write(inode, offset, length, source);
  }

  fsync(inode: LiveInode, datasync: boolean): Promise<void> {
    return this.#content.sync(inode, datasync);
  }

  fallocate(inode: LiveInode, offset: number, length: number, mode: number): void {
    onHost(() => this.#content.allocate(inode, offset, length, mode));
  }

  opendir(dir: LiveInode): OpenDirectory {
    onHost(() => this.#inodes.stats(dir));
    return this.#listings.open(dir);
  }

  /** Makes something and gives it owner and permissions, as far as this process may. */
  #make(dir: LiveInode, node: NewNode, make: (mode: number) => Found | undefined): LiveEntry {
    const { mode, umask = 0, xattrs } = node;
    if (xattrs?.length) throw FsError.of(EOPNOTSUPP);
    this.#changes.checkSetIds(mode);
    return onHost(() => {
      const wanted = mode & S_IALLUGO & ~umask;
      const found = make(wanted & 0o777);
      if (!found) throw FsError.of(ENOENT);
      this.#changes.settle(dir, found, node, wanted);
      return { inode: found.inode, attr: this.getattr(found.inode) };
    });
  }

  #makeFile(dir: LiveInode, name: string, mode: number): Found {
    const { O_CREAT, O_RDWR, O_NOFOLLOW } = constants;
    const fd = openSync(this.#inodes.at(dir, name), O_CREAT | O_EXCL | O_RDWR | (O_NOFOLLOW ?? 0), mode);
    fchmodSync(fd, mode);
    return this.#inodes.adopt(fd, dir, name);
  }

  /** Renames over a placeholder, which nobody else can have made: Node has no renameat2. */
  #moveBeside({ inode }: Found, dir: LiveInode, name: string, newDir: LiveInode, newName: string): void {
    const { O_CREAT, O_WRONLY } = constants;
    const path = this.#inodes.at(newDir, newName);
    if (inode.isDirectory) mkdirSync(path, 0o700);
    else closeSync(openSync(path, O_CREAT | O_EXCL | O_WRONLY, 0o600));
    try {
      this.#move(dir, name, newDir, newName);
    } catch (error) {
      (inode.isDirectory ? rmdirSync : unlinkSync)(this.#inodes.at(newDir, newName));
      throw error;
    }
  }

  #move(dir: LiveInode, name: string, newDir: LiveInode, newName: string): void {
    const from = this.#inodes.at(dir, name);
    this.#inodes.holding(dir, () => renameSync(from, this.#inodes.at(newDir, newName)));
  }

  #remove(dir: LiveInode, name: string, remove: (path: ReturnType<LiveInodes['at']>, inode: LiveInode) => void): void {
    const found = this.#inodes.lookup(dir, name);
    if (!found) throw FsError.of(ENOENT);
    try {
      remove(this.#inodes.at(dir, name), found.inode);
      found.inode.isGone(dir, name);
    } finally {
      this.#inodes.settle(found.inode);
    }
  }
}

function entryOf({ inode, stats }: Found): LiveEntry {
  return { inode, attr: attrOf(stats, inode.ino) };
}
