import { PAGE_SIZE } from '../../bytes.ts';
import { SEEK_DATA, SEEK_HOLE } from '../../fs/constants.ts';
import { EINVAL, ENXIO, FsError } from '../../fs/errno.ts';
import type { ChunkList } from './chunk-list.ts';

/** lseek(2) with SEEK_DATA or SEEK_HOLE in a file with these chunks; the end of file is a hole. @throws FsError ENXIO, EINVAL. */
export function seekIn(chunks: ChunkList, size: number, offset: number, whence: number): number {
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw FsError.of(EINVAL);
  if (!(offset >= 0 && offset < size)) throw FsError.of(ENXIO);
  const hole = whence === SEEK_HOLE;
  const found = (at: number): number => {
    if (hole) return Math.min(at, size);
    if (at >= size) throw FsError.of(ENXIO);
    return at;
  };
  let at = offset;
  for (let chunk = chunks.at(Math.floor(offset / PAGE_SIZE)); ; ) {
    if (chunk) {
      const base = chunk.at * PAGE_SIZE;
      const inChunk = chunk.find(at - base, hole);
      if (inChunk !== undefined) return found(base + inChunk);
      at = chunk.end * PAGE_SIZE;
      chunk = chunks.at(chunk.end);
    } else if (hole) return found(at);
    else {
      chunk = chunks.atOrAfter(Math.floor(at / PAGE_SIZE));
      if (!chunk) throw FsError.of(ENXIO);
      at = chunk.at * PAGE_SIZE;
    }
  }
}
