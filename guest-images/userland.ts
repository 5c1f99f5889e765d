import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { checkAptIsThere, PrivateApt, unpack } from './apt.ts';
import { writableCacheDirectory } from './paths.ts';
import { inWorkDirectory } from './work-directory.ts';

/** What a shell script may expect of any Debian. */
const BASE = ['bash', 'coreutils', 'dash', 'diffutils', 'findutils', 'grep', 'gzip', 'hostname', 'sed', 'tar'];
/** Of no use in a chroot, and most of the files. */
const LEFT_OUT = ['usr/share/doc', 'usr/share/man', 'usr/share/locale', 'usr/share/info'];

/**
 * A directory with Debian packages and what they need, unpacked for a chroot in the guest: nothing is
 * configured. It is built when it is first asked for.
 */
export async function ensureUserland(packages: string[]): Promise<string> {
  const all = [...new Set([...BASE, ...packages])].sort();
  return ensureUnpacked('userland', all, 'i386', async (apt, root) => {
    for (const path of await apt.downloadWithDependencies(all)) await unpack({ path }, root);
    for (const path of LEFT_OUT) await rm(join(root, path), { recursive: true, force: true });
    if (!(await readdir(join(root, 'bin'))).includes('sh')) await symlink('dash', join(root, 'bin/sh'));
  });
}

/** A directory with the files of just these Debian packages, for programs that run on this machine. It is built when it is first asked for. */
export async function ensureHostPackages(packages: string[]): Promise<string> {
  return ensureUnpacked('host-packages', packages, undefined, async (apt, root) => {
    for (const deb of await apt.download(packages)) await unpack(deb, root);
  });
}

/** `architecture`: of the packages; the machine's own by default. */
async function ensureUnpacked(
  name: string,
  packages: string[],
  architecture: string | undefined,
  fill: (apt: PrivateApt, root: string) => Promise<void>,
): Promise<string> {
  const directory = join(
    writableCacheDirectory(),
    `${name}-${createHash('sha256').update(packages.join()).digest('hex').slice(0, 12)}`,
  );
  if (existsSync(directory)) return directory;
  checkAptIsThere();
  await inWorkDirectory(`${directory}.building-`, async (work) => {
    const aptDirectory = join(work, 'apt');
    const root = join(work, 'root');
    await mkdir(aptDirectory);
    await mkdir(root);
    const apt = await PrivateApt.create(aptDirectory, 'i386', architecture);
    await apt.update();
    await fill(apt, root);
    await rename(root, directory).catch((error: unknown) => {
      // Another process was faster.
      if (!existsSync(directory)) throw error;
    });
  });
  return directory;
}
