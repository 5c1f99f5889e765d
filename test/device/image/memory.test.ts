import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import { BytesSink, BytesSource } from '../../../device/bytes.ts';
import { whenHere } from '../../../device/fs/not-yet.ts';
import { StoredImage } from '../../../device/image/files.ts';
import { streamFlate } from '../../../device/image/flate.ts';
import { imageFileSystem, MemoryFileSystem, type MemoryStore, openImage } from '../../../device/index.ts';
import { builtImage, FILE } from '../../support/images.ts';

const MIB = 1 << 20;
const FILES = 24;
const SIZE = 4 * MIB;
const READERS = 4;

describe('the memory that an image takes', function () {
  this.timeout(120_000);
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const inUse = () => {
    collect();
    return process.memoryUsage().arrayBuffers;
  };

  /** An image of files that can't be compressed. */
  async function build(): Promise<MemoryStore> {
    const source = new MemoryFileSystem();
    for (let n = 0; n < FILES; n++) {
      const bytes = new Uint8Array(SIZE);
      for (let at = 0; at < SIZE; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
      const file = source.mknod(source.root, `f${n}`, { mode: 0o100644, uid: 0, gid: 0 });
      source.write(file, 0, SIZE, new BytesSource(bytes));
    }
    // As it is: nothing here depends on how it is packed.
    const flate = {
      ...streamFlate,
      deflate: async (each: Uint8Array) => (each.length === 65_536 ? each : streamFlate.deflate(each)),
    };
    return (await builtImage(source, { flate })).store;
  }

  it('is 64 MiB of content at most, however much is read by several at once @long', async () => {
    const store = await build();
    const image = await openImage(new StoredImage(store, FILE));
    const filesystem = imageFileSystem(image);
    // What it was made of is gone by then.
    await new Promise((resolve) => setTimeout(resolve));
    inUse();
    const before = inUse();
    let most = 0;
    let read = 0;
    const readFile = async (name: string) => {
      const file = filesystem.lookup(filesystem.root, name)!;
      const sink = new Uint8Array(MIB);
      for (let at = 0; at < SIZE; at += MIB) {
        const count = await whenHere(() => filesystem.read(file, at, MIB, new BytesSink(sink), 0));
        read += count;
        most = Math.max(most, inUse() - before);
      }
    };
    const names = Array.from({ length: FILES }, (_, n) => `f${n}`);
    const reader = async () => {
      for (let name = names.pop(); name; name = names.pop()) await readFile(name);
    };
    await Promise.all(Array.from({ length: READERS }, reader));
    image.origin.close();
    expect(read).to.equal(FILES * SIZE);
    // Those who read have a buffer each.
    expect(most / MIB - READERS).to.be.within(30, 64);
  });
});
