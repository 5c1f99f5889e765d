import type { ByteSink, RewindableSource } from '../bytes.ts';
import type { GuestMemory } from '../guest-memory.ts';
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VIRTQ_DESC_SIZE } from './constants.ts';
import type { Chain } from './device.ts';
import { VirtioError } from './errors.ts';

/** A chain as plain data. */
export interface ChainState {
  /** Split: the head's index. Packed: the buffer id. */
  id: number;
  /** Descriptors that the chain takes in the ring. */
  slots: number;
  /** Address and length of each buffer in turn; the first `readable` of them are device-readable. */
  buffers: number[];
  readable: number;
}

/** The queue that chains belong to, as they see it. */
export interface ChainOwner {
  readonly index: number;
  readonly size: number;
  readonly memory: GuestMemory;
  complete(chain: DescriptorChain, written: number): void;
  serveAgain(chain: DescriptorChain, serve: () => number): void;
}

const HIGH = 2 ** 32;

/**
 * One descriptor chain, read once: what the driver changes afterwards is not looked at again.
 * Readable bytes are consumed front to back, writable ones are addressed by position.
 */
export class DescriptorChain implements Chain, RewindableSource, ByteSink {
  readonly #owner: ChainOwner;
  readonly #addresses: number[] = [];
  readonly #lengths: number[] = [];
  #count = 0;
  #readable = 0;
  #remaining = 0;
  #capacity = 0;
  /** Where the next readable byte is: a buffer, and an offset in it. */
  #readBuffer = 0;
  #readOffset = 0;
  /** The buffer written last, and the position of its first byte: replies are mostly written in order. */
  #writeBuffer = 0;
  #writeStart = 0;
  id = 0;
  slots = 0;
  isAwaited = true;

  constructor(owner: ChainOwner) {
    this.#owner = owner;
  }

  get source(): RewindableSource {
    return this;
  }

  get sink(): ByteSink {
    return this;
  }

  get remaining(): number {
    return this.#remaining;
  }

  get capacity(): number {
    return this.#capacity;
  }

  /** Empties the chain for another one. */
  begin(id: number): void {
    this.id = id;
    this.slots = 0;
    this.isAwaited = true;
    this.#count = this.#readable = this.#remaining = this.#capacity = 0;
    this.#readBuffer = this.#readOffset = 0;
  }

  /** Takes the buffer of the descriptor at guest address `descriptor`, whose flags are given. */
  addDescriptor(descriptor: number, flags: number): void {
    const { memory } = this.#owner;
    const address = memory.readU32(descriptor) + memory.readU32(descriptor + 4) * HIGH;
    this.#add(address, memory.readU32(descriptor + 8), (flags & VIRTQ_DESC_F_WRITE) !== 0);
  }

