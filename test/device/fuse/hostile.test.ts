import { expect } from 'chai';
import { OPERATIONS } from '../../../device/fuse/opcodes.ts';
import { sendWildly } from '../../support/hostile-guest.ts';

/** Never done, by design: ENOSYS and ENOTTY. */
const REFUSED = ['FSYNC', 'FSYNCDIR', 'IOCTL'];

describe('a hostile guest’s FUSE messages', function () {
  this.timeout(120_000);
  const done = new Set<string>();
  let waited = 0;

  for (const seed of [1, 2, 3]) {
    it(`200,000 of them from seed ${seed} bring nothing out of order`, async () => {
      const { answers, deferred } = await sendWildly(seed, 200_000);
      for (const answer of answers.keys()) if (/ (0|no reply)$/.test(answer)) done.add(answer.split(' ')[0]!);
      waited += deferred;
    });
  }

  for (const seed of [11, 12])
    it(`25,000 from seed ${seed} neither, when the filesystem answers later and fails now and then`, async () => {
      expect((await sendWildly(seed, 25_000, { isLate: true })).deferred).to.be.greaterThan(1000);
    });

  it('were not all refused: every operation was done, and some waited', () => {
    expect(
      [...OPERATIONS.values()].map(({ name }) => name).filter((name) => !REFUSED.includes(name) && !done.has(name)),
    ).to.deep.equal([]);
    expect(waited).to.be.greaterThan(0);
  });
});
