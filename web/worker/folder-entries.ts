import { BytesSink } from '../../device/bytes.ts';
import type { MemoryFileSystem } from '../../device/filesystems/memory/filesystem.ts';
import type { Inode } from '../../device/filesystems/memory/inode.ts';
import { walk } from '../../device/trees/tree-writer.ts';
import type { FileEntry } from '../protocol/data.ts';
import type { Listing } from '../protocol/folder.ts';

type Directory = NonNullable<Inode['directory']>;
/** Characters of all paths that are found. */
const MAX_PATHS = 8 << 20;
const byName = new Intl.Collator(undefined, { numeric: true });

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

/** `limit`: entries. */
export function listingOf(path: string, directory: Directory, limit: number): Listing {
  const entries: FileEntry[] = [];
  for (const { name, inode } of directory.entries()) {
    if (entries.length === limit) break;
    entries.push(entryOf(join(path, name), name, inode));
  }
  entries.sort(
    (a, b) => Number(b.kind === 'directory') - Number(a.kind === 'directory') || byName.compare(a.name, b.name),
  );
  return { entries, count: directory.length };
}

/** What has a text in its name, by path; not below where a program could open nothing. */
export function findIn(filesystem: MemoryFileSystem, text: string, limit: number): Listing {
  const wanted = text.toLowerCase();
  const entries: FileEntry[] = [];
  let count = 0;
  let characters = 0;
  for (const { path, name, inode } of walk(filesystem, filesystem.root)) {
    if (!name.toLowerCase().includes(wanted)) continue;
    count++;
    characters += path.length;
    if (count <= limit && characters <= MAX_PATHS) entries.push(entryOf(`/${path}`, name, inode));
  }
  entries.sort((a, b) => byName.compare(a.path, b.path));
  return { entries, count };
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
