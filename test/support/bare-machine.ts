import { fileURLToPath } from 'node:url';
import { V86 } from 'v86';
import type { Cpu, Emulator } from '../../device/v86/types.ts';

const V86_WASM = fileURLToPath(import.meta.resolve('v86/build/v86.wasm'));

/** A real v86 without BIOS or guest, and port accesses as a guest's would arrive. */
export interface BareMachine {
  emulator: V86 & Emulator;
  cpu: Cpu;
  in(port: number, width: 1 | 2 | 4): number;
  out(port: number, width: 1 | 2 | 4, value: number): void;
  readConfig(slot: number, offset: number, width?: 1 | 2 | 4): number;
  writeConfig(slot: number, offset: number, value: number, width?: 1 | 2 | 4): void;
  destroy(): Promise<void>;
}

/** `prepare` is called right after the constructor, as a host would attach its devices. */
export async function bareMachine(
  prepare: (emulator: V86 & Emulator) => void,
  options: Record<string, unknown> = {},
): Promise<BareMachine> {
  const emulator = new V86({
    wasm_path: V86_WASM,
    memory_size: 16 << 20,
    autostart: false,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    ...options,
  } as never) as V86 & Emulator;
  prepare(emulator);
  await new Promise<void>((resolve) => emulator.add_listener('emulator-loaded', () => resolve()));
  const cpu = emulator.v86!.cpu!;
  const machine: BareMachine = {
    emulator,
    cpu,
    in: (port, width) => {
      const entry = cpu.io.ports[port]!;
      const value =
        width === 1
          ? entry.read8.call(entry.device)
          : width === 2
            ? entry.read16.call(entry.device)
            : entry.read32.call(entry.device);
      return value >>> 0;
    },
    out: (port, width, value) => {
      const entry = cpu.io.ports[port]!;
      (width === 1 ? entry.write8 : width === 2 ? entry.write16 : entry.write32).call(entry.device, value | 0);
    },
    readConfig: (slot, offset, width = 4) => {
      machine.out(0xcf8, 4, 0x80000000 | (slot << 11) | (offset & ~3));
      return machine.in(0xcfc + (offset & 3), width);
    },
    writeConfig: (slot, offset, value, width = 4) => {
      machine.out(0xcf8, 4, 0x80000000 | (slot << 11) | (offset & ~3));
      machine.out(0xcfc + (offset & 3), width, value);
    },
    destroy: async () => emulator.destroy(),
  };
  return machine;
}
