import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ensureGuestImage, type GuestImage } from '../../guest-images/build.ts';
import { CpioArchive } from '../../guest-images/cpio.ts';
import { readCpio } from '../../guest-images/read-cpio.ts';

/** Debian's kernel, whose drivers are modules, in the role of one that a user has built. */
export interface OwnKernel {
  image: GuestImage;
  /** Path in a directory for the tests. */
  at(name: string): string;
  /** Makes an initial RAM disk with BusyBox and `files`, all programs, and returns its path. */
  makeInitrd(name: string, files: Record<string, string>, pack?: (bytes: Buffer) => Uint8Array): string;
}

/** With its modules in `modules`, and a directory `share` with a `file`. */
async function ownKernel(): Promise<OwnKernel & Disposable> {
  const image = await ensureGuestImage({ kernel: 'stock', driver: 'stock' });
  const place = mkdtempSync(join(tmpdir(), 'own-kernel-'));
  const at = (name: string) => join(place, name);
  // As `make modules_install` leaves them, some compressed.
  for (const { path, content } of readCpio(readFileSync(image.initrd))) {
    if (!/^lib\/modules\/[^/]+\/./.test(path)) continue;
    const isPacked = /\/(fuse|virtio)\.ko$/.test(path);
    mkdirSync(dirname(at(join('modules', path))), { recursive: true });
    writeFileSync(at(join('modules', isPacked ? `${path}.gz` : path)), isPacked ? gzipSync(content) : content);
  }
  mkdirSync(at('share'));
  writeFileSync(at('share/file'), 'shared\n');
  return {
    image,
    at,
    makeInitrd(name, files, pack = (bytes) => bytes) {
      const busybox = [...readCpio(readFileSync(image.plainInitrd))].find(({ path }) => path === 'bin/busybox')!;
      const archive = new CpioArchive();
      for (const directory of ['bin', 'dev', 'proc', 'sys']) archive.directory(directory);
      archive.characterDevice('dev/console', 5, 1, 0o600);
      archive.file('bin/busybox', busybox.content, 0o755);
      for (const [path, content] of Object.entries(files)) archive.file(path, content, 0o755);
      writeFileSync(at(name), pack(archive.toBuffer()));
      return at(name);
    },
    [Symbol.dispose]: () => rmSync(place, { recursive: true, force: true }),
  };
}

/** For the tests of one block. */
export function useOwnKernel(): OwnKernel {
  let own: OwnKernel & Disposable;
  before(async () => {
    own = await ownKernel();
  });
  after(() => own?.[Symbol.dispose]());
  return {
    get image() {
      return own.image;
    },
    at: (name) => own.at(name),
    makeInitrd: (...initrd) => own.makeInitrd(...initrd),
  };
}
