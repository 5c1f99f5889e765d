import { V86, type V86Options } from 'v86';
import type { MachineSpec } from './machine-spec.ts';
import { request } from './network.ts';

let compiled: Promise<WebAssembly.Module> | undefined;

/** One compilation for all guests of this worker; whoever will need it later may begin it. */
export function compile(): Promise<WebAssembly.Module> {
  return (compiled ??= request(new URL('./v86.wasm', import.meta.url), async (response) => {
    // Servers that don't know such files call them something else.
    const isNamed = response.headers.get('content-type') === 'application/wasm';
    return isNamed ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
  }));
}

/**
 * A v86 without screen, keyboard or sound, that has loaded and does not run yet. `attach` is called
 * right after it was made: the place to attach devices. The machine is the one of
 * harness/node/plan.ts without a BIOS.
 */
export async function createEmulator(
  { memory, videoMemory, hasAcpi }: MachineSpec,
  attach: (emulator: V86) => void,
): Promise<V86> {
  const wasm = await compile();
  const emulator = new V86({
    wasm_fn: async (imports: WebAssembly.Imports) => (await WebAssembly.instantiate(wasm, imports)).exports,
    memory_size: memory << 20,
    vga_memory_size: videoMemory << 10,
    acpi: hasAcpi,
    net_device: { type: 'ne2k' },
    uart1: true,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    autostart: false,
  } as V86Options);
  const loaded = new Promise<void>((resolve) => emulator.add_listener('emulator-loaded', () => resolve()));
  attach(emulator);
  await loaded;
  return emulator;
}
