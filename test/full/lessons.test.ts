import { everyPair, follow, interrupt, LESSONS, leave, prepare, stateOf } from '../web/lesson-matrix.ts';
import { useWebSite } from '../web/support.ts';

describe('the page: lessons in every order', () => {
  const site = useWebSite();

  it('each after each other leave nothing behind', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const index of everyPair(LESSONS)) {
      await follow(visit, index);
      await leave(visit, before, `lesson ${index + 1}`);
    }
  });

  it('left half way, after each number of steps, for another one', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const [index, steps] of [
      [0, 1],
      [1, 1],
      [1, 2],
      [2, 2],
      [3, 1],
      [3, 2],
      [4, 1],
      [4, 3],
      [4, 4],
      [5, 1],
      [5, 2],
      [5, 3],
      [6, 1],
      [6, 3],
      [7, 2],
    ] as const) {
      await follow(visit, index, steps);
      await leave(visit, before, `lesson ${index + 1} after ${steps} steps`);
    }
  });

  it('interrupted by a reload', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const [index, steps] of [
      [3, 2],
      [4, 3],
      [6, 3],
      [7, 2],
    ] as const)
      await interrupt(visit, before, index, steps);
  });
});
