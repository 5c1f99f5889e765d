import { expect } from 'chai';
import { Blocks } from '../../../device/image/blocks.ts';
import { ImageError, type ImageFiles, type ReadAnswer } from '../../../device/image/files.ts';

const BLOCK = 4096;
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Answers when it is told to. */
class SlowFiles implements ImageFiles {
  readonly place = 'slow.image';
  readonly asked: { isFresh: boolean | undefined; answer: () => void; fail: () => void }[] = [];

  read(_: string, { from, to, isFresh }: Parameters<ImageFiles['read']>[1]): Promise<ReadAnswer> {
    return new Promise((resolve, reject) => {
      const parts = (async function* () {
        yield new Uint8Array(to! - from).fill(7);
      })();
      this.asked.push({
        isFresh,
        answer: () => resolve({ isWhole: false, parts }),
        fail: () => reject(new ImageError('it broke off', { mayPass: true })),
      });
    });
  }
}

describe('the blocks of an image', () => {
  /** What becomes of the request that takes any block, and of the one past all caches, in which order. */
  const endings = ['answer answer', 'fail answer', 'answer fail', 'fail fail'].flatMap((ways) => [
    { ways: ways.split(' ') as ('answer' | 'fail')[], order: [0, 1] },
    { ways: ways.split(' ') as ('answer' | 'fail')[], order: [1, 0] },
  ]);

  for (const { ways, order } of endings) {
    const told = order.map((n) => `the ${n ? 'fresh' : 'plain'} one ${ways[n] === 'fail' ? 'fails' : 'comes'}`);
    it(`reach everybody who waits for one that is fetched twice at once: ${told.join(', then ')}`, async () => {
      const files = new SlowFiles();
      const blocks = new Blocks(files, [{ name: 'pack', key: 'pack', start: 0, end: 2 * BLOCK }], {
        memory: 0,
        patience: 10_000,
        firstPause: 1,
      });
      const first = blocks.get(0, [1]);
      await turn();
      files.asked.shift()!.answer();
      await first;
      const waiting = [blocks.get(0, [0])];
      await turn();
      waiting.push(blocks.get(0, [0], { isFresh: true }));
      await turn();
      expect(files.asked.map(({ isFresh }) => isFresh)).to.deep.equal([false, true]);
      const asked = files.asked.splice(0);
      for (const n of order) {
        asked[n]![ways[n]!]();
        await turn();
      }
      // Whatever is asked for again is answered.
      const again = setInterval(() => files.asked.splice(0).forEach(({ answer }) => answer()), 1);
      try {
        for (const found of await Promise.all(waiting))
          expect(found.get(0)).to.deep.equal(new Uint8Array(BLOCK).fill(7));
      } finally {
        clearInterval(again);
        blocks.close();
      }
    });
  }

  it('reach those who wait for one past all caches, between two that are wanted from anywhere', async () => {
    const files = new SlowFiles();
    const blocks = new Blocks(files, [{ name: 'pack', key: 'pack', start: 0, end: 20 * BLOCK }], {
      memory: 0,
      patience: 10_000,
      firstPause: 1,
    });
    const first = blocks.get(0, [0]);
    await turn();
    files.asked.shift()!.answer();
    await first;
    const waiting = [blocks.get(0, [10, 12]), blocks.get(0, [11], { isFresh: true })];
    await turn();
    expect(files.asked.map(({ isFresh }) => isFresh)).to.have.members([false, false, true]);
    for (const { answer } of files.asked.splice(0)) answer();
    const found = await Promise.all(waiting);
    expect(found.flatMap((each) => [...each.keys()])).to.have.members([10, 11, 12]);
    blocks.close();
  });
});
