import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import { BytesSink, BytesSource } from '../../../device/bytes.ts';
import { whenHere } from '../../../device/fs/not-yet.ts';
import { MemoryFileSystem } from '../../../device/index.ts';
import { ChunkOrigin } from '../../support/chunk-origin.ts';

const CHUNK = 65_536;

/** Collects garbage, in turns of its own. */
async function collect(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  for (let n = 0; n < 3; n++) {
    await new Promise((resolve) => setImmediate(resolve));
    gc();
  }
}

describe('a file that was read and is gone', () => {
  for (const [how, go] of [
    ['unlinked', (files: MemoryFileSystem) => files.unlink(files.root, 'file')],
    ['replaced by a snapshot', (files: MemoryFileSystem, empty: unknown) => files.restore(files.checkState(empty))],
  ] as const) {
    it(`${how}: its content is kept by nobody`, async () => {
      const files = new MemoryFileSystem({ origin: new ChunkOrigin() });
      const empty = structuredClone(files.state());
      const kept: WeakRef<object>[] = [];
      for (let round = 0; round < 10; round++) {
        const file = files.mknod(files.root, 'file', { mode: 0o100644, uid: 0, gid: 0 });
        files.write(file, 0, CHUNK, new BytesSource(new Uint8Array(CHUNK).fill(7)));
        files.read(file, 0, 1, new BytesSink(new Uint8Array(1)), 0, true);
        for (const chunk of file.written!.chunks()) kept.push(new WeakRef(chunk));
        go(files, empty);
      }
      await collect();
      expect(kept).to.have.length(10);
      // The last one may still be on the stack.
      expect(kept.filter((chunk) => chunk.deref()).length).to.be.at.most(1);
    });
  }
});

describe('a copy of content that is elsewhere', () => {
  it('is no more of it here than there may be', async () => {
    const files = 20;
    const source = new MemoryFileSystem();
    const owner = { mode: 0o100644, uid: 0, gid: 0 };
    for (let n = 0; n < files; n++)
      source.write(
        source.mknod(source.root, `f${n}`, owner),
        0,
        CHUNK,
        new BytesSource(new Uint8Array(CHUNK).fill(n + 1)),
      );
    const origin = new ChunkOrigin();
    const filesystem = new MemoryFileSystem({ origin, maxContent: 2 * CHUNK });
    filesystem.restore(filesystem.checkState(origin.without(source.state())));
    filesystem.settle();
    for (let n = 0; n < files; n++) {
      const from = filesystem.lookup(filesystem.root, `f${n}`)!;
      await whenHere(() => filesystem.read(from, 0, CHUNK, new BytesSink(new Uint8Array(CHUNK)), 0, true));
      const to = filesystem.mknod(filesystem.root, `copy${n}`, owner);
      await whenHere(() => filesystem.copyFileRange(from, 0, to, 0, CHUNK));
    }
    let here = 0;
    for (const inode of filesystem.inodes())
      for (const { bytes } of inode.written?.chunks() ?? []) here += bytes.length;
    expect(here).to.be.at.most(2 * CHUNK);
    const last = new Uint8Array(CHUNK);
    const copy = filesystem.lookup(filesystem.root, 'copy3')!;
    await whenHere(() => filesystem.read(copy, 0, CHUNK, new BytesSink(last), 0, true));
    expect(last.every((byte) => byte === 4)).to.equal(true);
  });
});

describe('what is told to an origin beforehand', () => {
  /** A file of so many chunks, elsewhere; reads chunks of it, and returns how many chunks each hint had that was given. */
  const reading = (count: number) => {
    const source = new MemoryFileSystem();
    const owner = { uid: 0, gid: 0 };
    const file = source.mknod(source.root, 'file', { mode: 0o100644, ...owner });
    for (let n = 0; n < count; n++)
      source.write(
        file,
        n * CHUNK,
        CHUNK,
        new BytesSource(new Uint8Array(CHUNK).fill(1 + (n % 255)).fill(n >> 8, 9, 17)),
      );
    const origin = new ChunkOrigin();
    const filesystem = new MemoryFileSystem({ origin, maxContent: 8 * CHUNK });
    filesystem.restore(filesystem.checkState(origin.without(source.state())));
    const inode = filesystem.lookup(filesystem.root, 'file')!;
    return async (chunks: readonly number[]) => {
      const before = origin.hints.length;
      for (const n of chunks)
        await whenHere(() => filesystem.read(inode, n * CHUNK, CHUNK, new BytesSink(new Uint8Array(CHUNK)), 0, true));
      return origin.hints.slice(before).map((lengths) => lengths.length);
    };
  };
  const all = (count: number) => Array.from({ length: count }, (_, n) => n);

  it('is a small file as a whole, once', async () => {
    const read = reading(16);
    expect(await read([7])).to.deep.equal([16]);
    expect(await read([3, 15, 0, 3])).to.deep.equal([]);
  });

  it('is what follows in a large one that is read on and on, more each time', async () => {
    const hints = await reading(200)(all(40));
    expect(hints[0]).to.be.at.most(4);
    expect(Math.max(...hints)).to.be.within(8, 16);
  });

  it('is around what is read of one here and there, more the more of it was read', async () => {
    const read = reading(64);
    expect(await read([50])).to.deep.equal([]);
    const hints = await read([10, 33, 3, 60, 20, 41, 29, 7, 55]);
    expect(hints[0]).to.be.at.most(2);
    expect(Math.max(...hints)).to.equal(8);
    expect(await reading(3000)(all(20).map((n) => n * 140))).to.deep.equal([]);
  });
});
