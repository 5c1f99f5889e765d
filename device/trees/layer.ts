import type { MemoryFileSystem } from '../filesystems/memory/filesystem.ts';
import type { Inode } from '../filesystems/memory/inode.ts';
import { isFileName } from '../fs/names.ts';
import { ByteQueue } from './byte-queue.ts';
import { gunzipped } from './gunzip.ts';
import type { TreeProgress, TreeReport } from './report.ts';
import { loadTar } from './tar.ts';
import { TarReader } from './tar-reader.ts';
import { removeTree } from './tree-writer.ts';

/** How layers say that something of those below is not there any more: OCI image specification, "Whiteouts". */
const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** Of files that AUFS kept for itself. */
const INTERNAL = '.wh..wh.';

/**
 * Lays a layer of a container image, a tar archive, over what is in a filesystem: first what the layer takes away of that, wherever the archive
 * says so, and then what it has itself. `open` is called twice.
 *
 * @throws Error as {@link loadTar}.
 */
export async function loadLayer(
  filesystem: MemoryFileSystem,
  open: () => Promise<ReadableStream<Uint8Array>>,
  onProgress?: TreeProgress,
): Promise<TreeReport> {
  const queue = new ByteQueue(await gunzipped(await open()));
  try {
    const reader = new TarReader(queue);
    for (let entry = await reader.next(); entry; entry = await reader.next()) {
      const names = entry.name.split('/').filter((name) => name !== '' && name !== '.');
      const name = names.pop() ?? '';
      const dir = names.reduce<Inode | undefined>(
        (inode, part) => (inode?.isDirectory ? filesystem.lookup(inode, part) : undefined),
        filesystem.root,
      );
      const gone = name.slice(WHITEOUT.length);
      if (!name.startsWith(WHITEOUT) || names.includes('..') || !dir?.isDirectory) continue;
      if (name === OPAQUE) for (const below of filesystem.entries(dir)) removeTree(filesystem, dir, below.name);
      else if (!name.startsWith(INTERNAL) && isFileName(gone)) removeTree(filesystem, dir, gone);
    }
    await queue.drain();
  } catch (error) {
    queue.cancel(error);
    throw error;
  }
  return loadTar(filesystem, await open(), {
    onProgress,
    replacesTrees: true,
    ignores: (name) => name.split('/').some((part) => part.startsWith(WHITEOUT)),
  });
}
