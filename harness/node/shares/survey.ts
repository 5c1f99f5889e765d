import type { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import type { Inode } from '../../../device/filesystems/memory/inode.ts';
import { PATH_MAX, S_IFDIR, S_IFMT } from '../../../device/fs/constants.ts';
import { nameLength } from '../../../device/fs/names.ts';
import { TOO_LONG } from '../../../device/trees/tree-writer.ts';
import { MAX_DEPTH, TOO_DEEP } from './host-directory.ts';
import { attrStamp, type Known } from './host-tree.ts';

/** An entry of the share, as it was when the write-back began. */
export interface Item {
  name: string;
  inode: Inode;
  stamp: string;
  known: Known | undefined;
  /** It, or something below it, is not as it was known. */
  isChanged: boolean;
  /** Why it can't be on the host. */
  obstacle: string | undefined;
  /** Of a directory. */
  items: Item[] | undefined;
}

/** What is in a directory of a share now, compared with what is known, in one step. `length`: of its path, in bytes; `depth`: of directories above it. */
export function survey(
  filesystem: MemoryFileSystem,
  dir: Inode,
  known: Known | undefined,
  length = 0,
  depth = 0,
): Item[] {
  return filesystem.entries(dir).map(({ name, inode }) => {
    const child = known?.children?.get(name);
    const stamp = attrStamp(filesystem, inode);
    const end = length + nameLength(name) + 1;
    const obstacle = end > PATH_MAX ? TOO_LONG : depth > MAX_DEPTH ? TOO_DEEP : undefined;
    const items = inode.isDirectory && !obstacle ? survey(filesystem, inode, child, end, depth + 1) : undefined;
    const isSame = child?.ino === inode.ino && child.guest === stamp;
    const isChanged = !isSame || hasGone(child, items) || (items?.some((item) => item.isChanged) ?? false);
    return { name, inode, stamp, known: child, isChanged, obstacle, items };
  });
}

export function forEach(items: Item[], visit: (item: Item) => void): void {
  for (const item of items) {
    visit(item);
    if (item.items) forEach(item.items, visit);
  }
}

export function isDirectory(known: Known | undefined): known is Known {
  return known !== undefined && (known.mode & S_IFMT) === S_IFDIR;
}

/** Whether a known directory has entries that the share does not have any more. */
function hasGone(known: Known | undefined, items: Item[] | undefined): boolean {
  return items !== undefined && (known?.children?.size ?? 0) > items.filter((item) => item.known).length;
}
