import { copyOf } from '../bytes.ts';
import { MachineError } from './errors.ts';
import type { Cpu, IoPort, Pci } from './types.ts';

export const PCI_SLOTS = 32;
/** Slots that v86's own devices take, whether they are there or not. */
const V86_SLOTS = new Set([0, 1, 5, 6, 7, 8, 9, 10, 11, 12, 18, 30]);
/** Where the I/O BARs of our functions begin, until a BIOS moves them. */
const PORT_BASE = 0xd000;
const PCI_CONFIG_DATA = 0xcfc;
const PCI_COMMAND = 0x04;
const PCI_STATUS = 0x06;
const PCI_BASE_ADDRESS_0 = 0x10;
const PCI_BASE_ADDRESS_SPACE_IO = 1;
const PCI_INTERRUPT_LINE = 0x3c;
const PCI_INTERRUPT_PIN = 0x3d;
/** The end of the configuration header, which v86 keeps (BARs above all). */
const PCI_HEADER_END = 0x40;
const PIRQ_ROUTE_CONTROL = 0x60;

/** A PCI function with one I/O BAR (BAR 0), as the machine drives it. Widths are bytes: 1, 2 or 4. */
export interface PciFunction {
  /** 256 bytes of configuration space at reset. Borrowed for the call to {@link PciBus.plug}. */
  readonly configSpace: Uint8Array;
  /** Bytes, a power of two. */
  readonly barSize: number;
  /** Whether it was taken out, and nothing answers in its slot. */
  readonly isUnplugged?: boolean;
  readBar(offset: number, width: number): number;
  writeBar(offset: number, width: number, value: number): void;
  readConfig(offset: number, width: number): number;
  writeConfig(offset: number, width: number, value: number): void;
}

/** A place on the bus, and what is in it. */
interface Socket {
  readonly barSize: number;
  fn: PciFunction | undefined;
}

/** v86's PCI bus, and our functions on it. */
export class PciBus {
  readonly #plugs: ((cpu: Cpu) => void)[] = [];
  readonly #slots = new Set<number>();
  /** By PCI id. */
  readonly #sockets = new Map<number, Socket>();
  /** PCI ids that hold their interrupt line up. */
  readonly #asserted = new Set<number>();
  #pci: Pci | undefined;

  /** Takes slot `slot`, or the first free one. @throws MachineError when there is none, or it is taken. */
  reserveSlot(slot?: number): number {
    const isFree = (n: number) => !V86_SLOTS.has(n) && !this.#slots.has(n);
    const all = Array.from({ length: PCI_SLOTS }, (_, n) => n);
    const taken = slot ?? all.find((n) => n > 12 && isFree(n));
    if (taken === undefined) throw new MachineError('every PCI slot of this emulator is taken: use fewer devices');
    if (!Number.isInteger(taken) || taken < 0 || taken >= PCI_SLOTS || !isFree(taken)) {
      throw new MachineError(
        `PCI slot ${taken} is taken or does not exist: leave \`slot\` out, or choose one of ${all.filter(isFree).join(', ')}`,
      );
    }
    this.#slots.add(taken);
    return taken;
  }

  /**
   * Puts a function into a reserved slot when the bus is there (see {@link connect}); at once where there was one before {@link vacate}.
   * `makeFunction` gets what drives its interrupt pin, INTA#.
   *
   * @throws MachineError when the bus has no such place.
   */
  plug(name: string, slot: number, makeFunction: (setIrq: (level: boolean) => void) => PciFunction): void {
    const pci_id = slot << 3;
    const make = () =>
      makeFunction((level) => {
        if (level) this.#pci!.raise_irq(pci_id);
        else this.#pci!.lower_irq(pci_id);
      });
    if (this.#pci) return this.#replug(slot, make());
    this.#plugs.push(({ io, devices: { pci } }) => {
      const fn = make();
      const socket: Socket = { barSize: fn.barSize, fn };
      const port = PORT_BASE + slot * 0x100;
      const pci_space = copyOf(fn.configSpace);
      new DataView(pci_space.buffer).setUint32(PCI_BASE_ADDRESS_0, port | PCI_BASE_ADDRESS_SPACE_IO, true);
      const device = { name, pci_id, pci_space, pci_bars: [{ size: fn.barSize }] };
      for (let offset = 0; offset < fn.barSize; offset++) {
        Object.assign(io.ports[port + offset]!, {
          read8: () => socket.fn!.readBar(offset, 1),
          read16: () => socket.fn!.readBar(offset, 2),
          read32: () => socket.fn!.readBar(offset, 4) | 0,
          write8: (value: number) => socket.fn!.writeBar(offset, 1, value & 0xff),
          write16: (value: number) => socket.fn!.writeBar(offset, 2, value & 0xffff),
          write32: (value: number) => socket.fn!.writeBar(offset, 4, value >>> 0),
          device,
        } satisfies IoPort);
      }
      pci.register_device(device);
      this.#sockets.set(pci_id, socket);
    });
  }

  #replug(slot: number, fn: PciFunction): void {
    const socket = this.#sockets.get(slot << 3);
    if (socket?.barSize !== fn.barSize)
      throw new MachineError(`this emulator had no such device in PCI slot ${slot}: attach those that it had`);
    socket.fn = fn;
  }

  /** Takes all functions out. The guest must not run before others are in their places. */
  vacate(): void {
    this.#slots.clear();
    for (const socket of this.#sockets.values()) socket.fn = undefined;
  }

  /** Hooks into v86's bus, which is there now. */
  connect(cpu: Cpu): void {
    this.#pci = cpu.devices.pci;
    hookConfigPorts(cpu, this.#sockets);
    hookInterrupts(cpu, this.#asserted);
    hookPciState(cpu);
  }

  /** Puts in what was plugged. */
  plugIn(cpu: Cpu): void {
    for (const plug of this.#plugs) plug(cpu);
  }

  /** Writes into our functions' configuration space at which interrupt they are, as a BIOS that has found them would have. */
  routeInterrupts(): void {
    for (const pci_id of this.#sockets.keys()) {
      const space = this.#pci!.device_spaces[pci_id]!;
      new Uint8Array(space.buffer, space.byteOffset)[PCI_INTERRUPT_LINE] = interruptLine(this.#pci!, pci_id);
    }
  }

  /** The lines are down: the machine was reset or restored, and each function says anew what its own is. */
  releaseInterrupts(): void {
    this.#asserted.clear();
  }
}

/**
 * v86 keeps configuration space as plain memory. Accesses to what is in `sockets`, by PCI id, go there, and to
 * v86 as well in the header, where it has to see BARs move.
 */
function hookConfigPorts({ io, devices: { pci } }: Cpu, sockets: ReadonlyMap<number, Socket>): void {
  const functionAt = () => sockets.get((pci.pci_addr[2]! << 8) | pci.pci_addr[1]!)?.fn;
  for (let byte = 0; byte < 4; byte++) {
    const port = io.ports[PCI_CONFIG_DATA + byte]!;
    const before = { ...port };
    const read = (width: number, fallback: () => number) => {
      const fn = functionAt();
      const offset = pci.pci_addr[0]! + byte;
      if (fn?.isUnplugged) return (2 ** (8 * width) - 1) | 0;
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
      if (fn?.isUnplugged) return;
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
function hookInterrupts({ devices: { pci } }: Cpu, asserted: Set<number>): void {
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
function hookPciState({ devices: { pci } }: Cpu): void {
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
