import { copyOf } from '../bytes.ts';
import type { Interrupt } from './interrupt.ts';
import {
  BAR_SIZE,
  PCI_CFG_BAR,
  PCI_CFG_DATA,
  PCI_CFG_LENGTH,
  PCI_CFG_OFFSET,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_STATUS,
  PCI_STATUS_INTERRUPT,
  PMCSR,
  PMCSR_POWER_STATE,
} from './pci-config-space.ts';

interface Parts {
  /** Configuration space at reset. */
  space: Uint8Array;
  interrupt: Interrupt;
  readBar(offset: number, width: number): number;
  writeBar(offset: number, width: number, value: number): void;
}

/** What a driver has written into configuration space. */
export interface PciFunctionState {
  intx_disabled: boolean;
  power_state: number;
  /** Of `virtio_pci_cfg_cap`. */
  pci_cfg: { bar: number; offset: number; length: number };
}

/**
 * Configuration space as far as it is more than plain memory: the interrupt's bits, the power state, and the window of
 * `virtio_pci_cfg_cap`, through which a driver reaches the BAR (virtio 1.3, 4.1.4.9).
 */
export class PciFunction {
  readonly #parts: Parts;
  #powerState = 0;
  #window = { bar: 0, offset: 0, length: 0 };

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** `width` is 1, 2 or 4 bytes. */
  read(offset: number, width: number): number {
    const { interrupt, readBar } = this.#parts;
    const space = copyOf(this.#parts.space);
    const view = new DataView(space.buffer);
    const { bar, offset: at, length } = this.#window;
    view.setUint16(PCI_STATUS, view.getUint16(PCI_STATUS, true) | (interrupt.isr ? PCI_STATUS_INTERRUPT : 0), true);
    view.setUint16(PMCSR, (view.getUint16(PMCSR, true) & ~PMCSR_POWER_STATE) | this.#powerState, true);
    space[PCI_CFG_BAR] = bar;
    view.setUint32(PCI_CFG_OFFSET, at, true);
    view.setUint32(PCI_CFG_LENGTH, length, true);
    // 4.1.4.9.1: reading the data carries out a read of the BAR.
    if (offset < PCI_CFG_DATA + 4 && offset + width > PCI_CFG_DATA && this.#isWindowValid)
      view.setUint32(PCI_CFG_DATA, readBar(at, length), true);
    let value = 0;
    for (let byte = width - 1; byte >= 0; byte--) value = value * 256 + (space[offset + byte] ?? 0);
    return value;
  }

  write(offset: number, width: number, value: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    const covers = (field: number) => offset <= field && field < offset + width;
    const merge = (field: number, old: number) => {
      const merged = new Uint8Array(4);
      const view = new DataView(merged.buffer);
      view.setUint32(0, old, true);
      for (let n = 0; n < 4; n++) if (covers(field + n)) merged[n] = bytes[field + n - offset]!;
      return view.getUint32(0, true);
    };
    if (covers(PCI_COMMAND + 1))
      this.#parts.interrupt.isDisabled = (merge(PCI_COMMAND, 0) & PCI_COMMAND_INTX_DISABLE) !== 0;
    if (covers(PMCSR)) this.#powerState = bytes[PMCSR - offset]! & PMCSR_POWER_STATE;
    const window = this.#window;
    if (covers(PCI_CFG_BAR)) window.bar = bytes[PCI_CFG_BAR - offset]!;
    if (offset + width > PCI_CFG_OFFSET && offset < PCI_CFG_OFFSET + 4)
      window.offset = merge(PCI_CFG_OFFSET, window.offset);
    if (offset + width > PCI_CFG_LENGTH && offset < PCI_CFG_LENGTH + 4)
      window.length = merge(PCI_CFG_LENGTH, window.length);
    // 4.1.4.9.1: writing the data carries out a write to the BAR.
    if (offset === PCI_CFG_DATA && this.#isWindowValid)
      this.#parts.writeBar(window.offset, window.length, value % 2 ** (8 * Math.min(width, window.length)));
  }

  /** 4.1.4.9.2: a length of 1, 2 or 4, an offset that is a multiple of it, a BAR that is there. */
  get #isWindowValid(): boolean {
    const { bar, offset, length } = this.#window;
    return (
      bar === 0 &&
      (length === 1 || length === 2 || length === 4) &&
      offset % length === 0 &&
      offset + length <= BAR_SIZE
    );
  }

  /** As after a reset of the machine. */
  reset(): void {
    this.#parts.interrupt.isDisabled = false;
    this.#powerState = 0;
    this.#window = { bar: 0, offset: 0, length: 0 };
  }

  state(): PciFunctionState {
    return {
      intx_disabled: this.#parts.interrupt.isDisabled,
      power_state: this.#powerState,
      pci_cfg: { ...this.#window },
    };
  }

  /** But for the interrupt, which has a restore of its own. */
  restore({ power_state, pci_cfg }: PciFunctionState): void {
    this.#powerState = power_state;
    this.#window = { ...pci_cfg };
  }
}
