import { ChunkOrigin } from '../../support/chunk-origin.ts';
import { compareWithModel } from '../../support/compare-with-model.ts';

describe('random operations on content that is elsewhere, compared with a model after each', function () {
  this.timeout(120_000);

  for (const seed of [1, 3])
    it(`700 from seed ${seed}: fetched late, out of order, not always, and kept for a moment`, () =>
      compareWithModel(seed, 700, (random) => ({
        origin: new ChunkOrigin({
          schedule: (answer) => setImmediate(random(2) ? answer : () => setImmediate(answer)),
          fails: () => random(10) === 0,
        }),
        maxContent: 2 << 16,
        isAbsent: () => random(3) > 0,
      })));
});
