import { expect } from 'chai';
import { BytesSource } from '../../../device/bytes.ts';
import { MemoryFileSystem, SnapshotError } from '../../../device/index.ts';
import { walk } from '../../../device/trees/tree-writer.ts';
import { randomNumbers } from '../../support/hostile-driver.ts';
import { builtImage, describeTree, FILE, fillTree, loaded, openStored, sampleTree } from '../../support/images.ts';

const OWNER = { uid: 0, gid: 0 };

describe('images', function () {
  this.timeout(120_000);

  it('have all that was in the filesystem', async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const filesystem = new MemoryFileSystem();
      fillTree(filesystem, randomNumbers(seed), 40 * seed);
      const { store, id, contents, inodes } = await builtImage(filesystem, { packSize: 1 << 18 });
      const image = await openStored(store);
      expect(image.info).to.include({ id, inodes, packs: contents.size - 1 });
      const back = await loaded(image);
      expect(describeTree(back)).to.deep.equal(describeTree(filesystem));
    }
  });

  it('are the same bytes for the same files, in whatever order they came and whenever', async () => {
    const trees = [false, true].map((isBackwards) => {
      const filesystem = new MemoryFileSystem();
      const names = Array.from({ length: 50 }, (_, n) => `file${n}`);
      if (isBackwards) {
        names.reverse();
        const gone = filesystem.mknod(filesystem.root, 'gone', { mode: 0o100600, ...OWNER });
        filesystem.unlink(filesystem.root, 'gone');
        expect(filesystem.inode(gone.ino)).to.equal(undefined);
      }
      const dir = filesystem.mkdir(filesystem.root, 'dir', { mode: 0o755, ...OWNER });
      for (const name of names) {
        const file = filesystem.mknod(dir, name, { mode: 0o100644, ...OWNER });
        const content = new TextEncoder().encode(name.repeat(3000));
        // Once with a page of zeros that is stored, once with a hole.
        if (isBackwards) filesystem.write(file, content.length, 40_000, new BytesSource(new Uint8Array(40_000)));
        filesystem.write(file, 0, content.length, new BytesSource(content));
        filesystem.setattr(file, { size: content.length + 40_000, mtime: { sec: 1_600_000_000, nsec: 7 } });
        for (const other of isBackwards ? ['user.b', 'user.a'] : ['user.a', 'user.b'])
          filesystem.setxattr(file, other, new TextEncoder().encode(other), 0);
      }
      filesystem.link(filesystem.lookup(dir, 'file7')!, filesystem.root, 'seven');
      for (const inode of [dir, filesystem.root]) filesystem.setattr(inode, { mtime: { sec: 1_600_000_001, nsec: 0 } });
      return filesystem;
    });
    const [first, second] = await Promise.all(trees.map((filesystem) => builtImage(filesystem)));
    expect(second!.files).to.deep.equal(first!.files);
    expect(second!.contents).to.deep.equal(first!.contents);
  });

  it('have nothing in them that was changed after the epoch', async () => {
    const filesystem = sampleTree();
    const { store } = await builtImage(filesystem, { epoch: 1_650_000_000 });
    const image = await openStored(store);
    expect(image.info.created).to.equal('2022-04-15T05:20:00.000Z');
    const back = await loaded(image);
    const times = [...walk(back, back.root)].map(({ inode }) => [inode.atime, inode.mtime, inode.ctime, inode.btime]);
    for (const time of times.flat()) expect(time).to.deep.equal({ sec: 1_650_000_000, nsec: 0 });
    const early = await builtImage(filesystem, { epoch: 1_800_000_000 });
    const kept = await loaded(await openStored(early.store));
    expect(kept.lookup(kept.root, 'dir')!.mtime).to.deep.equal({ sec: 1_700_000_000, nsec: 5 });
  });

  it('keep the same id however their chunks are compressed', async () => {
    const plain = { deflate: async (bytes: Uint8Array) => bytes, inflate: async (bytes: Uint8Array) => bytes };
    const [packed, unpacked] = [await builtImage(sampleTree()), await builtImage(sampleTree(), { flate: plain })];
    expect(unpacked.id).to.equal(packed.id);
    expect(unpacked.size).to.be.above(packed.size);
  });

  it('have each chunk once', async () => {
    const filesystem = new MemoryFileSystem();
    for (let n = 0; n < 10; n++) {
      const file = filesystem.mknod(filesystem.root, `file${n}`, { mode: 0o100644, ...OWNER });
      filesystem.write(file, 0, 100_000, new BytesSource(new Uint8Array(100_000).fill(7)));
    }
    const { store } = await builtImage(filesystem);
    const { info, state } = await openStored(store);
    expect(info.chunks).to.equal(2);
    expect(state.ranges[0]!.chunks!.bytes.length).to.equal(20);
  });

  it('take no time for files that are mostly holes', async () => {
    const filesystem = new MemoryFileSystem();
    const file = filesystem.mknod(filesystem.root, 'huge', { mode: 0o100644, ...OWNER });
    filesystem.setattr(file, { size: 2 ** 52 });
    filesystem.write(file, 2 ** 51 + 5, 5, new BytesSource(new Uint8Array(5).fill(1)));
    const { store } = await builtImage(filesystem);
    const back = await loaded(await openStored(store));
    expect(back.lookup(back.root, 'huge')).to.include({ size: 2 ** 52, blocks: 8 });
  });

  it('are told from snapshots, and the other way round', async () => {
    const { contents, store } = await builtImage(sampleTree());
    const image = contents.get(FILE)!;
    const { SnapshotStore, loadCodec, MemoryStore } = await import('../../../device/index.ts');
    const name = `${'0'.repeat(32)}.layer`;
    const snapshots = await SnapshotStore.open(new MemoryStore([[name, image]]), loadCodec());
    expect(snapshots.damaged()[0]!.reason).to.include('is an image, and not a snapshot');
    await store.write(FILE, [new TextEncoder().encode('V86LAYER')]);
    const error = await openStored(store).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(SnapshotError).with.property('message').that.includes('truncated');
  });
});
