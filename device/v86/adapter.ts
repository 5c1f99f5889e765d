import type { GuestMemory } from '../guest-memory.ts';
import { TURNS, type Turns } from '../virtio/turns.ts';
import { dateOf, type GuestClock } from './clock.ts';
import { CountedClock } from './counted-clock.ts';
import { hookHalt, hookLoop, type Slices } from './endings.ts';
import { MachineError } from './errors.ts';
import { type MemoryBlock, replaceBios } from './firmware.ts';
import { internalsOf, loadedInternalsOf } from './internals.ts';
import type { MachineLease } from './lease.ts';
import { V86Memory } from './memory.ts';
import { PciBus, type PciFunction } from './pci-bus.ts';
import { setRtc } from './restore.ts';
import { Running } from './running.ts';
import { type StateCarrier, V86State } from './state.ts';
import { TenantListeners } from './tenant-listeners.ts';
import type { Cpu, Emulator, V86Core, V86Like } from './types.ts';
import { isTestedBuild, UNTESTED } from './versions.ts';

export type { StateCarrier } from './state.ts';

const TOO_LATE =
  'this emulator has started already, so no device can be added: attach right after `new V86(…)`, before it loads its files';

/** What is there when v86 is ready. */
interface Loaded {
  readonly v86: V86Core;
  readonly cpu: Cpu;
  readonly state: V86State;
  /** Puts the BIOS in after a reset, as v86 does by itself. */
  readonly loadBios: () => void;
}

/**
 * One v86 instance, and the only way to its internals. It gives out guest RAM, plugs PCI functions in, tells of resets and of the guest's
 * end, takes the place of the BIOS, and carries state through `save_state`, `restore_state` and `initial_state`.
 */
export class V86Machine {
  static readonly #machines = new WeakMap<object, V86Machine>();

  /**
   * The machine of this emulator: one for its life. `clock`: what its v86's imports come from, if not the host's clock alone.
   *
   * @throws MachineError when it is too late for a new one, or this is no `V86`. {@link ready} rejects with one when its v86 lacks what is needed.
   */
  static of(emulator: V86Like, clock?: GuestClock): V86Machine {
    let machine = V86Machine.#machines.get(emulator);
    if (!machine) {
      const internals = internalsOf(emulator);
      if (internals.v86?.cpu?.devices?.pci) throw new MachineError(TOO_LATE);
      machine = new V86Machine(internals, clock);
      V86Machine.#machines.set(emulator, machine);
    }
    return machine;
  }

  /** Settles when v86's own devices are there and ours are plugged in. */
  readonly ready: Promise<void>;
  /** How busy the guest is, whatever else the host has to do. */
  readonly slices: Slices = { all: 0, waiting: 0 };
  /** Its time; undefined of an emulator that was made without {@link GuestClock.serve}. */
  readonly clock: GuestClock | undefined;
  readonly #emulator: Emulator;
  readonly #running: Running;
  readonly #bus = new PciBus();
  readonly #listeners: TenantListeners;
  readonly #resetListeners: (() => void)[] = [];
  readonly #restoreListeners: (() => void)[] = [];
  readonly #endListeners: (() => void)[] = [];
  readonly #haltListeners: (() => void)[] = [];
  readonly #faultListeners: ((error: unknown) => void)[] = [];
  #loaded: Loaded | undefined;
  #memory: V86Memory | undefined;
  #stateCarrier: StateCarrier | undefined;
  #keepsRtc = false;
  /** See {@link vacate}. */
  #isVacant = false;
  /** See {@link goOnFrom}. */
  #before: Uint8Array | undefined;

