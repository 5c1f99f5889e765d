import {
  type BigIntStats,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  openSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { BytesSink } from '../../../device/bytes.ts';
import type { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import type { Inode } from '../../../device/filesystems/memory/inode.ts';
import { S_IALLUGO, S_IFDIR, S_IFMT, S_IFREG } from '../../../device/fs/constants.ts';
import { FsError } from '../../../device/fs/errno.ts';
import type { Attr } from '../../../device/fs/filesystem.ts';
import { encodeName } from '../../../device/fs/names.ts';
import { NotYet } from '../../../device/fs/not-yet.ts';
import { dataSegments } from '../../../device/trees/sparse.ts';
import {
  type HostDirectory,
  hostTime,
  ignoringPermission,
  isHostError,
  Refusal,
  reasonOf,
  umask,
} from './host-directory.ts';
import { attrStamp, typeOf } from './host-tree.ts';
import { type Break, whenItIsHere } from './slices.ts';
import type { WriteBackOptions } from './write-back.ts';

const CHUNK_LENGTH = 1024 * 1024;
/** How often a file is copied that the guest writes to meanwhile. */
const ATTEMPTS = 3;
const S_ISPECIAL = 0o7000;

/** An entry that was made on the host, and what it was in the share then. */
export interface Made {
  stats: BigIntStats;
  stamp: string;
}

/** Makes files and symbolic links on the host like those of a share, under names that they do not keep. */
export class EntryMaker {
  readonly #filesystem: MemoryFileSystem;
  readonly #options: WriteBackOptions;
  readonly #isDue: () => boolean;
  readonly #onLoss: (path: string[], reason: string) => void;
  /** Paths of files with several names that were written, by inode number, with the host's device and number. */
  readonly #links = new Map<number, { path: string[]; id: string }>();
  readonly #umask = umask();

  /** `onLoss` is told what an entry could not be given. */
  constructor(
    filesystem: MemoryFileSystem,
    options: WriteBackOptions,
    isDue: () => boolean,
    onLoss: (path: string[], reason: string) => void,
  ) {
    this.#filesystem = filesystem;
    this.#options = options;
    this.#isDue = isDue;
    this.#onLoss = onLoss;
  }

  /** Makes it as `temporary` in `dir`: a link to what was made under another name of it, where that is there. `old`: what it is to replace. */
  *make(
    inode: Inode,
    root: HostDirectory,
    dir: HostDirectory,
    temporary: string,
    path: string[],
    old: BigIntStats | undefined,
  ): Generator<Break, Made> {
    const twin = this.#linked(inode, root, dir, temporary);
    if (twin) return twin;
    const attr = this.attrOf(inode);
    if ((attr.mode & S_IFMT) === S_IFREG) return yield* this.#copied(inode, dir, temporary, path, old);
    return this.#symlinked(inode, attr, dir, temporary, path, old);
  }

  /** It has its place: other names of it may become links to it. */
  placed(inode: Inode, { stats }: Made, path: string[]): void {
    this.#links.set(inode.ino, { path, id: idOf(stats) });
  }

  /** Another name of a file that was written before; undefined when that is not there any more. */
  #linked(inode: Inode, root: HostDirectory, dir: HostDirectory, temporary: string): Made | undefined {
    const twin = this.#links.get(inode.ino);
    if (!twin) return undefined;
    const above: HostDirectory[] = [];
    try {
      const last = twin.path.slice(0, -1).reduce((parent, name) => {
        const child = parent.child(name);
        above.push(child);
        return child;
      }, root);
      linkSync(last.at(twin.path.at(-1)!), dir.at(temporary));
      const stats = lstatSync(dir.at(temporary), { bigint: true });
      if (idOf(stats) === twin.id) return { stats, stamp: attrStamp(this.#filesystem, inode) };
      unlinkSync(dir.at(temporary));
    } catch (error) {
      if (!isHostError(error) && !(error instanceof Refusal)) throw error;
    } finally {
      for (const directory of above) directory.close();
    }
    return undefined;
  }

  #symlinked(
    inode: Inode,
    { uid, gid, atime, mtime }: Attr,
    dir: HostDirectory,
    temporary: string,
    path: string[],
    old: BigIntStats | undefined,
  ): Made {
    const stamp = attrStamp(this.#filesystem, inode);
    symlinkSync(Buffer.from(encodeName(this.#filesystem.readlink(inode))), dir.at(temporary));
    const give = (owner: { uid: number; gid: number }) => lchownSync(dir.at(temporary), owner.uid, owner.gid);
    this.given(path, 0, () => give({ uid, gid }));
    if (!this.#options.owners && old) ignoringPermission(() => give({ uid: Number(old.uid), gid: Number(old.gid) }));
    lutimesSync(dir.at(temporary), hostTime(atime), hostTime(mtime));
    return { stats: lstatSync(dir.at(temporary), { bigint: true }), stamp };
  }

  *#copied(
    inode: Inode,
    dir: HostDirectory,
    temporary: string,
    path: string[],
    old: BigIntStats | undefined,
  ): Generator<Break, Made> {
    const fd = openSync(
      dir.at(temporary),
      constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW,
      0o600,
    );
    try {
      for (let attempt = 1; ; attempt++) {
        const stamp = attrStamp(this.#filesystem, inode);
        const attr = this.attrOf(inode);
        yield* this.#copy(inode, attr.size, fd);
        if (attrStamp(this.#filesystem, inode) === stamp) {
          this.#settle(fd, attr, path, old);
          return { stats: fstatSync(fd, { bigint: true }), stamp };
        }
        if (attempt === ATTEMPTS) throw new Refusal('the guest keeps writing to it: stop that, and write back again');
      }
    } finally {
      closeSync(fd);
    }
  }

  *#copy(inode: Inode, size: number, fd: number): Generator<Break> {
    ftruncateSync(fd, 0);
    ftruncateSync(fd, size);
    const chunk = new Uint8Array(Math.min(size, CHUNK_LENGTH));
    for (const { start, end } of dataSegments(this.#filesystem, inode, size)) {
      for (let at = start; at < end; ) {
        const wanted = Math.min(chunk.length, end - at);
        const length = yield* this.#read(inode, at, chunk.subarray(0, wanted));
        // The guest has made it shorter: it is copied again.
        if (length === 0) return;
        this.#options.beforeOperation?.();
        for (let done = 0; done < length; ) done += writeSync(fd, chunk, done, length - done, at + done);
        at += length;
        if (this.#isDue()) yield;
      }
    }
  }

  /** Fills `into` from byte `at` of the file on, where that has so many. Returns how many. @throws Refusal when they can't be had. */
  *#read(inode: Inode, at: number, into: Uint8Array): Generator<Break, number> {
    try {
      return yield* whenItIsHere(() => this.#filesystem.read(inode, at, into.length, new BytesSink(into), 0, true));
    } catch (error) {
      if (!(error instanceof FsError) || error instanceof NotYet) throw error;
      throw new Refusal(`its content can't be had: ${error.message}`);
    }
  }

  /** Owner, permissions and times of a file that is not in its place yet: it may get bits there that it must not have before. */
  #settle(fd: number, attr: Attr, path: string[], old: BigIntStats | undefined): void {
    this.#options.beforeOperation?.();
    const mode = this.given(
      path,
      this.modeOf(attr, old && typeOf(old) === S_IFREG ? Number(old.mode) : undefined),
      () => fchownSync(fd, attr.uid, attr.gid),
    );
    if (!this.#options.owners && old) ignoringPermission(() => fchownSync(fd, Number(old.uid), Number(old.gid)));
    fchmodSync(fd, mode);
    futimesSync(fd, hostTime(attr.atime), hostTime(attr.mtime));
    // What is replaced was on the disk.
    if (old) fdatasyncSync(fd);
  }

  /** `old`: the host's, where there is one already. */
  modeOf({ mode }: Attr, old = 0): number {
    if (this.#options.owners) return mode & S_IALLUGO;
    const special = (mode & S_IFMT) === S_IFDIR ? mode & old & S_ISPECIAL : 0;
    return (mode & 0o777 & (~this.#umask | old)) | special;
  }

  /** Attributes as they are now. */
  attrOf(inode: Inode): Attr {
    const { ino, size, blocks, atime, mtime, ctime, btime, mode, nlink, uid, gid, rdev, blksize } =
      this.#filesystem.getattr(inode);
    return { ino, size, blocks, atime, mtime, ctime, btime, mode, nlink, uid, gid, rdev, blksize };
  }

  /** Gives something its owner, where that is asked for. Returns the mode that it may have then: with another owner, none of the bits that lend its rights. */
  given(path: string[], mode: number, give: () => void): number {
    if (!this.#options.owners) return mode;
    try {
      give();
      return mode;
    } catch (error) {
      this.#onLoss(path, `it is written, but without its owner: ${reasonOf(error)}`);
      return mode & 0o777;
    }
  }
}

function idOf({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`;
}
