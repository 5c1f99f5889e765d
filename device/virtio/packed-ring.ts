import {
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
} from './constants.ts';
import type { DescriptorChain } from './descriptor-chain.ts';
import { VirtioError } from './errors.ts';
import type { Ring, RingArea, RingParts, RingState } from './ring.ts';

/** `struct pvirtq_desc`: addr, len, id, flags (2.8.13). */
const LEN = 8;
const ID = 12;
const FLAGS = 14;
const EVENT_SUPPRESS_SIZE = 4;
const WRAP_BIT = 15;

/** The packed virtqueue, virtio 1.3 section 2.8. */
export class PackedRing implements Ring {
  readonly #parts: RingParts;
  readonly #desc: number;
  readonly #driverEvent: number;
  readonly #deviceEvent: number;
  #nextAvail = 0;
  #nextUsed = 0;
  /** 2.8.1: both start at 1. */
  #availWrap = 1;
  #usedWrap = 1;
  #unsignalled = 0;

  constructor(parts: RingParts) {
    this.#parts = parts;
    this.#desc = parts.addresses.queue_desc;
    this.#driverEvent = parts.addresses.queue_driver;
    this.#deviceEvent = parts.addresses.queue_device;
  }

  static areas(size: number): RingArea[] {
    return [
      { name: 'queue_desc', size: VIRTQ_DESC_SIZE * size, alignment: 16 },
      { name: 'queue_driver', size: EVENT_SUPPRESS_SIZE, alignment: 4 },
      { name: 'queue_device', size: EVENT_SUPPRESS_SIZE, alignment: 4 },
    ];
  }

  take(chain: DescriptorChain): boolean {
    const { memory, index, size, hasIndirect } = this.#parts;
    let descriptor = this.#desc + this.#nextAvail * VIRTQ_DESC_SIZE;
    let flags = memory.readU16(descriptor + FLAGS);
    if (!isAvailable(flags, this.#availWrap)) return false;
    const first = this.#nextAvail;
    chain.begin(first);
    let slots = 1;
    if (flags & VIRTQ_DESC_F_INDIRECT) {
      // 2.8.8: no indirect descriptor in a list that NEXT links.
      if (flags & VIRTQ_DESC_F_NEXT)
        throw new VirtioError('chain', index, `chain ${first} has a descriptor with both INDIRECT and NEXT`);
      chain.addIndirect(descriptor, hasIndirect, false);
    } else {
      chain.addDescriptor(descriptor, flags);
      for (; flags & VIRTQ_DESC_F_NEXT; slots++) {
        if (slots === size)
          throw new VirtioError('chain', index, `chain ${first} has more than ${size} descriptors, the queue's size`);
        descriptor = this.#desc + ((first + slots) % size) * VIRTQ_DESC_SIZE;
        flags = memory.readU16(descriptor + FLAGS);
        if (flags & VIRTQ_DESC_F_INDIRECT)
          throw new VirtioError('chain', index, `chain ${first} has an INDIRECT descriptor linked by NEXT`);
        chain.addDescriptor(descriptor, flags);
      }
    }
    // 2.8.6: the buffer id is in the last descriptor of a list.
    chain.id = memory.readU16(descriptor + ID);
    chain.end(slots);
    this.#nextAvail += slots;
    if (this.#nextAvail >= size) {
      this.#nextAvail -= size;
      this.#availWrap ^= 1;
    }
    return true;
  }

  put({ id, slots }: DescriptorChain, written: number): void {
    const { memory, size } = this.#parts;
    const descriptor = this.#desc + this.#nextUsed * VIRTQ_DESC_SIZE;
    memory.writeU32(descriptor + LEN, written);
    memory.writeU16(descriptor + ID, id);
    const turn = this.#usedWrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;
    memory.writeU16(descriptor + FLAGS, turn | (written > 0 ? VIRTQ_DESC_F_WRITE : 0));
    this.#nextUsed += slots;
    if (this.#nextUsed >= size) {
      this.#nextUsed -= size;
      this.#usedWrap ^= 1;
    }
    this.#unsignalled += slots;
  }

  /** 2.8.14: every kick is wanted. The device serves all there is at each, so that is also the least there can be. */
  askForKick(): void {
    const { memory } = this.#parts;
    if (memory.readU16(this.#deviceEvent + 2) !== RING_EVENT_FLAGS_ENABLE)
      memory.writeU16(this.#deviceEvent + 2, RING_EVENT_FLAGS_ENABLE);
  }

  /** 2.8.14. A reserved flags value is taken as "enable": an interrupt too many does no harm. */
  wantsInterrupt(): boolean | undefined {
    const count = this.#unsignalled;
    if (count === 0) return undefined;
    this.#unsignalled = 0;
    const { memory, size, hasEventIdx } = this.#parts;
    const flags = memory.readU16(this.#driverEvent + 2) & 3;
    if (flags === RING_EVENT_FLAGS_DISABLE) return false;
    if (flags !== RING_EVENT_FLAGS_DESC || !hasEventIdx) return true;
    const event = memory.readU16(this.#driverEvent);
    const offset = event & ((1 << WRAP_BIT) - 1);
    const distance = event >> WRAP_BIT === this.#usedWrap ? this.#nextUsed - offset : this.#nextUsed + size - offset;
    return distance >= 1 && distance <= count;
  }

  state(): RingState {
    return {
      next_avail: this.#nextAvail,
      next_used: this.#nextUsed,
      avail_wrap: this.#availWrap,
      used_wrap: this.#usedWrap,
      unsignalled: this.#unsignalled,
    };
  }

  restore({ next_avail, next_used, avail_wrap, used_wrap, unsignalled }: RingState): void {
    this.#nextAvail = next_avail % this.#parts.size;
    this.#nextUsed = next_used % this.#parts.size;
    this.#availWrap = avail_wrap;
    this.#usedWrap = used_wrap;
    this.#unsignalled = unsignalled;
  }
}

/** 2.8.1: available when AVAIL matches the wrap counter and USED does not. */
export function isAvailable(flags: number, wrap: number): boolean {
  return ((flags & VIRTQ_DESC_F_AVAIL) !== 0) === (wrap === 1) && ((flags & VIRTQ_DESC_F_USED) !== 0) !== (wrap === 1);
}
