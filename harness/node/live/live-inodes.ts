import {
  type BigIntStats,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  utimesSync,
} from 'node:fs';
import { S_IFDIR, S_IFMT, S_IFREG } from '../../../device/fs/constants.ts';
import { EINVAL, EISDIR, ENFILE, ENOENT, ENOTDIR, ESTALE, FsError } from '../../../device/fs/errno.ts';
import { decodeName } from '../../../device/fs/names.ts';
import { type HostPath, O_PATH } from '../shares/host-directory.ts';
import { checkedPath, checkInside, entryPath, MAX_DEPTH } from './containment.ts';
import { Descriptors } from './descriptors.ts';
import { codeOf } from './host-error.ts';
import { generationOf, type Identity, identityOf, isSameFile, keyOf, numbersOf } from './identity.ts';
import { type Access, LiveInode } from './live-inode.ts';

/** What a guest has forgotten, and may ask for by its number (open_by_handle_at). */
const MAX_FORGOTTEN = 32_768;

const FLAGS: Record<Access, number> = {
  reading: constants.O_RDONLY,
  // Only its owner may.
  'reading quietly': constants.O_RDONLY | (constants.O_NOATIME ?? 0),
  writing: constants.O_WRONLY,
  appending: constants.O_WRONLY | constants.O_APPEND,
};

export interface Found {
  inode: LiveInode;
  stats: BigIntStats;
}

export interface LiveInodesOptions {
  /** Descriptors that are open at once; more where what is open has no name any more. */
  maxDescriptors?: number;
  /** Whether files are kept by descriptors (O_PATH), as on Linux with /proc; else each path is resolved anew, and checked. */
  hasDescriptors?: boolean;
  /** Called right before each use of a path, for tests. */
  beforeOperation?: () => void;
}

/**
 * The files of a directory of the host that a guest knows, and the only way to reach them: never through a symbolic link, and nothing that has been
 * moved out of the directory.
 */
export class LiveInodes {
  readonly root: LiveInode;
  /** What the root was when it was opened. */
  readonly path: string;
  readonly #hasDescriptors: boolean;
  readonly #descriptors: Descriptors;
  readonly #beforeOperation: (() => void) | undefined;
  readonly #byKey = new Map<string, LiveInode>();
  readonly #byNumber = new Map<number, LiveInode>();
  /** Those that nobody retains, the one used last at the end. */
  readonly #forgotten = new Set<LiveInode>();
  #isClosed = false;

  /** @throws Error of the host's. */
  constructor(path: string, { maxDescriptors, hasDescriptors, beforeOperation }: LiveInodesOptions) {
    this.#descriptors = new Descriptors(maxDescriptors);
    this.#beforeOperation = beforeOperation;
    this.path = realpathSync(`${path}/.`);
    const fd = (hasDescriptors ?? process.platform === 'linux') ? this.#openRoot(path) : undefined;
    this.#hasDescriptors = fd !== undefined;
    const identity = identityOf(
      fd === undefined ? lstatSync(this.path, { bigint: true }) : fstatSync(fd, { bigint: true }),
    );
    this.root = new LiveInode(identity, 1, 1, S_IFDIR);
    this.root.pin = fd;
    this.root.retained = 1;
    this.#byKey.set(keyOf(identity), this.root);
    this.#byNumber.set(1, this.root);
  }

