import type { Inode } from '../../device/filesystems/memory/inode.ts';
import type { MemoryFileSystem } from '../../device/index.ts';

/** Names that are looked at: a larger tree has inodes that are not found. */
const MAX_NAMES = 5000;

/** A path of each inode, by its number. */
export function pathsOf(filesystem: MemoryFileSystem): Map<number, string> {
  const paths = new Map([[filesystem.root.ino, '/']]);
  const queue: { path: string; inode: Inode }[] = [{ path: '', inode: filesystem.root }];
  for (const { path, inode } of queue) {
    for (const { name, inode: child } of inode.directory?.entries() ?? []) {
      if (paths.size === MAX_NAMES) return paths;
      if (paths.has(child.ino)) continue;
      paths.set(child.ino, `${path}/${name}`);
      if (child.isDirectory) queue.push({ path: `${path}/${name}`, inode: child });
    }
  }
  return paths;
}
