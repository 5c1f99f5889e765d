import { expect } from 'chai';
import { BytesSink, BytesSource, concat } from '../../../device/bytes.ts';
import { whenHere } from '../../../device/fs/not-yet.ts';
import type { AbsentBytes } from '../../../device/fs/origin.ts';
import { BlockCache } from '../../../device/image/block-cache.ts';
import { StoredImage } from '../../../device/image/files.ts';
import { type OpenImage, type OpenImageOptions, openImage } from '../../../device/image/open.ts';
import { ReadRecorder, repackImage } from '../../../device/image/profile.ts';
import type { Trouble } from '../../../device/image/retry.ts';
import { verifyImage } from '../../../device/image/verify.ts';
import {
  type FsError,
  imageFileSystem,
  loadCodec,
  MemoryFileSystem,
  MemoryStore,
  SnapshotError,
} from '../../../device/index.ts';
import { decodeFields, encodeFields } from '../../../device/snapshot/fields.ts';
import {
  decodePrefix,
  fromU32,
  type LayerHead,
  layerParts,
  PREFIX_LENGTH,
  toU32,
} from '../../../device/snapshot/layer.ts';
import { randomNumbers } from '../../support/hostile-driver.ts';
import { noise } from '../../support/hostile-values.ts';
import { ImageServer } from '../../support/image-server.ts';
import { builtImage, FILE } from '../../support/images.ts';

const codec = loadCodec();
/** Chunks of 64 KiB, and those of them that are read first. */
const CHUNKS = 48;
const FIRST = [40, 3, 4, 5, 17, 29, 30, 0];

