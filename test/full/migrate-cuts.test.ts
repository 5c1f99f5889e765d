import { migrateThroughCuts } from '../support/migrations.ts';

describe('live migration over links that break, 200 times', function () {
  this.timeout(1_200_000);

  for (const seed of [11, 12, 13, 14]) it(`50 from seed ${seed}`, () => migrateThroughCuts({ cuts: 50, seed }));
});
