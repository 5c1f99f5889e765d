/**
 * The members of v86's objects that this folder uses, and nobody else. v86's own typings cover only its public API;
 * these names are unmangled in the npm builds. internals.ts checks that they are there.
 */

/** What a `V86` is recognised by here; more of it is looked for when it is attached to. */
export interface V86Like {
  is_running(): boolean;
  run(): Promise<void>;
  stop(): Promise<void>;
  destroy(): Promise<void>;
}

/** A `V86` instance, as far as the adapter needs it. */
export interface Emulator {
  add_listener(event: string, listener: (data: never) => void): void;
  remove_listener(event: string, listener: (data: never) => void): void;
  /** Present once the constructor's asynchronous part has begun. */
  readonly v86?: Partial<Pick<V86Core, 'cpu'>> & Omit<V86Core, 'cpu'>;
  is_running(): boolean;
  run(): Promise<void>;
  /** Settles when the tick that is under way has ended. */
  stop(): Promise<void>;
  destroy(): Promise<void>;
  save_state(): Promise<ArrayBuffer>;
  restore_state(state: ArrayBuffer): Promise<void>;
}

/** What runs in an emulator. */
export interface V86Core {
  /** Where it has the function that it asks for the time: one for all emulators. */
  readonly constructor: { microtick?(): number };
  readonly cpu: Cpu;
  /** Whether it waits for its next tick. */
  readonly idle: boolean;
  readonly running: boolean;
  /** Milliseconds from now, instead of when it was to be. */
  next_tick(delay: number): void;
  run(): void;
  stop(): void;
  restart(): void;
  save_state(): ArrayBuffer;
  /** Synchronous, unlike the emulator's own. */
  restore_state(state: ArrayBuffer): void;
}

export interface Cpu {
  readonly io: { readonly ports: IoPort[] };
  readonly devices: {
    readonly pci: Pci;
    readonly vga: { readonly vga_memory_size: number };
    readonly rtc: Rtc;
    /** Its power management timer never goes back behind this many ticks. */
    readonly acpi?: { timer_last_value: number };
  } & Partial<Record<'uart0' | 'uart1' | 'uart2' | 'uart3', Uart>>;
  readonly mem8: Uint8Array;
  readonly memory_size: Int32Array;
  readonly wasm_memory: WebAssembly.Memory;
  /** Drops compiled code made from the guest-physical bytes `start` to `end`, `end` excluded. */
  jit_dirty_cache(start: number, end: number): void;
  reset_cpu(): void;
  /** Called after each reset. */
  load_bios(): void;
  /** Runs the guest for a while. Returns in how many milliseconds to do it again: 0 unless it waits for an interrupt. */
  main_loop(): number;
  get_state(): unknown[];
  set_state(state: unknown[]): void;
  pack_memory(): { bitmap: { get_buffer(): ArrayBuffer }; packed_memory: Uint8Array };
  unpack_memory(bitmap: { get(page: number): number }, packed_memory: Uint8Array): void;
  /** Puts the time stamp counter into {@link current_tsc}, low and high. */
  store_current_tsc(): void;
  readonly current_tsc: Uint32Array;
  set_tsc(low: number, high: number): void;
  readonly instruction_counter: Uint32Array;
  /** Has code compiled that v86 has made; the other one is called when that is done. */
  codegen_finalize(...args: unknown[]): void;
  codegen_finalize_finished(...args: unknown[]): void;
  last_result: Int32Array;
  fpu_status_word: Uint16Array;
  mxcsr: Int32Array;
  readonly fpu_control_word: Uint16Array;
  readonly wm: { readonly exports: WebAssembly.Exports & { set_control_word(word: number): void } };
}

/** A serial port, with what has been sent to it and not been taken: an array, or a queue in older versions. */
export interface Uart {
  readonly input: number[] | { clear(): void };
}

export interface Rtc {
  /** Milliseconds since 1970. */
  rtc_time: number;
  /** When that was, by `Date.now`. */
  last_update: number;
  timer(...args: unknown[]): number;
}

export interface IoPort {
  read8(): number;
  read16(): number;
  read32(): number;
  write8(value: number): void;
  write16(value: number): void;
  write32(value: number): void;
  device: object | undefined;
}

export interface PciBar {
  size: number;
  original_bar?: number;
  entries?: IoPort[];
}

export interface PciDevice {
  name: string;
  /** Device and function: slot << 3. */
  pci_id: number;
  /** Configuration space at reset, as bytes. */
  pci_space: ArrayLike<number>;
  /** By BAR number; holes where the device has none. */
  pci_bars: (PciBar | undefined)[];
}

export interface Pci {
  readonly devices: (PciDevice | undefined)[];
  readonly device_spaces: (Int32Array | undefined)[];
  /** The bytes of CONFIG_ADDRESS: register, device and function, bus, enable. */
  readonly pci_addr: Uint8Array;
  /** The PIIX3's configuration space; PIRQ routing is at 0x60. */
  readonly isa_bridge_space8: Uint8Array;
  register_device(device: PciDevice): void;
  set_state(state: unknown[]): void;
  raise_irq(pci_id: number): void;
  lower_irq(pci_id: number): void;
}
