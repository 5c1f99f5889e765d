import { proxyMarker } from 'comlink';
import { BytesSource } from '../../device/bytes.ts';
import type { Inode } from '../../device/filesystems/memory/inode.ts';
import { checkName } from '../../device/filesystems/memory/values.ts';
import { F_WRLCK, RENAME_NOREPLACE, S_IALLUGO, S_IFDIR, S_IFREG } from '../../device/fs/constants.ts';
import { ENOSPC, FsError } from '../../device/fs/errno.ts';
import { LOCK_END_MAX } from '../../device/fs/locks.ts';
import { whenHere } from '../../device/fs/not-yet.ts';
import { loadTar, type MemoryFileSystem, type TreeReport, type VirtioFsDevice } from '../../device/index.ts';
import { inodeAt, removeTree, TreeWriter } from '../../device/trees/tree-writer.ts';
import type { FileEntry } from '../protocol/data.ts';
import {
  type DownloadProgress,
  type FileUse,
  type FolderApi,
  type Listing,
  MAX_LISTED,
  type NewFile,
  type SpaceInfo,
} from '../protocol/folder.ts';
import { formatBytes } from '../protocol/format.ts';

import { paced, packDirectory, readSlices } from './folder-content.ts';
import { entryOf, findIn, join, listingOf, parentOf, versionOf } from './folder-entries.ts';
import { explained, reasonOf } from './folder-errors.ts';

/** Bytes of a file in memory at once, on its way in or out. */
const SLICE = 4 << 20;
/** Of one whose content may be elsewhere: those that are fetched between two reports. */
const FETCHED = 256 << 10;
/** Milliseconds. */
const NOTICE_INTERVAL = 100;
/**
 * For how long a guest that is not told of changes may go on with what was there before one from outside: the second of `cache: 'auto'`, and for a
 * guest that is late.
 */
const CACHE_TIME = 1500;
const ROOT = { uid: 0, gid: 0 };
/** Extended attribute of directories that are to go: the names, one a line, of what goes with them. */
const MARK = 'user.v86-virtiofs.lesson';

/** A guest that has the folder mounted. */
export interface FolderUser {
  readonly name: string;
  readonly device: VirtioFsDevice;
}

/** A shared folder, as the page sees and changes it. Looking at files is no access to them: their times stay. */
export class Folder implements FolderApi {
  readonly [proxyMarker] = true;
  readonly #filesystem: MemoryFileSystem;
  readonly #users: () => Iterable<FolderUser>;
  readonly #onChange: () => void;
  readonly #unsubscribe: () => void;
  /** When something that guests may have in their caches was changed from outside. */
  #outdated = -Infinity;
  #notice: ReturnType<typeof setTimeout> | undefined;

