import { FsError } from '../fs/errno.ts';
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

/** Fetches all content of an image, and checks it wherever it stands. `onProgress` is told which part is done. */
export async function verifyImage(
  { origin, places }: Pick<OpenImage, 'origin' | 'places'>,
  onProgress?: (fraction: number) => void,
): Promise<ImageCheck> {
  const reasons = new Set<string>();
  const first = [...places.first];
  const total = first.length + places.count;
  let damaged = 0;
  const check = async (numbers: number[], isInFront: boolean): Promise<void> => {
    try {
      await origin.read(numbers, isInFront);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      if (numbers.length > 1) {
        for (const number of numbers) await check([number], isInFront);
        return;
      }
      damaged++;
      if (reasons.size < MOST) reasons.add(error.message);
    }
  };
  for (let at = 0; at < first.length; at += LOT) {
    await check(first.slice(at, at + LOT), true);
    onProgress?.(at / total);
  }
  for (let at = 0; at < places.count; at += LOT) {
    const count = Math.min(LOT, places.count - at);
    await check(
      Array.from({ length: count }, (_, n) => at + n),
      false,
    );
    onProgress?.((first.length + at + count) / total);
  }
  return { chunks: places.count, damaged, reasons: [...reasons] };
}