  private constructor(emulator: Emulator, clock: GuestClock | undefined) {
    this.#emulator = emulator;
    this.clock = clock;
    this.#running = new Running(emulator);
    emulator.add_listener('emulator-started', () => {
      this.#isVacant = false;
      clock?.release();
    });
    emulator.add_listener('emulator-stopped', () => clock?.pause());
    const { destroy } = emulator;
    emulator.destroy = async () => {
      this.lease.end();
      await destroy.call(emulator);
      this.#tellOfEnd();
    };
    this.ready = new Promise((resolve, reject) => {
      emulator.add_listener('emulator-ready', () => {
        try {
          this.#connect();
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
    this.#listeners = new TenantListeners(emulator);
  }

  #connect(): void {
    const emulator = this.#emulator;
    const { v86, cpu } = loadedInternalsOf(emulator);
    tellOfBuild(isTestedBuild(Object.keys(cpu.wm.exports)));
    this.clock?.connect(v86, cpu);
    this.#running.connect(v86);
    this.#bus.connect(cpu);
    this.#hookReset(cpu);
    hookHalt(this.#listeners.own, cpu, this.#haltListeners);
    hookLoop(emulator, cpu, this.#faultListeners, this.slices);
    const state = new V86State(v86, cpu, this.lease, () => {
      if (!this.#emulator.is_running()) this.clock?.hold();
      this.#bus.releaseInterrupts();
      for (const listener of this.#restoreListeners) listener();
    });
    state.carrier = this.#stateCarrier;
    state.keepsRtc = this.#keepsRtc;
    this.#loaded = { v86, cpu, state, loadBios: cpu.load_bios };
    if (this.#before) {
      state.expectFreshMemory();
      state.applyWithoutCarrier(this.#before);
    }
    this.#bus.plugIn(cpu);
    if (this.#before) this.#bus.routeInterrupts();
    this.#before = undefined;
  }

  #hookReset(cpu: Cpu): void {
    const { reset_cpu } = cpu;
    cpu.reset_cpu = () => {
      reset_cpu.call(cpu);
      this.#bus.releaseInterrupts();
      for (const listener of this.#resetListeners) listener();
    };
  }

  get #there(): Loaded {
    if (!this.#loaded)
      throw new MachineError("the emulator has not loaded yet: wait for its event 'emulator-loaded', or for `ready`");
    return this.#loaded;
  }

  /** Everything that runs, stops, copies or changes the machine goes through it, v86's own functions included. */
  get lease(): MachineLease {
    return this.#running.lease;
  }

  /**
   * Whether its v86 is like one that v86-virtiofs is tested with, as far as that can be told: v86 does not say its version. Of one that is
   * not, the console is told, once. Usable once {@link ready}.
   */
  get isTested(): boolean {
    return isTestedBuild(Object.keys(this.#there.cpu.wm.exports));
  }

  /** Guest RAM; usable once {@link ready}. */
  get memory(): GuestMemory {
    return (this.#memory ??= new V86Memory(() => this.#there.cpu));
  }

  /** Guest RAM inside the emulator's wasm memory, usable once {@link ready}. */
  get ram(): { memory: WebAssembly.Memory; base: number; size: number } {
    const { wasm_memory, mem8 } = this.#there.cpu;
    return { memory: wasm_memory, base: mem8.byteOffset, size: mem8.length };
  }

  /** The event loop that the emulator shares with everything else. */
  get turns(): Turns {
    const { clock } = this;
    return {
      ...TURNS,
      ...(clock instanceof CountedClock && { now: () => clock.now() }),
      isRunning: () => this.#emulator.is_running(),
    };
  }

  /** Calls `listener` whenever the emulator starts to run, or goes on. */
  onStart(listener: () => void): void {
    this.#emulator.add_listener('emulator-started', listener);
  }

  onReset(listener: () => void): void {
    this.#resetListeners.push(listener);
  }

  /** Calls `listener` when the machine has been taken to another state, whoever did that, before it runs on. */
  onRestore(listener: () => void): void {
    this.#restoreListeners.push(listener);
  }

  /**
   * Calls `listener` when nothing will happen in the machine any more: the processor waits with interrupts off, or has turned the power
   * off by ACPI. The emulator runs on, in vain.
   */
  onHalt(listener: () => void): void {
    this.#haltListeners.push(listener);
  }

  /**
   * Calls `listener` with what the emulation failed of: v86 gives up where a processor would reset itself after a triple fault. The emulator
   * stops then, and is of no use any more. Without listeners the error comes out of v86's loop, which ends a process of Node.
   */
  onFault(listener: (error: unknown) => void): void {
    this.#faultListeners.push(listener);
  }

  /** Calls `listener` when the emulator has been destroyed, or goes to others: see {@link vacate}. */
  onEnd(listener: () => void): void {
    this.#endListeners.push(listener);
  }

  /**
   * Takes PCI slot `slot`, or the first free one. Throws {@link MachineError} when it is taken, or
   * the emulator has started.
   */
  reserveSlot(slot?: number): number {
    if (this.#loaded && !this.#isVacant) throw new MachineError(TOO_LATE);
    return this.#bus.reserveSlot(slot);
  }

  /** Puts a function into a reserved slot when v86 is ready. `makeFunction` gets what drives its interrupt pin, INTA#. */
  plug(name: string, slot: number, makeFunction: (setIrq: (level: boolean) => void) => PciFunction): void {
    this.#bus.plug(name, slot, (setIrq) =>
      makeFunction((level) => {
        setIrq(level);
        if (level) this.#running.wake(this.#there.v86);
      }),
    );
  }

  /**
   * Makes the emulator one for others to use. It is stopped; who has used it is told what he would be if it had been destroyed; and everything that he
   * has plugged in, or that listens, is gone from it. What he has is of no use any more, but for the emulator itself, which he must leave alone.
   * Whoever is next attaches devices to the same slots, and restores a snapshot.
   *
   * @throws MachineStateError when it is not here, or not alone.
   */
  async vacate(): Promise<void> {
    await this.#emulator.stop();
    await this.lease.inTurn('restore', () => {
      const { cpu, loadBios } = this.#there;
      this.#tellOfEnd();
      for (const listeners of [this.#resetListeners, this.#restoreListeners, this.#haltListeners, this.#faultListeners])
        listeners.length = 0;
      this.#listeners.remove();
      this.#bus.vacate();
      this.stateCarrier = undefined;
      this.keepsRtc = false;
      cpu.load_bios = loadBios;
      this.slices.all = this.slices.waiting = 0;
      this.clock?.reset();
      this.#isVacant = true;
    });
  }

  #tellOfEnd(): void {
    for (const listener of this.#endListeners.splice(0)) listener();
  }

  /**
   * Has the machine go on from a state of v86's without our functions, which are plugged in afterwards, as into a PC that runs: its guest
   * has to look for them. To be called right after {@link of}; {@link ready} rejects when that is of another machine.
   */
  goOnFrom(state: Uint8Array): void {
    if (this.#loaded) throw new MachineError(TOO_LATE);
    this.#before = state;
  }

  /**
   * Takes the place of the BIOS, now that the machine is {@link ready}: after each reset of the processor `layOut` says what is put where
   * in RAM, and the PCI bus is set up as a BIOS would have. What it throws comes out of v86's loop. Returns what does the same now.
   */
  replaceBios(layOut: (ramSize: number) => readonly MemoryBlock[]): () => void {
    return replaceBios(this.#there.cpu, layOut);
  }

  /**
   * The real-time clock, in milliseconds since 1970. It goes on with the {@link clock}, or else the host's; with {@link keepsRtc} it goes on from a snapshot as if
   * no time had passed.
   */
  get rtc(): number {
    if (!this.#loaded) return this.clock?.date() ?? Date.now();
    const { cpu } = this.#loaded;
    const { rtc_time, last_update } = cpu.devices.rtc;
    return rtc_time + dateOf(cpu) - last_update;
  }

  set rtc(time: number) {
    setRtc(this.#there.cpu, time);
  }

  /** How fast the {@link clock} goes: see `GuestClock.speed`. @throws RangeError */
  set clockSpeed(speed: number) {
    this.clock!.speed = speed;
    // It may wait for what is to come sooner now.
    if (this.#loaded) this.#running.wake(this.#loaded.v86);
  }

  /** Whether a restore leaves the real-time clock as it was when the snapshot was taken. */
  set keepsRtc(keepsRtc: boolean) {
    this.#keepsRtc = keepsRtc;
    if (this.#loaded) this.#loaded.state.keepsRtc = keepsRtc;
  }

  get stateCarrier(): StateCarrier | undefined {
    return this.#stateCarrier;
  }

  set stateCarrier(carrier: StateCarrier | undefined) {
    this.#stateCarrier = carrier;
    if (this.#loaded) this.#loaded.state.carrier = carrier;
  }

  /** v86's own state without guest RAM and without what the carrier brings: for snapshots that keep these apart. */
  captureState(): Uint8Array {
    return this.#there.state.capture();
  }

  /**
   * Restores what {@link captureState} gave; what the carrier would is left to the caller. `writeRam` gets guest RAM to
   * change it. The emulator must not be in the middle of a tick.
   *
   * @throws MachineError when the state is of another machine, before anything is changed.
   */
  applyState(state: Uint8Array, writeRam: (ram: Uint8Array) => void): void {
    this.#there.state.apply(state, writeRam);
  }

  /**
   * Makes the next restore twenty times as fast, in an emulator that has never run and that no kernel was put into: v86 writes zeros over
   * all of RAM first and then copies page by page, but there only the first MiB, where its BIOS is, holds anything.
   */
  expectFreshMemory(): void {
    this.#there.state.expectFreshMemory();
  }
}

let isTold = false;

function tellOfBuild(isTested: boolean): void {
  if (isTested || isTold) return;
  isTold = true;
  console.warn(UNTESTED);
}
