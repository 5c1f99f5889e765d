import { expect } from 'chai';
import { BytesSink, BytesSource } from '../../../device/bytes.ts';
import { whenHere } from '../../../device/fs/not-yet.ts';
import { MemoryFileSystem } from '../../../device/index.ts';
import { ChunkOrigin } from '../../support/chunk-origin.ts';

const CHUNK = 65_536;

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
