import type { GuestMemory } from '../guest-memory.ts';
import { TURNS, type Turns } from '../virtio/turns.ts';
import { checkMachine } from './check-machine.ts';
import { hookFaults, hookHalt } from './endings.ts';
import { MachineError } from './errors.ts';
import { checkEmulator, checkInternals } from './internals.ts';
import { MachineLease } from './lease.ts';
import { V86Memory } from './memory.ts';
import { hookConfigPorts, hookInterrupts, hookPciState, PCI_SLOTS, type PciFunction } from './pci.ts';
import { restoreWhole, setRtc } from './restore-whole.ts';
import type { Cpu, Emulator, IoPort, V86Like } from './types.ts';

/** What rides in the emulator's own snapshots. */
export interface StateCarrier {
  save(): Uint8Array;
  /**
   * Decides a restore fully and changes nothing: throws, or returns what carries it out once v86
   * has restored the rest of the machine. `saved` is undefined when the snapshot has none of ours.
   */
  prepare(saved: Uint8Array | undefined): () => void;
}

const TOO_LATE =
  'this emulator has started already, so no device can be added: attach right after `new V86(…)`, before it loads its files';

/** Where our blob sits in v86's positional state array, clear of the slots v86 uses (0-89). */
const STATE_SLOT = 128;

const PAGE_SIZE = 4096;
/** Slots that v86's own devices take, whether they are there or not. */
const V86_SLOTS = new Set([0, 1, 5, 6, 7, 8, 9, 10, 11, 12, 18, 30]);
const PORT_BASE = 0xd000;

/**
 * One v86 instance: the only place that touches its internals. It gives out guest RAM, plugs PCI
 * functions in, tells of resets and carries state through `save_state`, `restore_state` and
 * `initial_state`.
 */
export class V86Machine {
  static readonly #machines = new WeakMap<object, V86Machine>();

  /**
   * The machine of this emulator: one for its life.
   *
   * @throws MachineError when it is too late for a new one, or this is no `V86`. {@link ready} rejects with one when its v86 lacks what is needed.
   */
  static of(emulator: V86Like): V86Machine {
    let machine = V86Machine.#machines.get(emulator);
    if (!machine) {
      const checked = checkEmulator(emulator);
      if (checked.v86?.cpu?.devices?.pci) throw new MachineError(TOO_LATE);
      machine = new V86Machine(checked);
      V86Machine.#machines.set(emulator, machine);
    }
    return machine;
  }

  /** Everything that runs, stops, copies or changes the machine goes through it, v86's own functions included. */
  readonly lease: MachineLease;
  /** Settles when v86's own devices are there and ours are plugged in. */
  readonly ready: Promise<void>;
  readonly #plugs: (() => void)[] = [];
  readonly #slots = new Set<number>();
  readonly #functions = new Map<number, PciFunction>();
  readonly #resetListeners: (() => void)[] = [];
  readonly #endListeners: (() => void)[] = [];
  readonly #haltListeners: (() => void)[] = [];
  readonly #faultListeners: ((error: unknown) => void)[] = [];
  /** PCI ids that hold their interrupt line up. */
  readonly #asserted = new Set<number>();
  readonly #ours = new Set<number>();
  readonly #emulator: Emulator;
  /** v86's own. */
  #run = () => {};
  #stop = () => {};
  #cpu: Cpu | undefined;
  /** While a state without the carrier's part is captured or applied. */
  #isParted = false;
  #carrier: StateCarrier | undefined;
  #memory: V86Memory | undefined;

