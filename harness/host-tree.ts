import { closeSync, lstatSync, openSync, readSync, readdirSync, readlinkSync, type BigIntStats } from 'node:fs';
import type { ByteSink, ByteSource } from '../device/bytes.ts';
import type { Backend, Inode, Timespec } from '../device/fs/backend.ts';
import { decodeName } from '../device/fs/names.ts';
import { VmError } from './errors.ts';

const CHUNK_LENGTH = 1024 * 1024;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_IFSOCK = 0o140000;

/** What a loaded entry was on both sides, to know later who has changed it. */
export interface Baseline {
  /** The host's file, see {@link fingerprint}. */
  host: string;
  ino: number;
  /** The guest side's, see {@link attrStamp}. */
  guest: string;
  /** S_IFMT bits. */
  type: number;
}

export interface LoadedTree {
  directory: string;
  /** By path from the share's root, "" for the root itself; names as the backend has them. */
  baselines: Map<string, Baseline>;
  files: number;
  bytes: number;
  /** What could not be taken along, and why. */
  skipped: { path: string; reason: string }[];
}

/**
 * Copies a host directory into a filesystem: contents, modes, owners, times to the nanosecond,
 * symbolic links, hard links, FIFOs and device nodes. Nothing on the host changes.
 * `onProgress` gets the counts so far, once for each directory.
 *
 * @throws VmError `share` when `directory` is missing or no directory.
 */
export function loadHostTree(
  directory: string,
  backend: Backend,
  onProgress?: (files: number, bytes: number) => void,
): LoadedTree {
  const tree: LoadedTree = { directory, baselines: new Map(), files: 0, bytes: 0, skipped: [] };
  const links = new Map<string, Inode>();

  const loadEntry = (host: Buffer, path: string, name: string, parent: Inode): void => {
    const stats = lstatSync(host, { bigint: true });
    const mode = Number(stats.mode);
    const owner = { uid: Number(stats.uid), gid: Number(stats.gid) };
    const key = `${stats.dev}:${stats.ino}`;
    const type = mode & S_IFMT;
    const twin = type === S_IFDIR ? undefined : links.get(key);
    let inode: Inode;
    if (twin) {
      backend.link(twin, parent, name);
      inode = twin;
    } else if (type === S_IFLNK) {
      inode = backend.symlink(parent, name, decodeName(readlinkSync(host, { encoding: 'buffer' })), owner);
    } else if (type === S_IFSOCK) {
      tree.skipped.push({ path, reason: 'a socket belongs to the program that listens on it' });
      return;
    } else {
      inode = backend.mknod(parent, name, { mode, rdev: Number(stats.rdev), ...owner });
    }
    if (stats.nlink > 1n) links.set(key, inode);
    if (type === S_IFREG && !twin) tree.bytes += copyIn(host, inode, backend);
    if (type === S_IFDIR) loadChildren(host, path, inode);
    tree.files++;
    settle(path, inode, stats);
  };

  const loadChildren = (host: Buffer, path: string, inode: Inode): void => {
    for (const name of readdirSync(host, { encoding: 'buffer' })) {
      const text = decodeName(name);
      const childPath = path ? `${path}/${text}` : text;
      try {
        loadEntry(Buffer.concat([host, Buffer.from('/'), name]), childPath, text, inode);
      } catch (error) {
        if (!isHostError(error)) throw error;
        tree.skipped.push({ path: childPath, reason: error.message });
      }
    }
    onProgress?.(tree.files, tree.bytes);
  };

  /** Metadata comes last: what is copied into an entry changes its times. */
  const settle = (path: string, inode: Inode, stats: BigIntStats): void => {
    const type = Number(stats.mode) & S_IFMT;
    backend.setattr(inode, {
      ...(type !== S_IFLNK && { mode: Number(stats.mode) & 0o7777 }),
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      atime: timespec(stats.atimeNs),
      mtime: timespec(stats.mtimeNs),
    });
    tree.baselines.set(path, { host: fingerprint(stats), ino: inode.ino, guest: '', type });
  };

  const stats = lstatOrExplain(directory);
  const root = Buffer.from(directory);
  loadChildren(root, '', backend.root);
  settle('', backend.root, stats);
  for (const baseline of tree.baselines.values()) baseline.guest = attrStamp(backend, backend.inode(baseline.ino)!);
  return tree;
}

/** Changes whenever a host file's content or metadata does. */
export function fingerprint(stats: BigIntStats): string {
  const isDirectory = (Number(stats.mode) & S_IFMT) === S_IFDIR;
  return [stats.dev, stats.ino, stats.mode, ...(isDirectory ? [] : [stats.size, stats.mtimeNs])].join(':');
}

/** Changes whenever the guest or the host program changed the inode's content or metadata. */
export function attrStamp(backend: Backend, inode: Inode): string {
  const { mode, uid, gid, size, mtime, ctime } = backend.getattr(inode);
  return [mode, uid, gid, size, mtime.sec, mtime.nsec, ctime.sec, ctime.nsec].join(':');
}

function lstatOrExplain(directory: string): BigIntStats {
  let stats: BigIntStats;
  try {
    stats = lstatSync(`${directory}/.`, { bigint: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const what = code === 'ENOENT' ? 'does not exist' : code === 'ENOTDIR' ? 'is not a directory' : (error as Error).message;
    throw new VmError('share', `the share's directory ${directory} ${what}: give an existing directory, or none for an empty share`);
  }
  return stats;
}

function copyIn(host: Buffer, inode: Inode, backend: Backend): number {
  const fd = openSync(host, 'r');
  try {
    const chunk = new Uint8Array(CHUNK_LENGTH);
    for (let offset = 0; ; ) {
      const length = readSync(fd, chunk, 0, CHUNK_LENGTH, offset);
      if (length === 0) return offset;
      backend.write(inode, offset, length, sourceOf(chunk.subarray(0, length)));
      offset += length;
    }
  } finally {
    closeSync(fd);
  }
}

function timespec(nanoseconds: bigint): Timespec {
  const nsec = ((nanoseconds % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return { sec: Number((nanoseconds - nsec) / 1_000_000_000n), nsec: Number(nsec) };
}

function isHostError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error;
}

/** Gives out `bytes`, borrowed, front to back. */
export function sourceOf(bytes: Uint8Array): ByteSource {
  let at = 0;
  return {
    get remaining() {
      return bytes.length - at;
    },
    read(dst, offset, length) {
      const part = bytes.subarray(at, at + length);
      dst.set(part, offset);
      at += part.length;
      return part.length;
    },
  };
}

/** Fills `room`, borrowed. */
export function sinkOf(room: Uint8Array): ByteSink {
  return {
    capacity: room.length,
    writeAt(position, src, offset, length) {
      const count = Math.max(0, Math.min(length, room.length - position));
      room.set(src.subarray(offset, offset + count), position);
      return count;
    },
  };
}
