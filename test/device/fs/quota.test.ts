import { expect } from 'chai';
import { Volume } from 'memfs';
import { BytesSource } from '../../../device/bytes.ts';
import { filesystemOf, volumeOf } from '../../../device/filesystems/memfs/volume.ts';
import { partsOf } from '../../../device/filesystems/memory/filesystem.ts';
import type { Inode } from '../../../device/filesystems/memory/inode.ts';
import { ENOSPC, FsError } from '../../../device/fs/errno.ts';
import type { MemoryFileSystem } from '../../../device/index.ts';
import { judgeFilesystem } from '../../../device/snapshot/saved-filesystem.ts';
import { checkTree } from '../../support/check-tree.ts';

const PAGE = 4096;
const own = { uid: 0, gid: 0 };
const MIB = 1 << 20;

function make(size = MIB, inodes = 1000) {
  const filesystem = filesystemOf(new Volume(), { size, inodes });
  const file = (name: string, mode = 0o100644) => filesystem.mknod(filesystem.root, name, { mode, ...own }) as Inode;
  const write = (inode: Inode, length: number, offset = 0) =>
    filesystem.write(inode, offset, length, new BytesSource(new Uint8Array(length).fill(1)));
  return { filesystem, file, write };
}

function used(filesystem: MemoryFileSystem): number {
  const { space } = partsOf(filesystem).table;
  return space.metadata + space.pages * PAGE;
}

/** All but times and the next inode number, which an attempt may take. */
function stateOf(filesystem: MemoryFileSystem): string {
  const inodes = Array.from(filesystem.inodes(), ({ ino, mode }) => ({ ino, mode }));
  const { uuid, ranges } = filesystem.state();
  return JSON.stringify({ uuid, inodes, ranges: ranges.map((range) => ({ ...range, inodes: undefined })) });
}

