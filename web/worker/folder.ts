import { proxyMarker } from 'comlink';
import { createFsFromVolume, type IFs } from 'memfs';
import { F_WRLCK, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../device/fs/constants.ts';
import { LOCK_END_MAX } from '../../device/fs/locks.ts';
import { dumpTar, loadTar, type TreeReport, type VirtioFsDevice } from '../../device/index.ts';
import type { FileEntry, FileKind, FileUse, FolderApi, NewFile } from '../protocol.ts';

/** Bytes of a dropped file in memory at once. */
const SLICE = 4 << 20;
const NOTICE_INTERVAL = 100;

/** A guest that has the folder mounted. */
export interface FolderUser {
  readonly name: string;
  readonly device: VirtioFsDevice;
}

/** A shared folder, as the page sees and changes it. */
export class Folder implements FolderApi {
  readonly [proxyMarker] = true;
  readonly #fs: IFs;
  readonly #device: VirtioFsDevice;
  readonly #users: () => Iterable<FolderUser>;
  readonly #onChange: () => void;
  #notice: ReturnType<typeof setTimeout> | undefined;

  /** `users`: all guests, whichever folder they have. */
  constructor(device: VirtioFsDevice, users: () => Iterable<FolderUser>, onChange: () => void) {
    this.#device = device;
    this.#fs = createFsFromVolume(device.volume);
    this.#users = users;
    this.#onChange = onChange;
    const { backend } = device;
    const { observer } = backend;
    const changed = this.changed.bind(this);
    backend.observer = {
      created: (entry) => (observer?.created(entry), changed()),
      deleting: (entry) => (observer?.deleting(entry), changed()),
      moved: (from, to) => (observer?.moved(from, to), changed()),
      modified: (inode) => (observer?.modified(inode), changed()),
      attributesChanged: (inode) => (observer?.attributesChanged(inode), changed()),
    };
  }

  /** Tells the page, now or soon. */
  changed(): void {
    this.#notice ??= setTimeout(() => {
      this.#notice = undefined;
      this.#onChange();
    }, NOTICE_INTERVAL);
  }

  list(paths: string[]): Map<string, FileEntry[]> {
    const lists = new Map<string, FileEntry[]>();
    for (const path of paths) {
      try {
        const names = this.#fs.readdirSync(path) as string[];
        lists.set(path, names.map((name) => this.#entry(join(path, name), name)));
      } catch {
        // It is gone, or no directory any more.
      }
    }
    return lists;
  }

  #entry(path: string, name: string): FileEntry {
    const { size, mode, uid, gid, ino, nlink, mtimeMs } = this.#fs.lstatSync(path);
    const kind = kindOf(Number(mode));
    return {
      name, path, kind,
      size: Number(size), mode: Number(mode), uid: Number(uid), gid: Number(gid), ino: Number(ino), nlink: Number(nlink), mtime: Number(mtimeMs),
      ...(kind === 'symlink' && { target: String(this.#fs.readlinkSync(path)) }),
    };
  }

  use(ino: number): FileUse {
    const { backend } = this.#device;
    const users = [...this.#users()].filter(({ device }) => device.backend === backend);
    const nameOf = (session: string) => users.find(({ device }) => device.session.name === session)?.name ?? 'another';
    const { locks, waiters } = backend.locks.state();
    const type = (value: number) => (value === F_WRLCK ? 'write' : 'read');
    return {
      handles: users.flatMap(({ name, device }) =>
        device.session.state().handles.handles.filter((handle) => handle.ino === ino).map(({ fh, flags }) => ({ guest: name, fh, flags }))),
      locks: locks.filter((lock) => lock.ino === ino).map(({ session, space, pid, start, end, ...lock }) => ({
        guest: nameOf(session), space, pid, type: type(lock.type), start: Number(start), end: end === LOCK_END_MAX ? undefined : Number(end),
      })),
      waiting: waiters.filter(({ lock }) => lock.ino === ino).map(({ lock }) => ({ guest: nameOf(lock.session), pid: lock.pid, type: type(lock.type) })),
    };
  }

  read(path: string, limit: number): Uint8Array {
    const fd = this.#fs.openSync(path, 'r');
    try {
      const size = Math.min(limit, Number(this.#fs.fstatSync(fd).size));
      const bytes = new Uint8Array(size);
      const count = this.#fs.readSync(fd, bytes, 0, size, 0);
      return bytes.subarray(0, count);
    } finally {
      this.#fs.closeSync(fd);
    }
  }

  write(path: string, content: Uint8Array): void {
    this.#fs.writeFileSync(path, content);
  }

  makeDirectory(path: string): void {
    this.#fs.mkdirSync(path);
  }

  rename(path: string, newPath: string): void {
    if (this.#fs.existsSync(newPath)) throw new Error(`${newPath} is there already: choose another name`);
    this.#fs.renameSync(path, newPath);
  }

  remove(path: string): void {
    this.#fs.rmSync(path, { recursive: true, force: true });
  }

  chmod(path: string, mode: number): void {
    this.#fs.chmodSync(path, mode);
  }

  existing(directory: string, paths: string[]): string[] {
    return paths.filter((path) => this.#fs.existsSync(join(directory, path)));
  }

  async put(directory: string, files: NewFile[], onProgress: (bytes: number) => void): Promise<void> {
    let done = 0;
    for (const { path, content } of files) {
      const target = join(directory, path);
      this.#fs.mkdirSync(parentOf(target), { recursive: true });
      const fd = this.#fs.openSync(target, 'w');
      try {
        for (let at = 0; at < content.size; at += SLICE) {
          const bytes = new Uint8Array(await content.slice(at, at + SLICE).arrayBuffer());
          this.#fs.writeSync(fd, bytes, 0, bytes.length, at);
          done += bytes.length;
          onProgress(done);
        }
      } finally {
        this.#fs.closeSync(fd);
      }
    }
  }

  async unpack(path: string): Promise<TreeReport> {
    return loadTar(this.#device.backend, new Blob([this.read(path, Infinity).slice()]).stream(), { directory: parentOf(path) });
  }

  async download(path: string): Promise<Blob> {
    const { kind } = this.#entry(path, '');
    if (kind !== 'directory') return new Blob([this.read(path, Infinity).slice()]);
    const { stream } = dumpTar(this.#device.backend, { directory: path });
    return new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>, { headers: { 'content-type': 'application/x-tar' } }).blob();
  }
}

function kindOf(mode: number): FileKind {
  switch (mode & S_IFMT) {
    case S_IFREG: return 'file';
    case S_IFDIR: return 'directory';
    case S_IFLNK: return 'symlink';
    default: return 'special';
  }
}

function join(directory: string, path: string): string {
  return directory === '/' ? `/${path}` : `${directory}/${path}`;
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}
