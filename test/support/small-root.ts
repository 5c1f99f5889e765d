import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { readCpio } from '../../guest-images/read-cpio.ts';

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

/** Makes `directory` a root filesystem of a few MB, with busybox: what the guest's initial RAM disk has. */
export async function makeSmallRoot(directory: string): Promise<void> {
  for (const { path: name, mode, content } of readCpio(await readFile((await ensureGuestImage()).plainInitrd))) {
    const path = join(directory, name);
    await mkdir(dirname(path), { recursive: true });
    // Device nodes are the kernel's business.
    switch (mode & S_IFMT) {
      case S_IFDIR:
        await mkdir(path, { recursive: true });
        await chmod(path, mode & 0o7777);
        break;
      case S_IFREG:
        await writeFile(path, content, { mode: mode & 0o7777 });
        break;
      case S_IFLNK:
        await symlink(content.toString(), path);
        break;
    }
  }
}
