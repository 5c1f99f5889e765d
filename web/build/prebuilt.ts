import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { GuestImageError } from '../../guest-images/errors.ts';
import { withPrebuilt } from '../../guest-images/prebuilt.ts';
import { GUEST_VERSION, type GuestManifest, type PackedFile } from '../protocol/manifest.ts';

/** Names where guests are that were built before: a directory, or a .tar file or URL. */
export const PREBUILT = 'V86_VIRTIOFS_PAGE_GUESTS';

/**
 * Puts a guest that was built before into a directory, in place of what is there. `location`: of a directory in which guests are by their names, as
 * `withPrebuilt` takes it. What is in it is compared with its hashes.
 *
 * @throws GuestImageError that says what is wrong.
 */
export async function takePrebuilt(
  location: string,
  name: string,
  directory: string,
  onProgress: (message: string) => void,
): Promise<void> {
  await withPrebuilt(location, { member: name, keptAs: 'page-guests', onProgress }, (from, place) =>
    put(join(from, name), directory, place),
  );
}

/** Copies a guest that is sound. */
async function put(from: string, directory: string, place: string): Promise<void> {
  await checkGuest(from, place);
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  await cp(from, directory, { recursive: true, verbatimSymlinks: true });
}

/** Its files have the names of what is in them; those of its image are compared when they are read. */
async function checkGuest(directory: string, place: string): Promise<void> {
  const text = await readFile(join(directory, 'guest.json'), 'utf8').catch(() => undefined);
  if (text === undefined)
    throw new GuestImageError(`${place} has no such guest: ${join(directory, 'guest.json')} is missing`);
  const { version, snapshot, boot, rootBoot, root } = JSON.parse(text) as GuestManifest;
  if (version !== GUEST_VERSION)
    throw new GuestImageError(
      `The guest in ${place} is of version ${version}, and this page takes version ${GUEST_VERSION}: take one of this release, or build it`,
    );
  const { initrd, ...others } = rootBoot;
  const files: PackedFile[] = [snapshot, ...Object.values(boot), ...Object.values(others), ...(initrd ? [initrd] : [])];
  for (const { file } of files) {
    const [, wanted] = /^guest-([0-9a-f]{16})\.[a-z]+\.bin$/.exec(file) ?? [];
    const bytes = await readFile(join(directory, file)).catch(() => undefined);
    if (!bytes || !wanted || createHash('sha256').update(bytes).digest('hex').slice(0, 16) !== wanted)
      throw new GuestImageError(`${file} in ${place} is ${bytes ? 'damaged' : 'missing'}: fetch it again`);
  }
  if (root && !existsSync(join(directory, root.image)))
    throw new GuestImageError(`${root.image} in ${place} is missing: fetch it again`);
}
