import { MemoryFileSystem, type MemoryFileSystemOptions } from '../filesystems/memory/filesystem.ts';
import type { MemoryOrigin } from '../filesystems/memory/inode-table.ts';
import type { MemoryState, RangeState } from '../filesystems/memory/state.ts';
import { AbsentBytes } from '../fs/origin.ts';
import type { TreeProgress } from '../trees/report.ts';
import type { OpenImage } from './open.ts';

/** Chunks that are fetched together. */
const LOT = 256;

/**
 * Fetches all that is in an image into a filesystem, in the place of what is there. `onProgress` is told how many files are there, and
 * bytes of content.
 *
 * @throws FsError EIO when it can't be had; TypeError when the tree of the image is not sound; RangeError when there is no room for it.
 */
export async function loadImage(
  { origin, state }: Pick<OpenImage, 'origin' | 'state'>,
  filesystem: MemoryFileSystem,
  onProgress?: TreeProgress,
): Promise<void> {
  let [files, bytes] = [0, 0];
  const fetched = async (range: RangeState): Promise<RangeState> => {
    const { chunks } = range;
    if (!chunks) return range;
    const whole: Uint8Array[] = [];
    for (let from = 0; from < chunks.bytes.length; from += LOT) {
      const lot = chunks.bytes.slice(from, from + LOT).filter((each) => each instanceof AbsentBytes);
      for (const each of await origin.fetch(lot)) {
        whole.push(each);
        bytes += each.length;
      }
      onProgress?.(files, bytes);
    }
    files += (range.files?.ino.length ?? 0) / 4;
    return { ...range, chunks: { ...chunks, bytes: whole } };
  };
  const ranges: RangeState[] = [];
  for (const range of state.ranges) ranges.push(await fetched(range));
  const { nextIno } = state;
  filesystem.restore(filesystem.checkState({ uuid: filesystem.uuid, nextIno, ranges }));
}

/**
 * A new filesystem with an image in it, whose content is fetched when it is needed. Several may be made of one image.
 *
 * @throws TypeError when the tree of the image is not sound; RangeError when there is no room for it.
 */
export function imageFileSystem(
  { origin, state }: { origin: MemoryOrigin; state: MemoryState },
  options: Omit<MemoryFileSystemOptions, 'origin'> = {},
): MemoryFileSystem {
  const filesystem = new MemoryFileSystem({ ...options, origin });
  filesystem.restore(filesystem.checkState({ ...state, uuid: filesystem.uuid }));
  return filesystem;
}
