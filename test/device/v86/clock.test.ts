import { expect } from 'chai';
import { V86Machine } from '../../../device/v86/adapter.ts';
import { GuestClock } from '../../../device/v86/clock.ts';
import { CountedClock } from '../../../device/v86/counted-clock.ts';
import { compileV86 } from '../../../harness/node/v86.ts';
import { bareMachine } from '../../support/bare-machine.ts';

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

  const clockedMachine = (options = {}) =>
    bareMachine((emulator) => V86Machine.of(emulator, clock), {
      wasm_fn: async (imports: WebAssembly.Imports) =>
        (await WebAssembly.instantiate(await compileV86(), clock.serve(imports))).exports,
      ...options,
    });

  it('is what ACPI’s timer begins with', async () => {
    const begun = performance.now();
    clock = new GuestClock(() => performance.now() - begun);
    const { emulator, cpu, destroy } = await clockedMachine({ acpi: true });
    try {
      await emulator.run();
      const { acpi } = cpu.devices;
      while (!acpi!.timer_last_value) await new Promise((resolve) => setTimeout(resolve, 1));
      // 3.579545 MHz
      expect(acpi!.timer_last_value).to.be.below(3580 * clock.now());
    } finally {
      await destroy();
    }
  });

  it('is as fine for the processor as the host’s while it goes, and after it has stood: v86 reads between the ticks of a coarse one', async () => {
    const machine = await clockedMachine();
    const { cpu } = machine;
    const nanoseconds = () => {
      cpu.store_current_tsc();
      return cpu.current_tsc[0]! + cpu.current_tsc[1]! * 2 ** 32;
    };
    const TICK = 0.1;
    try {
      await machine.emulator.restore_state(await machine.emulator.save_state());
      clock.release();
      for (let tick = 0; tick < 3; tick++) {
        const read = Array.from({ length: 10 }, nanoseconds);
        // How often it's read in a tick v86 knows when one has passed.
        if (tick) expect(read).to.deep.equal([...new Set(read)].sort((a, b) => a - b));
        expect(read.at(-1)! - read[0]!, `tick ${tick}`)
          .to.be.above(0)
          .and.below(TICK * 1e6);
        host += TICK;
      }
    } finally {
      await machine.destroy();
    }
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
