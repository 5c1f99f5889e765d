import { everyPair, follow, interrupt, LESSONS, leave, prepare, stateOf } from '../web/lesson-matrix.ts';
import { useWebSite } from '../web/support.ts';

const numberOf = (id: string) => LESSONS.findIndex((lesson) => lesson.id === id);

describe('the page: lessons in every order', () => {
  const site = useWebSite();

  it('each after each other leave nothing behind', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    // Of the others, nothing is left but their folder.
    const some = ['step', 'queue', 'caches', 'locks', 'unlinked', 'suspend'].map(numberOf);
    const others = LESSONS.map((_, index) => index).filter((index) => !some.includes(index));
    for (const index of [...others, ...everyPair(some.length).map((n) => some[n]!), ...others.reverse()]) {
      await follow(visit, index);
      await leave(visit, before, `lesson ${index + 1}`);
    }
  });

  it('left half way, after each number of steps, for another one', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const [id, steps] of [
      ['cat', 1],
      ['step', 1],
      ['step', 2],
      ['caches', 2],
      ['queue', 1],
      ['queue', 2],
      ['unlinked', 1],
      ['unlinked', 3],
      ['unlinked', 4],
      ['locks', 1],
      ['locks', 2],
      ['locks', 3],
      ['suspend', 1],
      ['suspend', 3],
      ['nodes', 2],
    ] as const) {
      await follow(visit, numberOf(id), steps);
      await leave(visit, before, `lesson ${id} after ${steps} steps`);
    }
  });

  it('interrupted by a reload', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const [id, steps] of [
      ['queue', 2],
      ['unlinked', 3],
      ['suspend', 3],
      ['nodes', 2],
    ] as const)
      await interrupt(visit, before, numberOf(id), steps);
  });
});
