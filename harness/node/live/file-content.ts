import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsync,
  ftruncateSync,
  openSync,
  read,
  readSync,
  write,
  writeSync,
} from 'node:fs';
import { promisify } from 'node:util';
import type { ByteSink, ByteSource } from '../../../device/bytes.ts';
import { S_IFREG } from '../../../device/fs/constants.ts';
import { EFBIG, EINVAL, EOPNOTSUPP, FsError } from '../../../device/fs/errno.ts';
import type { Answer } from '../../../device/fs/filesystem.ts';
import { codeOf, onHost, toFsError } from './host-error.ts';
import type { Access, LiveInode } from './live-inode.ts';
import type { LiveInodes } from './live-inodes.ts';

/** Milliseconds that an operation may take at once: when one takes longer, those that follow are waited for, for a while. */
const PATIENCE = 8;
const WHILE = 2000;

const later = {
  read: promisify(read),
  write: promisify(write),
  fsync: promisify(fsync),
  fdatasync: promisify(fdatasync),
};

export interface FileContentOptions {
  /**
   * `adaptive`: reads and writes are done at once, as what the host has in memory takes microseconds; when the disk is slow, they are waited for
   * while the guest goes on. `now`, `later`: always so, whatever they take. Default: `adaptive`.
   */
  io?: 'adaptive' | 'now' | 'later';
}

/** What is in the regular files of a live directory. */
export class FileContent {
  readonly #inodes: LiveInodes;
  readonly #io: FileContentOptions['io'];
  #slowUntil = 0;

  constructor(inodes: LiveInodes, { io = 'adaptive' }: FileContentOptions) {
    this.#inodes = inodes;
    this.#io = io;
  }

  read(
    inode: LiveInode,
    offset: number,
    length: number,
    sink: ByteSink,
    position: number,
    isQuiet = false,
  ): Answer<number> {
    const fd = onHost(() => this.#readable(inode, isQuiet));
    if (!Number.isSafeInteger(offset + length)) return 0;
    const bytes = Buffer.allocUnsafe(length);
    if (!this.#isSlow) {
      return this.#timed(() =>
        sink.writeAt(
          position,
          bytes,
          0,
          whole(length, (at) => readSync(fd, bytes, at, length - at, offset + at)),
        ),
      );
    }
    const reading = wholeLater(
      length,
      async (at) => (await later.read(fd, bytes, at, length - at, offset + at)).bytesRead,
    );
    return this.#waited(inode, reading, (count) => sink.writeAt(position, bytes, 0, count));
  }

  write(inode: LiveInode, offset: number | 'end', length: number, source: ByteSource): Answer<number> {
    const access: Access = offset === 'end' ? 'appending' : 'writing';
    const fd = onHost(() => this.#inodes.descriptor(inode, access));
    const start = offset === 'end' ? null : offset;
    if (start !== null && !Number.isSafeInteger(start + length)) throw FsError.of(EFBIG);
    const bytes = Buffer.allocUnsafe(length);
    const count = source.read(bytes, 0, length);
    const place = (at: number) => (start === null ? null : start + at);
    if (!this.#isSlow) {
      return this.#timed(() => whole(count, (at) => writeSync(fd, bytes, at, count - at, place(at))));
    }
    const writing = wholeLater(
      count,
      async (at) => (await later.write(fd, bytes, at, count - at, place(at))).bytesWritten,
    );
    return this.#waited(inode, writing, (written) => written);
  }

  truncate(inode: LiveInode, size: number): void {
    if (!Number.isSafeInteger(size)) throw FsError.of(size < 0 ? EINVAL : EFBIG);
    ftruncateSync(this.#inodes.descriptor(inode, 'writing'), size);
  }

  /** What Node can: a file becomes as long as it has to be. */
  allocate(inode: LiveInode, offset: number, length: number, mode: number): void {
    if (mode !== 0) throw FsError.of(EOPNOTSUPP);
    const end = offset + length;
    if (!Number.isSafeInteger(end)) throw FsError.of(EFBIG);
    const fd = this.#inodes.descriptor(inode, 'writing');
    if (fstatSync(fd).size < end) ftruncateSync(fd, end);
  }

  /** Always waited for: this is the disk itself. */
  sync(inode: LiveInode, datasync: boolean): Promise<void> {
    if (inode.type !== S_IFREG && !inode.isDirectory) throw FsError.of(EINVAL);
    const open = inode.file;
    const fd = open ?? onHost(() => openSync(this.#inodes.self(inode), constants.O_RDONLY));
    const syncing = (datasync ? later.fdatasync(fd) : later.fsync(fd)).finally(() => {
      if (open === undefined) closeSync(fd);
    });
    return this.#inodes.during(inode, syncing).catch((error: unknown) => Promise.reject(toFsError(error)));
  }

  #readable(inode: LiveInode, isQuiet: boolean): number {
    try {
      return this.#inodes.descriptor(inode, isQuiet ? 'reading quietly' : 'reading');
    } catch (error) {
      if (!isQuiet || codeOf(error) !== 'EPERM') throw error;
      return this.#inodes.descriptor(inode, 'reading');
    }
  }

  get #isSlow(): boolean {
    return this.#io === 'later' || (this.#io === 'adaptive' && performance.now() < this.#slowUntil);
  }

  #timed<T>(action: () => T): T {
    const started = performance.now();
    try {
      return onHost(action);
    } finally {
      this.#judge(started);
    }
  }

  #judge(started: number): void {
    const now = performance.now();
    if (now - started > PATIENCE) this.#slowUntil = now + WHILE;
  }

  async #waited(inode: LiveInode, work: Promise<number>, use: (count: number) => number): Promise<number> {
    const started = performance.now();
    try {
      return use(await this.#inodes.during(inode, work));
    } catch (error) {
      throw toFsError(error);
    } finally {
      this.#judge(started);
    }
  }
}

/** Does a part after the other, until nothing is left or no more comes. @throws what the first part throws; what comes after it was done is not told. */
function whole(length: number, part: (at: number) => number): number {
  let at = 0;
  while (at < length) {
    let count: number;
    try {
      count = part(at);
    } catch (error) {
      if (at > 0) break;
      throw error;
    }
    if (count === 0) break;
    at += count;
  }
  return at;
}

/** As {@link whole}. */
async function wholeLater(length: number, part: (at: number) => Promise<number>): Promise<number> {
  let at = 0;
  while (at < length) {
    let count: number;
    try {
      count = await part(at);
    } catch (error) {
      if (at > 0) break;
      throw error;
    }
    if (count === 0) break;
    at += count;
  }
  return at;
}
