import { V86, type V86Options } from 'v86';
import { V86Machine } from '../../device/v86/adapter.ts';
import { GuestClock } from '../../device/v86/clock.ts';

/**
 * A v86 without screen, keyboard or sound that has loaded, and does not run yet. `wasm`: its module, which several may have. `attach` is
 * called right after it was made: the place to attach devices. `clock`: its time, and no other's.
 *
 * @throws MachineError and what `attach` throws.
 */
export async function createEmulator(
  options: V86Options,
  wasm: WebAssembly.Module,
  attach: (emulator: V86, machine: V86Machine) => void,
  clock = new GuestClock(),
): Promise<V86> {
  const emulator = new V86({
    ...options,
    wasm_fn: async (imports: WebAssembly.Imports) =>
      (await WebAssembly.instantiate(wasm, clock.serve(imports))).exports,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    autostart: false,
  });
  const loaded = new Promise<void>((resolve) => emulator.add_listener('emulator-loaded', () => resolve()));
  try {
    const machine = V86Machine.of(emulator, clock);
    attach(emulator, machine);
    await machine.ready;
    await loaded;
    return emulator;
  } catch (error) {
    // v86 can't be destroyed before.
    await loaded;
    await emulator.destroy();
    throw error;
  }
}
