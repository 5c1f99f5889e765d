import { expect } from 'chai';
import { concat } from '../../../device/bytes.ts';
import { StoredImage } from '../../../device/image/files.ts';
import { streamFlate } from '../../../device/image/flate.ts';
import { imageId } from '../../../device/image/head.ts';
import { openImage } from '../../../device/image/open.ts';
import { repackImage } from '../../../device/image/profile.ts';
import { FsError, loadCodec, MemoryFileSystem, type MemoryStore, SnapshotError } from '../../../device/index.ts';
import { decodeFields, encodeFields } from '../../../device/snapshot/fields.ts';
import { decodePrefix, type LayerHead, layerParts, PREFIX_LENGTH } from '../../../device/snapshot/layer.ts';
import { randomNumbers } from '../../support/hostile-driver.ts';
import { damage, NUMBERS, noise, pick, type Random } from '../../support/hostile-values.ts';
import { builtImage, FILE, fillTree, loaded } from '../../support/images.ts';

const codec = loadCodec();

/** An image that fuzzing changes. */
interface Sample {
  store: MemoryStore;
  file: Uint8Array;
  head: LayerHead;
  /** What stands behind the head. */
  data: Uint8Array;
  tree: unknown;
}

/** Images with as many kinds of things in them as there are, some with a profile. */
async function sample(seed: number): Promise<Sample> {
  const filesystem = new MemoryFileSystem();
  fillTree(filesystem, randomNumbers(seed), 25);
  const { store } = await builtImage(filesystem, { packSize: 1 << 17 });
  const image = await openImage(new StoredImage(store, FILE));
  const first = [5, 1, 9].slice(0, seed % 4).map((n) => image.places.chunkAt(n));
  await repackImage(image, first, store, FILE);
  image.origin.close();
  const file = await store.read(FILE, 0);
  const { headLength } = decodePrefix(file, FILE);
  const head = decodeFields(file.subarray(PREFIX_LENGTH, PREFIX_LENGTH + headLength)) as LayerHead;
  const tree = decodeFields(await streamFlate.inflate(head.image!.tree, head.image!.treeLength));
  return { store, file, head, data: file.slice(PREFIX_LENGTH + headLength), tree };
}

/** With checksums and a name that fit. */
async function sealed({ head, data, tree }: Pick<Sample, 'head' | 'data' | 'tree'>): Promise<Uint8Array> {
  const bytes = encodeFields(tree);
  const image = { ...head.image!, tree: await streamFlate.deflate(bytes), treeLength: bytes.length };
  let { id } = head;
  try {
    id = imageId(codec, bytes, head.chunks).slice(0, 32);
  } catch {
    // Of malformed columns.
  }
  return concat(layerParts(codec, encodeFields({ ...head, id, image }), [data]));
}

/** Something else somewhere in it. */
function changed(random: Random, value: unknown, depth = 0): unknown {
  if (value instanceof Uint8Array) {
    switch (random(5)) {
      case 0:
        return noise(random, random(64));
      case 1:
        return value.slice(0, random(value.length + 1));
      case 2:
        return value.map((byte) => (random(20) ? byte : random(256)));
      default:
        return damage(random, value);
    }
  }
  if (typeof value === 'object' && value !== null && (depth === 0 || random(20))) {
    const key = pick(random, Object.keys(value));
    if (!random(30)) return Object.fromEntries(Object.entries(value).filter(([name]) => name !== key));
    return { ...value, [key]: changed(random, (value as Record<string, unknown>)[key], depth + 1) };
  }
  return pick<unknown>(random, [...NUMBERS, -1, 0.5, NaN, null, undefined, '', 'text', [], {}, 1n, true]);
}

describe('images from anybody', function () {
  this.timeout(240_000);

  /** What comes of a file; everything else than a refusal or a filesystem fails the test. */
  const judge = async (store: MemoryStore, file: Uint8Array): Promise<string> => {
    await store.write(FILE, [file]);
    try {
      const image = await openImage(new StoredImage(store, FILE), { inodes: 1000 });
      try {
        await loaded(image);
        return 'accepted';
      } finally {
        image.origin.close();
      }
    } catch (error) {
      const isRefusal = error instanceof SnapshotError || error instanceof FsError || error instanceof TypeError;
      if (!isRefusal || (error instanceof TypeError && !/^the filesystem state is invalid/.test(error.message)))
        throw error;
      return (error as Error).name;
    }
  };

  const outcomes = async (change: (random: Random, s: Sample) => Promise<Uint8Array>) => {
    const counts: Record<string, number> = {};
    for (let seed = 1; seed <= 3; seed++) {
      const each = await sample(seed);
      const random = randomNumbers(seed);
      for (let n = 0; n < 40; n++) {
        const outcome = await judge(each.store, await change(random, each));
        counts[outcome] = (counts[outcome] ?? 0) + 1;
      }
    }
    return counts;
  };

  it('are refused when a byte of the head is another one', async () => {
    const counts = await outcomes(async (random, { file, data }) => {
      const bytes = file.slice();
      bytes[random(bytes.length - data.length)]! ^= 1 + random(255);
      return bytes;
    });
    expect(Object.keys(counts)).to.have.members(['ImageError']);
  });

  it('are refused or sound whatever is in the head', async () => {
    const counts = await outcomes(async (random, { head, ...rest }) =>
      sealed({ ...rest, head: changed(random, { ...head, image: changed(random, head.image) }) as LayerHead }),
    );
    expect(counts['ImageError']).to.be.above(50);
  });

  it('are refused or sound whatever is in the tree', async () => {
    const counts = await outcomes(async (random, { tree, ...rest }) =>
      sealed({ ...rest, tree: changed(random, tree) }),
    );
    expect(counts['ImageError']! + counts['TypeError']!).to.be.above(50);
    expect(counts['accepted']).to.be.above(5);
  });

  it('have what they should where they say something else is read first', async () => {
    const counts = await outcomes(async (random, { file, data }) => {
      const bytes = file.slice();
      for (let n = random(5); n >= 0; n--) bytes[bytes.length - 1 - random(data.length)]! ^= 1 + random(255);
      return bytes;
    });
    expect(counts).to.deep.equal({ accepted: 120 });
  });

  it('are refused before more memory is taken than they say', async () => {
    const { store, head, data } = await sample(1);
    const zeros = await streamFlate.deflate(new Uint8Array(64 << 20));
    const image = { ...head.image!, tree: zeros, treeLength: 1000 };
    const file = concat(layerParts(codec, encodeFields({ ...head, image }), [data]));
    await store.write(FILE, [file]);
    const error = await openImage(new StoredImage(store, FILE)).catch((reason: Error) => reason);
    expect(error).to.have.property('message').that.includes('more than 1000 bytes');
    const many = encodeFields({ inodes: { mode: new Uint8Array(4 << 20) } });
    const full = { ...head.image!, tree: await streamFlate.deflate(many), treeLength: many.length };
    const id = imageId(codec, many, head.chunks).slice(0, 32);
    await store.write(FILE, layerParts(codec, encodeFields({ ...head, id, image: full }), [data]));
    const second = await openImage(new StoredImage(store, FILE), { inodes: 1000 }).catch((reason: Error) => reason);
    expect(second).to.have.property('message').that.includes('1048576 files and directories');
  });
});
