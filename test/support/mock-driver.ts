import { FlatMemory } from '../../device/flat-memory.ts';
import { COMMON_CFG, type CommonFieldName } from '../../device/virtio/common-config.ts';
import {
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_F_RING_PACKED,
} from '../../device/virtio/constants.ts';
import type { VirtioDevice } from '../../device/virtio/device.ts';
import type { VirtioError } from '../../device/virtio/errors.ts';
import type { OfferedFeatures } from '../../device/virtio/features.ts';
import { BAR } from '../../device/virtio/pci-config-space.ts';
import { PciTransport } from '../../device/virtio/pci-transport.ts';
import type { Turns } from '../../device/virtio/turns.ts';
import {
  type AddOptions,
  type Buffer,
  bit,
  type DriverQueue,
  PackedDriverQueue,
  SplitDriverQueue,
} from './driver-queue.ts';

const VIRTIO_FS_F_NOTIFICATION = bit(0);

/** A virtio driver over plain memory: it does what Linux's does, and on request what no driver should. */
export class MockDriver {
  readonly memory: FlatMemory;
  readonly transport: PciTransport;
  readonly errors: VirtioError[] = [];
  /** The interrupt line, and how often it went up. */
  irq = false;
  interrupts = 0;
  queues: DriverQueue[] = [];
  #next = 0x1000;

  /** `turnBudget`: without one every kick is served at once, however long it takes. */
  constructor(
    device: VirtioDevice,
    {
      offer,
      memorySize = 1 << 20,
      memory = new FlatMemory(memorySize),
      turns,
      turnBudget = Infinity,
    }: { offer?: OfferedFeatures; memorySize?: number; memory?: FlatMemory; turns?: Turns; turnBudget?: number } = {},
  ) {
    this.memory = memory;
    this.transport = new PciTransport({
      device,
      memory: this.memory,
      offer,
      turns,
      turnBudget,
      setIrq: (level) => {
        if (level && !this.irq) this.interrupts++;
        this.irq = level;
      },
    });
    this.transport.onError((error) => this.errors.push(error));
  }

  /** Guest memory for the driver's own use. */
  allocate(length: number, alignment = 16): number {
    const address = Math.ceil(this.#next / alignment) * alignment;
    this.#next = address + length;
    if (this.#next > this.memory.size) throw new RangeError('the mock guest is out of memory');
    return address;
  }

  read(name: CommonFieldName): number {
    const { offset, size } = COMMON_CFG.find((field) => field.name === name)!;
    return this.transport.readBar(BAR.common.offset + offset, size);
  }

  write(name: CommonFieldName, value: number): void {
    const { offset, size } = COMMON_CFG.find((field) => field.name === name)!;
    this.transport.writeBar(BAR.common.offset + offset, size, value);
  }

  get offered(): bigint {
    this.write('device_feature_select', 0);
    const low = this.read('device_feature');
    this.write('device_feature_select', 1);
    return BigInt(low) | (BigInt(this.read('device_feature')) << 32n);
  }

  accept(features: bigint): void {
    for (const select of [0, 1]) {
      this.write('driver_feature_select', select);
      this.write('driver_feature', Number((features >> BigInt(32 * select)) & 0xffffffffn));
    }
  }

  /** 3.1.1, up to FEATURES_OK; returns whether the device agreed. */
  negotiate(features = this.offered & ~VIRTIO_FS_F_NOTIFICATION): boolean {
    this.write('device_status', 0);
    this.write('device_status', VIRTIO_CONFIG_S_ACKNOWLEDGE);
    this.write('device_status', VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    this.accept(features);
    this.write('device_status', VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
    return (this.read('device_status') & VIRTIO_CONFIG_S_FEATURES_OK) !== 0;
  }

  /** Sets up one queue, with `size` entries where given. */
  setUpQueue(index: number, features: bigint, size?: number): DriverQueue {
    this.write('queue_select', index);
    if (size !== undefined) this.write('queue_size', size);
    const queue =
      features & bit(VIRTIO_F_RING_PACKED)
        ? new PackedDriverQueue(this, index, this.read('queue_size'), features)
        : new SplitDriverQueue(this, index, this.read('queue_size'), features);
    for (const area of ['desc', 'driver', 'device'] as const) {
      this.write(`queue_${area}_lo`, queue.areas[area]);
      this.write(`queue_${area}_hi`, 0);
    }
    this.write('queue_enable', 1);
    return queue;
  }

  driverOk(): void {
    this.write('device_status', this.read('device_status') | VIRTIO_CONFIG_S_DRIVER_OK);
  }

  /** All of 3.1.1. `without`: feature bits not to accept; unless told otherwise, as Linux' own driver, that of virtio-fs's notification queue. */
  start({ without = [0], sizes = [] }: { without?: number[]; sizes?: (number | undefined)[] } = {}): this {
    const features = without.reduce((all, n) => all & ~bit(n), this.offered);
    if (!this.negotiate(features)) throw new Error('the device refused the features');
    this.queues = Array.from({ length: this.read('num_queues') }, (_, index) =>
      this.setUpQueue(index, features, sizes[index]),
    );
    this.driverOk();
    return this;
  }

  kick(queueIndex: number): void {
    this.transport.writeBar(BAR.notify.offset, 2, queueIndex);
  }

  /** Reads and so clears the interrupt. */
  readIsr(): number {
    return this.transport.readBar(BAR.isr.offset, 1);
  }

  /** Buffers of the given lengths in fresh memory. */
  buffers(readable: Uint8Array[], writable: number[]): Buffer[] {
    return [
      ...readable.map((bytes) => {
        const address = this.allocate(bytes.length, 1);
        this.memory.write(address, bytes, 0, bytes.length);
        return { address, length: bytes.length, writable: false };
      }),
      ...writable.map((length) => ({ address: this.allocate(length, 1), length, writable: true })),
    ];
  }

  /** One request and its answer, whose bytes it returns. */
  request(queueIndex: number, readable: Uint8Array[], writable: number[], options?: AddOptions): Uint8Array {
    const queue = this.queues[queueIndex]!;
    const buffers = this.buffers(readable, writable);
    const id = queue.add(buffers, options);
    this.kick(queueIndex);
    const used = queue.collect();
    if (used.length !== 1 || used[0]!.id !== id)
      throw new Error(`expected the answer to ${id}, found ${JSON.stringify(used)}`);
    return this.written(buffers).subarray(0, used[0]!.length);
  }

  /** What is in the writable buffers. */
  written(buffers: Buffer[]): Uint8Array {
    return Uint8Array.from(
      buffers
        .filter(({ writable }) => writable)
        .flatMap(({ address, length }) => [...this.memory.bytes.subarray(address, address + length)]),
    );
  }
}
