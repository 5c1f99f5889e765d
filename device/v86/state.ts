import { PAGE_SIZE } from '../bytes.ts';
import { checkMachine } from './check-machine.ts';
import { MachineError } from './errors.ts';
import type { MachineLease } from './lease.ts';
import { mendedRestore, setRtc } from './restore.ts';
import type { Cpu, V86Core } from './types.ts';

/** What rides in the emulator's own snapshots. */
export interface StateCarrier {
  save(): Uint8Array;
  /**
   * Decides a restore fully and changes nothing: throws, or returns what carries it out once v86
   * has restored the rest of the machine. `saved` is undefined when the snapshot has none of ours.
   */
  prepare(saved: Uint8Array | undefined): () => void;
}

/** Where our blob sits in v86's positional state array, clear of the slots v86 uses (0-91). */
const STATE_SLOT = 128;

const FIRMWARE_END = 0x100000;

/** The machine's state as v86 saves and restores it: checked, mended, and with what the carrier brings. */
export class V86State {
  carrier: StateCarrier | undefined;
  /** Whether a restore leaves the real-time clock as it was when the snapshot was taken. */
  keepsRtc = false;
  readonly #v86: V86Core;
  readonly #cpu: Cpu;
  readonly #lease: MachineLease;
  readonly #onRestored: () => void;
  /** While a state without the carrier's part is captured or applied. */
  #isParted = false;

  /** `onRestored` is called when v86 has restored its part, before the carrier's. */
  constructor(v86: V86Core, cpu: Cpu, lease: MachineLease, onRestored: () => void) {
    this.#v86 = v86;
    this.#cpu = cpu;
    this.#lease = lease;
    this.#onRestored = onRestored;
    this.#hookSize();
    this.#hookSlots();
  }

  #hookSize(): void {
    const v86 = this.#v86;
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
  }

  #hookSlots(): void {
    const cpu = this.#cpu;
    const { get_state, set_state } = cpu;
    cpu.get_state = () => {
      if (!this.#isParted) this.#lease.check('save');
      const state = get_state.call(cpu);
      if (!this.#isParted) state[STATE_SLOT] = this.carrier?.save();
      return state;
    };
    cpu.set_state = (state) => {
      if (!this.#isParted) this.#lease.check('restore');
      checkMachine(cpu, state);
      const saved = state[STATE_SLOT] ?? undefined;
      if (saved !== undefined && !(saved instanceof Uint8Array))
        throw new MachineError('this snapshot is damaged: its virtio-fs part is not bytes');
      const apply = this.#isParted ? undefined : this.carrier?.prepare(saved);
      mendedRestore(cpu, () => set_state.call(cpu, state));
      if (this.keepsRtc) setRtc(cpu, cpu.devices.rtc.rtc_time);
      this.#onRestored();
      apply?.();
    };
  }

  /** v86's own state without guest RAM and without what the carrier brings. */
  capture(): Uint8Array {
    const cpu = this.#cpu;
    const { pack_memory } = cpu;
    const bitmap = new ArrayBuffer(cpu.mem8.length / PAGE_SIZE / 8);
    cpu.pack_memory = () => ({ bitmap: { get_buffer: () => bitmap }, packed_memory: new Uint8Array(0) });
    try {
      return this.#parted(() => new Uint8Array(this.#v86.save_state()));
    } finally {
      cpu.pack_memory = pack_memory;
    }
  }

  /** Restores what {@link capture} gave. `writeRam` gets guest RAM to change it. @throws MachineError before anything is changed. */
  apply(state: Uint8Array, writeRam: (ram: Uint8Array) => void): void {
    const cpu = this.#cpu;
    const { unpack_memory } = cpu;
    cpu.unpack_memory = () => writeRam(new Uint8Array(cpu.wasm_memory.buffer, cpu.mem8.byteOffset, cpu.mem8.length));
    try {
      this.applyWithoutCarrier(state);
    } finally {
      cpu.unpack_memory = unpack_memory;
    }
  }

  /** Restores a state of v86's with guest RAM; what the carrier would is left alone. @throws MachineError before anything is changed. */
  applyWithoutCarrier(state: Uint8Array): void {
    const { buffer } = state;
    const isWhole = buffer instanceof ArrayBuffer && buffer.byteLength === state.length;
    this.#parted(() => this.#v86.restore_state(isWhole ? buffer : new Uint8Array(state).buffer));
  }

  #parted<T>(action: () => T): T {
    this.#isParted = true;
    try {
      return action();
    } finally {
      this.#isParted = false;
    }
  }

  /** See `V86Machine.expectFreshMemory`. */
  expectFreshMemory(): void {
    const cpu = this.#cpu;
    const { unpack_memory } = cpu;
    cpu.unpack_memory = (bitmap, packed) => {
      cpu.unpack_memory = unpack_memory;
      cpu.mem8.fill(0, 0, FIRMWARE_END);
      const pageCount = cpu.mem8.length / PAGE_SIZE;
      for (let page = 0, from = 0; page < pageCount; page++) {
        if (!bitmap.get(page)) continue;
        const first = page;
        while (page + 1 < pageCount && bitmap.get(page + 1)) page++;
        const length = (page + 1 - first) * PAGE_SIZE;
        cpu.mem8.set(packed.subarray(from, from + length), first * PAGE_SIZE);
        from += length;
      }
    };
  }
}
