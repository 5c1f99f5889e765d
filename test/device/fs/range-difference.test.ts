import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { checkState } from '../../../device/filesystems/memory/check-state.ts';
import type { MemoryOrigin } from '../../../device/filesystems/memory/inode-table.ts';
import { RANGE } from '../../../device/filesystems/memory/range.ts';
import { baseOf } from '../../../device/filesystems/memory/range-difference.ts';
import type { MemoryState, RangeState } from '../../../device/filesystems/memory/state.ts';
import { MemoryFileSystem } from '../../../device/index.ts';
import { decodeFields, encodeFields } from '../../../device/snapshot/fields.ts';
import { checkTree } from '../../support/check-tree.ts';
import { ChunkOrigin } from '../../support/chunk-origin.ts';
import { randomNumbers } from '../../support/hostile-driver.ts';
import { changeAnything } from '../../support/random-changes.ts';
import { restored } from '../../support/restored.ts';

const owner = { uid: 0, gid: 0 };
const NODE = { mode: 0o100644, ...owner };
const limits = { size: 64 << 20, inodes: 20_000 };
const clock = () => ({ sec: 1_700_000_000, nsec: 0 });

/** An image with a bit of everything in it, and the filesystem that it was made of. */
function image(seed: number): ChunkOrigin {
  const filesystem = new MemoryFileSystem({ ...limits, clock });
  const random = randomNumbers(seed);
  for (let n = 0; n < 2 * RANGE; n++) filesystem.mknod(filesystem.root, `f${n}`, NODE);
  for (let n = 0; n < 2 * RANGE; n++) changeAnything(filesystem, random);
  const origin = new ChunkOrigin();
  origin.tree = origin.without(filesystem.state());
  return origin;
}

/** The same, but it does not say what it has. */
const untold = ({ id, fetch }: ChunkOrigin): MemoryOrigin => ({ id, fetch, tree: undefined });

/** A filesystem with nothing but the image. `isTold`: it knows what the image has. */
function on(origin: ChunkOrigin, isTold = true): MemoryFileSystem {
  const filesystem = new MemoryFileSystem({ ...limits, clock, origin: isTold ? origin : untold(origin) });
  filesystem.restore(filesystem.checkState({ ...origin.tree, uuid: filesystem.uuid }));
  return filesystem;
}

/** All that a state says, whatever it is a difference from. */
function whole(state: MemoryState, origin: ChunkOrigin): string {
  const { ranges } = checkState(state, undefined, baseOf(origin.tree!));
  return JSON.stringify(
    [...ranges.values()].map(({ source: _, words, ...range }) => [[...words], range]),
    (_, value: unknown) =>
      ArrayBuffer.isView(value)
        ? createHash('md5')
            .update(value as Uint8Array)
            .digest('hex')
        : value,
  );
}

const u8 = (...bytes: number[]) => Uint8Array.from(bytes);
const sizeOf = (state: MemoryState) => encodeFields(state).length;

