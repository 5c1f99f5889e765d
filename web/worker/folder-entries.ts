import { BytesSink } from '../../device/bytes.ts';
import type { Inode } from '../../device/filesystems/memory/inode.ts';
import type { FileEntry } from '../protocol/data.ts';

/** What the page is told of a file. */
export function entryOf(path: string, name: string, inode: Inode): FileEntry {
  const { size, mode, uid, gid, ino, nlink, mtime, target } = inode;
  return {
    name,
    path,
    size,
    mode,
    uid,
    gid,
    ino,
    nlink,
    kind: inode.isRegular ? 'file' : inode.isDirectory ? 'directory' : inode.isSymlink ? 'symlink' : 'special',
    mtime: mtime.sec * 1000 + mtime.nsec / 1e6,
    version: versionOf(inode),
    ...(target !== undefined && { target }),
  };
}

/** Another one after each change. */
export function versionOf({ ino, generation, size, mtime: { sec, nsec } }: Inode): string {
  return [ino, generation, size, sec, nsec].join(' ');
}

/** Looking at files is no access to them: their times stay. */
export function bytesOf(inode: Inode, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const count = inode.written?.read(offset, length, new BytesSink(bytes), 0) ?? 0;
  return bytes.subarray(0, count);
}

export function join(directory: string, path: string): string {
  return directory === '/' ? `/${path}` : `${directory}/${path}`;
}

export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}
