import { MachineLease } from './lease.ts';
import type { Emulator, V86Core } from './types.ts';

/** v86's own ways to run and stop, which the lease drives; replaced when they are there. */
interface Drive {
  run(): void;
  stop(): void;
}

/** Has everything that runs, stops, copies or changes the machine go through its lease. */
export class Running {
  readonly lease: MachineLease;
  readonly #emulator: Emulator;
  #drive: Drive = { run: () => {}, stop: () => {} };

  constructor(emulator: Emulator) {
    this.#emulator = emulator;
    this.lease = new MachineLease({ run: () => this.#drive.run(), stop: () => this.#drive.stop() });
    emulator.add_listener('emulator-started', () => this.lease.started());
    emulator.add_listener('emulator-stopped', () => this.lease.stopped());
    this.#hookCopies();
    const { stop } = emulator;
    // v86 does not pass it on while the machine is paused, for a snapshot say.
    emulator.stop = () => {
      this.lease.stop();
      return stop.call(emulator);
    };
  }

  #hookCopies(): void {
    const emulator = this.#emulator;
    const { save_state, restore_state } = emulator;
    emulator.save_state = () => this.lease.inTurn('save', () => save_state.call(emulator));
    emulator.restore_state = (state) => this.lease.inTurn('restore', () => restore_state.call(emulator, state));
  }

  /** Also what v86 does by itself, as with `autostart`, goes through the lease. To be called when it is ready. */
  connect(v86: V86Core): void {
    const { run, stop, restart } = v86;
    this.#drive = {
      run: () => run.call(v86),
      stop: () => {
        stop.call(v86);
        // It stops at its next tick, which is far away when the guest is idle: have it now.
        if (v86.idle) v86.next_tick(0);
      },
    };
    v86.run = () => this.lease.run();
    v86.stop = () => this.lease.stop();
    v86.restart = () => {
      this.lease.check('reboot');
      restart.call(v86);
    };
  }

  /** Has an interrupt noticed at once: between two ticks the next one may be far away, when the guest is idle. */
  wake(v86: V86Core): void {
    if (this.#emulator.is_running() && v86.idle) v86.next_tick(0);
  }
}
