import type { MemoryState } from '../../../device/filesystems/memory/state.ts';
import type { OpenImage } from '../../../device/image/open.ts';
import { MemoryFileSystem } from '../../../device/index.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import type { ShareOptions, VmOptions } from '../vm-options.ts';
import { openImageAt } from './open.ts';
import { imageCache, imageLocation } from './share-image.ts';

/** A root whose source is an image gets a filesystem with it, whose content is fetched when it is read. @throws VmError `share` when it can't be had. */
export async function withImage<S extends ShareOptions>(
  root: S,
  { onProgress }: Pick<VmOptions, 'onProgress'>,
): Promise<Omit<S, 'source' | 'size'> | S> {
  const { source, size, ...others } = root;
  const location = source === undefined ? undefined : imageLocation(source);
  if (location === undefined) return root;
  const { origin, state } = await open(location, onProgress);
  const filesystem = new MemoryFileSystem({ size, origin });
  filesystem.restore(filesystem.checkState(state));
  return { ...others, filesystem };
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
  locations: readonly string[] = [],
  onProgress?: VmOptions['onProgress'],
): Promise<Map<string, MemoryFileSystem>> {
  const images = new Map<string, Pick<OpenImage, 'origin'>>();
  for (const location of locations) {
    const image = await open(location, onProgress);
    if (![...wanted.values()].includes(image.info.id))
      throw new VmError(
        'configuration',
        `no share of this guest is on the image ${printable(location)}, which is ${image.info.id.slice(0, 12)}: leave it out`,
      );
    images.set(image.info.id, image);
  }
  return new Map(
    [...wanted].map(([tag, id]) => {
      const image = images.get(id);
      if (!image)
        throw new VmError(
          'configuration',
          `the share ${printable(JSON.stringify(tag))} of this guest is on the image ${printable(id.slice(0, 12))}: say where that is, with --image IMAGE (\`images\`)`,
        );
      return [tag, new MemoryFileSystem({ origin: image.origin })];
    }),
  );
}

/** Whether the images can be had at all, before there is a guest that needs them. @throws VmError `share` when one can't. */
export async function checkImages(locations: readonly string[] = []): Promise<void> {
  for (const location of locations) (await open(location, undefined)).origin.close();
}

/** What images have, by their ids, for those who look into snapshots. @throws VmError `share` when one can't be had. */
export async function treesOf(locations: readonly string[] = []): Promise<Map<string, MemoryState>> {
  const trees = new Map<string, MemoryState>();
  for (const location of locations) {
    const { info, state, origin } = await open(location, undefined);
    origin.close();
    trees.set(info.id, state);
  }
  return trees;
}

async function open(
  named: string,
  onProgress: VmOptions['onProgress'] = () => {},
): Promise<Pick<OpenImage, 'info' | 'origin' | 'state'>> {
  const location = imageLocation(named) ?? named;
  try {
    return await openImageAt(location, {
      cache: imageCache(),
      onTrouble: ({ error }) => onProgress(error.message),
      onRecovered: () => onProgress(''),
    });
  } catch (error) {
    throw new VmError('share', `the image ${printable(location)}: ${printable((error as Error).message)}`, {
      cause: error,
    });
  }
}
