import type { FileSystem } from '../../device/index.ts';

/** The path of an inode, by the name that it got or was looked up by last; undefined when it has none, or the filesystem does not tell. */
export function pathOf(filesystem: FileSystem, ino: number): string | undefined {
  const inode = filesystem.inode?.(ino);
  const names = inode && filesystem.path?.(inode);
  return names && `/${names.join('/')}`;
}
