import { everyPair, follow, leave, prepare, same, stateOf } from './lesson-matrix.ts';
import { useWebSite } from './support.ts';
import { expect } from 'chai';

const LESSONS = 8;

describe('the page: lessons leave nothing behind', function () {
  this.timeout(400_000);
  const site = useWebSite();

  it('each twice in a row, in a folder that has files with their names', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (let index = 0; index < LESSONS; index++) {
      for (const time of ['once', 'twice']) {
        await follow(visit, index);
        await leave(visit, before, `lesson ${index + 1}, ${time}`);
      }
    }
  });

  it('left half way, after each number of steps, for another one', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const [index, steps] of [[0, 1], [1, 1], [1, 2], [2, 2], [3, 1], [3, 2], [4, 1], [4, 3], [4, 4], [5, 1], [5, 2], [5, 3], [6, 1], [6, 3], [7, 2]] as const) {
      await follow(visit, index, steps);
      await leave(visit, before, `lesson ${index + 1} after ${steps} steps`);
    }
  });

  it('interrupted by a reload', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const [index, steps] of [[3, 2], [4, 3], [6, 3], [7, 2]] as const) {
      await follow(visit, index, steps);
      await visit.page.evaluate(() => document.querySelector('virtiofs-vm')!.vm!.snapshot().then(() => undefined));
      await visit.page.reload();
      await visit.ready();
      const taken = await visit.page.evaluate(async () => {
        const vm = document.querySelector('virtiofs-vm')!.vm!;
        for (const { id, kind } of await vm.snapshots()) if (kind === 'manual') await vm.removeSnapshot(id);
      });
      expect(taken).to.equal(undefined);
      await same(visit, before, `lesson ${index + 1}, reloaded after ${steps} steps`);
      await visit.page.getByRole('tab', { name: 'Lessons' }).click();
    }
  });

  it('an order of them has every pair', () => {
    const order = everyPair(LESSONS);
    expect(new Set(order.slice(1).map((next, n) => `${order[n]} ${next}`)).size).to.equal(LESSONS ** 2);
    expect(order).to.have.length(LESSONS ** 2 + 1);
  });
});