  /** `users`: all guests, whichever folder they have. */
  constructor({ filesystem }: VirtioFsDevice, users: () => Iterable<FolderUser>, onChange: () => void) {
    this.#filesystem = filesystem;
    this.#users = users;
    this.#onChange = onChange;
    const changed = () => this.changed();
    this.#unsubscribe = filesystem.observe({
      created: changed,
      deleting: changed,
      moved: changed,
      exchanged: changed,
      restoring: changed,
      modified: changed,
      attributesChanged: changed,
    });
  }

  /** Hears of no more changes. */
  close(): void {
    this.#unsubscribe();
    clearTimeout(this.#notice);
  }

  /** Settles when guests see all that was changed from outside: at once if their driver takes notifications. */
  async settled(): Promise<void> {
    for (let left: number; (left = this.#outdated + CACHE_TIME - performance.now()) > 0 && !this.#areUsersTold; )
      await new Promise((resolve) => setTimeout(resolve, left));
  }

  get #areUsersTold(): boolean {
    return [...this.#users()].every(({ device }) => device.filesystem !== this.#filesystem || device.session.notifies);
  }

  /** Tells the page, now or soon. */
  changed(): void {
    this.#notice ??= setTimeout(() => {
      this.#notice = undefined;
      this.#onChange();
    }, NOTICE_INTERVAL);
  }

  list(paths: string[], limit = MAX_LISTED): Map<string, Listing> {
    const listings = new Map<string, Listing>();
    for (const path of paths) {
      const directory = this.#find(path)?.directory;
      if (directory) listings.set(path, listingOf(path, directory, limit));
    }
    return listings;
  }

  find(text: string): Listing {
    return findIn(this.#filesystem, text, MAX_LISTED);
  }

  stat(path: string): FileEntry | undefined {
    const inode = this.#find(path);
    return inode && entryOf(path, path.slice(path.lastIndexOf('/') + 1), inode);
  }

  space(): SpaceInfo {
    const { blocks, bfree, frsize } = this.#filesystem.statfs();
    return { used: (blocks - bfree) * frsize, size: blocks * frsize };
  }

  use(ino: number): FileUse {
    const users = [...this.#users()].filter(({ device }) => device.filesystem === this.#filesystem);
    const nameOf = (session: string) => users.find(({ device }) => device.session.id === session)?.name ?? 'another';
    const { locks } = this.#filesystem;
    const type = (value: number) => (value === F_WRLCK ? 'write' : 'read');
    return {
      handles: users.flatMap(({ name, device }) =>
        device.session
          .state()
          .handles.handles.filter((handle) => handle.ino === ino)
          .map(({ fh, flags }) => ({ guest: name, fh, flags })),
      ),
      locks: [...locks.locks()]
        .filter((lock) => lock.ino === ino)
        .map(({ session, space, pid, start, end, ...lock }) => ({
          guest: nameOf(session),
          space,
          pid,
          type: type(lock.type),
          start: Number(start),
          end: end === LOCK_END_MAX ? undefined : Number(end),
        })),
      waiting: [...locks.waiters()]
        .filter(({ lock }) => lock.ino === ino)
        .map(({ lock }) => ({ guest: nameOf(lock.session), pid: lock.pid, type: type(lock.type) })),
    };
  }

  async read(
    path: string,
    limit: number,
    onProgress?: (bytes: number) => void,
  ): Promise<{ bytes: Uint8Array; version: string }> {
    let bytes = new Uint8Array();
    const find = () => this.#at(path);
    const version = await readSlices({ path, find, limit, size: FETCHED, onProgress }, (length) => {
      bytes = new Uint8Array(length);
      return (slice, at) => bytes.set(slice, at);
    });
    return { bytes, version };
  }

  save(path: string, content: Uint8Array, version?: string): Promise<string | undefined> {
    return whenHere(() => this.#save(path, content, version));
  }

  #save(path: string, content: Uint8Array, version?: string): string | undefined {
    return explained(path, () => {
      const filesystem = this.#filesystem;
      let inode = this.#find(path);
      if (inode) this.#outdated = performance.now();
      if (version !== undefined && (inode ? versionOf(inode) : '') !== version) return undefined;
      inode ??= this.#make(path, S_IFREG | 0o644);
      // In this order nothing is lost when there is no room.
      filesystem.write(inode, 0, content.length, new BytesSource(content));
      filesystem.setattr(inode, { size: content.length });
      return versionOf(inode);
    });
  }

  create(path: string, kind: 'file' | 'directory'): void {
    explained(path, () => this.#make(path, kind === 'file' ? S_IFREG | 0o644 : S_IFDIR | 0o755));
  }

  rename(path: string, newPath: string): void {
    const [from, to] = [this.#placeOf(path), this.#placeOf(newPath)];
    this.#outdated = performance.now();
    explained(newPath, () => this.#filesystem.rename(from.dir, from.name, to.dir, to.name, RENAME_NOREPLACE, ROOT));
  }

  remove(path: string): void {
    const { dir, name } = this.#placeOf(path);
    this.#outdated = performance.now();
    explained(path, () => {
      this.#at(path);
      removeTree(this.#filesystem, dir, name);
    });
  }

  /** A directory for somebody who is to leave nothing behind: see {@link LessonApi.begin}. */
  makeMarked(name: string, files: Record<string, string>, others: string[]): string {
    const candidates = Array.from({ length: 100 }, (_, n) => `/${name}${n ? `-${n + 1}` : ''}`);
    const path = candidates.find((candidate) => !this.#find(candidate));
    if (path === undefined)
      throw new Error(`/${name} and 99 names like it are there already: delete one, and try again`);
    const directory = this.#make(path, S_IFDIR | 0o755);
    try {
      // First of all, so that it can be removed whatever comes next.
      this.#filesystem.setxattr(
        directory,
        MARK,
        new TextEncoder().encode([...Object.keys(files), ...others].map((file) => file.replace(/\/$/, '')).join('\n')),
        0,
      );
      for (const [file, text] of Object.entries(files)) {
        if (file.endsWith('/')) this.create(`${path}/${file.slice(0, -1)}`, 'directory');
        else this.#save(`${path}/${file}`, new TextEncoder().encode(text));
      }
    } catch (error) {
      this.removeMarked(path);
      this.#removeIfPossible(path);
      throw error;
    }
    return path;
  }

  /** Paths of those there are. */
  marked(): string[] {
    return [...this.#filesystem.root.directory!.entries()]
      .filter(({ inode }) => inode.isDirectory && inode.xattrs?.has(MARK))
      .map(({ name }) => `/${name}`);
  }

  /** With what was to be made there. If something else is in it, that stays, and it is a directory like others. */
  removeMarked(path: string): void {
    const directory = this.#find(path);
    const mark = directory?.xattrs?.get(MARK);
    if (!directory || !mark) return;
    this.#outdated = performance.now();
    // What is in a directory is named after it.
    for (const name of new TextDecoder().decode(mark).split('\n').reverse()) this.#removeIfPossible(`${path}/${name}`);
    this.#removeIfPossible(path);
    if (this.#find(path) === directory) this.#filesystem.removexattr(directory, MARK);
  }

  #removeIfPossible(path: string): void {
    try {
      const { dir, name } = this.#placeOf(path);
      if (this.#filesystem.lookup(dir, name)?.directory) this.#filesystem.rmdir(dir, name);
      else this.#filesystem.unlink(dir, name);
    } catch {
      // Gone already, or not empty.
    }
  }

  chmod(path: string, mode: number): void {
    this.#outdated = performance.now();
    explained(path, () => this.#filesystem.setattr(this.#at(path), { mode }));
  }

  existing(directory: string, paths: string[]): Map<string, string> {
    return new Map(
      paths.flatMap((path) => {
        const inode = this.#find(join(directory, path));
        return inode ? [[path, versionOf(inode)] as const] : [];
      }),
    );
  }

  async put(
    directory: string,
    files: NewFile[],
    versions?: Map<string, string>,
    onProgress?: (bytes: number) => void,
  ): Promise<string[]> {
    const total = files.reduce((sum, { content }) => sum + (content?.size ?? 0), 0);
    const { size, used } = this.space();
    if (total > size - used) {
      throw new Error(
        `${formatBytes(total)} do not fit into the shared folder: it has ${formatBytes(size - used)} of room; delete something, and try again. Nothing was copied.`,
      );
    }
    const writer = new TreeWriter(
      this.#filesystem,
      explained(directory, () => this.#at(directory)),
    );
    const tell = paced(onProgress);
    let bytes = 0;
    const leftOut: string[] = [];
    for (const [done, { path, content }] of files.entries()) {
      const isAsExpected = (before?: Inode) =>
        !versions || (before ? versionOf(before) : undefined) === versions.get(path);
      try {
        if (!content) writer.directory(path);
        else if (!(await this.#putFile(writer, path, content, isAsExpected, (count) => tell((bytes += count)))))
          leftOut.push(path);
      } catch (error) {
        const count = files.length > 1 ? ` ${done - leftOut.length} of ${files.length} files were copied.` : '';
        throw new Error(`${join(directory, path)} could not be copied: ${reasonOf(error)}.${count}`, { cause: error });
      }
    }
    return leftOut;
  }

  /** Settles with whether it was put there: not over what is not `isAsExpected`. */
  async #putFile(
    writer: TreeWriter,
    path: string,
    content: Blob,
    isAsExpected: (before?: Inode) => boolean,
    onBytes: (count: number) => void,
  ): Promise<boolean> {
    const filesystem = this.#filesystem;
    const place = writer.place(path);
    const dir = place.dir as Inode;
    const file = filesystem.tmpfile(dir, { mode: S_IFREG | 0o644, ...ROOT });
    filesystem.retain(file);
    try {
      for (let at = 0; at < content.size; at += SLICE) {
        const bytes = new Uint8Array(await content.slice(at, at + SLICE).arrayBuffer());
        writer.append(file, bytes);
        onBytes(bytes.length);
      }
      const before = dir.directory?.get(place.name)?.inode;
      if (!isAsExpected(before)) return false;
      if (before) this.#outdated = performance.now();
      if (before?.isRegular)
        filesystem.setattr(file, { uid: before.uid, gid: before.gid, mode: before.mode & S_IALLUGO });
      writer.clear(place);
      filesystem.link(file, dir, place.name);
      return true;
    } finally {
      filesystem.release(file);
    }
  }

  unpack(directory: string, archive: Blob, onProgress?: (bytes: number) => void): Promise<TreeReport> {
    const tell = paced(onProgress);
    return loadTar(this.#filesystem, archive.stream(), { directory, onProgress: (_, bytes) => tell(bytes) })
      .finally(() => (this.#outdated = performance.now()))
      .catch((error: Error) => {
        const isFull = error.cause instanceof FsError && error.cause.code === ENOSPC;
        throw isFull
          ? new Error(`${error.message}. The shared folder is full: delete something, and try again.`, { cause: error })
          : error;
      });
  }

  async download(path: string, onProgress: DownloadProgress = async () => true): Promise<Blob> {
    const inode = explained(path, () => this.#at(path));
    const stop = new AbortController();
    const { signal } = stop;
    const tell = async (bytes: number, total: number) => {
      // The answer comes from the page.
      if (!(await onProgress(bytes, total))) stop.abort(new Error('the download was cancelled'));
    };
    if (inode.directory) return packDirectory(this.#filesystem, path, tell, signal);
    let parts: Uint8Array<ArrayBuffer>[] = [];
    const find = () => this.#at(path);
    const onBytes = (bytes: number) => tell(bytes, inode.size);
    await readSlices({ path, find, limit: Infinity, size: FETCHED, onProgress: onBytes, signal }, () => {
      parts = [];
      return (slice) => parts.push(slice);
    });
    // A type of its own: browsers put a suffix to files without one.
    return new Blob(parts, { type: 'application/octet-stream' });
  }

  #at(path: string): Inode {
    return inodeAt(this.#filesystem, path) as Inode;
  }

  #find(path: string): Inode | undefined {
    try {
      return this.#at(path);
    } catch (error) {
      if (error instanceof FsError) return undefined;
      throw error;
    }
  }

  #placeOf(path: string): { dir: Inode; name: string } {
    const name = path.slice(path.lastIndexOf('/') + 1);
    explained(JSON.stringify(name), () => checkName(name));
    const parent = parentOf(path);
    return { dir: explained(parent, () => this.#at(parent)), name };
  }

  #make(path: string, mode: number): Inode {
    const { dir, name } = this.#placeOf(path);
    return this.#filesystem.mknod(dir, name, { mode, ...ROOT });
  }
}
