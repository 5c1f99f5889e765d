import { GuestMemoryError, type GuestMemory } from '../guest-memory.ts';
import { hookFaults, hookHalt } from './endings.ts';
import { MachineError } from './errors.ts';
import { MachineLease } from './lease.ts';
import { TURNS, type Turns } from '../virtio/turns.ts';
import { checkEmulator, checkInternals } from './internals.ts';
import type { Cpu, Emulator, IoPort, Pci, V86Like } from './types.ts';

/** A PCI function with one I/O BAR (BAR 0), as the machine drives it. Widths are bytes: 1, 2 or 4. */
export interface PciFunction {
  /** 256 bytes of configuration space at reset. Borrowed for the call to {@link V86Machine.plug}. */
  readonly configSpace: Uint8Array;
  /** Bytes, a power of two. */
  readonly barSize: number;
  readBar(offset: number, width: number): number;
  writeBar(offset: number, width: number, value: number): void;
  readConfig(offset: number, width: number): number;
  writeConfig(offset: number, width: number, value: number): void;
}

/** What rides in the emulator's own snapshots. */
export interface StateCarrier {
  save(): Uint8Array;
  /**
   * Decides a restore fully and changes nothing: throws, or returns what carries it out once v86
   * has restored the rest of the machine. `saved` is undefined when the snapshot has none of ours.
   */
  prepare(saved: Uint8Array | undefined): () => void;
}

const TOO_LATE = 'this emulator has started already, so no device can be added: attach right after `new V86(…)`, before it loads its files';

/** Where our blob sits in v86's positional state array, clear of the slots v86 uses (0-89). */
const STATE_SLOT = 128;
const STATE_SLOT_MEMORY_SIZE = 0;
const STATE_SLOT_PCI = 48;
const STATE_SLOT_VGA = 52;

