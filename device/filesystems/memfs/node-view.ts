import { BytesSink, BytesSource } from '../../bytes.ts';
import { fromMilliseconds, toMilliseconds } from '../../fs/clock.ts';
import { S_IALLUGO, S_IFLNK, S_IFMT } from '../../fs/constants.ts';
import { EISDIR, ENXIO, FsError } from '../../fs/errno.ts';
import type { Timespec } from '../../fs/filesystem.ts';
import { changeAttributes } from '../memory/attributes.ts';
import type { Content } from '../memory/content.ts';
import type { Inode } from '../memory/inode.ts';
import { inodeCost } from '../memory/space.ts';
import { checkNode, checkTime } from '../memory/values.ts';
import type { FanOut } from './core.ts';
import { forHost, withContent } from './host-error.ts';
import type { Views } from './views.ts';

/** Largest file that the host can have as one Buffer. */
const MAX_BUFFER = 2 ** 31 - 1;

/** memfs's `Node`: an inode, as the host's `fs` sees and changes it. */
export class NodeView {
  declare readonly views: Views;
  declare readonly inode: Inode;
  declare fanOut: FanOut | undefined;

  /** Made for those who listen. */
  get changes(): FanOut {
    return (this.fanOut ??= new this.views.FanOut());
  }

  get ino(): number {
    return this.inode.ino;
  }

  get mode(): number {
    return this.inode.mode;
  }

  get rdev(): number {
    return this.inode.rdev;
  }

  get symlink(): string | undefined {
    return this.inode.target;
  }

  get nlink(): number {
    return this.inode.nlink;
  }

  /** memfs counts in its own way; the tree counts names. */
  set nlink(_value: number) {
    this.changed();
  }

  get uid(): number {
    return this.inode.uid;
  }

  set uid(uid: number) {
    this.chown(uid, -1);
  }

  get gid(): number {
    return this.inode.gid;
  }

  set gid(gid: number) {
    this.chown(-1, gid);
  }

  get perm(): number {
    return this.inode.mode & ~S_IFMT;
  }

  set perm(perm: number) {
    this.chmod(perm);
  }

  get atime(): Date {
    return new Date(toMilliseconds(this.inode.atime));
  }

  set atime(date: Date) {
    this.inode.atime = timeOf(date);
  }

  get mtime(): Date {
    return new Date(toMilliseconds(this.inode.mtime));
  }

  set mtime(date: Date) {
    this.inode.mtime = timeOf(date);
    this.changed();
  }

  get ctime(): Date {
    return new Date(toMilliseconds(this.inode.ctime));
  }

  set ctime(_date: Date) {
    this.changed();
  }

  get btime(): Date {
    return new Date(toMilliseconds(this.inode.btime));
  }

  set btime(date: Date) {
    this.inode.btime = timeOf(date);
    this.views.table.watchers.inodeChanged(this.inode, false);
  }

  getSize(): number {
    return this.inode.size;
  }

  getBuffer(): Uint8Array {
    const size = this.inode.written?.size ?? 0;
    if (size > MAX_BUFFER)
      throw Object.assign(new RangeError(`File size (${size}) is greater than 2 GiB`), {
        code: 'ERR_FS_FILE_TOO_LARGE',
      });
    const buffer = this.views.Buffer.from(new ArrayBuffer(size));
    this.use('read', () => this.inode.written?.read(0, size, new BytesSink(buffer), 0));
    return buffer;
  }

  _setBuf(bytes: Uint8Array): void {
    const content = this.contentFor('write');
    forHost('write', undefined, undefined, () => {
      content.truncate(0);
      content.write(0, bytes.length, new BytesSource(bytes));
    });
    this.touch();
  }

  write(buffer: Uint8Array, offset = 0, length = buffer.length, position = 0): number {
    const bytes = buffer.subarray(offset, Math.min(offset + length, buffer.length));
    const count = this.use('write', () =>
      this.contentFor('write').write(position, bytes.length, new BytesSource(bytes)),
    );
    if (count > 0) this.touch();
    return count;
  }

  read(buffer: ArrayBufferView, offset = 0, length = buffer.byteLength, position = 0): number {
    if (this.inode.isDirectory)
      forHost('read', undefined, undefined, () => {
        throw FsError.of(EISDIR);
      });
    const bytes = new Uint8Array(
      buffer.buffer,
      buffer.byteOffset + offset,
      Math.min(length, buffer.byteLength - offset),
    );
    const count = this.use(
      'read',
      () => this.inode.written?.read(position, bytes.length, new BytesSink(bytes), 0) ?? 0,
    );
    this.atime = new Date();
    return count;
  }

  truncate(length = 0): void {
    this.use('ftruncate', () => this.contentFor('ftruncate').truncate(Math.max(0, length)));
    this.touch();
  }

  chmod(perm: number): void {
    changeAttributes(this.views.table, this.inode, { mode: perm & S_IALLUGO });
  }

  /** chown(2): -1 leaves what is there. */
  chown(uid: number, gid: number): void {
    forHost('chown', undefined, undefined, () =>
      changeAttributes(this.views.table, this.inode, { ...(uid !== -1 && { uid }), ...(gid !== -1 && { gid }) }),
    );
  }

  touch(): void {
    const { inode } = this;
    inode.mtime = inode.ctime = this.views.table.now();
    this.views.table.watchers.inodeChanged(inode, true);
    this.fanOut?.emit(['modify']);
  }

  /** memfs makes a regular file first. */
  makeSymlink(target: string): void {
    const { inode, views } = this;
    forHost('symlink', target, undefined, () => {
      try {
        checkNode(S_IFLNK, 0, target);
        views.table.space.takeMetadata(inodeCost(S_IFLNK, target) - inodeCost(inode.mode, undefined));
      } catch (error) {
        views.names.remove(inode.entry!);
        throw error;
      }
    });
    inode.written?.clear();
    inode.mode = S_IFLNK | 0o777;
    inode.target = target;
    views.table.watchers.inodeChanged(inode, true);
  }

  // The host owns the volume: guests' permission bits do not bind it.

  canRead(): boolean {
    return true;
  }

  canWrite(): boolean {
    return true;
  }

  canExecute(): boolean {
    return true;
  }

  changed(): void {
    const { table } = this.views;
    this.inode.ctime = table.now();
    table.watchers.inodeChanged(this.inode, false);
  }

  /** Does what uses the content, which may be elsewhere. */
  use<T>(syscall: string, action: () => T): T {
    const { views } = this;
    return withContent(
      syscall,
      (error) => {
        views.lacking = error;
        return `/${views.names.path(this.inode)?.join('/') ?? ''}`;
      },
      action,
    );
  }

  /** What can be written: of a FIFO or device here, nothing. */
  contentFor(syscall: string): Content {
    return (
      this.inode.content ??
      forHost(syscall, undefined, undefined, () => {
        throw FsError.of(this.inode.isDirectory ? EISDIR : ENXIO);
      })
    );
  }
}

function timeOf(date: Date): Timespec {
  return forHost('utime', undefined, undefined, () => checkTime(fromMilliseconds(date.getTime())));
}
