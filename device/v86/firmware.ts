import { setUpPci } from './pci-setup.ts';
import type { Cpu } from './types.ts';

/** What goes where in guest RAM. */
export interface MemoryBlock {
  /** Physical. */
  address: number;
  /** Borrowed for the call. */
  bytes: Uint8Array;
}

/** Takes the place of v86's BIOS, which it loads anew after each reset of the processor. Returns what does so now. See `V86Machine`. */
export function replaceBios(cpu: Cpu, layOut: (ramSize: number) => readonly MemoryBlock[]): () => void {
  cpu.load_bios = () => {
    for (const { address, bytes } of layOut(cpu.mem8.length)) {
      cpu.jit_dirty_cache(address, address + bytes.length);
      cpu.mem8.set(bytes, address);
    }
    setUpPci(cpu);
  };
  return () => cpu.load_bios();
}
