import { expect } from 'chai';
import { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import type { FileSystem, Inode } from '../../../device/fs/filesystem.ts';
import { NodeTable } from '../../../device/fuse/node-table.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import { randomNumbers } from '../../support/hostile-driver.ts';

/** Inodes 1 to `count`, and how often each is retained. */
function inodes(count: number) {
  const all = Array.from({ length: count }, (_, n) => ({ ino: n + 1, generation: 7 * n }) as Inode);
  const retained = new Map<number, number>();
  const retain = (by: number) => (inode: Inode) => void retained.set(inode.ino, (retained.get(inode.ino) ?? 0) + by);
  const filesystem = {
    root: all[0],
    inode: (ino: number) => all[ino - 1],
    retain: retain(1),
    release: retain(-1),
  } as unknown as FileSystem;
  return {
    all,
    filesystem,
    held: () => [...retained].flatMap(([ino, count]) => Array<number>(count).fill(ino)).sort(),
  };
}

describe('NodeTable', () => {
  it('has what was looked up more often than forgotten, whatever the order, and retains each once', () => {
    const { all, filesystem, held } = inodes(2000);
    const table = new NodeTable(filesystem);
    const random = randomNumbers(4);
    const model = new Map<number, number>();
    const compare = (of = table) => {
      const { ino, generation, nlookup } = of.state();
      expect(new Map([...ino].map((each, n) => [each, nlookup[n]]))).to.deep.equal(model);
      expect([...generation]).to.deep.equal([...ino].map((each) => all[each - 1]!.generation));
      expect(held()).to.deep.equal([...model.keys()].sort());
      expect(of.size).to.equal(model.size);
    };
    // Up to all, down to few, and up again.
    for (const [phase, steps] of [9000, 9000, 3000].entries()) {
      for (let step = 0; step < steps; step++) {
        const inode = all[1 + random(all.length - 1)]!;
        const count = model.get(inode.ino) ?? 0;
        if (random(10) < (phase === 1 ? 2 : 8)) {
          table.add(inode);
          model.set(inode.ino, count + 1);
        } else {
          const forgotten = 1 + random(4);
          table.forget(inode.ino, forgotten);
          if (count > forgotten) model.set(inode.ino, count - forgotten);
          else model.delete(inode.ino);
        }
        expect(table.has(inode.ino)).to.equal(model.has(inode.ino));
        if (model.has(inode.ino)) expect(table.get(inode.ino)).to.equal(inode);
      }
      compare();
    }
    const state = table.state();
    table.add(all[5]!);
    table.restore(state);
    compare();
    table.end();
    model.clear();
    compare();
  });

  it('gives a state that does not change any more', () => {
    const { all, filesystem } = inodes(3);
    const table = new NodeTable(filesystem);
    table.add(all[1]!);
    const state = table.state();
    table.add(all[1]!);
    table.add(all[2]!);
    expect(state).to.deep.equal({
      ino: Uint32Array.of(2),
      generation: Uint32Array.of(7),
      nlookup: Float64Array.of(1),
    });
  });

  it('is taken from no state that has one node twice', () => {
    const session = new FuseSession({ filesystem: new MemoryFileSystem() });
    const state = session.state();
    const check = (...ino: number[]) =>
      FuseSession.checkState(
        {
          ...state,
          nodes: {
            ino: Uint32Array.from(ino),
            generation: new Uint32Array(ino.length),
            nlookup: new Float64Array(ino.length).fill(1),
          },
        },
        { inode: () => undefined },
      );
    expect(check().missing).to.deep.equal([]);
    expect(check(5, 2, 3, 0xffffffff, 4).missing).to.deep.equal([5, 2, 3, 0xffffffff, 4]);
    for (const twice of [
      [2, 2],
      [2, 3, 2],
      [0xffffffff, 7, 9, 8, 0xffffffff],
    ])
      expect(() => check(...twice)).to.throw(TypeError, /same node twice/);
  });
});
