import type { FlatMemory } from '../../device/flat-memory.ts';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from '../../device/virtio/constants.ts';

export interface Buffer {
  address: number;
  length: number;
  writable: boolean;
}

export interface AddOptions {
  /** Put the buffers from this one on into an indirect table. Default: none. */
  indirectFrom?: number;
}

export const bit = (n: number) => 1n << BigInt(n);

export interface Used {
  id: number;
  length: number;
}

/** Where a driver has its rings. */
interface GuestRam {
  readonly memory: FlatMemory;
  /** Returns the address of so many bytes. */
  allocate(length: number): number;
}

export abstract class DriverQueue {
  readonly driver: GuestRam;
  readonly index: number;
  readonly size: number;
  readonly hasEventIdx: boolean;
  abstract readonly desc: number;
  abstract readonly driverArea: number;
  abstract readonly deviceArea: number;

  constructor(driver: GuestRam, index: number, size: number, features: bigint) {
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
