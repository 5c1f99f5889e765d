import { expect } from 'chai';
import { everyPair, follow, interrupt, LESSONS, leave, prepare, stateOf } from './lesson-matrix.ts';
import { useWebSite } from './support.ts';

/** Of each lesson, after how many steps it has the most to clear up. */
const HALF = [1, 2, 2, 2, 3, 3, 3, 2];

/** In every order, and left after every step: test/full/lessons.test.ts. */
describe('the page: lessons leave nothing behind', function () {
  this.timeout(300_000);
  const site = useWebSite();

  it('each left half way, and then done to its end, in a folder that has files with their names', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const [index, steps] of HALF.entries()) {
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
    await interrupt(visit, before, 4, 3);
  });

  it('an order of them has every pair', () => {
    const order = everyPair(LESSONS);
    expect(new Set(order.slice(1).map((next, n) => `${order[n]} ${next}`)).size).to.equal(LESSONS ** 2);
    expect(order).to.have.length(LESSONS ** 2 + 1);
  });
});
