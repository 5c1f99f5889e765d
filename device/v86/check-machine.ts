import { MachineError } from './errors.ts';
import { PCI_SLOTS } from './pci-bus.ts';
import type { Cpu } from './types.ts';

/** In v86's positional state array. */
const STATE_SLOT_MEMORY_SIZE = 0;
const STATE_SLOT_PCI = 48;
const STATE_SLOT_VGA = 52;

/** v86 restores a snapshot of another machine without complaint, or fails half way: look first. @throws MachineError */
export function checkMachine(cpu: Cpu, state: unknown[]): void {
  for (const [name, mine, theirs] of [
    ['memory_size', cpu.memory_size[0]! >>> 0, state[STATE_SLOT_MEMORY_SIZE]],
    ['vga_memory_size', cpu.devices.vga.vga_memory_size, (state[STATE_SLOT_VGA] as unknown[] | undefined)?.[0]],
  ] as const) {
    if (theirs !== mine)
      throw new MachineError(
        `${name} differs: the snapshot has ${theirs} bytes, this emulator ${mine}; make it with the snapshot's`,
      );
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

function pciIds(dword: number): string {
  const hex = (value: number) => value.toString(16).padStart(4, '0');
  return `${hex(dword & 0xffff)}:${hex(dword >>> 16)}`;
}
