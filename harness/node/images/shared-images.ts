import type { MemoryOrigin } from '../../../device/filesystems/memory/inode-table.ts';
import type { MemoryState } from '../../../device/filesystems/memory/state.ts';
import type { OpenImage } from '../../../device/image/open.ts';
import { exportWhole, imageFileSystem, MemoryFileSystem, type SnapshotStore } from '../../../device/index.ts';
import { readConfig, withoutImages } from '../../machine/config.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import type { ShareOptions, VmOptions } from '../vm-options.ts';
import { holdingImages, type ImageLeases, type ImageUse } from './image-leases.ts';
import { imageLocation } from './share-image.ts';

/**
 * A share whose source is an image gets a filesystem with it, whose content is fetched when it is read, as long as `images` or a copy of them are held.
 *
 * @throws VmError `share` when it can't be had.
 */
export async function withImage(share: ShareOptions, images: ImageLeases, options: ImageUse): Promise<ShareOptions> {
  const { source, size, ...others } = share;
  if (source === undefined || imageLocation(source) === undefined) return share;
  const image = await images.take(source, options);
  try {
    return { ...others, filesystem: imageFileSystem(image, { size }) };
  } catch (error) {
    throw new VmError(
      'share',
      `the image ${printable(source)} can't be shared: ${printable((error as Error).message)}`,
      { cause: error },
    );
  }
}

/** The ids of the images that shares are on, by tag. */
export function imageIds(shares: readonly ShareOptions[]): Map<string, string> {
  return new Map(
    shares.flatMap(({ tag, filesystem }) =>
      filesystem instanceof MemoryFileSystem && filesystem.origin ? [[tag, filesystem.origin.id]] : [],
    ),
  );
}

/**
 * Filesystems for the shares of a snapshot that are on images, by tag, with nothing in them yet. `wanted`: the images' ids.
 *
 * @throws VmError `configuration` for an image that is missing, or that no share is on; `share` when it can't be had.
 */
export async function matchImages(
  wanted: ReadonlyMap<string, string>,
  images: ImageLeases,
  { images: locations = [], ...options }: ImageUse & Pick<VmOptions, 'images'>,
): Promise<Map<string, MemoryFileSystem>> {
  const ids = new Set(wanted.values());
  const found = new Map<string, Pick<OpenImage, 'origin'>>();
  // Where there is nothing to choose, it can be told without asking whether what is in the cache is right.
  const id = ids.size === 1 && locations.length === 1 ? [...ids][0] : undefined;
  for (const location of locations) {
    const image = await images.take(location, { ...options, ids, id });
    if (!ids.has(image.info.id))
      throw new VmError(
        'configuration',
        `no share of this guest is on the image ${printable(location)}, which is ${image.info.id.slice(0, 12)}: leave it out`,
      );
    found.set(image.info.id, image);
  }
  return new Map(
    [...wanted].map(([tag, id]) => {
      const image = found.get(id);
      if (!image)
        throw new VmError(
          'configuration',
          `the share ${printable(JSON.stringify(tag))} of this guest is on the image ${printable(id.slice(0, 12))}: say where that is, with --image IMAGE (\`images\`)`,
        );
      return [tag, new MemoryFileSystem({ origin: image.origin })];
    }),
  );
}

/** What images have, by their ids. @throws VmError `share` when one can't be had. */
export async function treesOf(locations: readonly string[] = []): Promise<Map<string, MemoryState>> {
  return holdingImages(async (images) => {
    const trees = new Map<string, MemoryState>();
    for (const location of locations) {
      const { info, state } = await images.take(location);
      trees.set(info.id, state);
    }
    return trees;
  });
}

/** As `exportWhole`, with the images at these locations, and of a machine whose shares are on none. @throws VmError `configuration` for an image that is missing. */
export async function exportWithImages(
  store: SnapshotStore,
  id: string,
  locations: readonly string[] = [],
  onProgress?: (message: string) => void,
): Promise<Uint8Array[]> {
  const { bases = [], machine } = store.frozen(id);
  const ids = new Set(bases);
  return holdingImages(async (images) => {
    const origins: MemoryOrigin[] = [];
    for (const location of locations) origins.push((await images.take(location, { ids, onProgress })).origin);
    for (const base of bases)
      if (!origins.some((origin) => origin.id === base))
        throw new VmError(
          'configuration',
          `the snapshot is on the image ${base.slice(0, 12)}: say where that is, with --image IMAGE`,
        );
    return exportWhole(store, id, origins, {
      machine: withoutImages(readConfig(machine)),
      onProgress: (done, all) =>
        onProgress?.(`fetching the image: ${(done / 1e6).toFixed(1)} of ${(all / 1e6).toFixed(1)} MB`),
    });
  });
}
