import { COMMON_CFG, type CommonFieldName } from '../../device/virtio/common-config.ts';
import {
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from '../../device/virtio/constants.ts';
import { type Chain, DEFERRED, type VirtioDevice } from '../../device/virtio/device.ts';
import type { VirtioError } from '../../device/virtio/errors.ts';
import type { OfferedFeatures } from '../../device/virtio/features.ts';
import { BAR } from '../../device/virtio/pci-config-space.ts';
import { PciTransport } from '../../device/virtio/pci-transport.ts';
import type { Turns } from '../../device/virtio/turns.ts';
import { FlatMemory } from './flat-memory.ts';

export interface Buffer {
  address: number;
  length: number;
  writable: boolean;
}

export interface AddOptions {
  /** Put the buffers from this one on into an indirect table. Default: none. */
  indirectFrom?: number;
}

/** Bytes of the readable part, and a view of the writable one. */
export type Echo = (queueIndex: number, chain: Chain) => number;

const MAX_REQUESTS = 1000;

/** A device that answers every request with its own bytes, unless told otherwise. */
export class EchoDevice implements VirtioDevice {
  readonly deviceId = 26;
  readonly deviceFeatures = 0n;
  readonly answersInOrder = true;
  readonly config = Uint8Array.from({ length: 40 }, (_, n) => n + 1);
  readonly queueSizes: readonly number[];
  readonly log: string[] = [];
  /** Requests in the order they came, begun anew after a thousand. */
  readonly requests: { queue: number; bytes: Uint8Array }[] = [];
  readonly deferred: Chain[] = [];
  respond: Echo = (_queue, chain) => echo(this.requests.at(-1)!.bytes, chain);

  constructor(queueSizes: readonly number[] = [16, 16]) {
    this.queueSizes = queueSizes;
  }

  negotiated(features: bigint): void {
    this.log.push(`negotiated ${features.toString(16)}`);
  }

  abandon(chain: Chain): void {
    this.log.push(`abandon ${this.deferred.indexOf(chain)}`);
  }

  reset(cause: 'driver' | 'machine'): void {
    this.log.push(`reset ${cause}`);
  }

  serve(queueIndex: number, chain: Chain): number {
    const bytes = new Uint8Array(chain.source.remaining);
    chain.source.read(bytes, 0, bytes.length);
    if (this.requests.length === MAX_REQUESTS) this.requests.length = 0;
    this.requests.push({ queue: queueIndex, bytes });
    return this.respond(queueIndex, chain);
  }

  /** From now on requests wait in {@link deferred}. */
  defer(): void {
    this.respond = (_queue, chain) => {
      this.deferred.push(chain);
      return DEFERRED;
    };
  }
}

export function echo(bytes: Uint8Array, chain: Chain): number {
  return chain.sink.writeAt(0, bytes, 0, bytes.length);
}

const bit = (n: number) => 1n << BigInt(n);

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
  negotiate(features = this.offered): boolean {
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

  /** All of 3.1.1. `without`: feature bits not to accept. */
  start({ without = [], sizes = [] }: { without?: number[]; sizes?: (number | undefined)[] } = {}): this {
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

export interface Used {
  id: number;
  length: number;
}

export abstract class DriverQueue {
  readonly driver: MockDriver;
  readonly index: number;
  readonly size: number;
  readonly hasEventIdx: boolean;
  abstract readonly desc: number;
  abstract readonly driverArea: number;
  abstract readonly deviceArea: number;

  constructor(driver: MockDriver, index: number, size: number, features: bigint) {
    this.driver = driver;
    this.index = index;
    this.size = size;
    this.hasEventIdx = (features & bit(VIRTIO_F_EVENT_IDX)) !== 0n;
  }

  get areas(): { desc: number; driver: number; device: number } {
    return { desc: this.desc, driver: this.driverArea, device: this.deviceArea };
  }

  /** Makes a chain available; returns its id. */
  abstract add(buffers: Buffer[], options?: AddOptions): number;
  /** The chains that the device returned since the last call. */
  abstract collect(): Used[];
  /** Asks for an interrupt at the `n`th chain (from 0) returned after those collected; `false`: for none at all. */
  abstract wantInterruptAfter(n: number | false): void;
  /** Whether the device wants a kick for the chains added since the last call. */
  abstract needsKick(): boolean;

  protected writeDescriptor(at: number, { address, length }: Buffer): void {
    const { memory } = this.driver;
    memory.writeU32(at, address);
    memory.writeU32(at + 4, Math.floor(address / 2 ** 32));
    memory.writeU32(at + 8, length);
  }
}

export class SplitDriverQueue extends DriverQueue {
  readonly desc = this.driver.allocate(16 * this.size);
  readonly driverArea = this.driver.allocate(6 + 2 * this.size);
  readonly deviceArea = this.driver.allocate(6 + 8 * this.size);
  /** `avail.idx`. */
  availIdx = 0;
  #usedIdx = 0;
  #kicked = 0;
  readonly #free = Array.from({ length: this.size }, (_, n) => n);
  readonly #heads = new Map<number, number[]>();

  add(buffers: Buffer[], { indirectFrom = buffers.length }: AddOptions = {}): number {
    const { memory } = this.driver;
    const direct = buffers.slice(0, indirectFrom);
    const indirect = buffers.slice(indirectFrom);
    const entries = this.#free.splice(0, direct.length + (indirect.length ? 1 : 0));
    entries.forEach((entry, n) => {
      const at = this.desc + 16 * entry;
      const next = entries[n + 1];
      const flags = next === undefined ? 0 : VIRTQ_DESC_F_NEXT;
      memory.writeU16(at + 14, next ?? 0);
      if (n < direct.length) {
        this.writeDescriptor(at, direct[n]!);
        memory.writeU16(at + 12, flags | (direct[n]!.writable ? VIRTQ_DESC_F_WRITE : 0));
      } else {
        this.writeDescriptor(at, this.#table(indirect));
        memory.writeU16(at + 12, VIRTQ_DESC_F_INDIRECT);
      }
    });
    this.#heads.set(entries[0]!, entries);
    return this.makeAvailable(entries[0]!);
  }

  #table(buffers: Buffer[]): Buffer {
    const {
      driver,
      driver: { memory },
    } = this;
    const table = driver.allocate(16 * buffers.length);
    buffers.forEach((buffer, n) => {
      const isLast = n === buffers.length - 1;
      this.writeDescriptor(table + 16 * n, buffer);
      memory.writeU16(
        table + 16 * n + 12,
        (buffer.writable ? VIRTQ_DESC_F_WRITE : 0) | (isLast ? 0 : VIRTQ_DESC_F_NEXT),
      );
      memory.writeU16(table + 16 * n + 14, isLast ? 0 : n + 1);
    });
    return { address: table, length: 16 * buffers.length, writable: false };
  }

  /** Puts a head into the avail ring, whatever is there. */
  makeAvailable(head: number): number {
    const { memory } = this.driver;
    memory.writeU16(this.driverArea + 4 + 2 * (this.availIdx % this.size), head);
    this.availIdx = (this.availIdx + 1) & 0xffff;
    memory.writeU16(this.driverArea + 2, this.availIdx);
    return head;
  }

  collect(): Used[] {
    const { memory } = this.driver;
    const used: Used[] = [];
    for (
      const end = memory.readU16(this.deviceArea + 2);
      this.#usedIdx !== end;
      this.#usedIdx = (this.#usedIdx + 1) & 0xffff
    ) {
      const elem = this.deviceArea + 4 + 8 * (this.#usedIdx % this.size);
      const id = memory.readU32(elem);
      used.push({ id, length: memory.readU32(elem + 4) });
      this.#free.push(...(this.#heads.get(id) ?? []));
      this.#heads.delete(id);
    }
    return used;
  }

  wantInterruptAfter(n: number | false): void {
    const { memory } = this.driver;
    if (this.hasEventIdx)
      memory.writeU16(this.driverArea + 4 + 2 * this.size, (this.#usedIdx + (n === false ? 0x8000 : n)) & 0xffff);
    else memory.writeU16(this.driverArea, n === false ? 1 : 0);
  }

  needsKick(): boolean {
    const { memory } = this.driver;
    const before = this.#kicked;
    this.#kicked = this.availIdx;
    if (!this.hasEventIdx) return (memory.readU16(this.deviceArea) & 1) === 0;
    const event = memory.readU16(this.deviceArea + 4 + 8 * this.size);
    return ((this.availIdx - event - 1) & 0xffff) < ((this.availIdx - before) & 0xffff);
  }
}

export class PackedDriverQueue extends DriverQueue {
  readonly desc = this.driver.allocate(16 * this.size);
  readonly driverArea = this.driver.allocate(4);
  readonly deviceArea = this.driver.allocate(4);
  #next = 0;
  #wrap = 1;
  #usedAt = 0;
  #usedWrap = 1;
  #ids = 0;
  readonly #slots = new Map<number, number>();

  add(buffers: Buffer[], { indirectFrom = buffers.length }: AddOptions = {}): number {
    const { memory } = this.driver;
    const id = this.#ids++ & 0xffff;
    const isIndirect = indirectFrom < buffers.length;
    const list = isIndirect ? [this.#table(buffers)] : buffers;
    this.#slots.set(id, list.length);
    const first = this.#next;
    let firstFlags = 0;
    list.forEach((buffer, n) => {
      const at = this.desc + 16 * this.#next;
      this.writeDescriptor(at, buffer);
      memory.writeU16(at + 12, id);
      const flags =
        (buffer.writable ? VIRTQ_DESC_F_WRITE : 0) |
        (isIndirect ? VIRTQ_DESC_F_INDIRECT : 0) |
        (n < list.length - 1 ? VIRTQ_DESC_F_NEXT : 0) |
        (this.#wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED);
      if (n === 0) firstFlags = flags;
      else memory.writeU16(at + 14, flags);
      if (++this.#next === this.size) {
        this.#next = 0;
        this.#wrap ^= 1;
      }
    });
    memory.writeU16(this.desc + 16 * first + 14, firstFlags);
    return id;
  }

  #table(buffers: Buffer[]): Buffer {
    const {
      driver,
      driver: { memory },
    } = this;
    const table = driver.allocate(16 * buffers.length);
    buffers.forEach((buffer, n) => {
      this.writeDescriptor(table + 16 * n, buffer);
      memory.writeU16(table + 16 * n + 14, buffer.writable ? VIRTQ_DESC_F_WRITE : 0);
    });
    return { address: table, length: 16 * buffers.length, writable: false };
  }

  collect(): Used[] {
    const { memory } = this.driver;
    const used: Used[] = [];
    for (;;) {
      const at = this.desc + 16 * this.#usedAt;
      const flags = memory.readU16(at + 14);
      const isUsed =
        ((flags & VIRTQ_DESC_F_AVAIL) !== 0) === (this.#usedWrap === 1) &&
        ((flags & VIRTQ_DESC_F_USED) !== 0) === (this.#usedWrap === 1);
      if (!isUsed) return used;
      const id = memory.readU16(at + 12);
      used.push({ id, length: flags & VIRTQ_DESC_F_WRITE ? memory.readU32(at + 8) : 0 });
      this.#usedAt += this.#slots.get(id) ?? 1;
      if (this.#usedAt >= this.size) {
        this.#usedAt -= this.size;
        this.#usedWrap ^= 1;
      }
    }
  }

  wantInterruptAfter(n: number | false): void {
    const { memory } = this.driver;
    if (n === false || !this.hasEventIdx) {
      memory.writeU16(this.driverArea + 2, n === false ? 1 : 0);
      return;
    }
    const position = this.#usedAt + n;
    const wrap = position >= this.size ? this.#usedWrap ^ 1 : this.#usedWrap;
    memory.writeU16(this.driverArea, (position % this.size) | (wrap << 15));
    memory.writeU16(this.driverArea + 2, 2);
  }

  needsKick(): boolean {
    return this.driver.memory.readU16(this.deviceArea + 2) !== 1;
  }
}