describe('quotas', () => {
  /** What takes space, on a filesystem with a file `f` that has an attribute. */
  const steps: Record<string, (filesystem: MemoryFileSystem, f: Inode) => unknown> = {
    'a file': (b) => b.mknod(b.root, 'new', { mode: 0o100644, ...own }),
    'a directory': (b) => b.mknod(b.root, 'new', { mode: 0o40755, ...own }),
    'a file without a name': (b) => b.retain(b.tmpfile(b.root, { mode: 0o100644, ...own })),
    'a symbolic link': (b) => b.symlink(b.root, 'new', 'target', own),
    'a hard link': (b, f) => b.link(f, b.root, 'new'),
    'a longer name': (b) => b.rename(b.root, 'f', b.root, 'n'.repeat(200), 0, own),
    'a whiteout': (b) => b.rename(b.root, 'f', b.root, 'new', 4, own),
    'an attribute': (b, f) => b.setxattr(f, 'user.new', new Uint8Array(0), 0),
    'a longer attribute': (b, f) => b.setxattr(f, 'user.old', new Uint8Array(200), 0),
    'a page': (b, f) => b.write(f, 0, 1, new BytesSource(new Uint8Array(1))),
    'an allocation': (b, f) => b.fallocate(f, 0, 1, 0),
    zeros: (b, f) => b.fallocate(f, 0, PAGE, 16),
    'a file of the host': (b) => volumeOf(b).writeFileSync('/new', ''),
    'a symbolic link of the host': (b) => volumeOf(b).symlinkSync('target', '/new'),
    'a directory of the host': (b) => volumeOf(b).mkdirSync('/new'),
  };
  for (const [what, step] of Object.entries(steps)) {
    it(`${what} that there is no room for is ENOSPC and changes nothing; removing makes the room`, () => {
      const { filesystem, file } = make();
      const f = file('f');
      filesystem.setxattr(f, 'user.old', new Uint8Array(1), 0);
      const filler = file('filler');
      filesystem.fallocate(filler, 0, (filesystem.statfs().bfree - 1) * PAGE, 0);
      // The rest, to the last byte: the first attribute costs 437 and its value.
      filesystem.setxattr(filler, 'user.filler', new Uint8Array(MIB - used(filesystem) - 437), 0);
      expect(used(filesystem)).to.equal(MIB);
      const before = stateOf(filesystem);
      expect(() => step(filesystem, f))
        .to.throw()
        .that.satisfies(
          (error: NodeJS.ErrnoException) => error === (FsError.of(ENOSPC) as Error) || error.code === 'ENOSPC',
        );
      checkTree(filesystem, []);
      expect(stateOf(filesystem)).to.equal(before);
      filesystem.unlink(filesystem.root, 'filler');
      step(filesystem, f);
      expect(used(filesystem)).to.be.below(MIB);
    });
  }

  it('ordinary use fits: 100,000 files of a kilobyte, and what STATFS tells goes down with them', () => {
    const { filesystem, file, write } = make(2 ** 31, 2 ** 20);
    const before = filesystem.statfs();
    expect(before).to.include({ blocks: 2 ** 19, files: 2 ** 20, ffree: 2 ** 20 - 1 });
    for (let n = 0; n < 100_000; n++) write(file(`${n}`), 1024);
    const after = filesystem.statfs();
    expect(before.bfree - after.bfree).to.be.within(100_000, 115_000);
    expect(before.ffree - after.ffree).to.equal(100_000);
  });

  it('inodes are free as far as there is space for them too', () => {
    const { filesystem, file } = make(MIB, 1e6);
    const { ffree } = filesystem.statfs();
    let made = 0;
    try {
      for (; ; made++) file(`${made}`);
    } catch (error) {
      expect(error).to.equal(FsError.of(ENOSPC));
    }
    expect(made).to.be.within(0.95 * ffree, ffree);
    expect(filesystem.statfs().ffree).to.equal(0);
  });

  it('what is not content takes a part of the size only', () => {
    const { filesystem, file } = make(2 ** 31, 1000);
    const f = file('f');
    let count = 0;
    const dirs = Array.from({ length: 8 }, (_, n) => file(`d${n}`, 0o40755));
    try {
      for (; count < 60_000 * 8; count++)
        filesystem.link(
          count % 60_000 === 0 ? file(`f${count}`) : f,
          dirs[Math.floor(count / 60_000)]!,
          `${count}-`.padEnd(250, '-'),
        );
    } catch (error) {
      expect([FsError.of(ENOSPC).code, 31]).to.include((error as FsError).code);
    }
    expect(partsOf(filesystem).table.space.metadata).to.be.at.most(64 * MIB);
  });

  it('more than 8,388,608 inodes are refused at once', () =>
    expect(() => make(MIB, 2 ** 23 + 1)).to.throw(RangeError, /1 to 8388608/));

  it('a volume that holds more is refused, and stays as it was', () => {
    const volume = Volume.fromJSON({ '/f': 'x'.repeat(MIB) });
    expect(() => filesystemOf(volume, { size: MIB })).to.throw(
      RangeError,
      /the files take \d+ bytes and 2 inodes, more than the quota here/,
    );
    expect(volume.readFileSync('/f', 'utf8')).to.have.length(MIB);
    expect(filesystemOf(volume).statfs().bfree).to.be.above(0);
  });

  const forged: Record<string, (filesystem: MemoryFileSystem) => void> = {
    'pages of one chunk again and again': (b) => {
      const [page, file] = ['p', 'f'].map((name) => b.mknod(b.root, name, { mode: 0o100644, ...own }) as Inode) as [
        Inode,
        Inode,
      ];
      b.write(page, 0, 65536, new BytesSource(new Uint8Array(65536)));
      for (let n = 0; n < 100; n++) b.copyFileRange(page, 0, file, n * 65536, 65536);
    },
    'empty attributes': (b) => {
      for (let f = 0; f < 10; f++) {
        const inode = b.mknod(b.root, `${f}`, { mode: 0o100644, ...own });
        for (let n = 0; n < 1000; n++) b.setxattr(inode, `user.${n}`, new Uint8Array(0), 0);
      }
    },
    names: (b) => {
      const inode = b.mknod(b.root, 'f', { mode: 0o100644, ...own });
      for (let n = 0; n < 20_000; n++) b.link(inode, b.root, `${n}`);
    },
    inodes: (b) => {
      for (let n = 0; n < 10_000; n++) b.mknod(b.root, `${n}`, { mode: 0o100644, ...own });
    },
    locks: (b) => {
      const { ino } = b.mknod(b.root, 'f', { mode: 0o100644, ...own });
      for (let n = 0n; n < 3000n; n++)
        b.locks.setlk({
          space: 'posix',
          ino,
          session: 's',
          owner: 1n,
          fh: 1n,
          pid: 1,
          type: 1,
          start: 2n * n,
          end: 2n * n,
        });
    },
  };
  for (const [what, fill] of Object.entries(forged)) {
    it(`a state with more ${what} than may be here is refused before anything is restored`, () => {
      const large = filesystemOf(new Volume());
      fill(large);
      const state = structuredClone({ ...large.state(), locks: large.locks.state() });
      const small = filesystemOf(Volume.fromJSON({ '/mine': 'untouched' }), {
        size: 2 * MIB,
        inodes: 5000,
        locks: { maxLocks: 100 },
      });
      const { pages, metadata } = partsOf(small).table.space;
      expect(() => judgeFilesystem(state, small)).to.throw(RangeError);
      expect(partsOf(small).table.space).to.include({ pages, metadata });
      expect(volumeOf(small).readFileSync('/mine', 'utf8')).to.equal('untouched');
      checkTree(small, []);
    });
  }
});