describe('what a filesystem has changed of its image', function () {
  this.timeout(120_000);

  it('is nothing at first, and what an inode has that was changed, and nothing when it is back', () => {
    const filesystem = on(image(1));
    const { ranges } = filesystem.state();
    expect(ranges).to.deep.equal([]);
    const file = filesystem.lookup(filesystem.root, filesystem.entries(filesystem.root)[7]!.name)!;
    const { mode, ctime, mtime } = file;
    filesystem.setattr(file, { atime: { sec: 5, nsec: 5 } });
    const [range, ...others] = filesystem.state().ranges;
    expect(others).to.deep.equal([]);
    expect(Object.keys(range!).sort()).to.deep.equal(['changed', 'index', 'inodes']);
    expect(range!.inodes.length).to.equal(52);
    expect(range!.changed).to.deep.equal({ inodes: Uint8Array.of(file.ino % RANGE) });
    expect(filesystem.state().ranges[0]).to.equal(range);
    filesystem.setattr(file, { atime: mtime });
    file.ctime = ctime;
    expect(file.mode).to.equal(mode);
    expect(filesystem.state().ranges).to.deep.equal([]);
  });

  it('has no range any more that nothing is left of', () => {
    const origin = image(2);
    const filesystem = on(origin);
    const inodes = [...filesystem.inodes()].filter(({ ino }) => Math.floor(ino / RANGE) === 1);
    for (const inode of inodes) for (const { dir, name } of [...inode.names()]) filesystem.unlink(dir, name);
    expect(filesystem.state().ranges.find(({ index }) => index === 1)).to.deep.equal({ index: 1, inodes: u8() });
    const twin = restored(filesystem).filesystem;
    expect([...twin.inodes()].map(({ ino }) => ino)).to.deep.equal([...filesystem.inodes()].map(({ ino }) => ino));
  });

  it('can be that nothing is left of a kind', () => {
    const filesystem = on(image(7));
    for (const inode of filesystem.inodes()) {
      if (inode.isRegular) filesystem.setattr(inode, { size: 0 });
      for (const name of filesystem.listxattr(inode)) filesystem.removexattr(inode, name);
    }
    const empty = filesystem.state().ranges.find(({ changed }) => changed?.files && changed.xattrs);
    expect(empty).to.not.have.any.keys('files', 'chunks', 'xattrs');
    restored(filesystem);
    for (const inode of filesystem.inodes()) if (inode.isRegular) filesystem.setattr(inode, { size: 100 });
    expect(filesystem.state().ranges.some(({ files, chunks }) => files && !chunks)).to.equal(true);
    for (const inode of restored(filesystem).filesystem.inodes()) {
      const { size, pages } = filesystem.inode(inode.ino)!.written ?? {};
      expect([inode.written?.size, inode.written?.pages]).to.deep.equal([size, pages]);
    }
  });

  it('whatever is done, is the same as all that there is, and any moment comes back, in place and elsewhere', () => {
    for (let seed = 1; seed <= 3; seed++) {
      const origin = image(seed);
      const filesystem = on(origin);
      const model = on(origin, false);
      const random = randomNumbers(seed + 100);
      const again = randomNumbers(seed + 100);
      const moments: { state: MemoryState; full: MemoryState; all: string }[] = [];
      for (let step = 0; step < 25; step++) {
        for (let n = step % 5 === 0 ? 200 : step % 7; n > 0; n--) {
          changeAnything(filesystem, random);
          changeAnything(model, again);
        }
        const state = filesystem.state();
        const full = model.state();
        const all = whole(full, origin);
        expect(state.isDifference).to.equal(true);
        expect(whole(state, origin), `seed ${seed}, step ${step}`).to.equal(all);
        moments.push({ state, full, all });
        if (step % 4 !== 3) continue;
        const back = moments[step % 3 === 0 ? moments.length - 2 : (step * 7) % moments.length]!;
        const isForeign = step % 8 === 3;
        filesystem.restore(filesystem.checkState(isForeign ? decodeFields(encodeFields(back.state)) : back.state));
        expect(whole(filesystem.state(), origin), `seed ${seed}, step ${step}, back`).to.equal(back.all);
        checkTree(filesystem, []);
        model.restore(model.checkState(back.full));
      }
      for (const { state, all } of moments) expect(whole(state, origin), 'a moment that passed').to.equal(all);
      restored(filesystem);
    }
  });

  it('comes back where all there was had been saved, and the other way round', () => {
    const origin = image(3);
    const [filesystem, model] = [on(origin), on(origin, false)];
    const [random, again] = [randomNumbers(9), randomNumbers(9)];
    for (let n = 0; n < 100; n++) {
      changeAnything(filesystem, random);
      changeAnything(model, again);
    }
    const [state, full] = [filesystem.state(), model.state()];
    const all = whole(full, origin);
    for (const isFullFirst of [true, false]) {
      const twin = on(origin);
      for (const isFull of [isFullFirst, !isFullFirst, isFullFirst]) {
        twin.restore(twin.checkState(decodeFields(encodeFields(isFull ? full : state))));
        expect(whole(twin.state(), origin)).to.equal(all);
        checkTree(twin, []);
      }
      for (const inode of twin.inodes()) inode.touch();
      expect(sizeOf(twin.state()), 'what was touched is compared anew').to.equal(sizeOf(state));
    }
  });

  it('is refused where the image is not there, or does not say what it has', () => {
    const origin = image(4);
    const filesystem = on(origin);
    changeAnything(filesystem, randomNumbers(1));
    const state = filesystem.state();
    expect(() => new MemoryFileSystem(limits).checkState(state)).to.throw(RangeError, origin.id);
    expect(() => new MemoryFileSystem({ ...limits, origin: untold(origin) }).checkState(state)).to.throw(
      RangeError,
      `image ${origin.id}, and what that has is not known here`,
    );
    expect(() => checkState(state)).to.throw(RangeError, /attach that image/);
  });

  /** One that is different in all groups. */
  function sample() {
    const origin = image(5);
    const filesystem = on(origin);
    const random = randomNumbers(3);
    for (let n = 0; n < 200; n++) changeAnything(filesystem, random);
    return { origin, filesystem, before: filesystem.state() };
  }

  /** What is wrong with each. */
  const forged: Record<string, { change(range: RangeState, state: MemoryState): void; says: RegExp }> = {
    'no image': { change: (_, state) => delete state.origin, says: /does not say from what/ },
    'no image that it is from': { change: (_, state) => delete state.isDifference, says: /image has no such range/ },
    'a range that the image has not': { change: (range) => (range.index = 40), says: /out of range|no such range/ },
    'changes that are none': { change: (range) => (range.changed = 5 as never), says: /changed is missing/ },
    'a list of inodes that is none': {
      change: ({ changed }) => (changed!.entries = [5] as never),
      says: /changed entries are no bytes/,
    },
    'names that nobody is said to have': { change: ({ changed }) => delete changed!.entries, says: /not say of which/ },
    'records of others': { change: ({ changed }) => (changed!.inodes = u8(0)), says: /that it does not name/ },
    'half a record': { change: (range) => (range.inodes = range.inodes.slice(4)), says: /not a column of numbers/ },
    'names without an end': {
      change: ({ entries }) => (entries!.names = entries!.names.slice(0, -1)),
      says: /not a column of texts/,
    },
    'fewer names than places': {
      change: ({ entries }) => (entries!.names = u8(0x61, 0)),
      says: /differ in length/,
    },
    'fewer chunks than files': { change: (range) => delete range.chunks, says: /fewer than files claim/ },
    'chunks of no list': { change: ({ chunks }) => (chunks!.bytes = {} as never), says: /not a list/ },
    'more chunks than there may be': {
      change: ({ files }) => (files!.chunks = new Uint8Array(files!.chunks.length).fill(0xff)),
      says: /fewer than files claim/,
    },
    'no record of an inode with a name': {
      change: (range) => (range.inodes = new Uint8Array(0)),
      says: /out of order, or it does not exist/,
    },
    'all inodes gone, and their names there': {
      change: (range) => {
        range.inodes = new Uint8Array(0);
        range.changed!.inodes = Uint8Array.from({ length: 256 }, (_, n) => n);
      },
      says: /inode/,
    },
  };
  for (const [name, { change, says }] of Object.entries(forged)) {
    it(`is refused with ${name}, and nothing is changed`, () => {
      const { origin, filesystem, before } = sample();
      const state = decodeFields(encodeFields(before)) as MemoryState;
      const range = state.ranges.find(({ changed, chunks }) => changed?.entries && chunks)!;
      change(range, state);
      for (const there of [filesystem, on(origin)]) {
        const stays = encodeFields(there.state());
        expect(() => there.checkState(state)).to.throw(TypeError, says);
        expect(Buffer.compare(encodeFields(there.state()), stays)).to.equal(0);
        checkTree(there, []);
      }
    });
  }

  it('is read or refused, whatever became of its bytes', () => {
    const origin = image(6);
    const filesystem = on(origin);
    const random = randomNumbers(4);
    for (let n = 0; n < 60; n++) changeAnything(filesystem, random);
    const bytes = encodeFields(filesystem.state());
    let [read, refused] = [0, 0];
    for (let n = 0; n < 400; n++) {
      const damaged = bytes.slice();
      for (let times = 1 + random(3); times > 0; times--) damaged[random(damaged.length)] = random(256);
      const there = on(origin);
      let state: unknown;
      try {
        state = decodeFields(damaged);
      } catch {
        continue;
      }
      try {
        there.restore(there.checkState(state));
        there.settle();
        read++;
      } catch (error) {
        if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
        expect((error as Error).message).to.match(/filesystem state is invalid|image|take/);
        refused++;
      }
      checkTree(there, []);
    }
    expect(Math.min(read, refused)).to.be.above(10);
  });
});
