import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { V86, type V86Options } from 'v86';
import { restoreWhole } from '../../device/v86/restore-whole.ts';
import type { Cpu, Pci } from '../../device/v86/types.ts';

const V86_BUILD = dirname(fileURLToPath(import.meta.resolve('v86')));

const PAGE_SIZE = 4096;
const FIRMWARE_END = 0x100000;

/** The v86 objects behind a `V86`, as far as the harness uses them. */
export interface EmulatorInternals {
  readonly v86: {
    readonly cpu: Cpu & {
      /** `bitmap` has the pages that are not zero, `packed` those, one after the other. */
      unpack_memory(bitmap: { get(page: number): number }, packed: Uint8Array): void;
    };
    /** Synchronous, unlike `V86.restore_state`. */
    restore_state(state: ArrayBuffer): void;
  };
}

export interface EmulatorHooks {
  /** v86's devices are there, nothing is restored, nothing attached. */
  beforeDevices?(internals: EmulatorInternals): void;
  /** Right after `new V86(…)`: the place to attach devices. */
  attach?(emulator: V86): void;
  /** The attached devices are plugged in; v86 has not run yet. */
  afterDevices?(internals: EmulatorInternals): void;
}

/**
 * Makes a v86 without screen, keyboard or sound, and settles when it has loaded, not running yet.
 * Rejects with what a hook or v86 threw.
 */
export async function createEmulator(options: V86Options, hooks: EmulatorHooks): Promise<V86> {
  const wasm = await compileV86();
  const emulator = new V86({
    ...options,
    wasm_fn: async (imports: WebAssembly.Imports) => (await WebAssembly.instantiate(wasm, imports)).exports,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    autostart: false,
  } as V86Options);
  return new Promise((resolve, reject) => {
    const hook = (run?: (internals: EmulatorInternals) => void) => () => {
      try {
        run?.(emulator as unknown as EmulatorInternals);
      } catch (error) {
        reject(error as Error);
      }
    };
    emulator.add_listener('emulator-ready', hook(hooks.beforeDevices));
    hook(() => hooks.attach?.(emulator))();
    emulator.add_listener('emulator-ready', hook(hooks.afterDevices));
    emulator.add_listener('emulator-loaded', () => resolve(emulator));
  });
}

/** Puts a machine state into an emulator whose devices are still to come, as if the guest had run on it all along. `keepsRtc`: as `V86Machine`'s. */
export function restoreBareMachine(internals: EmulatorInternals, state: ArrayBuffer, keepsRtc = false): void {
  expectFreshMemory(internals);
  restoreWhole(internals.v86.cpu, () => internals.v86.restore_state(state), keepsRtc);
}

/**
 * Makes the next restore twenty times as fast: v86 writes zeros over all of RAM first and then
 * copies page by page, but in an emulator that never ran only the first MiB, where the BIOS is,
 * holds anything.
 */
export function expectFreshMemory({ v86 }: EmulatorInternals): void {
  const { cpu } = v86;
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

/** PIIX3: INTA# of slot n goes to PIRQ (n - 1) mod 4, and PIRQ routing says to which IRQ. */
export function routeInterrupt(pci: Pci, slot: number): void {
  const PIRQ_ROUTE_CONTROL = 0x60;
  const PCI_INTERRUPT_LINE = 0x3c;
  const irq = pci.isa_bridge_space8[PIRQ_ROUTE_CONTROL + ((slot - 1) & 3)]!;
  const space = pci.device_spaces[slot << 3]!;
  new Uint8Array(space.buffer, space.byteOffset)[PCI_INTERRUPT_LINE] = irq;
}

let v86Module: Promise<WebAssembly.Module> | undefined;

/** One compilation for every emulator of this process; whoever will need it later may begin it. */
export function compileV86(): Promise<WebAssembly.Module> {
  return (v86Module ??= readFile(join(V86_BUILD, 'v86.wasm')).then((bytes) => WebAssembly.compile(bytes)));
}

export async function v86Version(): Promise<string> {
  const manifest = JSON.parse(await readFile(join(V86_BUILD, '..', 'package.json'), 'utf8')) as { version: string };
  return manifest.version;
}
