import { checkState } from '../../device/filesystems/memory/check-state.ts';
import { partsOf } from '../../device/filesystems/memory/filesystem.ts';
import type { Inode } from '../../device/filesystems/memory/inode.ts';
import { entryCost, rangesCost } from '../../device/filesystems/memory/space.ts';
import type { FuseSession } from '../../device/fuse/session.ts';
import type { MemoryFileSystem } from '../../device/index.ts';
import { encodeFields } from '../../device/snapshot/fields.ts';

/**
 * Counts all over again what a filesystem and the sessions on it keep count of: links, space, who holds
 * which inode. Throws an Error that says what is wrong. For volumes that the host has nothing open in.
 */
export function checkTree(filesystem: MemoryFileSystem, sessions: readonly FuseSession[]): void {
  const links = new Map<Inode, number>([[filesystem.root, 1]]);
  const seen = new Set<Inode>([filesystem.root]);
  const add = (inode: Inode, count: number) => links.set(inode, (links.get(inode) ?? 0) + count);
  for (const dir of seen) {
    add(dir, 1);
    let last = 0;
    for (const entry of dir.directory!.entries()) {
      const { inode } = entry;
      if (entry.dir !== dir || dir.directory!.get(entry.name) !== entry)
        fail(inode, `is ${entry.name} of directory ${dir.ino}, which it is not`);
      const cookie = dir.directory!.cookieAt(dir.directory!.rowOf(entry.name));
      if (cookie <= last || cookie >= dir.directory!.nextCookie) fail(inode, `has cookie ${cookie} after ${last}`);
      last = cookie;
      if (filesystem.inode(inode.ino) !== inode) fail(inode, `has the name ${entry.name} and is not there`);
      add(inode, 1);
      if (!inode.isDirectory) continue;
      if (inode.directory!.parent !== dir) fail(inode, `is in directory ${dir.ino} and has another parent`);
      if (seen.has(inode)) fail(inode, 'is in two directories');
      seen.add(inode);
      add(dir, 1);
    }
  }
  const held = new Map<number, number>();
  for (const session of sessions) {
    const { nodes, handles } = session.state();
    for (const ino of [...nodes.ino, ...handles.handles.map((handle) => handle.ino)])
      held.set(ino, (held.get(ino) ?? 0) + 1);
    if (nodes.nlookup.some((count) => !(count > 0)))
      throw new Error(`a node has a lookup count of ${Math.min(...nodes.nlookup)}`);
  }
  let pages = 0;
  let metadata = 0;
  for (const inode of filesystem.inodes()) {
    if (inode.nlink !== (links.get(inode) ?? 0))
      fail(inode, `has nlink ${inode.nlink}, and ${links.get(inode) ?? 0} names`);
    if (inode.retained !== (held.get(inode.ino) ?? 0))
      fail(inode, `is retained ${inode.retained} times, and ${held.get(inode.ino) ?? 0} hold it`);
    if (inode.nlink === 0 && inode.retained === 0) fail(inode, 'has no name and no one who holds it');
    const { content } = inode;
    if (content) {
      const stored = [...content.chunks()].reduce((sum, chunk) => sum + chunk.pages, 0);
      if (content.pages !== stored) fail(inode, `counts ${content.pages} pages, and has ${stored}`);
    }
    pages += content?.pages ?? 0;
    metadata += inode.metadata;
    const entries = [...(inode.directory?.entries() ?? [])].reduce((sum, { name }) => sum + entryCost(name), 0);
    if (entries !== (inode.directory?.cost ?? 0))
      fail(inode, `is charged ${inode.directory?.cost} for names that cost ${entries}`);
  }
  const { space } = partsOf(filesystem).table;
  const inodes = [...filesystem.inodes()];
  metadata += rangesCost(partsOf(filesystem).table.ranges().length);
  if (space.pages !== pages) throw new Error(`the filesystem counts ${space.pages} pages, and has ${pages}`);
  if (space.metadata !== metadata)
    throw new Error(`the filesystem counts ${space.metadata} bytes of metadata, and has ${metadata}`);
  if (space.inodes !== inodes.length)
    throw new Error(`the filesystem counts ${space.inodes} inodes, and has ${inodes.length}`);
  space.checkFits(space);
  const state = filesystem.state();
  const { usage } = checkState(state, undefined, partsOf(filesystem).table.base);
  if (usage.pages !== pages || usage.metadata !== metadata || usage.inodes !== space.inodes)
    throw new Error('a snapshot would be charged otherwise');
  const before = encodeFields(state);
  for (const inode of filesystem.inodes()) inode.touch();
  if (Buffer.compare(before, encodeFields(filesystem.state())) !== 0)
    throw new Error('a snapshot has a part of the files as it was before, because a change was not noticed');
}

function fail(inode: Inode, what: string): never {
  throw new Error(`inode ${inode.ino} ${what}`);
}
