/** The ISR status, and the interrupt line that follows it: virtio 1.3, 4.1.4.5. */
export class Interrupt {
  readonly #setIrq: (level: boolean) => void;
  #isr = 0;
  #level = false;
  #isDisabled = false;

  constructor(setIrq: (level: boolean) => void) {
    this.#setIrq = setIrq;
  }

  /** The ISR status, without the effect of a read by the driver. */
  get isr(): number {
    return this.#isr;
  }

  /** Whether the driver has disabled INTx. */
  get isDisabled(): boolean {
    return this.#isDisabled;
  }

  set isDisabled(isDisabled: boolean) {
    this.#isDisabled = isDisabled;
    this.#update();
  }

  /** Sets VIRTIO_PCI_ISR_* bits. */
  raise(isr: number): void {
    this.#isr |= isr;
    this.#update();
  }

  /** 4.1.4.5.1: reading clears, and takes the interrupt back. */
  take(): number {
    const isr = this.#isr;
    this.#isr = 0;
    this.#update();
    return isr;
  }

  /** The machine's interrupt lines have been restored before, with nothing of this device's. */
  restore(isr: number, isDisabled: boolean): void {
    this.#isr = isr;
    this.#isDisabled = isDisabled;
    this.#level = false;
    this.#update();
  }

  #update(): void {
    const level = this.#isr !== 0 && !this.#isDisabled;
    if (level === this.#level) return;
    this.#level = level;
    this.#setIrq(level);
  }
}
