import { expect } from 'chai';
import {
  everyPair,
  follow,
  interrupt,
  kindOf,
  LESSONS,
  leave,
  leavesMore,
  pointedInVain,
  prepare,
  stateOf,
} from '../web/lesson-matrix.ts';
import { useWebSite } from '../web/support.ts';

describe('the page: lessons in every order', () => {
  const site = useWebSite();

  it('each after the one before it and after the one behind it, and each kind after each kind, leave nothing behind', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    // Of one kind, what is left is the same.
    const kinds = [...new Set(LESSONS.map(kindOf))].map((kind) =>
      LESSONS.findLastIndex((each) => kindOf(each) === kind),
    );
    const all = [...LESSONS.keys()];
    for (const index of [...all, ...everyPair(kinds.length).map((n) => kinds[n]!), ...all.reverse()]) {
      await follow(visit, index);
      await leave(visit, before, LESSONS[index]!.id);
    }
  });

  it('point at what is there', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    const vain: string[] = [];
    for (const [index, { id }] of LESSONS.entries()) {
      vain.push(...(await pointedInVain(visit, index)));
      await leave(visit, before, id);
    }
    expect(vain).to.deep.equal([]);
  });

  it('left after each number of steps', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const [index, { id, steps }] of LESSONS.entries())
      for (let count = 1; count < steps.length; count++) {
        await follow(visit, index, count);
        await leave(visit, before, `${id} after ${count} steps`);
      }
  });

  it('interrupted by a reload, each half way', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const [index, each] of LESSONS.entries())
      if (leavesMore(each)) await interrupt(visit, before, index, Math.ceil(each.steps.length / 2));
  });
});
