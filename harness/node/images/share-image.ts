import { join } from 'node:path';
import { BlockCache, loadImage, type MemoryFileSystem, type TreeProgress } from '../../../device/index.ts';
import { writableCacheDirectory } from '../../../guest-images/paths.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { DirectoryStore } from '../stores/directory-store.ts';
import { openImageAt } from './open.ts';

const PREFIX = 'image:';

/** Where the image is that a share is to be made of; undefined for a share of something else. */
export function imageLocation(source: string): string | undefined {
  return source.startsWith(PREFIX) ? source.slice(PREFIX.length) : undefined;
}

/** What was fetched of images, for all guests of this user. */
export function imageCache(): BlockCache {
  return new BlockCache(new DirectoryStore(join(writableCacheDirectory(), 'images')));
}

/** Fills a new filesystem with an image at a URL or in a file. What was fetched is kept for the next one. @throws VmError `share`. */
export async function fillFromImage(
  location: string,
  filesystem: MemoryFileSystem,
  onProgress?: TreeProgress,
): Promise<void> {
  const cache = imageCache();
  try {
    const image = await openImageAt(location, { cache });
    try {
      await loadImage(image, filesystem, onProgress);
    } finally {
      image.origin.close();
    }
  } catch (error) {
    throw new VmError(
      'share',
      `the image ${printable(location)} can't be shared: ${printable((error as Error).message)}`,
      {
        cause: error,
      },
    );
  } finally {
    await cache.settle();
  }
}
