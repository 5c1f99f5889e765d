import { expect } from 'chai';
import { everyPair, follow, interrupt, LESSONS, leave, prepare, stateOf } from './lesson-matrix.ts';
import { useWebSite } from './support.ts';

/** Of lessons, by their ids, after how many steps they have the most to clear up. */
const HALF: Record<string, number> = {
  cat: 1,
  step: 2,
  queue: 2,
  nodes: 2,
  caches: 2,
  locks: 3,
  unlinked: 3,
  suspend: 3,
};

/** In every order, and left after every step: test/full/lessons.test.ts. */
describe('the page: lessons leave nothing behind', function () {
  this.timeout(300_000);
  const site = useWebSite();

  it('each left half way, and then done to its end, in a folder that has files with their names', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const [index, { id }] of LESSONS.entries()) {
      const steps = HALF[id];
      if (steps === undefined) continue;
      await follow(visit, index, steps);
      await leave(visit, before, `lesson ${index + 1} after ${steps} steps`);
      await follow(visit, index);
      await leave(visit, before, `lesson ${index + 1}`);
    }
  });

  it('interrupted by a reload', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    await interrupt(
      visit,
      before,
      LESSONS.findIndex(({ id }) => id === 'unlinked'),
      3,
    );
  });

  it('an order of them has every pair', () => {
    const order = everyPair(5);
    expect(new Set(order.slice(1).map((next, n) => `${order[n]} ${next}`)).size).to.equal(25);
    expect(order).to.have.length(26);
  });
});
