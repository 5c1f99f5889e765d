import { closeSync, openSync, readFileSync } from 'node:fs';
import { ENFILE, FsError } from '../../../device/fs/errno.ts';
import type { HostPath } from '../shares/host-directory.ts';
import { codeOf } from './host-error.ts';
import { ACCESSES, type Access, type LiveInode } from './live-inode.ts';

/** Inodes that are looked at for a descriptor that can be given back, before it is said that there is none. */
const MAX_TRIES = 256;
const MOST = 100_000;
/** What one operation needs, and some. */
const LEAST = 16;

/** The descriptors of a live directory's inodes: so many at once, and those that were not used for longest are given back. */
export class Descriptors {
  readonly #max: number;
  /** Inodes with descriptors, but for the root; the one used last at the end. */
  readonly #recent = new Set<LiveInode>();
  #count = 0;

  constructor(max = Math.min(MOST, Math.floor(descriptorLimit() / 2))) {
    this.#max = Math.max(LEAST, max);
  }

  /** `through`: whose descriptor is in the path. @throws Error of the host's; FsError ENFILE when too many can't be given back. */
  open(path: HostPath, flags: number, through: LiveInode): number {
    through.busy++;
    try {
      while (this.#count >= this.#max && this.#giveBack());
      if (this.#count >= this.#max * 2) throw FsError.of(ENFILE);
      return openSync(path, flags);
    } catch (error) {
      if (codeOf(error) !== 'EMFILE' || !this.#giveBack()) throw error;
      return openSync(path, flags);
    } finally {
      through.busy--;
    }
  }

  /** `fd` becomes the inode's: of its content for `access`, else its O_PATH one. */
  hold(inode: LiveInode, fd: number, access?: Access): void {
    const before = access ? inode.files[access] : inode.pin;
    if (before !== undefined) this.#close(before);
    if (access) inode.files[access] = fd;
    else inode.pin = fd;
    this.#count++;
    this.touch(inode);
  }

  touch(inode: LiveInode): void {
    if (!inode.parent) return;
    this.#recent.delete(inode);
    if (inode.hasDescriptors) this.#recent.add(inode);
  }

  /** Keeps those of an inode open until `work` is done. */
  async during<T>(inode: LiveInode, work: Promise<T>): Promise<T> {
    inode.busy++;
    try {
      return await work;
    } finally {
      inode.busy--;
      if (inode.isLeaving) this.settle(inode);
    }
  }

  /** Closes what is not needed; what is in use, when it is not any more. */
  settle(inode: LiveInode): void {
    inode.isLeaving = inode.busy > 0;
    if (inode.isLeaving) return;
    if (inode.opens === 0) this.#closeFiles(inode);
    if (inode.retained === 0) this.#closePin(inode);
  }

  closeAll(root: LiveInode): void {
    for (const inode of [...this.#recent, root]) {
      inode.retained = inode.opens = 0;
      this.settle(inode);
    }
  }

  /** Closes the descriptors of what was not used for longest. Returns whether there was any. */
  #giveBack(): boolean {
    let tries = 0;
    for (const inode of this.#recent) {
      if (++tries > MAX_TRIES) return false;
      this.touch(inode);
      // What has no name can't be found again.
      if (inode.busy || (inode.retained && inode.isUnlinked)) continue;
      this.#closeFiles(inode);
      this.#closePin(inode);
      return true;
    }
    return false;
  }

  #closeFiles(inode: LiveInode): void {
    for (const access of ACCESSES) {
      const fd = inode.files[access];
      if (fd === undefined) continue;
      inode.files[access] = undefined;
      this.#close(fd);
    }
    inode.readsToo = false;
    this.touch(inode);
  }

  #closePin(inode: LiveInode): void {
    if (inode.pin === undefined) return;
    const fd = inode.pin;
    inode.pin = undefined;
    this.#close(fd);
    this.touch(inode);
  }

  #close(fd: number): void {
    this.#count--;
    closeSync(fd);
  }
}

/** Files that this process may have open. */
function descriptorLimit(): number {
  try {
    const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? [];
    if (limit !== undefined) return Number(limit);
  } catch {
    // Not Linux.
  }
  return 512;
}
