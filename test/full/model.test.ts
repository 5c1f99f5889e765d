import { compareWithModel } from '../support/compare-with-model.ts';

describe('many more random operations, compared with a model after each', function () {
  this.timeout(600_000);

  for (let seed = 101; seed <= 120; seed++) it(`5,000 from seed ${seed}`, () => compareWithModel(seed, 5000));
});
