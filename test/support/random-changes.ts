import { BytesSource } from '../../device/bytes.ts';
import type { Inode } from '../../device/filesystems/memory/inode.ts';
import { FsError } from '../../device/fs/errno.ts';
import type { MemoryFileSystem } from '../../device/index.ts';

const owner = { uid: 0, gid: 0 };

/** Does one thing to a random place of a filesystem, or tries to. */
export function changeAnything(filesystem: MemoryFileSystem, random: (below: number) => number): void {
  const inodes = [...filesystem.inodes()].filter(({ nlink }) => nlink > 0);
  const any = () => inodes[random(inodes.length)]!;
  const directory = () => {
    const all = inodes.filter(({ isDirectory }) => isDirectory);
    return all[random(all.length)]!;
  };
  const name = () => `${'nämé'.slice(0, 1 + random(4))}${random(300)}`;
  const entryOf = (dir: Inode) => {
    const entries = filesystem.entries(dir);
    return entries[random(entries.length)]?.name ?? 'none';
  };
  const steps: (() => unknown)[] = [
    () => filesystem.mknod(directory(), name(), { mode: 0o100644, ...owner }),
    () => filesystem.mknod(directory(), name(), { mode: 0o100644, ...owner }),
    () => filesystem.mknod(directory(), name(), { mode: 0o20644, rdev: random(1000), ...owner }),
    () => filesystem.mkdir(directory(), name(), { mode: 0o755, ...owner }),
    () => filesystem.symlink(directory(), name(), `to ${random(1e9)}`, owner),
    () => filesystem.link(any(), directory(), name()),
    () => filesystem.write(any(), random(200_000), 5000, new BytesSource(new Uint8Array(5000).fill(random(256)))),
    () => filesystem.write(any(), 0, 10, new BytesSource(new Uint8Array(10).fill(random(256)))),
    () => filesystem.setattr(any(), { size: random(100_000) }),
    () =>
      filesystem.setattr(any(), { mode: random(0o7777), uid: random(2 ** 32), mtime: { sec: random(2e9), nsec: 5 } }),
    () => filesystem.setxattr(any(), `user.${random(5)}`, new Uint8Array(random(6000)), 0),
    () => filesystem.removexattr(any(), `user.${random(5)}`),
    () => filesystem.copyFileRange(any(), 0, any(), random(3) * 65_536, 65_536),
    () => filesystem.fallocate(any(), random(50) * 4096, 4096, [0, 1, 3, 8, 32][random(5)]!),
    () => filesystem.rename(directory(), name(), directory(), name(), 0, owner),
    ...Array.from({ length: 4 }, () => () => {
      const from = directory();
      const to = directory();
      filesystem.rename(from, entryOf(from), to, random(2) ? entryOf(to) : name(), [0, 0, 1, 2, 4][random(5)]!, owner);
    }),
    ...Array.from({ length: 2 }, () => () => {
      const dir = directory();
      filesystem.unlink(dir, entryOf(dir));
    }),
    () => {
      const dir = directory();
      filesystem.rmdir(dir, entryOf(dir));
    },
  ];
  try {
    steps[random(steps.length)]!();
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
  }
}
