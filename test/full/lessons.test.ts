import { everyPair, follow, leave, prepare, stateOf } from '../web/lesson-matrix.ts';
import { useWebSite } from '../web/support.ts';

describe('the page: lessons in every order', () => {
  const site = useWebSite();

  it('each after each other leave nothing behind', async () => {
    const visit = await site.open();
    await prepare(visit);
    const before = await stateOf(visit);
    for (const index of everyPair(8)) {
      await follow(visit, index);
      await leave(visit, before, `lesson ${index + 1}`);
    }
  });
});
