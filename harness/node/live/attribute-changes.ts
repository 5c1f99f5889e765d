import { chmodSync } from 'node:fs';
import { systemClock } from '../../../device/fs/clock.ts';
import { S_IALLUGO, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_ISUID, S_IXGRP } from '../../../device/fs/constants.ts';
import { EINVAL, EISDIR, EOPNOTSUPP, EPERM, FsError } from '../../../device/fs/errno.ts';
import type { NewNode, SetAttr, Timespec } from '../../../device/fs/filesystem.ts';
import { hostTime } from '../shares/host-directory.ts';
import { attrOf } from './attributes.ts';
import type { FileContent } from './file-content.ts';
import { codeOf } from './host-error.ts';
import type { LiveInode } from './live-inode.ts';
import type { Found, LiveInodes } from './live-inodes.ts';

/** Bits that a file lends its owner's rights with. */
const SET_IDS = S_ISUID | S_ISGID;

/** Changes owners, permissions and times, as far as this process may. All of it throws the host's errors. */
export class AttributeChanges {
  readonly #inodes: LiveInodes;
  readonly #content: FileContent;
  readonly #setIds: boolean;
  readonly #clock = systemClock();

  constructor(inodes: LiveInodes, content: FileContent, setIds: boolean) {
    this.#inodes = inodes;
    this.#content = content;
    this.#setIds = setIds;
  }

  apply(inode: LiveInode, { mode, uid, gid, size, atime, mtime, killSuidgid }: SetAttr): void {
    if (mode !== undefined) this.checkSetIds(inode.type | (mode & ~Number(this.#inodes.stats(inode).mode)));
    if (size !== undefined) {
      if (inode.type !== S_IFREG) throw FsError.of(inode.isDirectory ? EISDIR : EINVAL);
      this.#content.truncate(inode, size);
    }
    if (uid !== undefined || gid !== undefined) this.#inodes.chown(inode, uid ?? -1, gid ?? -1);
    if (mode !== undefined) this.#chmod(inode, mode);
    else if (killSuidgid) this.killSetIds(inode);
    // A file that was truncated has the time of now already.
    const wanted = size !== undefined && mtime === 'now' ? undefined : mtime;
    if (atime !== undefined || wanted !== undefined) this.#setTimes(inode, atime, wanted);
  }

  /** Gives something that was made in `dir` a moment ago its owner and permissions. What the owner may not be given to stays this process's. */
  settle(dir: LiveInode, { inode, stats }: Found, { uid, gid }: NewNode, mode: number): void {
    const isInherited = (Number(this.#inodes.stats(dir).mode) & S_ISGID) !== 0;
    const group = isInherited ? Number(stats.gid) : gid;
    if (Number(stats.uid) !== uid || Number(stats.gid) !== group) {
      try {
        this.#inodes.chown(inode, uid, group);
      } catch (error) {
        // EINVAL is what a user namespace says.
        if (codeOf(error) !== 'EPERM' && codeOf(error) !== 'EINVAL') throw error;
      }
    }
    // A directory has the set-group-ID bit of the one above.
    const kept = inode.isDirectory ? Number(stats.mode) & S_ISGID : 0;
    if (inode.type !== S_IFLNK) this.#chmod(inode, mode | kept);
  }

  /** `mode`: type, and the bits that are new. @throws FsError EPERM. */
  checkSetIds(mode: number): void {
    if (!this.#setIds && (mode & S_IFMT) === S_IFREG && mode & SET_IDS) throw FsError.of(EPERM);
  }

  /** As Linux does when somebody writes: set-group-ID without execution is something else. */
  killSetIds(inode: LiveInode): void {
    const mode = Number(this.#inodes.stats(inode).mode) & S_IALLUGO;
    const kept = mode & ~S_ISUID & (mode & S_IXGRP ? ~S_ISGID : ~0);
    if (inode.type === S_IFREG && kept !== mode) this.#chmod(inode, kept);
  }

  #chmod(inode: LiveInode, mode: number): void {
    if (inode.type === S_IFLNK) throw FsError.of(EOPNOTSUPP);
    if (Number(this.#inodes.stats(inode).mode) !== (inode.type | mode)) chmodSync(this.#inodes.self(inode), mode);
  }

  /** To the microsecond, both of them: Node can no more. */
  #setTimes(inode: LiveInode, atime: Timespec | 'now' | undefined, mtime: Timespec | 'now' | undefined): void {
    const now = this.#clock();
    const old = attrOf(this.#inodes.stats(inode), inode.ino);
    const wanted = (time: Timespec | 'now' | undefined, before: Timespec) =>
      hostTime(time === 'now' ? now : (time ?? before));
    this.#inodes.utimes(inode, wanted(atime, old.atime), wanted(mtime, old.mtime));
  }
}
