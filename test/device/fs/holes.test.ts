import { expect } from 'chai';
import { Volume } from 'memfs';
import { BytesSink, BytesSource } from '../../../device/bytes.ts';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import { checkState } from '../../../device/filesystems/memory/check-state.ts';
import type { Inode } from '../../../device/filesystems/memory/inode.ts';
import {
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  S_IFREG,
  SEEK_DATA,
  SEEK_HOLE,
} from '../../../device/fs/constants.ts';
import { ENXIO, FsError } from '../../../device/fs/errno.ts';
import { checkTree } from '../../support/check-tree.ts';
import { randomNumbers } from '../../support/hostile-driver.ts';
import { restored } from '../../support/restored.ts';

const SIZE = 300_000;
const PAGE = 4096;
const joined = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts));

describe('holes', () => {
  function file(size = 64 << 20) {
    const filesystem = filesystemOf(new Volume(), { size });
    const inode = filesystem.mknod(filesystem.root, 'file', { mode: S_IFREG | 0o644, uid: 0, gid: 0 }) as Inode;
    return {
      filesystem,
      inode,
      write: (offset: number, bytes: Uint8Array) =>
        filesystem.write(inode, offset, bytes.length, new BytesSource(bytes)),
      content: () => {
        const bytes = new Uint8Array(filesystem.getattr(inode).size);
        filesystem.read(inode, 0, bytes.length, new BytesSink(bytes), 0);
        return bytes;
      },
    };
  }

  it('a hole before pages that are allocated and were never written', () => {
    const { filesystem, inode, content } = file();
    filesystem.fallocate(inode, 0, 65536, 0);
    filesystem.state();
    filesystem.fallocate(inode, 4096, 8192, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    expect(content()).to.deep.equal(new Uint8Array(65536));
  });

  for (const seed of [1, 2, 3]) {
    it(`random writes, allocations, holes, truncations and snapshots are as on plain bytes (seed ${seed})`, () => {
      const random = randomNumbers(seed);
      const { filesystem, inode, write, content } = file();
      let model = new Uint8Array(0);
      const grow = (size: number) => {
        if (size <= model.length) return;
        const larger = new Uint8Array(size);
        larger.set(model);
        model = larger;
      };
      for (let step = 0; step < 1500; step++) {
        const offset = random(SIZE);
        const length = 1 + random(random(3) ? 20_000 : 140_000);
        switch (random(10)) {
          case 0:
          case 1: {
            const bytes = new Uint8Array(length).fill(1 + random(255));
            write(offset, bytes);
            grow(offset + length);
            model.set(bytes, offset);
            break;
          }
          case 2:
            filesystem.fallocate(inode, offset, length, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
            model.fill(0, Math.min(offset, model.length), Math.min(offset + length, model.length));
            break;
          case 3:
            filesystem.fallocate(inode, offset, length, random(2) ? FALLOC_FL_KEEP_SIZE : (grow(offset + length), 0));
            break;
          case 4: {
            const size = random(4) ? offset : 0;
            filesystem.setattr(inode, { size });
            if (size < model.length) model = model.slice(0, size);
            else grow(size);
            break;
          }
          case 5:
            filesystem.state();
            break;
          case 6:
            if (random(10) === 0) {
              filesystem.restore(checkState(filesystem.state()));
            }
            break;
          case 7: {
            const [at, end] = [offset, offset + length].map((value) => value - (value % PAGE)) as [number, number];
            if (end === at || end >= model.length) break;
            filesystem.fallocate(inode, at, end - at, FALLOC_FL_COLLAPSE_RANGE);
            model = joined(model.subarray(0, at), model.subarray(end));
            break;
          }
          case 8: {
            const [at, end] = [offset, offset + Math.min(length, 20_000)].map((value) => value - (value % PAGE)) as [
              number,
              number,
            ];
            if (end === at || at >= model.length || model.length > 2 * SIZE) break;
            filesystem.fallocate(inode, at, end - at, FALLOC_FL_INSERT_RANGE);
            model = joined(model.subarray(0, at), new Uint8Array(end - at), model.subarray(at));
            break;
          }
          case 9: {
            const to = random(SIZE);
            const [from, target] = random(2) ? [offset, to] : [offset - (offset % PAGE), to - (to % PAGE)];
            const count = Math.min(length, model.length - from);
            if (count <= 0 || Math.abs(from - target) < count) break;
            if (filesystem.copyFileRange(inode, from, inode, target, length) !== count)
              expect.fail(`step ${step}: a short copy`);
            grow(target + count);
            model.copyWithin(target, from, from + count);
            break;
          }
        }
        if (step % 10 === 0 && Buffer.compare(content(), model) !== 0) expect.fail(`step ${step}: the content differs`);
      }
      expect(Buffer.compare(content(), model)).to.equal(0);
    });
  }

  for (const seed of [1, 2]) {
    it(`pages scattered over 8 TiB, written, punched, shifted and looked for, are as in a map of them (seed ${seed})`, () => {
      const random = randomNumbers(seed);
      const { filesystem, inode, write } = file(256 << 20);
      const PAGES = 2 ** 31;
      filesystem.setattr(inode, { size: PAGES * PAGE });
      let model = new Map<number, number>();
      /** One of ten places, so that many are near to each other. */
      const somewhere = () => random(10) * Math.floor(PAGES / 10) + random(4000);
      const shift = (from: number, by: number) =>
        (model = new Map([...model].map(([page, value]) => [page >= from ? page + by : page, value])));
      for (let step = 0; step < 6000; step++) {
        const at = somewhere();
        const count = 1 + random(random(20) ? 40 : 40_000);
        const size = filesystem.getattr(inode).size / PAGE;
        switch (random(20)) {
          case 0: {
            filesystem.fallocate(inode, at * PAGE, count * PAGE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
            for (const page of model.keys()) if (page >= at && page < at + count) model.delete(page);
            break;
          }
          case 1:
            if (at >= size) break;
            filesystem.fallocate(inode, at * PAGE, count * PAGE, FALLOC_FL_INSERT_RANGE);
            shift(at, count);
            break;
          case 2: {
            if (at + count >= size) break;
            filesystem.fallocate(inode, at * PAGE, count * PAGE, FALLOC_FL_COLLAPSE_RANGE);
            for (const page of model.keys()) if (page >= at && page < at + count) model.delete(page);
            shift(at + count, -count);
            break;
          }
          case 3:
            if (count < 100) {
              filesystem.fallocate(inode, at * PAGE, count * PAGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
              for (let page = at; page < at + count; page++) model.set(page, 0);
            }
            break;
          case 4:
            filesystem.state();
            break;
          default: {
            const value = 1 + random(255);
            write(at * PAGE, new Uint8Array(PAGE).fill(value));
            model.set(at, value);
          }
        }
        if (step % 200) continue;
        const pages = [...model.keys()].sort((a, b) => a - b);
        const seek = (from: number, whence: number) => {
          try {
            return filesystem.lseek(inode, from * PAGE, whence) / PAGE;
          } catch (error) {
            return error === FsError.of(ENXIO) ? undefined : expect.fail(String(error));
          }
        };
        const found: number[] = [];
        for (let page = seek(0, SEEK_DATA); page !== undefined; ) {
          const end = seek(page, SEEK_HOLE)!;
          for (; page < end; page++) found.push(page);
          page = seek(end, SEEK_DATA);
        }
        expect(found).to.deep.equal(pages);
        const byte = new Uint8Array(1);
        for (const [page, value] of model) {
          filesystem.read(inode, page * PAGE + 7, 1, new BytesSink(byte), 0);
          if (byte[0] !== value) expect.fail(`step ${step}: page ${page} has ${byte[0]} instead of ${value}`);
        }
        checkTree(filesystem, []);
      }
      expect(model.size).to.be.greaterThan(2000);
      restored(filesystem);
    });
  }

  for (const [name, at, length] of [
    ['by a page', 0, PAGE],
    ['in the middle of a chunk', 5 * PAGE, PAGE],
    ['by a chunk', 65536, 65536],
  ] as const) {
    it(`inserting and collapsing ${name} moves what follows without copying it`, () => {
      const { inode, filesystem, write } = file();
      for (let n = 0; n < 512; n++) write(n * 65536, new Uint8Array(65536).fill(n));
      const buffers = () => new Set([...inode.content!.chunks()].map(({ bytes }) => bytes));
      const before = buffers();
      filesystem.fallocate(inode, at, length, FALLOC_FL_INSERT_RANGE);
      filesystem.fallocate(inode, at, length, FALLOC_FL_COLLAPSE_RANGE);
      expect([...buffers()].filter((bytes) => !before.has(bytes)).length).to.be.at.most(2);
      expect(filesystem.getattr(inode).size).to.equal(512 * 65536);
    });
  }

  it('a range is copied between any pages by sharing, and what is not is copied in parts', () => {
    const { filesystem, inode, write } = file();
    for (let n = 0; n < 320; n++) write(n * 65536, new Uint8Array(65536).fill(n));
    const other = filesystem.mknod(filesystem.root, 'other', { mode: S_IFREG | 0o644, uid: 0, gid: 0 }) as Inode;
    expect(filesystem.copyFileRange(inode, 0, other, 3 * PAGE, 20 << 20)).to.equal(20 << 20);
    const shared = new Set([...inode.content!.chunks()].map(({ bytes }) => bytes));
    expect([...other.content!.chunks()].every(({ bytes }) => shared.has(bytes))).to.equal(true);
    expect(filesystem.copyFileRange(inode, 1, other, 0, 20 << 20)).to.be.within(1 << 20, 9 << 20);
  });

  it('no file keeps more room than for the pages that it has and a megabyte', () => {
    const { filesystem, inode, write } = file(256 << 20);
    const room = () => [...inode.content!.chunks()].reduce((sum, { bytes }) => sum + bytes.buffer.byteLength, 0);
    const random = randomNumbers(5);
    for (let step = 0; step < 3000; step++) {
      const size = filesystem.getattr(inode).size;
      const at = random(4) ? size : random(size + 1);
      switch (random(12)) {
        case 0:
          filesystem.fallocate(
            inode,
            at - (at % PAGE),
            PAGE * (1 + random(200)),
            FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
          );
          break;
        case 1:
          filesystem.setattr(inode, { size: random(3) ? at : Math.ceil(size / 65536) * 65536 });
          break;
        case 2:
          filesystem.state();
          break;
        default:
          write(at, new Uint8Array(1 + random(random(2) ? PAGE : 3 * PAGE)));
      }
      if (room() > inode.content!.pages * PAGE + (1 << 20))
        expect.fail(`step ${step}: room for ${room()} bytes, and ${inode.content!.pages} pages`);
    }
  });
});