describe('the profile of an image', function () {
  this.timeout(120_000);
  let server: ImageServer;
  let plain: Map<string, Uint8Array>;
  let contents: Map<string, Uint8Array>;
  let bytes: Uint8Array;
  const open: OpenImage[] = [];

  const openIt = async (options: OpenImageOptions = {}) => {
    const image = await openImage(server.url(FILE), { firstPause: 1, patience: 5000, ...options });
    open.push(image);
    return image;
  };
  const chunkOf = ({ state }: OpenImage, n: number) => state.ranges[0]!.chunks!.bytes[n] as AbsentBytes;
  const isRight = async (image: OpenImage, chunks: readonly number[]) => {
    const found = await image.origin.fetch(chunks.map((n) => chunkOf(image, n)));
    return found.every(
      (each, n) => Buffer.compare(each, bytes.subarray(chunks[n]! << 16, (chunks[n]! + 1) << 16)) === 0,
    );
  };
  const all = Array.from({ length: CHUNKS }, (_, n) => n);
  const stored = (files: Map<string, Uint8Array>) => openImage(new StoredImage(new MemoryStore([...files]), FILE));
  /** The image's own file with other chunks in front. */
  const repacked = async (files: Map<string, Uint8Array>, chunks: readonly number[]) => {
    const image = await stored(files);
    const store = new MemoryStore();
    const result = await repackImage(
      image,
      chunks.map((n) => chunkOf(image, n)),
      store,
      FILE,
    );
    image.origin.close();
    return { file: await store.read(FILE, 0), ...result };
  };
  const whole = () => server.sent >= contents.get(FILE)!.length;
  const untilWhole = async () => {
    while (!whole()) await new Promise((resolve) => setTimeout(resolve, 1));
  };

  before(async () => {
    const filesystem = new MemoryFileSystem();
    const random = randomNumbers(9);
    bytes = concat(Array.from({ length: CHUNKS + 1 }, () => noise(random, 65_535)));
    // Zeros at the end of a chunk are not stored.
    bytes = bytes.subarray(0, CHUNKS << 16).map((byte) => byte | 1);
    const file = filesystem.mknod(filesystem.root, 'file', { mode: 0o100644, uid: 0, gid: 0 });
    filesystem.write(file, 0, bytes.length, new BytesSource(bytes));
    ({ contents: plain } = await builtImage(filesystem, { packSize: 1 << 20 }));
    contents = new Map(plain);
    const { file: profiled, ...result } = await repacked(plain, FIRST);
    expect(result).to.include({ chunks: FIRST.length, leftOut: 0, size: profiled.length });
    contents.set(FILE, profiled);
  });
  beforeEach(async () => (server = await ImageServer.start(new Map(contents))));
  afterEach(async () => {
    for (const { origin } of open.splice(0)) origin.close();
    await server.stop();
  });

  it('is what was asked for, in the order of that', async () => {
    const image = await openIt();
    const recorder = new ReadRecorder(image.origin);
    expect(recorder.id).to.equal(image.info.id);
    const filesystem = new MemoryFileSystem({ origin: recorder, maxContent: 1 << 17 });
    filesystem.restore(filesystem.checkState(image.state));
    for (const n of [7, 2, 7, 3, 2, 31]) await recorder.fetch([chunkOf(image, n)]);
    expect(recorder.chunks.map(({ hash }) => hash)).to.deep.equal([7, 2, 3, 31].map((n) => chunkOf(image, n).hash));
  });

  it('comes with the head, in one request, and the rest from the same packs', async () => {
    const image = await openIt();
    expect(image.info).to.include({ id: (await stored(plain)).info.id, chunks: CHUNKS });
    expect(image.info.firstBytes).to.be.within(FIRST.length * 50_000, FIRST.length * 65_536);
    for (const n of FIRST) expect(await isRight(image, [n])).to.equal(true);
    expect(await isRight(image, FIRST)).to.equal(true);
    expect(server.log).to.deep.equal([FILE]);
    expect(await isRight(image, all)).to.equal(true);
    expect(server.log.length).to.be.above(1);
  });

  it('says better what will be read than what was read before', async () => {
    const image = await openIt();
    const filesystem = imageFileSystem(image);
    const inode = filesystem.lookup(filesystem.root, 'file')!;
    const read = (n: number) =>
      whenHere(() => filesystem.read(inode, n << 16, 65_536, new BytesSink(new Uint8Array(65_536)), 0, true));
    for (const n of FIRST) await read(n);
    expect(server.log).to.deep.equal([FILE]);
    for (const n of [41, 10, 31, 20]) await read(n);
    expect(server.log.length).to.be.above(1);
    const { bytes: fetched } = image.origin.counts;
    expect(fetched).to.be.above(contents.get(FILE)!.length + 4 * 65_536);
  });

  it('is there before all of it has come', async () => {
    let release = () => {};
    server.answer = (_, response, file) => {
      if (server.log.at(-1) !== FILE) return false;
      const half = file!.length - 3 * 65_536;
      response.writeHead(200, { 'content-length': file!.length });
      response.write(file!.subarray(0, half));
      release = () => response.end(file!.subarray(half));
      return true;
    };
    const image = await openIt();
    expect(await isRight(image, FIRST.slice(0, 3))).to.equal(true);
    expect(await isRight(image, [10])).to.equal(true);
    let hasCome = false;
    const last = isRight(image, FIRST).finally(() => (hasCome = true));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(hasCome).to.equal(false);
    release();
    expect(await last).to.equal(true);
    expect(server.log.filter((line) => line.startsWith(FILE))).to.deep.equal([FILE]);
  });

  it('makes the same bytes of the same chunks, and none makes the image as it was', async () => {
    expect((await repacked(plain, FIRST)).file).to.deep.equal(contents.get(FILE));
    expect((await repacked(contents, [...FIRST, 3, 40])).file).to.deep.equal(contents.get(FILE));
    expect((await repacked(contents, [])).file).to.deep.equal(plain.get(FILE));
    expect((await repacked(contents, [1])).bytes).to.be.below(70_000);
  });

  it('goes on where its answer broke off', async () => {
    for (const at of [1000, 200_000, 400_000]) {
      server.answer = (_, response, file) => {
        if (server.log.at(-1) !== FILE) return false;
        response.writeHead(200, { 'content-length': file!.length });
        const start = file!.length - FIRST.length * 65_600;
        response.write(file!.subarray(0, start + at), () => response.destroy());
        return true;
      };
      const image = await openIt();
      expect(await isRight(image, FIRST)).to.equal(true);
      expect(await isRight(image, all)).to.equal(true);
    }
  });

  it('costs nothing but time where it is wrong, or another one by now', async () => {
    const damaged = contents.get(FILE)!.slice();
    for (let at = damaged.length - 100_000; at < damaged.length; at += 1000) damaged[at]! ^= 1;
    server.files.set(FILE, damaged);
    const troubles: Trouble[] = [];
    const image = await openIt({ onTrouble: (trouble) => troubles.push(trouble) });
    expect(await isRight(image, FIRST)).to.equal(true);
    expect(await isRight(image, all)).to.equal(true);
    // Its blocks are asked for anew, and it has been published without a profile.
    server.files.set(FILE, contents.get(FILE)!);
    const small = await openIt({ memory: 65_536, onTrouble: (trouble) => troubles.push(trouble) });
    await untilWhole();
    server.files.set(FILE, plain.get(FILE)!);
    expect(await isRight(small, FIRST)).to.equal(true);
    server.files.delete(FILE);
    expect(await isRight(small, FIRST)).to.equal(true);
    expect(troubles).to.deep.equal([]);
  });

  it('ends when the image is closed, with an error for who waits', async () => {
    server.answer = (_, response, file) => {
      response.writeHead(200, { 'content-length': file!.length });
      response.write(file!.subarray(0, file!.length - 3 * 65_536));
      return true;
    };
    const image = await openIt();
    const waiting = image.origin.fetch([chunkOf(image, FIRST.at(-1)!)]).catch((error: FsError) => error.code);
    await new Promise((resolve) => setTimeout(resolve, 5));
    image.origin.close();
    expect(await waiting).to.equal(5);
  });

  it('is verified, in front and in the packs', async () => {
    const check = async (name: string, at: number) => {
      const files = new Map([...contents].map(([each, file]) => [each, file.slice()]));
      if (name) files.get(name)![at]! ^= 1;
      const image = await stored(files);
      const found = await verifyImage(image);
      image.origin.close();
      return found;
    };
    expect(await check('', 0)).to.deep.equal({ chunks: CHUNKS, damaged: 0, reasons: [] });
    const front = await check(FILE, contents.get(FILE)!.length - 10);
    expect(front.damaged).to.equal(1);
    expect(front.reasons[0]).to.include('is damaged where it comes from');
    const [pack] = [...contents.keys()].filter((name) => name !== FILE);
    expect(await check(pack!, 4 * 65_536)).to.have.property('damaged', 1);
  });

  describe('with a cache', () => {
    const cached = async (cache: BlockCache) => {
      server.log.length = 0;
      server.sent = 0;
      return openIt({ cache, memory: 1 << 20 });
    };

    it('needs no server afterwards, and with one asks for nothing twice', async () => {
      const store = new MemoryStore();
      const cache = new BlockCache(store);
      const first = await cached(cache);
      expect(await isRight(first, all)).to.equal(true);
      await cache.settle();
      const second = await cached(new BlockCache(store));
      expect(await isRight(second, all)).to.equal(true);
      expect(server.log).to.deep.equal([FILE]);
      expect(second.origin.counts).to.include({ requests: 0, bytes: 0 });
      await server.stop();
      const third = await openIt({ cache: new BlockCache(store) });
      expect(await isRight(third, all)).to.equal(true);
      server = await ImageServer.start(new Map(contents));
    });

    it('fetches it anew where the cache has the head and not what stands behind it, or a damaged head', async () => {
      const store = new MemoryStore();
      const cache = new BlockCache(store);
      expect(await isRight(await cached(cache), FIRST)).to.equal(true);
      await cache.settle();
      const heads: string[] = [];
      for (const name of await store.list())
        if (name.endsWith('-0-1.blocks')) heads.push(name);
        else if (name.endsWith('.blocks')) await store.remove(name);
      expect(await isRight(await cached(new BlockCache(store)), FIRST)).to.equal(true);
      for (const name of heads) {
        const file = (await store.read(name, 0)).slice();
        file[PREFIX_LENGTH + 20]! ^= 1;
        await store.write(name, [file]);
      }
      expect(await isRight(await cached(new BlockCache(store)), FIRST)).to.equal(true);
    });
  });

  it('is refused where it is not what the head says', async () => {
    const file = contents.get(FILE)!;
    const { headLength } = decodePrefix(file, FILE);
    const head = decodeFields(file.subarray(PREFIX_LENGTH, PREFIX_LENGTH + headLength)) as LayerHead;
    const data = file.subarray(PREFIX_LENGTH + headLength);
    const attempt = async (first: unknown, after = data, more: Partial<LayerHead> = {}) => {
      const changed = encodeFields({ ...head, ...more, image: { ...head.image!, first: first as Uint8Array } });
      const store = new MemoryStore([...contents]);
      await store.write(FILE, layerParts(codec, changed, [after]));
      const answer = await openImage(new StoredImage(store, FILE)).catch((error: unknown) => error);
      if (answer instanceof SnapshotError) return answer.message;
      (answer as OpenImage).origin.close();
      return 'accepted';
    };
    const numbers = [...fromU32(head.image!.first!)];
    expect(await attempt(toU32(numbers))).to.equal('accepted');
    for (const first of [
      toU32([...numbers.slice(1), numbers[1]!]),
      toU32([CHUNKS, ...numbers.slice(1)]),
      toU32([0xffffffff, ...numbers.slice(1)]),
      toU32(numbers).subarray(1),
      new Uint8Array(4 * CHUNKS + 4),
      'text',
      null,
      numbers,
      -1,
    ])
      expect(await attempt(first), String(first)).to.include('its list of what is read first is invalid');
    expect(await attempt(toU32(numbers.slice(1)))).to.include('is not what stands in it');
    expect(await attempt(toU32(numbers), data.subarray(1))).to.include('is not what stands in it');
    expect(await attempt(undefined)).to.include('is not what stands in it');
    const { chunks } = head;
    const long = fromU32(chunks.packed.slice());
    long[0] = 70_000;
    long[1]! -= 70_000 - fromU32(chunks.packed)[0]!;
    expect(await attempt(toU32(numbers), data, { chunks: { ...chunks, packed: toU32(long) } })).to.not.equal(
      'accepted',
    );
    expect(await attempt(toU32(numbers), data, { packs: undefined })).to.include('do not add up');
  });
});
