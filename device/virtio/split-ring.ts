import { VIRTQ_AVAIL_F_NO_INTERRUPT, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_SIZE } from './constants.ts';
import type { DescriptorChain } from './descriptor-chain.ts';
import { VirtioError } from './errors.ts';
import type { Ring, RingArea, RingParts, RingState } from './ring.ts';

/** `struct virtq_avail` and `struct virtq_used`: flags, idx, ring, and the event index at the end (2.7.6, 2.7.8). */
const IDX = 2;
const RING = 4;
const USED_ELEM_SIZE = 8;
const U16 = 0xffff;

/** The split virtqueue, virtio 1.3 section 2.7. */
export class SplitRing implements Ring {
  readonly #parts: RingParts;
  readonly #desc: number;
  readonly #avail: number;
  readonly #used: number;
  /** `size - 1`: the size is a power of two. */
  readonly #mask: number;
  #nextAvail = 0;
  #nextUsed = 0;
  #unsignalled = 0;

  constructor(parts: RingParts) {
    this.#parts = parts;
    this.#desc = parts.addresses.queue_desc;
    this.#avail = parts.addresses.queue_driver;
    this.#used = parts.addresses.queue_device;
    this.#mask = parts.size - 1;
  }

  /** 2.7: sizes without the event index are enough for a driver without VIRTIO_F_EVENT_IDX. */
  static areas(size: number, hasEventIdx: boolean): RingArea[] {
    const event = hasEventIdx ? 2 : 0;
    return [
      { name: 'queue_desc', size: VIRTQ_DESC_SIZE * size, alignment: 16 },
      { name: 'queue_driver', size: RING + 2 * size + event, alignment: 2 },
      { name: 'queue_device', size: RING + USED_ELEM_SIZE * size + event, alignment: 4 },
    ];
  }

  take(chain: DescriptorChain): boolean {
    const { memory, index, size, hasIndirect } = this.#parts;
    const available = (memory.readU16(this.#avail + IDX) - this.#nextAvail) & U16;
    if (available > size)
      throw new VirtioError('ring', index, `avail.idx is ${available} ahead, more than the queue's size ${size}`);
    if (available === 0) return false;
    const head = memory.readU16(this.#avail + RING + 2 * (this.#nextAvail & this.#mask));
    this.#nextAvail = (this.#nextAvail + 1) & U16;
    chain.begin(head);
    for (let next = head; ; ) {
      if (next >= size)
        throw new VirtioError('ring', index, `chain ${head} has descriptor ${next}: the table has ${size}`);
      const descriptor = this.#desc + next * VIRTQ_DESC_SIZE;
      const flags = memory.readU16(descriptor + 12);
      if (flags & VIRTQ_DESC_F_INDIRECT) {
        // 2.7.5.3.1: not both. 2.7.5.3.2: WRITE is ignored here, and direct descriptors may come before.
        if (flags & VIRTQ_DESC_F_NEXT)
          throw new VirtioError('chain', index, `chain ${head} has a descriptor with both INDIRECT and NEXT`);
        chain.addIndirect(descriptor, hasIndirect, true);
        break;
      }
      chain.addDescriptor(descriptor, flags);
      if (!(flags & VIRTQ_DESC_F_NEXT)) break;
      next = memory.readU16(descriptor + 14);
    }
    chain.end(1);
    return true;
  }

  put({ id }: DescriptorChain, written: number): void {
    const { memory } = this.#parts;
    const elem = this.#used + RING + USED_ELEM_SIZE * (this.#nextUsed & this.#mask);
    memory.writeU32(elem, id);
    memory.writeU32(elem + 4, written);
    this.#nextUsed = (this.#nextUsed + 1) & U16;
    // 2.7.8.2: len is set before idx is.
    memory.writeU16(this.#used + IDX, this.#nextUsed);
    this.#unsignalled++;
  }

  /** 2.7.10.2: `avail_event` with VIRTIO_F_EVENT_IDX; without it flags stay 0, which asks for every kick. */
  askForKick(): void {
    const { memory, size, hasEventIdx } = this.#parts;
    if (hasEventIdx) memory.writeU16(this.#used + RING + USED_ELEM_SIZE * size, this.#nextAvail);
  }

  /** 2.7.7.2. */
  wantsInterrupt(): boolean | undefined {
    const count = this.#unsignalled;
    if (count === 0) return undefined;
    this.#unsignalled = 0;
    const { memory, size, hasEventIdx } = this.#parts;
    if (!hasEventIdx) return !(memory.readU16(this.#avail) & VIRTQ_AVAIL_F_NO_INTERRUPT);
    const usedEvent = memory.readU16(this.#avail + RING + 2 * size);
    return ((this.#nextUsed - usedEvent - 1) & U16) < count;
  }

  state(): RingState {
    return {
      next_avail: this.#nextAvail,
      next_used: this.#nextUsed,
      avail_wrap: 0,
      used_wrap: 0,
      unsignalled: this.#unsignalled,
    };
  }

  restore({ next_avail, next_used, unsignalled }: RingState): void {
    this.#nextAvail = next_avail;
    this.#nextUsed = next_used;
    this.#unsignalled = unsignalled;
  }
}