const PAGE_SIZE = 4096;
const PCI_SLOTS = 32;
/** Slots that v86's own devices take, whether they are there or not. */
const V86_SLOTS = new Set([0, 1, 5, 6, 7, 8, 9, 10, 11, 12, 18, 30]);
const PCI_CONFIG_DATA = 0xcfc;
const PCI_COMMAND = 0x04;
const PCI_STATUS = 0x06;
const PCI_INTERRUPT_PIN = 0x3d;
/** The end of the configuration header, which v86 keeps (BARs above all). */
const PCI_HEADER_END = 0x40;
const PIRQ_ROUTE_CONTROL = 0x60;
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
          this.#hookConfigPorts();
          this.#hookInterrupts();
          this.#hookReset();
          hookHalt(emulator, this.#cpu, this.#haltListeners);
          hookFaults(emulator, this.#cpu, this.#faultListeners);
          this.#hookPciState();
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
    for (const [name, operation] of [['save_state', 'save'], ['restore_state', 'restore']] as const) {
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
      const { io, devices: { pci } } = this.#cpu!;
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

  /**
   * v86 keeps configuration space as plain memory. Accesses to our functions go to them, and to
   * v86 as well in the header, where it has to see BARs move.
   */
  #hookConfigPorts(): void {
    const { io, devices: { pci } } = this.#cpu!;
    const functionAt = () => this.#functions.get((pci.pci_addr[2]! << 8) | pci.pci_addr[1]!);
    for (let byte = 0; byte < 4; byte++) {
      const port = io.ports[PCI_CONFIG_DATA + byte]!;
      const before = { ...port };
      const read = (width: number, fallback: () => number) => {
        const fn = functionAt();
        const offset = pci.pci_addr[0]! + byte;
        if (!fn || (offset < PCI_HEADER_END && (offset & ~3) !== PCI_COMMAND)) return fallback.call(port.device);
        if (offset >= PCI_HEADER_END) return fn.readConfig(offset, width) | 0;
        const command = new DataView(pci.device_spaces[(pci.pci_addr[2]! << 8) | pci.pci_addr[1]!]!.buffer).getUint16(PCI_COMMAND, true);
        const both = (command | (fn.readConfig(PCI_STATUS, 2) << 16)) >> (8 * byte);
        return width === 4 ? both : both & (width === 2 ? 0xffff : 0xff);
      };
      const write = (width: number, value: number, fallback: (value: number) => void) => {
        const fn = functionAt();
        const offset = pci.pci_addr[0]! + byte;
        if (!fn || offset < PCI_HEADER_END) fallback.call(port.device, value);
        fn?.writeConfig(offset, width, value);
      };
      port.read8 = () => read(1, before.read8);
      port.read16 = () => read(2, before.read16);
      port.read32 = () => read(4, before.read32);
      port.write8 = (value) => write(1, value & 0xff, before.write8);
      port.write16 = (value) => write(2, value & 0xffff, before.write16);
      port.write32 = (value) => write(4, value >>> 0, before.write32);
    }
  }

  /**
   * PCI interrupt lines are shared and level-triggered. v86 lowers a line as soon as one device
   * lets go of it, so an interrupt of another would be lost: hold it while anybody asserts it.
   */
  #hookInterrupts(): void {
    const { pci } = this.#cpu!.devices;
    const raise = pci.raise_irq.bind(pci);
    const lower = pci.lower_irq.bind(pci);
    pci.raise_irq = (pci_id) => {
      this.#asserted.add(pci_id);
      raise(pci_id);
    };
    pci.lower_irq = (pci_id) => {
      this.#asserted.delete(pci_id);
      lower(pci_id);
      for (const other of this.#asserted) {
        if (interruptLine(pci, other) === interruptLine(pci, pci_id)) raise(other);
      }
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

  /**
   * v86 reads the BAR description of every I/O BAR it restores, and fails on its own IDE controller,
   * which has none for its legacy ports, when no BIOS has cleared those BARs.
   */
  #hookPciState(): void {
    const { pci } = this.#cpu!.devices;
    const { set_state } = pci;
    pci.set_state = (state) => {
      const holes = pci.devices.flatMap((device) =>
        device ? Array.from(device.pci_bars.entries()).filter(([, bar]) => !bar).map(([n]) => ({ bars: device.pci_bars, n })) : []);
      for (const { bars, n } of holes) bars[n] = { size: 0, original_bar: 0, entries: [] };
      try {
        set_state.call(pci, state);
      } finally {
        for (const { bars, n } of holes) bars[n] = undefined;
      }
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
      this.#emulator.v86!.restore_state(buffer instanceof ArrayBuffer && buffer.byteLength === state.length ? buffer : state.slice().buffer);
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
        throw new MachineError('the state of the machine is larger than 2 GiB, which is all that v86 can save: freeze it into a store, or remove files from the shares', { cause: error });
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
      this.#checkMachine(state);
      const saved = state[STATE_SLOT] ?? undefined;
      if (saved !== undefined && !(saved instanceof Uint8Array)) throw new MachineError('this snapshot is damaged: its virtio-fs part is not bytes');
      const apply = this.#isParted ? undefined : this.#carrier?.prepare(saved);
      restoreWhole(cpu, () => set_state.call(cpu, state), this.keepsRtc);
      this.#asserted.clear();
      apply?.();
    };
  }

  /** v86 restores a snapshot of another machine without complaint, or fails half way: look first. */
  #checkMachine(state: unknown[]): void {
    const cpu = this.#cpu!;
    for (const [name, mine, theirs] of [
      ['memory_size', cpu.memory_size[0]! >>> 0, state[STATE_SLOT_MEMORY_SIZE]],
      ['vga_memory_size', cpu.devices.vga.vga_memory_size, (state[STATE_SLOT_VGA] as unknown[] | undefined)?.[0]],
    ] as const) {
      if (theirs !== mine) throw new MachineError(`${name} differs: the snapshot has ${theirs} bytes, this emulator ${mine}; make it with the snapshot's`);
    }
    const spaces = state[STATE_SLOT_PCI];
    if (!Array.isArray(spaces)) throw new MachineError('this snapshot is damaged: it has no PCI state');
    for (let slot = 0; slot < PCI_SLOTS; slot++) {
      const device = cpu.devices.pci.devices[slot << 3];
      const saved = spaces[slot << 3] as Int32Array | null | undefined;
      const id = cpu.devices.pci.device_spaces[slot << 3]?.[0];
      if (saved?.[0] !== id) {
        const name = (value: number | undefined) => (value === undefined ? 'nothing' : `device ${pciIds(value)}`);
        throw new MachineError(
          `PCI slot ${slot} differs: the snapshot has ${name(saved?.[0])}, this emulator ${device ? `${device.name} (${pciIds(id!)})` : 'nothing'}; make it with the snapshot's devices`,
        );
      }
    }
  }
}

/**
 * Carries out v86's own `restore`, and what that leaves undone:
 * - It takes its old offset for part of the time when it sets the time stamp counter: each restore would put the guest's clock
 *   forward by it. Setting the counter to what it is makes the offset 0.
 * - It replaces three views of wasm memory by the saved copies instead of writing through them.
 * - It restores the x87's control word, but goes on rounding as the one before said until the guest loads another.
 *
 * `keepsRtc`: as {@link V86Machine.keepsRtc}.
 */
