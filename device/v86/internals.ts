import { MachineError } from './errors.ts';
import type { Cpu, Emulator, V86Core, V86Like } from './types.ts';
import { FIRST_TESTED, LAST_TESTED } from './versions.ts';

type Kind = 'function' | 'object' | 'numbers';

/** What the adapter uses of v86's public object. */
const PUBLIC: Record<string, Kind> = {
  add_listener: 'function',
  remove_listener: 'function',
  is_running: 'function',
  run: 'function',
  stop: 'function',
  destroy: 'function',
  save_state: 'function',
  restore_state: 'function',
};

/** What it uses behind that, there when v86 is ready: see types.ts. */
const INTERNALS: Record<string, Kind> = {
  'v86.run': 'function',
  'v86.stop': 'function',
  'v86.restart': 'function',
  'v86.next_tick': 'function',
  'v86.save_state': 'function',
  'v86.restore_state': 'function',
  'v86.cpu.io.ports': 'object',
  'v86.cpu.mem8': 'numbers',
  'v86.cpu.memory_size': 'numbers',
  'v86.cpu.wasm_memory': 'object',
  'v86.cpu.jit_dirty_cache': 'function',
  'v86.cpu.reset_cpu': 'function',
  'v86.cpu.load_bios': 'function',
  'v86.cpu.main_loop': 'function',
  'v86.cpu.get_state': 'function',
  'v86.cpu.set_state': 'function',
  'v86.cpu.pack_memory': 'function',
  'v86.cpu.unpack_memory': 'function',
  'v86.cpu.store_current_tsc': 'function',
  'v86.cpu.current_tsc': 'numbers',
  'v86.cpu.set_tsc': 'function',
  'v86.cpu.last_result': 'numbers',
  'v86.cpu.fpu_status_word': 'numbers',
  'v86.cpu.fpu_control_word': 'numbers',
  'v86.cpu.mxcsr': 'numbers',
  'v86.cpu.wm.exports.set_control_word': 'function',
  'v86.cpu.devices.vga': 'object',
  'v86.cpu.devices.rtc.timer': 'function',
  'v86.cpu.instruction_counter': 'numbers',
  'v86.cpu.codegen_finalize': 'function',
  'v86.cpu.codegen_finalize_finished': 'function',
  'v86.cpu.devices.pci.devices': 'object',
  'v86.cpu.devices.pci.device_spaces': 'object',
  'v86.cpu.devices.pci.pci_addr': 'numbers',
  'v86.cpu.devices.pci.isa_bridge_space8': 'numbers',
  'v86.cpu.devices.pci.register_device': 'function',
  'v86.cpu.devices.pci.set_state': 'function',
  'v86.cpu.devices.pci.raise_irq': 'function',
  'v86.cpu.devices.pci.lower_irq': 'function',
};

/** The one door to what is behind a `V86`; for this folder alone. @throws MachineError for anything else. */
export function internalsOf(emulator: V86Like): Emulator {
  assertEmulator(emulator);
  return emulator;
}

/** What is there when v86 is ready. @throws MachineError that names what it lacks. */
export function loadedInternalsOf(emulator: Emulator): { v86: V86Core; cpu: Cpu } {
  assertLoaded(emulator);
  return { v86: emulator.v86, cpu: emulator.v86.cpu };
}

function assertEmulator(emulator: V86Like): asserts emulator is V86Like & Emulator {
  check(emulator, PUBLIC, 'this is not a V86 object');
}

function assertLoaded(emulator: Emulator): asserts emulator is Emulator & { v86: V86Core } {
  check(emulator, INTERNALS, "this version of v86 can't be used");
}

function check(emulator: object, members: Record<string, Kind>, what: string): void {
  const missing = Object.entries(members)
    .filter(([path, kind]) => !isA(kind, at(emulator, path)))
    .map(([path]) => path);
  if (!missing.length) return;
  throw new MachineError(
    `${what}: it lacks ${missing.join(', ')}. v86-virtiofs is tested with v86 ${FIRST_TESTED} to ${LAST_TESTED}: install one of these`,
  );
}

function at(root: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((value, name) => (value as Record<string, unknown> | null | undefined)?.[name], root);
}

function isA(kind: Kind, value: unknown): boolean {
  // Typed arrays, or v86's proxies of them.
  if (kind === 'numbers') return typeof (value as ArrayLike<number> | undefined)?.length === 'number';
  return typeof value === kind && value !== null;
}
