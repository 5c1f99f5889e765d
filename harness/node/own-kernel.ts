import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { kernelRelease } from '../../guest-images/bzimage.ts';
import { GuestImageError } from '../../guest-images/errors.ts';
import { agentArchive, extendInitrd, hasAgent } from '../../guest-images/initrd.ts';
import { unpackKernel } from '../../guest-images/kernel.ts';
import { findModules, moduleArchive } from '../../guest-images/own-modules.ts';
import { writableCacheDirectory } from '../../guest-images/paths.ts';
import { PROGRAMS_PLACE } from '../machine/boot/root.ts';
import { type BootFiles, readImageFile } from './boot-files.ts';
import { writeFileWhole } from './stores/whole-file.ts';
import type { ShareOptions, VmOptions } from './vm-options.ts';

/** Tag of the share that has all modules of a kernel, behind all other shares, and where the guest looks for them. */
export const MODULES_TAG = 'kernel-modules';
const MODULES_LINK = `/mnt/${MODULES_TAG}`;
/** Files made of others that are kept, and milliseconds for which one that was used is. */
const KEPT = 8;
const IN_USE = 24 * 60 * 60 * 1000;

type Wanted = Pick<VmOptions, 'initrd' | 'modules' | 'bootMethod' | 'onProgress'> & {
  kernel: string;
  hasRoot: boolean;
};

/** What a kernel of the caller's boots from; its BIOS where that is at hand. @throws VmError, GuestImageError. */
export async function ownKernel({
  kernel,
  initrd,
  modules,
  bootMethod,
  onProgress,
  hasRoot,
}: Wanted): Promise<BootFiles> {
  const bytes = await readImageFile(kernel);
  const vmlinux = bootMethod === 'bios' ? undefined : await unpacked(kernel, bytes, bootMethod === 'direct');
  const given = initrd === undefined ? undefined : await readImageFile(initrd);
  const archives: Uint8Array[] = [];
  if (modules !== undefined)
    archives.push(await moduleArchive(await findModules(modules, kernelRelease(bytes)), MODULES_LINK));
  const needsAgent = given !== undefined && !hasRoot && !hasAgent(given);
  // With a root, a kernel that has all it takes needs no initial RAM disk.
  const needsOurs = given === undefined && (!hasRoot || archives.length > 0);
  const image = hasRoot || needsAgent || needsOurs ? await ensureGuestImage({ onProgress }) : undefined;
  if (needsAgent) {
    const [init, agent] = [await readImageFile(image!.init), await readImageFile(image!.agent)];
    archives.push(agentArchive({ init, agent }, PROGRAMS_PLACE));
  }
  const base = given ?? (needsOurs ? await readImageFile(image!.plainInitrd) : undefined);
  const whole = base && archives.length ? extendInitrd(base, archives, initrd ?? 'the initial RAM disk') : base;
  const hash = createHash('sha256').update(bytes);
  if (whole) hash.update(whole);
  return {
    kernel,
    vmlinux,
    initrd:
      whole && whole !== base ? await kept('initrd', whole) : (initrd ?? (needsOurs ? image!.plainInitrd : undefined)),
    startsAgent: needsAgent,
    init: image?.init,
    agent: image?.agent,
    bios: image?.bios,
    vgaBios: image?.vgaBios,
    id: hash.digest('hex'),
  };
}

/** The share that has the modules for a kernel in `directory`, as they are there. @throws GuestImageError, VmError. */
export async function modulesShare(directory: string, kernel: string): Promise<ShareOptions> {
  const { path } = await findModules(directory, kernelRelease(await readImageFile(kernel)));
  return { tag: MODULES_TAG, source: path, live: true, readOnly: true };
}

/** The share in which commands run: the first one that the guest is given to work in. */
export function workShare<S extends { tag: string; isRoot: boolean }>({
  shares,
}: {
  shares: readonly S[];
}): S | undefined {
  return shares.find(({ tag, isRoot }) => !isRoot && tag !== MODULES_TAG);
}

/** Path of the ELF file in a kernel; undefined where only a BIOS can boot it, unless it `isNeeded`. @throws GuestImageError. */
async function unpacked(path: string, kernel: Uint8Array, isNeeded: boolean): Promise<string | undefined> {
  const bytes = Buffer.from(kernel.buffer, kernel.byteOffset, kernel.length);
  try {
    const elf = await unpackKernel(bytes);
    return elf === bytes ? path : await kept('vmlinux', elf);
  } catch (error) {
    if (isNeeded || !(error instanceof GuestImageError)) throw error;
    return undefined;
  }
}

/** Path of a file with these bytes, in the cache. Those that were not used for longest go. */
async function kept(suffix: string, bytes: Uint8Array): Promise<string> {
  const directory = join(writableCacheDirectory(), 'kernels');
  await mkdir(directory, { recursive: true });
  const path = join(directory, `${createHash('sha256').update(bytes).digest('hex').slice(0, 24)}.${suffix}`);
  const now = new Date();
  await utimes(path, now, now).catch(() => writeFileWhole(path, [bytes]));
  const used = await Promise.all(
    (await readdir(directory)).map(async (name) => ({
      name,
      time: (await stat(join(directory, name)).catch(() => undefined))?.mtimeMs ?? 0,
    })),
  );
  for (const { name, time } of used.sort((a, b) => b.time - a.time).slice(KEPT))
    if (now.getTime() - time > IN_USE) await rm(join(directory, name), { force: true });
  return path;
}