  private constructor(emulator: Emulator) {
    this.#emulator = emulator;
    this.lease = this.#makeLease();
    const { destroy, stop } = emulator;
    // v86 does not pass it on while the machine stands still, for a snapshot say.
    emulator.stop = () => {
      this.lease.stop();
      return stop.call(emulator);
    };
    emulator.destroy = async () => {
      this.lease.end();
      await destroy.call(emulator);
      for (const listener of this.#endListeners.splice(0)) listener();
    };
    this.ready = new Promise((resolve, reject) => {
      emulator.add_listener('emulator-ready', () => {
        try {
          checkInternals(emulator);
          this.#cpu = emulator.v86!.cpu!;
          this.#hookRunning();
          hookConfigPorts(this.#cpu, this.#functions);
          hookInterrupts(this.#cpu, this.#asserted);
          this.#hookReset();
          hookHalt(emulator, this.#cpu, this.#haltListeners);
          hookFaults(emulator, this.#cpu, this.#faultListeners);
          hookPciState(this.#cpu);
          this.#hookState();
          for (const plug of this.#plugs) plug();
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  #makeLease(): MachineLease {
    const emulator = this.#emulator;
    const lease = new MachineLease({ run: () => this.#run(), stop: () => this.#stop() });
    emulator.add_listener('emulator-started', () => lease.started());
    emulator.add_listener('emulator-stopped', () => lease.stopped());
    for (const [name, operation] of [
      ['save_state', 'save'],
      ['restore_state', 'restore'],
    ] as const) {
      const own = emulator[name] as (...args: unknown[]) => Promise<never>;
      emulator[name] = (...args: unknown[]) => lease.inTurn(operation, () => own.apply(emulator, args));
    }
    return lease;
  }

  /** Also what v86 does by itself, as with `autostart`, goes through the lease. */
  #hookRunning(): void {
    const v86 = this.#emulator.v86!;
    const { run, stop, restart } = v86;
    this.#run = () => run.call(v86);
    this.#stop = () => {
      stop.call(v86);
      // It stops at its next tick, which is far away when the guest is idle: have it now.
      if (v86.idle) v86.next_tick(0);
    };
    v86.run = () => this.lease.run();
    v86.stop = () => this.lease.stop();
    v86.restart = () => {
      this.lease.check('reboot');
      restart.call(v86);
    };
  }

  /** Guest RAM; usable once {@link ready}. */
  get memory(): GuestMemory {
    return (this.#memory ??= new V86Memory(() => this.#cpu!));
  }

  /** The event loop that the emulator shares with everything else. */
  get turns(): Turns {
    return { ...TURNS, isRunning: () => this.#emulator.is_running() };
  }

  onReset(listener: () => void): void {
    this.#resetListeners.push(listener);
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

  /**
   * The real-time clock, in milliseconds since 1970. It goes on with the host's clock, also while the machine is frozen; with
   * {@link keepsRtc} it stands still then.
   */
  set rtc(time: number) {
    setRtc(this.#cpu!, time);
  }

  /** Whether a restore leaves the real-time clock as it was when the snapshot was taken. */
  keepsRtc = false;

  /** Calls `listener` when the emulator has been destroyed. */
  onEnd(listener: () => void): void {
    this.#endListeners.push(listener);
  }

  /** Calls `listener` whenever the emulator starts to run, or goes on. */
  onStart(listener: () => void): void {
    this.#emulator.add_listener('emulator-started', listener);
  }

  set stateCarrier(carrier: StateCarrier) {
    this.#carrier = carrier;
  }

  /**
   * Takes PCI slot `slot`, or the first free one. Throws {@link MachineError} when it is taken, or
   * the emulator has started.
   */
  reserveSlot(slot?: number): number {
    if (this.#cpu) throw new MachineError(TOO_LATE);
    const isFree = (n: number) => !V86_SLOTS.has(n) && !this.#slots.has(n);
    const all = Array.from({ length: PCI_SLOTS }, (_, n) => n);
    const taken = slot ?? all.find((n) => n > 12 && isFree(n));
    if (taken === undefined) throw new MachineError('every PCI slot of this emulator is taken: use fewer devices');
    if (!Number.isInteger(taken) || taken < 0 || taken >= PCI_SLOTS || !isFree(taken)) {
      throw new MachineError(
        `PCI slot ${taken} is taken or does not exist: leave \`slot\` out, or choose one of ${all.filter(isFree).join(', ')}`,
      );
    }
    this.#slots.add(taken);
    return taken;
  }

  /**
   * Puts a function into a reserved slot when v86 is ready, and returns what drives its interrupt
   * pin, INTA#.
   */
  plug(name: string, slot: number, makeFunction: () => PciFunction): (level: boolean) => void {
    const pci_id = slot << 3;
    this.#ours.add(pci_id);
    this.#plugs.push(() => {
      const {
        io,
        devices: { pci },
      } = this.#cpu!;
      const fn = makeFunction();
      const port = PORT_BASE + slot * 0x100;
      const pci_space = fn.configSpace.slice();
      new DataView(pci_space.buffer).setUint32(0x10, port | 1, true);
      const device = { name, pci_id, pci_space, pci_bars: [{ size: fn.barSize }] };
      for (let offset = 0; offset < fn.barSize; offset++) {
        Object.assign(io.ports[port + offset]!, {
          read8: () => fn.readBar(offset, 1),
          read16: () => fn.readBar(offset, 2),
          read32: () => fn.readBar(offset, 4) | 0,
          write8: (value: number) => fn.writeBar(offset, 1, value & 0xff),
          write16: (value: number) => fn.writeBar(offset, 2, value & 0xffff),
          write32: (value: number) => fn.writeBar(offset, 4, value >>> 0),
          device,
        } satisfies IoPort);
      }
      pci.register_device(device);
      this.#functions.set(pci_id, fn);
    });
    return (level) => {
      const { pci } = this.#cpu!.devices;
      if (level) pci.raise_irq(pci_id);
      else pci.lower_irq(pci_id);
      // Between two ticks the next one may be far away, when the guest is idle.
      if (level && this.#emulator.is_running() && this.#emulator.v86?.idle) this.#emulator.v86.next_tick(0);
    };
  }

  #hookReset(): void {
    const cpu = this.#cpu!;
    const { reset_cpu } = cpu;
    cpu.reset_cpu = () => {
      reset_cpu.call(cpu);
      this.#asserted.clear();
      for (const listener of this.#resetListeners) listener();
    };
  }

  /** Guest RAM inside the emulator's wasm memory, usable once {@link ready}. */
  get ram(): { memory: WebAssembly.Memory; base: number; size: number } {
    const { wasm_memory, mem8 } = this.#cpu!;
    return { memory: wasm_memory, base: mem8.byteOffset, size: mem8.length };
  }

  /** v86's own state without guest RAM and without what the carrier brings: for snapshots that keep these apart. */
  captureState(): Uint8Array {
    const cpu = this.#cpu!;
    const { pack_memory } = cpu;
    const bitmap = new ArrayBuffer(cpu.mem8.length / PAGE_SIZE / 8);
    cpu.pack_memory = () => ({ bitmap: { get_buffer: () => bitmap }, packed_memory: new Uint8Array(0) });
    this.#isParted = true;
    try {
      return new Uint8Array(this.#emulator.v86!.save_state());
    } finally {
      cpu.pack_memory = pack_memory;
      this.#isParted = false;
    }
  }

  /**
   * Restores what {@link captureState} gave; what the carrier would is left to the caller. `writeRam` gets guest RAM to
   * change it. The emulator must not be in the middle of a tick.
   *
   * @throws MachineError when the state is of another machine, before anything is changed.
   */
  applyState(state: Uint8Array, writeRam: (ram: Uint8Array) => void): void {
    const cpu = this.#cpu!;
    const { unpack_memory } = cpu;
    cpu.unpack_memory = () => writeRam(new Uint8Array(cpu.wasm_memory.buffer, cpu.mem8.byteOffset, cpu.mem8.length));
    this.#isParted = true;
    try {
      const { buffer } = state;
      this.#emulator.v86!.restore_state(
        buffer instanceof ArrayBuffer && buffer.byteLength === state.length ? buffer : state.slice().buffer,
      );
    } finally {
      cpu.unpack_memory = unpack_memory;
      this.#isParted = false;
    }
  }

  #hookState(): void {
    const cpu = this.#cpu!;
    const v86 = this.#emulator.v86!;
    const { save_state } = v86;
    v86.save_state = () => {
      try {
        return save_state.call(v86);
      } catch (error) {
        // v86 counts bytes in 32 bits with a sign: a longer state gets a negative length.
        if (!(error instanceof RangeError && /array buffer/i.test(error.message))) throw error;
        throw new MachineError(
          'the state of the machine is larger than 2 GiB, which is all that v86 can save: freeze it into a store, or remove files from the shares',
          { cause: error },
        );
      }
    };
    const { get_state, set_state } = cpu;
    cpu.get_state = () => {
      if (!this.#isParted) this.lease.check('save');
      const state = get_state.call(cpu);
      if (!this.#isParted) state[STATE_SLOT] = this.#carrier?.save();
      return state;
    };
    cpu.set_state = (state) => {
      if (!this.#isParted) this.lease.check('restore');
      checkMachine(cpu, state);
      const saved = state[STATE_SLOT] ?? undefined;
      if (saved !== undefined && !(saved instanceof Uint8Array))
        throw new MachineError('this snapshot is damaged: its virtio-fs part is not bytes');
      const apply = this.#isParted ? undefined : this.#carrier?.prepare(saved);
      restoreWhole(cpu, () => set_state.call(cpu, state), this.keepsRtc);
      this.#asserted.clear();
      apply?.();
    };
  }
}
