import type { Cpu, Pci } from './types.ts';

export const PCI_SLOTS = 32;
const PCI_CONFIG_DATA = 0xcfc;
const PCI_COMMAND = 0x04;
const PCI_STATUS = 0x06;
const PCI_INTERRUPT_PIN = 0x3d;
/** The end of the configuration header, which v86 keeps (BARs above all). */
const PCI_HEADER_END = 0x40;
const PIRQ_ROUTE_CONTROL = 0x60;

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

/**
 * v86 keeps configuration space as plain memory. Accesses to `functions`, by their PCI id, go to them, and to
 * v86 as well in the header, where it has to see BARs move.
 */
export function hookConfigPorts({ io, devices: { pci } }: Cpu, functions: ReadonlyMap<number, PciFunction>): void {
  const functionAt = () => functions.get((pci.pci_addr[2]! << 8) | pci.pci_addr[1]!);
  for (let byte = 0; byte < 4; byte++) {
    const port = io.ports[PCI_CONFIG_DATA + byte]!;
    const before = { ...port };
    const read = (width: number, fallback: () => number) => {
      const fn = functionAt();
      const offset = pci.pci_addr[0]! + byte;
      if (!fn || (offset < PCI_HEADER_END && (offset & ~3) !== PCI_COMMAND)) return fallback.call(port.device);
      if (offset >= PCI_HEADER_END) return fn.readConfig(offset, width) | 0;
      const command = new DataView(pci.device_spaces[(pci.pci_addr[2]! << 8) | pci.pci_addr[1]!]!.buffer).getUint16(
        PCI_COMMAND,
        true,
      );
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
 * lets go of it, so an interrupt of another would be lost: hold it while anybody asserts it, `asserted` by their PCI ids.
 */
export function hookInterrupts({ devices: { pci } }: Cpu, asserted: Set<number>): void {
  const raise = pci.raise_irq.bind(pci);
  const lower = pci.lower_irq.bind(pci);
  pci.raise_irq = (pci_id) => {
    asserted.add(pci_id);
    raise(pci_id);
  };
  pci.lower_irq = (pci_id) => {
    asserted.delete(pci_id);
    lower(pci_id);
    for (const other of asserted) {
      if (interruptLine(pci, other) === interruptLine(pci, pci_id)) raise(other);
    }
  };
}

/**
 * v86 reads the BAR description of every I/O BAR it restores, and fails on its own IDE controller,
 * which has none for its legacy ports, when no BIOS has cleared those BARs.
 */
export function hookPciState({ devices: { pci } }: Cpu): void {
  const { set_state } = pci;
  pci.set_state = (state) => {
    const holes = pci.devices.flatMap((device) =>
      device
        ? Array.from(device.pci_bars.entries())
            .filter(([, bar]) => !bar)
            .map(([n]) => ({ bars: device.pci_bars, n }))
        : [],
    );
    for (const { bars, n } of holes) bars[n] = { size: 0, original_bar: 0, entries: [] };
    try {
      set_state.call(pci, state);
    } finally {
      for (const { bars, n } of holes) bars[n] = undefined;
    }
  };
}

/** PIIX3: INTA# of slot n goes to PIRQ (n - 1) mod 4, and PIRQ routing says to which IRQ. */
function interruptLine(pci: Pci, pci_id: number): number {
  const pin = (pci.device_spaces[pci_id]![PCI_INTERRUPT_PIN >> 2]! >> 8) & 0xff;
  return pci.isa_bridge_space8[PIRQ_ROUTE_CONTROL + ((pin + (pci_id >> 3) - 2) & 3)]!;
}