  #add(address: number, length: number, isWritable: boolean): void {
    const { index, size, memory } = this.#owner;
    // 2.7.5.3.1, 2.8.19: a driver must not create a chain longer than the queue size.
    if (this.#count === size)
      throw new VirtioError(
        'chain',
        index,
        `chain ${this.id} has more than ${size} descriptors, the queue's size, or loops`,
      );
    if (address + length > memory.size) {
      throw new VirtioError(
        'address',
        index,
        `chain ${this.id} has a buffer at 0x${address.toString(16)} + ${length}, outside guest RAM (${memory.size} bytes)`,
      );
    }
    // 2.7.4.2, 2.8.6.1: device-writable buffers come after all device-readable ones.
    if (isWritable) this.#capacity += length;
    else if (this.#count > this.#readable)
      throw new VirtioError(
        'chain',
        index,
        `chain ${this.id} has a device-readable descriptor after a device-writable one`,
      );
    else {
      this.#readable++;
      this.#remaining += length;
    }
    // 2.7.5.1: a driver must not add more than 2^32 bytes in total.
    if (this.#remaining + this.#capacity > HIGH)
      throw new VirtioError('chain', index, `chain ${this.id} has more than 2^32 bytes`);
    this.#addresses[this.#count] = address;
    this.#lengths[this.#count] = length;
    this.#count++;
  }

  /** All descriptors taken: makes the chain ready to be served. */
  end(slots: number): void {
    this.slots = slots;
    this.#writeBuffer = this.#readable;
    this.#writeStart = 0;
  }

  /**
   * Takes the indirect table that the descriptor at guest address `descriptor` points at: 2.7.5.3, 2.8.7.
   * `isLinked`: its entries are chained by `next` (split); else they follow each other (packed).
   */
  addIndirect(descriptor: number, isNegotiated: boolean, isLinked: boolean): void {
    const { index, memory } = this.#owner;
    if (!isNegotiated)
      throw new VirtioError(
        'chain',
        index,
        `chain ${this.id} has an indirect table, and VIRTIO_F_INDIRECT_DESC is not negotiated`,
      );
    const table = memory.readU32(descriptor) + memory.readU32(descriptor + 4) * HIGH;
    const length = memory.readU32(descriptor + 8);
    if (length === 0 || length % VIRTQ_DESC_SIZE !== 0) {
      throw new VirtioError(
        'chain',
        index,
        `chain ${this.id} has an indirect table of ${length} bytes: expected a multiple of ${VIRTQ_DESC_SIZE}`,
      );
    }
    if (table + length > memory.size) {
      throw new VirtioError(
        'address',
        index,
        `chain ${this.id} has an indirect table at 0x${table.toString(16)} + ${length}, outside guest RAM (${memory.size} bytes)`,
      );
    }
    const entries = length / VIRTQ_DESC_SIZE;
    for (let entry = 0; ; ) {
      const at = table + entry * VIRTQ_DESC_SIZE;
      const flags = memory.readU16(at + (isLinked ? 12 : 14));
      if (flags & VIRTQ_DESC_F_INDIRECT)
        throw new VirtioError('chain', index, `chain ${this.id} has an indirect table within an indirect table`);
      this.addDescriptor(at, flags);
      if (isLinked) {
        if (!(flags & VIRTQ_DESC_F_NEXT)) return;
        entry = memory.readU16(at + 14);
        if (entry >= entries)
          throw new VirtioError(
            'chain',
            index,
            `chain ${this.id} goes on at entry ${entry} of an indirect table of ${entries}`,
          );
      } else if (++entry === entries) return;
    }
  }

  read(dst: Uint8Array, offset: number, length: number): number {
    const { memory } = this.#owner;
    const wanted = Math.min(length, this.#remaining);
    let left = wanted;
    while (left > 0) {
      const inBuffer = this.#lengths[this.#readBuffer]! - this.#readOffset;
      const count = Math.min(left, inBuffer);
      if (count > 0)
        memory.read(this.#addresses[this.#readBuffer]! + this.#readOffset, dst, offset + wanted - left, count);
      left -= count;
      if (count === inBuffer) {
        this.#readBuffer++;
        this.#readOffset = 0;
      } else {
        this.#readOffset += count;
      }
    }
    this.#remaining -= wanted;
    return wanted;
  }

  /** Makes the readable part unread again. */
  rewind(): void {
    this.#remaining = 0;
    for (let n = 0; n < this.#readable; n++) this.#remaining += this.#lengths[n]!;
    this.#readBuffer = this.#readOffset = 0;
  }

  writeAt(position: number, src: Uint8Array, offset: number, length: number): number {
    const { memory } = this.#owner;
    const wanted = Math.min(length, this.#capacity - position);
    if (wanted <= 0) return 0;
    if (position < this.#writeStart) {
      this.#writeBuffer = this.#readable;
      this.#writeStart = 0;
    }
    let left = wanted;
    while (left > 0) {
      const size = this.#lengths[this.#writeBuffer]!;
      const from = position + wanted - left - this.#writeStart;
      if (from >= size) {
        this.#writeStart += size;
        this.#writeBuffer++;
        continue;
      }
      const count = Math.min(left, size - from);
      memory.write(this.#addresses[this.#writeBuffer]! + from, src, offset + wanted - left, count);
      left -= count;
    }
    return wanted;
  }

  complete(written: number): void {
    this.#owner.complete(this, written);
  }

  serveAgain(serve: () => number): void {
    this.#owner.serveAgain(this, serve);
  }

  /** Copies the chain out, as it was made available. */
  state(): ChainState {
    const buffers: number[] = [];
    for (let n = 0; n < this.#count; n++) buffers.push(this.#addresses[n]!, this.#lengths[n]!);
    return { id: this.id, slots: this.slots, buffers, readable: this.#readable };
  }

  /** A chain from its state. @throws VirtioError when no driver could have made it. */
  static restored(owner: ChainOwner, { id, slots, buffers, readable }: ChainState): DescriptorChain {
    const chain = new DescriptorChain(owner);
    chain.begin(id);
    for (let n = 0; n < buffers.length / 2; n++) chain.#add(buffers[2 * n]!, buffers[2 * n + 1]!, n >= readable);
    chain.end(slots);
    return chain;
  }
}
