import { expect } from 'chai';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import { partsOf } from '../../../device/filesystems/memory/filesystem.ts';
import type { Inode } from '../../../device/filesystems/memory/inode.ts';
import { RANGE } from '../../../device/filesystems/memory/range.ts';
import { WORDS } from '../../../device/filesystems/memory/record.ts';
import type { MemoryState, RangeState } from '../../../device/filesystems/memory/state.ts';
import { type MemoryFileSystem, Volume } from '../../../device/index.ts';
import { encodeFields } from '../../../device/snapshot/fields.ts';
import { checkTree } from '../../support/check-tree.ts';
import { randomNumbers } from '../../support/hostile-driver.ts';
import { changeAnything } from '../../support/random-changes.ts';
import { restored } from '../../support/restored.ts';

const owner = { uid: 0, gid: 0 };
const make = () => filesystemOf(new Volume(), { size: 64 << 20, inodes: 20_000 });

const bytesOf = ({ nextIno: _, ...state }: MemoryState) => Buffer.from(encodeFields(state));

describe('the ranges of a filesystem in memory', function () {
  this.timeout(120_000);

  it('are the same objects until something in them changes', () => {
    const filesystem = make();
    for (let n = 0; n < 5 * RANGE; n++) filesystem.mknod(filesystem.root, `f${n}`, { mode: 0o100644, ...owner });
    const before = filesystem.state().ranges;
    expect(before).to.have.length(6);
    expect(filesystem.state().ranges.map((range, n) => range === before[n])).to.not.include(false);
    filesystem.setattr(filesystem.lookup(filesystem.root, 'f700')!, { mode: 0o600 });
    filesystem.lookup(filesystem.root, 'f3');
    const after = filesystem.state().ranges;
    expect(after.flatMap((range, n) => (range === before[n] ? [] : [n]))).to.deep.equal([2]);
    expect(before[2]!.inodes).to.not.deep.equal(after[2]!.inodes);
  });

  it('give way when most of their inodes are gone', () => {
    const filesystem = make();
    const count = 20 * RANGE - 2;
    for (let n = 0; n < count; n++) filesystem.mknod(filesystem.root, `f${n}`, { mode: 0o100644, ...owner });
    for (let n = 0; n < count; n++) if (n % (2 * RANGE)) filesystem.unlink(filesystem.root, `f${n}`);
    checkTree(filesystem, []);
    const { ranges } = filesystem.state();
    expect(ranges.length).to.be.at.most(11);
    expect(ranges.reduce((sum, { inodes }) => sum + inodes.buffer.byteLength, 0)).to.be.below(11 * 300);
  });

  it('whatever is done, a snapshot with those from before has what one made anew has, and any moment comes back in place', () => {
    for (let seed = 1; seed <= 6; seed++) {
      const random = randomNumbers(seed);
      let filesystem = make();
      for (let n = 0; n < 3 * RANGE; n++) changeAnything(filesystem, random);
      const moments: { state: MemoryState; bytes: Buffer }[] = [];
      const held: Inode[] = [];
      for (let step = 0; step < 40; step++) {
        for (let n = random(60); n > 0; n--) changeAnything(filesystem, random);
        const inodes = [...filesystem.inodes()];
        const inode = inodes[random(inodes.length)]!;
        if (random(2)) {
          filesystem.retain(inode);
          held.push(inode);
        }
        const state = filesystem.state();
        moments.push({ state, bytes: bytesOf(state) });
        if (random(3)) continue;
        const back = moments[random(moments.length)]!;
        const isHeld = random(2) === 1;
        if (!isHeld) for (const one of held.splice(0)) filesystem.release(one);
        filesystem.restore(filesystem.checkState(random(4) ? back.state : structuredClone(back.state)));
        const what = `seed ${seed}, step ${step}`;
        if (!isHeld) expect(bytesOf(filesystem.state()).equals(back.bytes), what).to.equal(true);
        for (const one of held.splice(0)) filesystem.release(one);
        filesystem.settle();
        const twin = make();
        twin.restore(twin.checkState(structuredClone(back.state)));
        twin.settle();
        expect(bytesOf(filesystem.state()).equals(bytesOf(twin.state())), what).to.equal(true);
        if (random(2)) checkTree(filesystem, []);
        // It goes on with one where nothing was looked at yet.
        if (random(2)) {
          filesystem = make();
          filesystem.restore(filesystem.checkState(structuredClone(back.state)));
          filesystem.settle();
        }
      }
      for (const one of held) filesystem.release(one);
      for (const { state, bytes } of moments)
        expect(bytesOf(state).equals(bytes), 'a moment that passed').to.equal(true);
      restored(filesystem);
    }
  });

  it('have objects of directories, of files with several names, and of what was asked for', () => {
    const source = make();
    for (let n = 0; n < 2 * RANGE; n++) source.mknod(source.root, `f${n}`, { mode: 0o100644, ...owner });
    const dir = source.mkdir(source.root, 'd', { mode: 0o755, ...owner });
    source.link(source.lookup(source.root, 'f1')!, dir, 'g1');
    const thawed = make();
    thawed.restore(thawed.checkState(structuredClone(source.state())));
    thawed.settle();
    const objects = () =>
      partsOf(thawed)
        .table.ranges()
        .map((range) => {
          let count = 0;
          for (let at = 0; at < range.count * WORDS; at += WORDS) if (range.has(at)) count++;
          return count;
        });
    expect(objects()).to.deep.equal([2, 0, 1]);
    expect(thawed.lookup(thawed.root, 'f300')!.ino).to.equal(source.lookup(source.root, 'f300')!.ino);
    expect(objects()).to.deep.equal([2, 1, 1]);
    expect(thawed.state().ranges).to.have.length(3);
    thawed.setattr(thawed.lookup(thawed.root, 'f300')!, { mode: 0o600 });
    expect(objects(), 'a range that changes has them all').to.deep.equal([2, RANGE, 1]);
    checkTree(thawed, []);
    for (const { index } of thawed.state().ranges)
      expect(objects()[index]).to.equal(index === 2 ? 3 : RANGE - (index ? 0 : 1));
  });

  it('come of one checked state twice', () => {
    const state = sample().state();
    const filesystem = make();
    const checked = filesystem.checkState(state);
    for (let time = 0; time < 2; time++) {
      filesystem.restore(checked);
      filesystem.settle();
      expect(bytesOf(filesystem.state()).equals(bytesOf(state))).to.equal(true);
      for (let n = 0; n < 50; n++) changeAnything(filesystem, randomNumbers(time));
    }
    filesystem.restore(filesystem.checkState(state));
    checkTree(filesystem, []);
  });

  /** Three ranges with all that there is. */
  function sample(): MemoryFileSystem {
    const filesystem = make();
    const random = randomNumbers(7);
    for (let n = 0; n < 2 * RANGE; n++) filesystem.mknod(filesystem.root, `f${n}`, { mode: 0o100644, ...owner });
    for (let n = 0; n < 4 * RANGE; n++) changeAnything(filesystem, random);
    return filesystem;
  }

  const u32 = (bytes: Uint8Array) => new Uint32Array(bytes.slice().buffer);
  const bytes = (numbers: Uint32Array) => new Uint8Array(numbers.buffer);
  /** What is wrong with each, by what the check says. The state is a copy of {@link sample}'s. */
  const forged: Record<string, { change(ranges: RangeState[], state: MemoryState): void; says: RegExp }> = {
    'no list of ranges': { change: (_, state) => Object.assign(state, { ranges: {} }), says: /ranges is not a list/ },
    'a range that is none': { change: (ranges) => ranges.splice(1, 1, 5 as never), says: /ranges is missing/ },
    'the same range twice': { change: (ranges) => ranges.splice(1, 0, ranges[0]!), says: /range 0 is out of order/ },
    'ranges in another order': { change: (ranges) => ranges.reverse(), says: /range \d is out of order/ },
    'a range without inodes': { change: ([, range]) => (range!.inodes = new Uint8Array(0)), says: /has no inodes/ },
    'no root': { change: (ranges) => ranges.shift(), says: /root is missing|does not exist/ },
    'a range beyond all inodes': {
      change: ([, range]) => (range!.index = 2 ** 40),
      says: /range 1099511627776 is out/,
    },
    'a range of no number': { change: ([, range]) => (range!.index = NaN), says: /range NaN is out of range/ },
    'inodes of another range': { change: ([, range]) => (range!.index = 9), says: /out of range/ },
    'half an inode': { change: ([, range]) => (range!.inodes = range!.inodes.slice(0, 60)), says: /not a column/ },
    'inodes that are not bytes': { change: ([, r]) => (r!.inodes = [] as never), says: /not a column/ },
    'an inode twice': {
      change: ([, range]) => range!.inodes.copyWithin(52, 0, 52),
      says: /occurs twice/,
    },
    'an inode number below the ones before': { change: ([, r]) => r!.inodes.fill(0, 52, 56), says: /out of/ },
    'a type that is none': { change: ([, range]) => range!.inodes.fill(0xff, 4, 8), says: /invalid mode/ },
    'a second of too many nanoseconds': {
      change: ([, range]) => range!.inodes.fill(0xff, 20, 24),
      says: /time of inode/,
    },
    'times beyond all': {
      change: ([, range]) => range!.inodes.fill(0x80, 48, 52),
      says: /time of inode \d+ is out of range/,
    },
    'a name of an inode that is not there': {
      change: ([, range]) => (range!.entries!.ino = bytes(u32(range!.entries!.ino).fill(1e6, -1))),
      says: /entries have inode 1000000 out of order/,
    },
    'a name in a directory that is not there': {
      change: ([, range]) => (range!.entries!.dir = bytes(u32(range!.entries!.dir).fill(1e6, 0, 1))),
      says: /is in directory 1000000, which does not exist/,
    },
    'a name of more bytes than names have': {
      change: ([, range]) =>
        (range!.entries!.names = new Uint8Array(300 + range!.entries!.names.length).fill(0x61, 0, 300)),
      says: /differ in length|bad name/,
    },
    'names without an end': {
      change: ([, range]) => (range!.entries!.names = new Uint8Array(10).fill(0x61)),
      says: /entries.names is not a column of texts/,
    },
    'a name twice': {
      change: ([root, range]) => {
        root!.entries!.names = new TextEncoder().encode(`${'same\0'.repeat(u32(root!.entries!.ino).length)}`);
        range!.entries!.names = new TextEncoder().encode(`${'same\0'.repeat(u32(range!.entries!.ino).length)}`);
      },
      says: /has an entry twice, "same"/,
    },
    'a cookie twice': {
      change: (ranges) => {
        for (const { entries } of ranges) entries!.cookie = bytes(u32(entries!.cookie).fill(3));
      },
      says: /invalid cookie 3|out of order/,
    },
    'a cookie beyond the next': {
      change: ([, range]) => (range!.entries!.cookie = bytes(u32(range!.entries!.cookie).fill(2 ** 31 - 2, 0, 1))),
      says: /invalid cookie 2147483646|out of order/,
    },
    'a directory without a next cookie': {
      change: ([range]) => {
        const { ino, nextCookie } = range!.directories!;
        range!.directories = { ino: ino.slice(4), nextCookie: nextCookie.slice(4) };
      },
      says: /directories have no cookie/,
    },
    'a file of more bytes than files have': {
      change: ([, range]) => (range!.files!.size = new Uint8Array(range!.files!.size.length).fill(0x7f)),
      says: /invalid size/,
    },
    'a symbolic link without a target': {
      change: (r) => r.forEach((range) => delete range.symlinks),
      says: /no target/,
    },
    'an attribute of nobody': {
      change: ([, range]) => (range!.xattrs!.ino = bytes(u32(range!.xattrs!.ino).fill(1))),
      says: /xattrs have inode 1 out of order/,
    },
    'a column that is missing': {
      change: ([, r]) => delete (r!.entries as { dir?: unknown }).dir,
      says: /differ in length/,
    },
    'fewer inodes than are named': { change: (_, state) => (state.nextIno = 300), says: /out of range/ },
  };
  for (const [name, { change: forge, says }] of Object.entries(forged)) {
    it(`are refused with ${name}, and nothing is changed`, () => {
      const filesystem = sample();
      const before = filesystem.state();
      filesystem.checkState(before);
      const state = structuredClone(before);
      forge(state.ranges, state);
      expect(() => make().checkState(state), 'elsewhere').to.throw(TypeError, says);
      // Those that are as they are here need not be looked at: the rest has to fit them.
      const mixed = {
        ...state,
        ...(Array.isArray(state.ranges) && {
          ranges: state.ranges.map((range, n) =>
            encodeFields(range).join() === encodeFields(before.ranges[n]).join() ? before.ranges[n]! : range,
          ),
        }),
      };
      expect(() => filesystem.checkState(mixed), 'in place').to.throw(TypeError, says);
      expect(bytesOf(filesystem.state()).equals(bytesOf(before))).to.equal(true);
      checkTree(filesystem, []);
    });
  }

  it('a directory within itself is refused, and one that was removed and is not empty, in place too', () => {
    const filesystem = make();
    const a = filesystem.mkdir(filesystem.root, 'a', { mode: 0o755, ...owner });
    for (let n = 0; n < RANGE; n++) filesystem.mknod(filesystem.root, `f${n}`, { mode: 0o100644, ...owner });
    const b = filesystem.mkdir(a, 'b', { mode: 0o755, ...owner });
    for (let n = 0; n < RANGE; n++) filesystem.mknod(b, `f${n}`, { mode: 0o100644, ...owner });
    const before = filesystem.state();
    filesystem.checkState(before);
    // `a` is in `b` now, which stays in `a`; and then in nothing.
    const looped = structuredClone(before.ranges[0]!);
    looped.entries!.dir = bytes(u32(looped.entries!.dir).fill(b.ino, 0, 1));
    looped.entries!.cookie = bytes(u32(looped.entries!.cookie).fill(1000, 0, 1));
    expect(() => filesystem.checkState({ ...before, ranges: [looped, ...before.ranges.slice(1)] })).to.throw(
      TypeError,
      /cookie/,
    );
    looped.entries!.cookie = bytes(u32(looped.entries!.cookie).fill(3, 0, 1));
    const ranges = [looped, ...structuredClone(before.ranges.slice(1))];
    for (const range of ranges)
      if (range.directories) range.directories.nextCookie = bytes(u32(range.directories.nextCookie).fill(9999));
    ranges[0]!.entries!.cookie = bytes(u32(looped.entries!.cookie).fill(5000, 0, 1));
    expect(() => filesystem.checkState({ ...before, ranges })).to.throw(TypeError, /not below the root/);
    const removed = structuredClone(before.ranges[0]!);
    const { ino, dir, cookie, names } = removed.entries!;
    removed.entries = { ino: ino.slice(4), dir: dir.slice(4), cookie: cookie.slice(4), names: names.slice(2) };
    for (const rest of [before.ranges.slice(1), structuredClone(before.ranges.slice(1))])
      expect(() => filesystem.checkState({ ...before, ranges: [removed, ...rest] })).to.throw(
        TypeError,
        /was removed and is not empty|not below the root/,
      );
  });

  it('whatever bytes are flipped in them, they are refused, or a sound filesystem comes of them', () => {
    const random = randomNumbers(3);
    const filesystem = sample();
    const before = filesystem.state();
    filesystem.checkState(before);
    let restores = 0;
    for (let n = 0; n < 3000; n++) {
      const at = random(before.ranges.length);
      const range = structuredClone(before.ranges[at]!);
      const columns = Object.values(range).flatMap((group) =>
        group instanceof Uint8Array ? [group] : Object.values((group as object) ?? {}),
      ) as Uint8Array[];
      const column = columns[random(columns.length)]!;
      if (!(column instanceof Uint8Array) || !column.length) continue;
      for (let k = random(3); k >= 0; k--) column[random(column.length)] = random(3) ? random(256) : random(4);
      const state = { ...before, ranges: before.ranges.with(at, range) };
      const [inPlace, elsewhere] = [filesystem, make()].map((target) => {
        try {
          return target.checkState(state);
        } catch (error) {
          if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
          return (error as Error).message;
        }
      }) as [ReturnType<MemoryFileSystem['checkState']> | string, ReturnType<MemoryFileSystem['checkState']> | string];
      expect(typeof inPlace, `${JSON.stringify(inPlace)}, ${JSON.stringify(elsewhere)}`).to.equal(typeof elsewhere);
      if (typeof inPlace === 'string' || typeof elsewhere === 'string' || random(4)) continue;
      restores++;
      const twin = make();
      twin.restore(elsewhere);
      filesystem.restore(inPlace);
      expect(inPlace.usage).to.deep.equal(elsewhere.usage);
      expect(bytesOf(filesystem.state()).equals(bytesOf(twin.state()))).to.equal(true);
      twin.settle();
      checkTree(twin, []);
      filesystem.restore(filesystem.checkState(before));
    }
    expect(restores).to.be.above(100);
    filesystem.settle();
    expect(bytesOf(filesystem.state()).equals(bytesOf(before))).to.equal(true);
  });
});
