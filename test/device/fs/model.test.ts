import { compareWithModel } from '../../support/compare-with-model.ts';

describe('random operations, compared with a model after each', function () {
  this.timeout(60_000);

  for (const seed of [1, 2, 3]) it(`2,000 from seed ${seed}`, () => compareWithModel(seed, 2000));
});
