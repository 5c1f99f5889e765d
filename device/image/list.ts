import { MemoryFileSystem } from '../filesystems/memory/filesystem.ts';
import type { MemoryState } from '../filesystems/memory/state.ts';
import type { Timespec } from '../fs/filesystem.ts';
import { AbsentBytes } from '../fs/origin.ts';
import { toHex } from '../snapshot/layer.ts';
import { walk } from '../trees/tree-writer.ts';

/** What an image says of an entry. */
export interface ListedFile {
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: Timespec;
  nlink: number;
  rdev: number;
  /** Of a symbolic link. */
  target: string | undefined;
  /** Names, and values in hexadecimal digits, by name. */
  xattrs: [string, string][];
  /** Where it differs from another's, so does the content. */
  content: string;
}

/** More than an image can have. */
const LIMITS = { size: 2 ** 50, inodes: 2 ** 23 };

/** All that is in an image, by path, the root as ''; nothing is fetched. @throws TypeError when its tree is not sound. */
export function listImage({ origin: _, ...state }: MemoryState): Map<string, ListedFile> {
  const filesystem = new MemoryFileSystem(LIMITS);
  // Hashes stand in the place of content.
  const ranges = state.ranges.map(({ chunks, ...range }) => ({
    ...range,
    ...(chunks && {
      chunks: { ...chunks, bytes: chunks.bytes.map((bytes) => (bytes instanceof AbsentBytes ? bytes.hash : bytes)) },
    }),
  }));
  filesystem.restore(filesystem.checkState({ ...state, ranges }));
  const files = new Map<string, ListedFile>();
  for (const { path, inode } of [{ path: '', inode: filesystem.root }, ...walk(filesystem, filesystem.root)]) {
    const { mode, uid, gid, mtime, nlink, rdev, target, written } = inode;
    files.set(path, {
      mode,
      uid,
      gid,
      size: inode.isDirectory ? 0 : inode.size,
      mtime,
      nlink: inode.isDirectory ? 1 : nlink,
      rdev,
      target,
      xattrs: [...(inode.xattrs?.entries() ?? [])].map(([name, value]) => [name, toHex(value)]),
      content: [...(written?.chunks() ?? [])]
        .map((chunk) => `${chunk.at}:${chunk.map}:${toHex(chunk.stored() as Uint8Array)}`)
        .join(),
    });
  }
  return files;
}

/** What lies between two images: paths, and of those that are in both what differs. */
export interface ImageDifference {
  added: string[];
  removed: string[];
  changed: { path: string; what: (keyof ListedFile)[] }[];
}

/** @throws TypeError when a tree is not sound. */
export function compareImages(from: MemoryState, to: MemoryState): ImageDifference {
  const [before, after] = [listImage(from), listImage(to)];
  const changed: ImageDifference['changed'] = [];
  for (const [path, file] of after) {
    const earlier = before.get(path);
    if (!earlier) continue;
    const what = (Object.keys(file) as (keyof ListedFile)[]).filter(
      (key) => JSON.stringify(file[key]) !== JSON.stringify(earlier[key]),
    );
    if (what.length) changed.push({ path, what });
  }
  return {
    added: [...after.keys()].filter((path) => !before.has(path)),
    removed: [...before.keys()].filter((path) => !after.has(path)),
    changed,
  };
}