  /** Undefined without /proc. */
  #openRoot(path: string): number | undefined {
    const fd = openSync(`${path}/.`, O_PATH | constants.O_DIRECTORY);
    try {
      readlinkSync(`/proc/self/fd/${fd}`);
      return fd;
    } catch {
      closeSync(fd);
      return undefined;
    }
  }

  /** What is at a place; undefined when nothing is. @throws Error of the host's, FsError ESTALE. */
  lookup(dir: LiveInode, name: string): Found | undefined {
    const path = this.at(dir, name);
    if (!this.#hasDescriptors) {
      const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false });
      return stats && { inode: this.#identify(stats, dir, name), stats };
    }
    let fd: number;
    try {
      fd = this.#descriptors.open(path, O_PATH | constants.O_NOFOLLOW, dir);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    const stats = fstatSync(fd, { bigint: true });
    const inode = this.#identify(stats, dir, name);
    if (inode.pin === undefined) this.#descriptors.hold(inode, fd);
    else closeSync(fd);
    return { inode, stats };
  }

  /** What an entry is, without holding it: only for its number and type. */
  peek(dir: LiveInode, name: string): { ino: number; generation: number; mode: number } | undefined {
    const stats = lstatSync(this.at(dir, name), { bigint: true, throwIfNoEntry: false });
    if (!stats) return undefined;
    const identity = identityOf(stats);
    const known = this.#byKey.get(keyOf(identity));
    const mode = Number(stats.mode);
    if (known && isSameFile(known.identity, identity)) return { ino: known.ino, generation: known.generation, mode };
    return { ino: this.#numberFor(identity), generation: generationOf(identity), mode };
  }

  /** The directory that one is in. */
  parentOf(dir: LiveInode): LiveInode {
    if (!dir.parent) return this.root;
    const stats = lstatSync(`${this.#self(dir)}/..`, { bigint: true });
    if (isSameFile(identityOf(stats), dir.parent.identity)) return dir.parent;
    const known = this.#byKey.get(keyOf(stats));
    if (known && isSameFile(known.identity, identityOf(stats))) return known;
    throw FsError.of(ESTALE);
  }

  /** A file that was made a moment ago. `fd`, to read and write, becomes its. */
  adopt(fd: number, dir: LiveInode, name: string): Found {
    const stats = fstatSync(fd, { bigint: true });
    const inode = this.#identify(stats, dir, name);
    this.#descriptors.hold(inode, fd, 'writing');
    inode.readsToo = this.#hasDescriptors;
    return { inode, stats };
  }

  /** A name that an inode has now. @throws FsError ESTALE when none can be found. */
  placeOf(inode: LiveInode): HostPath {
    for (;;) {
      const { parent, name } = inode;
      const path = parent && this.#placeIn(parent, name, inode);
      if (path !== undefined) return path;
      if (!parent || !inode.isGone(parent, name)) break;
    }
    if (inode.isUnlinked) throw FsError.of(ENOENT);
    if (!this.#hasDescriptors) throw FsError.of(ESTALE);
    const [top, now] = [this.root, inode].map((each) =>
      decodeName(readlinkSync(`/proc/self/fd/${this.#pin(each)}`, 'buffer')),
    ) as [string, string];
    const names = now.startsWith(`${top}/`) ? now.slice(top.length).split('/').filter(Boolean) : [];
    const last = names.pop();
    let dir: LiveInode | undefined = this.root;
    for (const each of names) dir = dir && this.lookup(dir, each)?.inode;
    const found = dir && last !== undefined ? this.#placeIn(dir, last, inode) : undefined;
    if (found === undefined) throw FsError.of(ESTALE);
    return found;
  }

  #placeIn(dir: LiveInode, name: string, inode: LiveInode): HostPath | undefined {
    try {
      const path = this.at(dir, name);
      if (isSameFile(identityOf(lstatSync(path, { bigint: true })), inode.identity)) return path;
    } catch (error) {
      if (!(error instanceof FsError) && codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ENAMETOOLONG') throw error;
    }
    return undefined;
  }

  chown(inode: LiveInode, uid: number, gid: number): void {
    (this.#hasDescriptors ? chownSync : lchownSync)(this.self(inode), uid, gid);
  }

  utimes(inode: LiveInode, atime: number | string, mtime: number | string): void {
    (this.#hasDescriptors ? utimesSync : lutimesSync)(this.self(inode), atime, mtime);
  }

  /** The inode that has had a number last. */
  find(ino: number): LiveInode | undefined {
    return this.#byNumber.get(ino);
  }

  isThere(inode: LiveInode): boolean {
    try {
      this.stats(inode);
      return true;
    } catch {
      return false;
    }
  }

  names(dir: LiveInode): string[] {
    if (!dir.isDirectory) throw FsError.of(ENOTDIR);
    const names = readdirSync(`${this.self(dir)}/`, { encoding: 'buffer' }).map((name) => decodeName(name));
    return this.#hasDescriptors ? names : names.filter((name) => name.isWellFormed());
  }

  stats(inode: LiveInode): BigIntStats {
    if (this.#hasDescriptors) return fstatSync(this.#pin(inode), { bigint: true });
    return lstatSync(checkedPath(inode, this.path), { bigint: true });
  }

  /** The path of an entry, to reach it through this directory and no other. @throws FsError ESTALE. */
  at(dir: LiveInode, name: string): HostPath {
    if (!dir.isDirectory) throw FsError.of(ENOTDIR);
    if (process.platform === 'win32' && /[\\/:]/.test(name)) throw FsError.of(EINVAL);
    if (!this.#hasDescriptors && !name.isWellFormed()) throw FsError.of(EINVAL);
    return entryPath(this.self(dir), name);
  }

  /** The path of a file itself. No symbolic link is followed but that of /proc. @throws FsError ESTALE when it is not in the directory any more. */
  self(inode: LiveInode): string {
    let path = this.#self(inode);
    if (inode.pin !== undefined && !checkInside(inode, this.root) && !inode.isDirectory) {
      this.#findAgain(inode);
      path = this.#self(inode);
    }
    this.#beforeOperation?.();
    return path;
  }

  /** A file that has lost the name that it was opened by, and has another: whether that is in the directory is to be seen. @throws FsError ESTALE. */
  #findAgain(inode: LiveInode): void {
    if (inode.isUnlinked) return;
    const fd = this.#descriptors.open(this.placeOf(inode), O_PATH | constants.O_NOFOLLOW, inode.parent!);
    if (isSameFile(identityOf(fstatSync(fd, { bigint: true })), inode.identity))
      return this.#descriptors.hold(inode, fd);
    closeSync(fd);
    throw FsError.of(ESTALE);
  }

  #self(inode: LiveInode): string {
    return this.#hasDescriptors ? `/proc/self/fd/${this.#pin(inode)}` : checkedPath(inode, this.path);
  }

  /** A descriptor of a regular file's content, which stays its own. */
  descriptor(inode: LiveInode, access: Access): number {
    const open = inode.files[access];
    if (open !== undefined) {
      this.#descriptors.touch(inode);
      if (access === 'writing' || access === 'appending') this.self(inode);
      return open;
    }
    if (access === 'reading' && inode.readsToo) return this.descriptor(inode, 'writing');
    if (inode.type !== S_IFREG) throw FsError.of(inode.isDirectory ? EISDIR : EINVAL);
    const noFollow = this.#hasDescriptors ? 0 : constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const fd = this.#descriptors.open(this.self(inode), FLAGS[access] | noFollow, inode);
    if (!this.#hasDescriptors && !isSameFile(identityOf(fstatSync(fd, { bigint: true })), inode.identity)) {
      closeSync(fd);
      throw FsError.of(ESTALE);
    }
    this.#descriptors.hold(inode, fd, access);
    return fd;
  }

  retain(inode: LiveInode): void {
    inode.retained++;
    this.#forgotten.delete(inode);
  }

  release(inode: LiveInode): void {
    if (--inode.retained > 0) return;
    inode.retained = 0;
    if (this.#byKey.get(keyOf(inode.identity)) === inode) this.#forget(inode);
    else if (this.#byNumber.get(inode.ino) === inode) this.#byNumber.delete(inode.ino);
    this.settle(inode);
  }

  /** Keeps the path of a directory good while others are reached. */
  holding<T>(dir: LiveInode, action: () => T): T {
    dir.busy++;
    try {
      return action();
    } finally {
      dir.busy--;
    }
  }

  /** Keeps the descriptors of an inode open until `work` is done. */
  during<T>(inode: LiveInode, work: Promise<T>): Promise<T> {
    return this.#descriptors.during(inode, work);
  }

  /** Closes what is not needed; what is in use, when it is not any more. */
  settle(inode: LiveInode): void {
    this.#descriptors.settle(inode);
  }

  /** Closes everything; what is in use, when it is not any more. */
  close(): void {
    this.#isClosed = true;
    this.#descriptors.closeAll(this.root);
  }

  #identify(stats: BigIntStats, parent: LiveInode, name: string): LiveInode {
    if (this.#isClosed) throw FsError.of(ESTALE);
    const identity = identityOf(stats);
    const key = keyOf(identity);
    let inode = this.#byKey.get(key);
    if (inode === this.root) return inode;
    if (inode && !isSameFile(inode.identity, identity)) {
      this.#byKey.delete(key);
      if (this.#forgotten.delete(inode)) this.#byNumber.delete(inode.ino);
      inode = undefined;
    }
    if (!inode) {
      inode = new LiveInode(identity, this.#numberFor(identity), generationOf(identity), Number(stats.mode) & S_IFMT);
      const before = this.#byNumber.get(inode.ino);
      if (before) this.#drop(before);
      this.#byKey.set(key, inode);
      this.#byNumber.set(inode.ino, inode);
    }
    inode.isSeen(parent, name);
    if (inode.retained === 0) this.#forget(inode);
    return inode;
  }

  /** A number that no inode has which a guest knows. */
  #numberFor(identity: Identity): number {
    for (const number of numbersOf(identity, this.root.identity.dev)) {
      const holder = this.#byNumber.get(number);
      if (!holder || holder.retained === 0) return number;
    }
    throw FsError.of(ENFILE);
  }

  #forget(inode: LiveInode): void {
    this.#forgotten.delete(inode);
    this.#forgotten.add(inode);
    if (this.#forgotten.size <= MAX_FORGOTTEN) return;
    for (const oldest of this.#forgotten) {
      if (!oldest.busy) return this.#drop(oldest);
    }
  }

  #drop(inode: LiveInode): void {
    this.#forgotten.delete(inode);
    const key = keyOf(inode.identity);
    if (this.#byKey.get(key) === inode) this.#byKey.delete(key);
    if (this.#byNumber.get(inode.ino) === inode) this.#byNumber.delete(inode.ino);
    this.settle(inode);
  }

  /** The O_PATH descriptor of an inode, opened again where it had to be given back. */
  #pin(inode: LiveInode): number {
    this.#descriptors.touch(inode);
    if (inode.pin !== undefined) return inode.pin;
    const open = inode.file;
    if (open !== undefined) {
      this.#descriptors.hold(inode, this.#descriptors.open(`/proc/self/fd/${open}`, O_PATH, inode));
      return inode.pin!;
    }
    const closed: LiveInode[] = [];
    let above = inode;
    for (; above.pin === undefined; above = above.parent) {
      closed.push(above);
      if (!above.parent || closed.length > MAX_DEPTH || this.#isClosed) throw FsError.of(ESTALE);
    }
    for (const next of closed.reverse()) {
      try {
        this.#pinIn(above, next);
      } catch (error) {
        if (!(error instanceof FsError) || !next.isGone(next.parent!, next.name)) throw error;
        return this.#pin(inode);
      }
      above = next;
    }
    return inode.pin!;
  }

  #pinIn(dir: LiveInode, inode: LiveInode): void {
    let fd: number;
    try {
      fd = this.#descriptors.open(this.at(dir, inode.name), O_PATH | constants.O_NOFOLLOW, dir);
    } catch (error) {
      throw codeOf(error) === 'ENOENT' ? FsError.of(ESTALE) : error;
    }
    if (isSameFile(identityOf(fstatSync(fd, { bigint: true })), inode.identity))
      return this.#descriptors.hold(inode, fd);
    closeSync(fd);
    throw FsError.of(ESTALE);
  }
}
