import { expect } from 'chai';
import { everyPair, follow, interrupt, LESSONS, leave, leavesMore, prepare, stateOf } from './lesson-matrix.ts';
import { useWebSite } from './support.ts';

/** One after another in more orders, and left after every step: test/full/lessons.test.ts. */
describe('the page: lessons leave nothing behind', function () {
  this.timeout(600_000);
  const site = useWebSite();

  it('each left half way, in a folder that has files with their names, and those that leave more than files then done to their end', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const [index, each] of LESSONS.entries()) {
      const steps = leavesMore(each) ? Math.ceil(each.steps.length / 2) : 1;
      await follow(visit, index, steps);
      await leave(visit, before, `${each.id} after ${steps} steps`);
      if (!leavesMore(each)) continue;
      await follow(visit, index);
      await leave(visit, before, each.id);
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
