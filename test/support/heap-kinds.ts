/**
 * Fills filesystems with one kind of thing each until there is no more space, and tells how much heap that took: lines of JSON
 * `{ kind, charged, heap }`, in bytes. `node --expose-gc --import tsx test/support/heap-kinds.ts`.
 */

import { BytesSource } from '../../device/bytes.ts';
import { filesystemOf } from '../../device/filesystems/memfs/volume.ts';
import { partsOf } from '../../device/filesystems/memory/filesystem.ts';
import type { Inode } from '../../device/filesystems/memory/inode.ts';
import { FALLOC_FL_INSERT_RANGE, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from '../../device/fs/constants.ts';
import { ENOSPC, FsError } from '../../device/fs/errno.ts';
import { decodeName, encodeName } from '../../device/fs/names.ts';
import { NodeTable } from '../../device/fuse/node-table.ts';
import { Volume } from '../../device/index.ts';

const SIZE = 8 << 20;
const PAGE = 4096;
const owner = { uid: 0, gid: 0 };
const page = new Uint8Array(PAGE).fill(1);

class Filler {
  readonly filesystem = filesystemOf(new Volume(), { size: SIZE });
  readonly nodes = new NodeTable(this.filesystem);
  #count = 0;

  /** A name as it comes in a message. */
  name(suffix = ''): string {
    return decodeName(encodeName(`${this.#count++}${suffix}`));
  }

  make(dir: Inode = this.filesystem.root, mode = 0o100644, name = this.name()): Inode {
    return this.filesystem.mknod(dir, name, { mode, ...owner }) as Inode;
  }

  directory(): Inode {
    return this.make(this.filesystem.root, 0o40755);
  }

  write(inode: Inode, offset: number, bytes: Uint8Array): void {
    this.filesystem.write(inode, offset, bytes.length, new BytesSource(bytes));
  }

  /** Directories of 2,000 links each. */
  links(suffix: string, after: (dir: Inode, names: string[]) => void = () => {}): void {
    const file = this.make();
    for (;;) {
      const dir = this.directory();
      const names: string[] = [];
      for (let n = 0; n < 2000 && file.nlink < 65_000; n++) {
        names.push(this.name(suffix));
        this.filesystem.link(file, dir, names.at(-1)!);
      }
      after(dir, names);
      if (names.length < 2000) return;
    }
  }
}

type Kind = (fill: Filler) => void;
const forEver =
  (step: (fill: Filler) => void): Kind =>
  (fill) => {
    for (;;) step(fill);
  };
const filesOf = (fill_: (fill: Filler, inode: Inode) => void) => forEver((fill) => fill_(fill, fill.make()));

const KINDS: Record<string, Kind> = {
  // First: what makes V8 keep larger numbers makes it keep them from then on.
  'empty files with times and owners of many bits': filesOf((fill, inode) => {
    const time = (sec: number) => ({ sec, nsec: 999_999_999 });
    fill.filesystem.setattr(inode, {
      uid: 2 ** 32 - 2,
      gid: 2 ** 32 - 2,
      atime: time(2 ** 40),
      mtime: time(2 ** 41),
      ctime: time(2 ** 42),
    });
  }),
  'empty files': filesOf(() => {}),
  'empty files that are known to a guest': filesOf((fill, inode) => fill.nodes.add(inode)),
  'empty files that were read': filesOf(
    (fill, inode) => void fill.filesystem.read(inode, 0, 100, { capacity: 100, writeAt: () => 0 }, 0),
  ),
  'files without a name': forEver((fill) =>
    fill.filesystem.retain(fill.filesystem.tmpfile(fill.filesystem.root, { mode: 0o100644, ...owner })),
  ),
  'unlinked files that are held': forEver((fill) => {
    const name = fill.name();
    fill.filesystem.retain(fill.make(fill.filesystem.root, 0o100644, name));
    fill.filesystem.unlink(fill.filesystem.root, name);
  }),
  'files of which all but one in 300 were removed': forEver((fill) => {
    fill.make();
    for (let n = 0; n < 299; n++) {
      const name = fill.name();
      fill.make(fill.filesystem.root, 0o100644, name);
      fill.filesystem.unlink(fill.filesystem.root, name);
    }
  }),
  'unlinked files that are known to a guest': forEver((fill) => {
    const name = fill.name();
    fill.nodes.add(fill.make(fill.filesystem.root, 0o100644, name));
    fill.filesystem.unlink(fill.filesystem.root, name);
  }),
  'files of a size without content': filesOf((fill, inode) => fill.filesystem.setattr(inode, { size: 1 })),
  'files that were emptied': filesOf((fill, inode) => {
    fill.write(inode, 0, page);
    fill.filesystem.setattr(inode, { size: 0 });
  }),
  devices: forEver(
    (fill) => void fill.filesystem.mknod(fill.filesystem.root, fill.name(), { mode: 0o20644, rdev: 5, ...owner }),
  ),
  'empty directories': forEver((fill) => void fill.directory()),
  'directories with a file': forEver((fill) => void fill.make(fill.directory())),
  'directories that were emptied': forEver((fill) => {
    const dir = fill.directory();
    const name = fill.name();
    fill.make(dir, 0o100644, name);
    fill.filesystem.unlink(dir, name);
  }),
  'hard links': (fill) => fill.links(''),
  'hard links with names of 30 bytes': (fill) => fill.links('-'.repeat(26)),
  'hard links with names of 255 bytes': (fill) => fill.links('-'.repeat(250)),
  'hard links with names that take two bytes a character': (fill) => fill.links(`Ā${'-'.repeat(200)}`),
  'hard links with names that are not UTF-8': (fill) => fill.links('\udc80'.repeat(200)),
  'hard links of which most were removed': (fill) =>
    fill.links('', (dir, names) => names.forEach((name, n) => n % 4 && fill.filesystem.unlink(dir, name))),
  'symbolic links': forEver(
    (fill) => void fill.filesystem.symlink(fill.filesystem.root, fill.name(), fill.name('-target'), owner),
  ),
  'symbolic links of 4,095 bytes': forEver(
    (fill) =>
      void fill.filesystem.symlink(
        fill.filesystem.root,
        fill.name(),
        decodeName(encodeName(fill.name('-'.repeat(4080)))),
        owner,
      ),
  ),
  'files with an empty attribute': filesOf((fill, inode) =>
    fill.filesystem.setxattr(inode, 'user.a', new Uint8Array(0), 0),
  ),
  'files with 1,000 empty attributes': filesOf((fill, inode) => {
    for (let n = 0; n < 1000; n++) fill.filesystem.setxattr(inode, fill.name('user.'), new Uint8Array(0), 0);
  }),
  'files with 50 attributes of 50 bytes': filesOf((fill, inode) => {
    for (let n = 0; n < 50; n++) fill.filesystem.setxattr(inode, fill.name('user.'), page.slice(0, 50), 0);
  }),
  'files with 50 attributes of 1,000 bytes': filesOf((fill, inode) => {
    for (let n = 0; n < 50; n++) fill.filesystem.setxattr(inode, fill.name('user.'), page.slice(0, 1000), 0);
  }),
  'files of a byte': filesOf((fill, inode) => fill.write(inode, 0, page.subarray(0, 1))),
  'files of a page': filesOf((fill, inode) => fill.write(inode, 0, page)),
  'files of 36 KiB, written by pages': filesOf((fill, inode) => {
    for (let n = 0; n < 9; n++) fill.write(inode, n * PAGE, page);
  }),
  'files of 68 KiB, written by pages': filesOf((fill, inode) => {
    for (let n = 0; n < 17; n++) fill.write(inode, n * PAGE, page);
  }),
  'one file, written by pages': (fill) => {
    const inode = fill.make();
    for (let n = 0; ; n++) fill.write(inode, n * PAGE, page);
  },
  'one file with a page in every 64 KiB': (fill) => {
    const inode = fill.make();
    for (let n = 0; ; n++) fill.write(inode, n * 65536, page);
  },
  'one file with a hole before every page': (fill) => {
    const inode = fill.make();
    for (;;) {
      fill.write(inode, 0, page);
      fill.filesystem.fallocate(inode, 0, PAGE, FALLOC_FL_INSERT_RANGE);
      fill.filesystem.fallocate(inode, 0, PAGE, FALLOC_FL_INSERT_RANGE);
    }
  },
  'files of 300 KiB of which all but the end was punched out': filesOf((fill, inode) => {
    for (let n = 0; n < 75; n++) fill.write(inode, n * PAGE, page);
    fill.filesystem.fallocate(inode, 0, 74 * PAGE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
  }),
};

const heap = () => {
  gc!();
  gc!();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};

for (const [kind, fillWith] of Object.entries(KINDS)) {
  const fill = new Filler();
  const before = heap();
  try {
    fillWith(fill);
  } catch (error) {
    if (error !== FsError.of(ENOSPC)) throw error;
  }
  const { pages, metadata } = partsOf(fill.filesystem).table.space;
  console.log(JSON.stringify({ kind, charged: pages * PAGE + metadata, heap: heap() - before }));
}
