import { expect } from 'chai';
import { Volume } from 'memfs';
import { MemfsBackend } from '../../../device/index.ts';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, S_IFREG } from '../../../device/fs/constants.ts';
import { randomNumbers } from '../../support/hostile-driver.ts';

const SIZE = 300_000;

describe('holes', () => {
  function file(): { backend: MemfsBackend; inode: ReturnType<MemfsBackend['mknod']>; write(offset: number, bytes: Uint8Array): void; content(): Uint8Array } {
    const backend = MemfsBackend.of(new Volume());
    const inode = backend.mknod(backend.root, 'file', { mode: S_IFREG | 0o644, uid: 0, gid: 0 });
    return {
      backend,
      inode,
      write: (offset, bytes) => {
        let at = 0;
        backend.write(inode, offset, bytes.length, {
          get remaining() {
            return bytes.length - at;
          },
          read: (dst, to, length) => {
            dst.set(bytes.subarray(at, at + length), to);
            at += length;
            return length;
          },
        });
      },
      content: () => {
        const bytes = new Uint8Array(backend.getattr(inode).size);
        backend.read(inode, 0, bytes.length, { capacity: bytes.length, writeAt: (position, src, offset, length) => (bytes.set(src.subarray(offset, offset + length), position), length) }, 0);
        return bytes;
      },
    };
  }

  it('a hole before pages that are allocated and were never written', () => {
    const { backend, inode, content } = file();
    backend.fallocate(inode, 0, 65536, 0);
    backend.state();
    backend.fallocate(inode, 4096, 8192, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    expect(content()).to.deep.equal(new Uint8Array(65536));
  });

  for (const seed of [1, 2, 3]) {
    it(`random writes, allocations, holes, truncations and snapshots are as on plain bytes (seed ${seed})`, () => {
      const random = randomNumbers(seed);
      const { backend, inode, write, content } = file();
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
        switch (random(7)) {
          case 0: case 1: {
            const bytes = new Uint8Array(length).fill(1 + random(255));
            write(offset, bytes);
            grow(offset + length);
            model.set(bytes, offset);
            break;
          }
          case 2:
            backend.fallocate(inode, offset, length, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
            model.fill(0, Math.min(offset, model.length), Math.min(offset + length, model.length));
            break;
          case 3: backend.fallocate(inode, offset, length, random(2) ? FALLOC_FL_KEEP_SIZE : (grow(offset + length), 0)); break;
          case 4: {
            const size = random(4) ? offset : 0;
            backend.setattr(inode, { size });
            if (size < model.length) model = model.slice(0, size);
            else grow(size);
            break;
          }
          case 5: backend.state(); break;
          case 6:
            if (random(10) === 0) {
              backend.restore(MemfsBackend.checkState(backend.state()));
            }
            break;
        }
        if (step % 10 === 0 && Buffer.compare(content(), model) !== 0) expect.fail(`step ${step}: the content differs`);
      }
      expect(Buffer.compare(content(), model)).to.equal(0);
    });
  }
});
