import type { GuestMemory } from '../guest-memory.ts';
import type { DescriptorChain } from './descriptor-chain.ts';

/** Where a queue's three areas are in guest RAM, as the common configuration names them (4.1.4.3). */
export interface RingAddresses {
  queue_desc: number;
  queue_driver: number;
  queue_device: number;
}

/** What a ring is made of. */
export interface RingParts {
  /** The queue's number, for errors. */
  readonly index: number;
  readonly size: number;
  readonly memory: GuestMemory;
  readonly addresses: RingAddresses;
  readonly hasIndirect: boolean;
  readonly hasEventIdx: boolean;
}

/** A ring's place in its queue: the same four numbers for both formats; `*_wrap` stay 0 for split rings. */
export interface RingState {
  /** Split: 16-bit `idx` values. Packed: positions below the queue's size. */
  next_avail: number;
  next_used: number;
  avail_wrap: number;
  used_wrap: number;
  /** Used entries (packed: descriptors) since the driver's wish for an interrupt was last looked at. */
  unsignalled: number;
}

/** Split or packed: how chains come out of guest RAM, and go back. Every method may throw VirtioError or GuestMemoryError. */
export interface Ring {
  /** Reads the next available chain into `chain`; false when there is none. */
  take(chain: DescriptorChain): boolean;
  /** Returns a chain to the driver. */
  put(chain: DescriptorChain, written: number): void;
  /** Asks the driver for a notification when it makes the next chain available. */
  askForKick(): void;
  /** Whether the driver wants an interrupt for what was put since the last call; undefined when that is nothing. */
  wantsInterrupt(): boolean | undefined;
  state(): RingState;
  restore(state: RingState): void;
}

/** One area of a ring: its size in bytes and its alignment, 2.7 and 2.8. */
export interface RingArea {
  name: keyof RingAddresses;
  size: number;
  alignment: number;
}
