import type { Cpu } from './types.ts';

const PCI_CONFIG_ADDRESS = 0xcf8;
const PCI_CONFIG_DATA = 0xcfc;
const ELCR1 = 0x4d0;
const ELCR2 = 0x4d1;

const PCI_COMMAND = 0x04;
const PCI_COMMAND_IO = 1;
const PCI_COMMAND_MEMORY = 2;
const PCI_HEADER_TYPE = 0x0e;
const PCI_BASE_ADDRESS_0 = 0x10;
const PCI_INTERRUPT_LINE = 0x3c;
const PCI_INTERRUPT_PIN = 0x3d;
const PCI_BASE_ADDRESS_SPACE_IO = 1;

const PIIX3_SLOT = 1;
const PIRQRCA = 0x60;
/** PIRQA to PIRQD, as SeaBIOS routes them. */
const PIRQ_IRQS = [10, 10, 11, 11];
/** Clear of the ports that devices start with, at which v86 looks for them when it restores a state. */
const PCI_IO_START = 0x1000;
const BAR_COUNT = 6;

/**
 * What a BIOS does on the PCI bus: routes the interrupts and says so in each device's configuration
 * space, makes them level-triggered, gives every I/O BAR ports of its own and turns the devices on.
 * Memory BARs have fixed places in v86.
 */
export function setUpPci(cpu: Cpu): void {
  const config = new ConfigSpace(cpu);
  PIRQ_IRQS.forEach((irq, index) => config.write8(PIIX3_SLOT, PIRQRCA + index, irq));
  const elcr = PIRQ_IRQS.reduce((lines, irq) => lines | (1 << irq), 0);
  out(cpu, ELCR1, 1, elcr & 0xff);
  out(cpu, ELCR2, 1, elcr >> 8);

  const slots = Array.from({ length: 32 }, (_, slot) => slot).filter((slot) => cpu.devices.pci.devices[slot << 3]);
  // All are sized before any is placed: sizing moves a BAR out of the way of the others' new places.
  const ioBars = slots.flatMap((slot) => (config.read8(slot, PCI_HEADER_TYPE) & 0x7f ? [] : sizeIoBars(config, slot)));
  let next = PCI_IO_START;
  for (const { slot, offset, size } of ioBars.sort((a, b) => b.size - a.size)) {
    config.write32(slot, offset, next);
    next += size;
  }
  for (const slot of slots) {
    const pin = config.read8(slot, PCI_INTERRUPT_PIN);
    if (pin) config.write8(slot, PCI_INTERRUPT_LINE, PIRQ_IRQS[(pin + slot - 2) & 3]!);
    config.write16(slot, PCI_COMMAND, config.read16(slot, PCI_COMMAND) | PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
  }
}

function sizeIoBars(config: ConfigSpace, slot: number): { slot: number; offset: number; size: number }[] {
  const bars = [];
  for (let index = 0; index < BAR_COUNT; index++) {
    const offset = PCI_BASE_ADDRESS_0 + 4 * index;
    const before = config.read32(slot, offset);
    config.write32(slot, offset, 0xffffffff);
    const mask = config.read32(slot, offset);
    if (mask & PCI_BASE_ADDRESS_SPACE_IO) bars.push({ slot, offset, size: -((mask & 0xfffc) | ~0xffff) });
    else config.write32(slot, offset, before);
  }
  return bars;
}

/** Configuration mechanism #1, of functions 0 on bus 0. */
class ConfigSpace {
  readonly #cpu: Cpu;

  constructor(cpu: Cpu) {
    this.#cpu = cpu;
  }

  read8(slot: number, offset: number): number {
    return this.#read(slot, offset, 1);
  }

  read16(slot: number, offset: number): number {
    return this.#read(slot, offset, 2);
  }

  read32(slot: number, offset: number): number {
    return this.#read(slot, offset, 4);
  }

  write8(slot: number, offset: number, value: number): void {
    out(this.#cpu, this.#select(slot, offset), 1, value);
  }

  write16(slot: number, offset: number, value: number): void {
    out(this.#cpu, this.#select(slot, offset), 2, value);
  }

  write32(slot: number, offset: number, value: number): void {
    out(this.#cpu, this.#select(slot, offset), 4, value);
  }

  #read(slot: number, offset: number, width: 1 | 2 | 4): number {
    const port = this.#cpu.io.ports[this.#select(slot, offset)]!;
    const value = (width === 1 ? port.read8 : width === 2 ? port.read16 : port.read32).call(port.device);
    return value >>> 0;
  }

  /** Returns the data port. */
  #select(slot: number, offset: number): number {
    out(this.#cpu, PCI_CONFIG_ADDRESS, 4, 0x80000000 | (slot << 11) | (offset & 0xfc));
    return PCI_CONFIG_DATA + (offset & 3);
  }
}

function out(cpu: Cpu, port: number, width: 1 | 2 | 4, value: number): void {
  const entry = cpu.io.ports[port]!;
  (width === 1 ? entry.write8 : width === 2 ? entry.write16 : entry.write32).call(entry.device, value | 0);
}
