import { EBADF, ENFILE, FsError } from '../fs/errno.ts';
import type { FileSystem, Inode, OpenDirectory } from '../fs/filesystem.ts';

export interface FileHandle {
  readonly kind: 'file';
  readonly fh: number;
  readonly inode: Inode;
  /** O_* as of OPEN. */
  readonly flags: number;
}

export interface DirectoryHandle {
  readonly kind: 'directory';
  readonly fh: number;
  readonly inode: Inode;
  readonly flags: number;
  /** Undefined after a restore, until the next READDIR. */
  reader: OpenDirectory | undefined;
  /** The `fuse_dirent.off` that was read last. */
  position: number;
  /** As of {@link OpenDirectory}: with that one there, its own counts. */
  end: number | undefined;
}

/** Directories of stateless guests that are being read at once. */
const MAX_UNOPENED = 256;

type Handle = FileHandle | DirectoryHandle;

export interface HandleState {
  fh: number;
  kind: Handle['kind'];
  ino: number;
  generation: number;
  flags: number;
  /** Directories: the `off` of the entry read last. Files: 0. */
  position: number;
  /** Directories: entries with this `off` or a larger one are not part of what is read. Files: 0. */
  end: number;
}

export interface HandleTableState {
  handles: HandleState[];
  next: number;
}

/**
 * What the guest has open. An `fh` is never used again: a guest that was set back to an earlier
 * moment may still close what it had open since. A handle retains its inode.
 */
export class HandleTable {
  readonly #filesystem: FileSystem;
  readonly #max: number;
  readonly #handles = new Map<number, Handle>();
  #next = 1;
  /** By inode, the one used last at the end. */
  readonly #unopened = new Map<Inode, DirectoryHandle>();

  constructor(filesystem: FileSystem, max: number) {
    this.#filesystem = filesystem;
    this.#max = max;
  }

  get size(): number {
    return this.#handles.size;
  }

  /** @throws FsError ENFILE at the limit. */
  openFile(inode: Inode, flags: number): FileHandle {
    return this.#open({ kind: 'file', fh: this.#next, inode, flags: flags >>> 0 });
  }

  /** @throws FsError ENFILE at the limit. */
  openDirectory(inode: Inode, flags: number, reader: OpenDirectory): DirectoryHandle {
    return this.#open({ kind: 'directory', fh: this.#next, inode, flags, reader, position: 0, end: undefined });
  }

  #open<H extends Handle>(handle: H): H {
    if (this.#handles.size >= this.#max) throw FsError.of(ENFILE);
    this.#next++;
    this.#handles.set(handle.fh, handle);
    this.#filesystem.retain?.(handle.inode);
    return handle;
  }

  /** It does not matter whether the guest has forgotten the inode. @throws FsError EBADF when `fh` is not an open file of inode `nodeid`. */
  file(fh: number, nodeid: number): FileHandle {
    const handle = this.#handles.get(fh);
    if (handle?.kind !== 'file' || handle.inode.ino !== nodeid) throw FsError.of(EBADF);
    return handle;
  }

  /** @throws FsError EBADF when `fh` is not an open directory with inode number `nodeid`. */
  directory(fh: number, nodeid: number): DirectoryHandle {
    const handle = this.#handles.get(fh);
    if (handle?.kind !== 'directory' || handle.inode.ino !== nodeid) throw FsError.of(EBADF);
    return handle;
  }

  /** A directory that the guest has opened without asking. The last ones are kept, to go on where they were. */
  withoutOpening(inode: Inode): DirectoryHandle {
    const handle = this.#unopened.get(inode) ?? {
      kind: 'directory',
      fh: 0,
      inode,
      flags: 0,
      reader: undefined,
      position: 0,
      end: undefined,
    };
    this.#unopened.delete(inode);
    this.#unopened.set(inode, handle);
    if (this.#unopened.size > MAX_UNOPENED) this.#unopened.delete(this.#unopened.keys().next().value!);
    return handle;
  }

  isOpen(inode: Inode): boolean {
    for (const handle of this.#handles.values()) if (handle.inode === inode) return true;
    return false;
  }

  close(handle: Handle): void {
    this.#handles.delete(handle.fh);
    if (handle.kind === 'file') this.#filesystem.close?.(handle.inode, handle.flags);
    this.#filesystem.release?.(handle.inode);
  }

  /** Closes all. */
  end(): void {
    this.#unopened.clear();
    for (const handle of [...this.#handles.values()]) this.close(handle);
  }

  state(): HandleTableState {
    return {
      handles: [...this.#handles.values()].map((handle) => ({
        fh: handle.fh,
        kind: handle.kind,
        ino: handle.inode.ino,
        generation: handle.inode.generation,
        flags: handle.flags,
        position: handle.kind === 'directory' ? handle.position : 0,
        end: handle.kind === 'directory' ? (handle.reader?.end ?? handle.end!) : 0,
      })),
      next: this.#next,
    };
  }

  /**
   * Replaces everything, what is here already is closed. Handles of inodes that the filesystem does
   * not have any more are left out.
   */
  restore({ handles, next }: HandleTableState): void {
    const before = [...this.#handles.values()];
    this.#handles.clear();
    this.#unopened.clear();
    for (const { fh, kind, ino, generation, flags, position, end } of handles) {
      const inode = this.#filesystem.inode?.(ino);
      if (!inode || inode.generation !== generation) continue;
      this.#filesystem.retain?.(inode);
      this.#handles.set(
        fh,
        kind === 'file' ? { kind, fh, inode, flags } : { kind, fh, inode, flags, reader: undefined, position, end },
      );
    }
    this.#next = Math.max(this.#next, next);
    for (const { kind, inode, flags } of before) {
      if (kind === 'file') this.#filesystem.close?.(inode, flags);
      this.#filesystem.release?.(inode);
    }
  }
}