export function restoreWhole(cpu: Cpu, restore: () => void, keepsRtc = false): void {
  const { last_result, fpu_status_word, mxcsr } = cpu;
  const views = { last_result, fpu_status_word, mxcsr };
  cpu.store_current_tsc();
  cpu.set_tsc(cpu.current_tsc[0]!, cpu.current_tsc[1]!);
  try {
    restore();
    // Undefined in a state that v86 took before it saved them.
    for (const name of ['last_result', 'fpu_status_word', 'mxcsr'] as const) views[name][0] = (cpu[name] ?? views[name])[0]!;
  } finally {
    Object.assign(cpu, views);
  }
  cpu.wm.exports.set_control_word(cpu.fpu_control_word[0]!);
  if (keepsRtc) setRtc(cpu, cpu.devices.rtc.rtc_time);
}

/** v86's clock adds what has passed on the host since it was last asked. */
function setRtc({ devices: { rtc } }: Cpu, time: number): void {
  rtc.rtc_time = time;
  rtc.last_update = Date.now();
}

function pciIds(dword: number): string {
  const hex = (value: number) => value.toString(16).padStart(4, '0');
  return `${hex(dword & 0xffff)}:${hex(dword >>> 16)}`;
}

/** PIIX3: INTA# of slot n goes to PIRQ (n - 1) mod 4, and PIRQ routing says to which IRQ. */
function interruptLine(pci: Pci, pci_id: number): number {
  const pin = (pci.device_spaces[pci_id]![PCI_INTERRUPT_PIN >> 2]! >> 8) & 0xff;
  return pci.isa_bridge_space8[PIRQ_ROUTE_CONTROL + ((pin + (pci_id >> 3) - 2) & 3)]!;
}

/** Guest RAM inside v86's wasm memory. Views are re-taken whenever that memory has grown. */
class V86Memory implements GuestMemory {
  readonly #getCpu: () => Cpu;
  #cpu: Cpu | undefined;
  #buffer: ArrayBufferLike | undefined;
  #bytes = new Uint8Array(0);
  #view = new DataView(new ArrayBuffer(0));

  constructor(getCpu: () => Cpu) {
    this.#getCpu = getCpu;
  }

  get size(): number {
    this.#look();
    return this.#bytes.length;
  }

  read(address: number, dst: Uint8Array, offset: number, length: number): void {
    this.#check(address, length);
    dst.set(this.#bytes.subarray(address, address + length), offset);
  }

  write(address: number, src: Uint8Array, offset: number, length: number): void {
    this.#check(address, length);
    this.#bytes.set(offset === 0 && length === src.length ? src : src.subarray(offset, offset + length), address);
    this.#written(address, length);
  }

  readU8(address: number): number {
    this.#check(address, 1);
    return this.#bytes[address]!;
  }

  readU16(address: number): number {
    this.#check(address, 2);
    return this.#view.getUint16(address, true);
  }

  readU32(address: number): number {
    this.#check(address, 4);
    return this.#view.getUint32(address, true);
  }

  writeU8(address: number, value: number): void {
    this.#check(address, 1);
    this.#bytes[address] = value;
    this.#written(address, 1);
  }

  writeU16(address: number, value: number): void {
    this.#check(address, 2);
    this.#view.setUint16(address, value, true);
    this.#written(address, 2);
  }

  writeU32(address: number, value: number): void {
    this.#check(address, 4);
    this.#view.setUint32(address, value, true);
    this.#written(address, 4);
  }

  #written(address: number, length: number): void {
    if (length > 0) this.#cpu!.jit_dirty_cache(address, address + length);
  }

  /** Follows RAM to where it is: WebAssembly memory moves when it grows. What v86 shows of itself is a Proxy, dear to ask each time. */
  #look(): void {
    const cpu = (this.#cpu ??= this.#getCpu());
    const { buffer } = cpu.wasm_memory;
    if (buffer === this.#buffer) return;
    const size = cpu.memory_size[0]! >>> 0;
    this.#buffer = buffer;
    this.#bytes = new Uint8Array(buffer, cpu.mem8.byteOffset, size);
    this.#view = new DataView(buffer, cpu.mem8.byteOffset, size);
  }

  #check(address: number, length: number): void {
    this.#look();
    if (!(address >= 0 && length >= 0 && address + length <= this.#bytes.length)) {
      throw new GuestMemoryError(address, length, this.#bytes.length);
    }
  }
}
