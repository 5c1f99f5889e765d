import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ensureGuestImage } from '../../guest-images/build.ts';

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
/** Of a header of cpio's "newc" form. */
const HEADER_SIZE = 110;

/** Makes `directory` a root filesystem of a few MB, with busybox: what the guest's initial RAM disk has. */
export async function makeSmallRoot(directory: string): Promise<void> {
  const archive = await readFile((await ensureGuestImage()).plainInitrd);
  const padded = (length: number) => (length + 3) & ~3;
  for (let at = 0; ; ) {
    const field = (index: number) =>
      Number.parseInt(archive.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16);
    const [mode, size, nameLength] = [field(1), field(6), field(11)];
    const name = archive.toString('utf8', at + HEADER_SIZE, at + HEADER_SIZE + nameLength - 1);
    if (name === 'TRAILER!!!') return;
    const content = at + padded(HEADER_SIZE + nameLength);
    const bytes = archive.subarray(content, content + size);
    at = content + padded(size);
    const path = join(directory, name);
    await mkdir(dirname(path), { recursive: true });
    // Device nodes are the kernel's business.
    switch (mode & S_IFMT) {
      case S_IFDIR:
        await mkdir(path, { recursive: true });
        await chmod(path, mode & 0o7777);
        break;
      case S_IFREG:
        await writeFile(path, bytes, { mode: mode & 0o7777 });
        break;
      case S_IFLNK:
        await symlink(bytes.toString(), path);
        break;
    }
  }
}
