import { copyOf } from '../bytes.ts';
import type { VirtioDevice } from './device.ts';

/** The device configuration space as the driver reads it: virtio 1.3, 2.5 and 4.1.4.6. */
export class DeviceConfig {
  readonly #device: VirtioDevice;
  /** As it was when the driver looked at it last. */
  #seen: Uint8Array;
  #generation = 0;

  constructor(device: VirtioDevice) {
    this.#device = device;
    this.#seen = copyOf(device.config);
  }

  read(offset: number, width: number): number {
    this.#noteChange();
    const config = this.#seen;
    let value = 0;
    for (let byte = Math.min(width, config.length - offset) - 1; byte >= 0; byte--)
      value = value * 256 + config[offset + byte]!;
    return value;
  }

  /** `config_generation` as the driver reads it now. */
  readGeneration(): number {
    this.#noteChange();
    return this.#generation;
  }

  /** `config_generation` as the driver has read it last. */
  get generation(): number {
    return this.#generation;
  }

  restore(generation: number): void {
    this.#generation = generation;
    this.#seen = copyOf(this.#device.config);
  }

  /** 4.1.4.3.1: `config_generation` changes whenever the driver may see another configuration than before. */
  #noteChange(): void {
    const { config } = this.#device;
    if (config.every((byte, n) => byte === this.#seen[n])) return;
    this.#seen = copyOf(config);
    this.#generation = (this.#generation + 1) & 0xff;
  }
}
