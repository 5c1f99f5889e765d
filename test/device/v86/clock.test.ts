import { expect } from 'chai';
import { GuestClock } from '../../../device/v86/clock.ts';
import { CountedClock } from '../../../device/v86/counted-clock.ts';

describe('the clock of a guest', () => {
  let host: number;
  let clock: GuestClock;
  beforeEach(() => {
    host = 5000;
    clock = new GuestClock(() => host);
  });

  /** Milliseconds of the guest's while `milliseconds` of the host's pass. */
  function passedIn(milliseconds: number): number {
    const before = clock.now();
    host += milliseconds;
    return Math.round(clock.now() - before);
  }

  it('stands until the machine runs, and goes on as fast as it is told, without a jump', () => {
    expect(passedIn(70)).to.equal(0);
    clock.release();
    expect(passedIn(70)).to.equal(70);
    for (const speed of [10, 0.5, 100, 0.1]) {
      const before = clock.now();
      clock.speed = speed;
      expect(clock.now()).to.equal(before);
      expect(passedIn(1000)).to.equal(1000 * speed);
    }
    clock.reset();
    expect(clock.speed).to.equal(1);
  });

  it('goes on while the machine is paused, unless it is to stand', () => {
    clock.release();
    clock.pause();
    expect(passedIn(70)).to.equal(70);
    clock.standsWhilePaused = true;
    clock.pause();
    const date = clock.date();
    expect(passedIn(70)).to.equal(0);
    expect(clock.date()).to.equal(date);
    clock.release();
    expect(passedIn(70)).to.equal(70);
    expect(clock.date()).to.equal(date + 70);
  });

  it('is never read twice as the same while it stands: v86 would extrapolate', () => {
    const { microtick } = clock.serve({ env: {} })['env']! as { microtick: () => number };
    const [one, two] = [microtick(), microtick()];
    expect(two)
      .to.be.above(one)
      .and.below(one + 0.001);
  });

  it('takes no speed that v86 has no use for, and a counted one none at all', () => {
    for (const speed of [0, -1, 0.09, 101, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => (clock.speed = speed), String(speed)).to.throw(RangeError, 'speed');
    expect(() => (new CountedClock(1).speed = 1)).to.throw(RangeError, 'deterministic');
    for (const seed of [-1, 0.5, 2 ** 32, Number.NaN])
      expect(() => new CountedClock(seed), String(seed)).to.throw(RangeError, 'seed');
  });

  it('draws the same numbers from the same seed', () => {
    const draw = (seed: number) => Array.from({ length: 4 }, new CountedClock(seed).random);
    expect(draw(7)).to.deep.equal(draw(7));
    expect(draw(7)).to.not.deep.equal(draw(8));
  });
});
