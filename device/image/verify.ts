import { FsError } from '../fs/errno.ts';
import type { ContentChunk } from '../fs/origin.ts';
import type { OpenImage } from './open.ts';

/** Chunks that are asked for together. */
const LOT = 64;
/** Reasons that are listed. */
const MOST = 100;

/** What {@link verifyImage} finds. */
export interface ImageCheck {
  chunks: number;
  /** Chunks that can't be had as they should be. */
  damaged: number;
  /** Why, each reason once. */
  reasons: string[];
}

/** Fetches all content of an image, and checks it. `onProgress` is told which part is done. */
export async function verifyImage(
  { origin, places }: Pick<OpenImage, 'origin' | 'places'>,
  onProgress?: (fraction: number) => void,
): Promise<ImageCheck> {
  const reasons = new Set<string>();
  let damaged = 0;
  const check = async (chunks: ContentChunk[]): Promise<void> => {
    try {
      await origin.fetch(chunks);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      if (chunks.length > 1) {
        for (const chunk of chunks) await check([chunk]);
        return;
      }
      damaged++;
      if (reasons.size < MOST) reasons.add(error.message);
    }
  };
  for (let first = 0; first < places.count; first += LOT) {
    const count = Math.min(LOT, places.count - first);
    await check(Array.from({ length: count }, (_, n) => places.chunkAt(first + n)));
    onProgress?.((first + count) / places.count);
  }
  return { chunks: places.count, damaged, reasons: [...reasons] };
}
