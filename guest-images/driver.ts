import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CpioArchive } from './cpio.ts';
import { buildModules } from './driver-build.ts';
import { diffsOf, readPatches } from './driver-patches.ts';
import { GuestImageError } from './errors.ts';
import type { GuestImage } from './image.ts';
import { isWritable, readableCacheDirectories, writableCacheDirectory } from './paths.ts';

export interface DriverOptions {
  /** Called with what is being done. */
  onProgress?: (message: string) => void;
}

/**
 * The same guest, on Debian's kernel, with the fast driver. Its initial RAM disk is the stock one and a second archive after
 * it, whose fuse.ko and virtiofs.ko replace the first one's as Linux unpacks them; and which has the modules that hibernation needs, as `/lib/modules/disk` names them. It is kept beside the
 * stock one, or in the cache where that place can't be written.
 *
 * @param image made by `ensureGuestImage`.
 * @throws GuestImageError when the driver can't be built.
 */
export async function withFastDriver(image: GuestImage, { onProgress }: DriverOptions = {}): Promise<GuestImage> {
  const id = createHash('sha256')
    .update(image.id)
    .update(diffsOf(await readPatches('6.1')))
    .digest('hex');
  const name = `initrd-fast-${id.slice(0, 16)}.img`;
  const places = [dirname(image.initrd), ...readableCacheDirectories()];
  let initrd = places.map((place) => join(place, name)).find((path) => existsSync(path));
  if (!initrd) {
    initrd = join(isWritable(places[0]!) ? places[0]! : writableCacheDirectory(), name);
    const { drivers, disk } = await buildModules(
      { release: image.release, version: await kernelVersion(image) },
      onProgress,
    );
    const overlay = new CpioArchive();
    const path = (name: string) => `lib/modules/${image.release}/${name}.ko`;
    for (const { name, content } of [...drivers, ...disk]) overlay.file(path(name), content);
    overlay.file('lib/modules/disk', disk.map(({ name }) => `/${path(name)}\n`).join(''));
    const unfinished = `${initrd}.${randomUUID()}`;
    await writeFile(unfinished, Buffer.concat([await readFile(image.initrd), overlay.toBuffer()]));
    await rename(unfinished, initrd);
  }
  return { ...image, initrd, id };
}

/** Of the Debian package that the image's kernel is from. */
async function kernelVersion(image: GuestImage): Promise<string> {
  const { initrd, release } = image;
  const manifest = JSON.parse(await readFile(join(dirname(initrd), 'manifest.json'), 'utf8')) as {
    packages: { name: string; version: string }[];
  };
  const kernel = manifest.packages.find(({ name }) => name === `linux-image-${release}`);
  if (!kernel)
    throw new GuestImageError(
      `the guest image does not say which package its kernel ${release} is from: remove ${dirname(image.initrd)} to build it again`,
    );
  return kernel.version;
}
