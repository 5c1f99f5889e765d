import { BytesSink, BytesSource } from '../../device/bytes.ts';
import type { BuiltImage, ImageOptions } from '../../device/image/build.ts';
import { buildImage } from '../../device/image/build.ts';
import { StoredImage } from '../../device/image/files.ts';
import { loadImage } from '../../device/image/load.ts';
import { type OpenImage, openImage } from '../../device/image/open.ts';
import { loadCodec, MemoryFileSystem, MemoryStore } from '../../device/index.ts';
import { toHex } from '../../device/snapshot/layer.ts';
import { walk } from '../../device/trees/tree-writer.ts';
import { noise, type Random } from './hostile-values.ts';

const OWNER = { uid: 0, gid: 0 };

/** Each entry as one line, with all that an image keeps of it. */
export function describeTree(filesystem: MemoryFileSystem): string[] {
  const first = new Map<number, string>();
  const entries = [{ path: '', inode: filesystem.root }, ...walk(filesystem, filesystem.root)];
  entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  return entries.map(({ path, inode }) => {
    const { mode, uid, gid, size, mtime, nlink, rdev, target } = inode;
    const twin = first.get(inode.ino) ?? path;
    first.set(inode.ino, twin);
    const content = new Uint8Array(inode.isRegular ? size : 0);
    if (content.length) filesystem.read(inode, 0, size, new BytesSink(content), 0, true);
    const xattrs = filesystem
      .listxattr(inode)
      .sort()
      .map((name) => [name, toHex(filesystem.getxattr(inode, name)!)]);
    const hash = toHex(loadCodec().hash(content)).slice(0, 16);
    return JSON.stringify([
      path,
      mode.toString(8),
      uid,
      gid,
      inode.isDirectory ? 0 : size,
      mtime,
      nlink,
      rdev,
      target,
      xattrs,
      twin,
      hash,
    ]);
  });
}

/** Files of many kinds and sizes, with holes, links and attributes, in an order that `random` chooses. */
export function fillTree(filesystem: MemoryFileSystem, random: Random, count: number): void {
  const directories = [filesystem.root];
  for (let n = 0; n < count; n++) {
    const dir = directories[random(directories.length)]!;
    const name = `${'abcdef'[random(6)]}${n}${random(9) ? '' : '\udc80é'}`;
    const owner = { uid: random(3) * 1000, gid: random(2) };
    switch (random(8)) {
      case 0:
        directories.push(filesystem.mkdir(dir, name, { mode: 0o755, ...owner }));
        continue;
      case 1:
        filesystem.symlink(dir, name, `../${'x'.repeat(random(200))}`, owner);
        continue;
      case 2:
        filesystem.mknod(dir, name, { mode: 0o20600, rdev: 0x501 + random(3), ...owner });
        continue;
      default: {
        const file = filesystem.mknod(dir, name, { mode: 0o100644, ...owner });
        for (let pieces = random(4); pieces > 0; pieces--) {
          const bytes = random(4) ? noise(random, random(60_000)) : new Uint8Array(random(60_000));
          filesystem.write(file, random(5) * 50_000, bytes.length, new BytesSource(bytes));
        }
        if (!random(4)) filesystem.setxattr(file, 'user.name', noise(random, random(100)), 0);
        if (!random(6)) filesystem.setxattr(file, 'user.another', noise(random, random(100)), 0);
        if (!random(4)) filesystem.link(file, directories[random(directories.length)]!, `link${n}`);
        filesystem.setattr(file, { mtime: { sec: 1_600_000_000 + random(10 ** 8), nsec: random(10 ** 9) } });
      }
    }
  }
}

export const FILE = 'test.image';

/** An image in a store of its own. */
export async function builtImage(
  filesystem: MemoryFileSystem,
  options?: ImageOptions,
): Promise<BuiltImage & { store: MemoryStore; contents: Map<string, Uint8Array> }> {
  const store = new MemoryStore();
  const built = await buildImage(filesystem, store, FILE, options);
  const contents = new Map<string, Uint8Array>();
  for (const name of built.files) contents.set(name, await store.read(name, 0));
  return { ...built, store, contents };
}

export function openStored(store: MemoryStore): Promise<OpenImage> {
  return openImage(new StoredImage(store, FILE));
}

/** A filesystem with all that is in an image. */
export async function loaded(image: OpenImage): Promise<MemoryFileSystem> {
  const filesystem = new MemoryFileSystem();
  await loadImage(image, filesystem);
  return filesystem;
}

/** With something in it. */
export function sampleTree(): MemoryFileSystem {
  const filesystem = new MemoryFileSystem({ clock: () => ({ sec: 1_700_000_000, nsec: 5 }) });
  const dir = filesystem.mkdir(filesystem.root, 'dir', { mode: 0o755, ...OWNER });
  const add = (name: string, bytes: Uint8Array) => {
    const file = filesystem.mknod(dir, name, { mode: 0o100644, ...OWNER });
    filesystem.write(file, 0, bytes.length, new BytesSource(bytes));
  };
  add('text', new TextEncoder().encode('some text\n'.repeat(20_000)));
  add('other', new TextEncoder().encode('another text\n'));
  return filesystem;
}
