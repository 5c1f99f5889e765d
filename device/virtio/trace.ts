import type { GuestMemory } from '../guest-memory.ts';

/** A buffer of a chain. */
export interface ChainBuffer {
  /** Guest-physical. */
  address: number;
  /** Bytes. */
  length: number;
  writable: boolean;
}

/** One thing that happened between driver and device, with the specification's names. */
export type TransportEvent =
  /** An access to a register: `field` by its name in the specification, undefined between the fields. */
  | {
      type: 'register';
      region: Region;
      access: 'read' | 'write';
      field: string | undefined;
      offset: number;
      width: number;
      value: number;
    }
  /** The driver's available buffer notification (2.9). */
  | { type: 'kick'; queue: number }
  /** A chain was taken out of the ring. Addresses are guest-physical, lengths bytes. */
  | { type: 'chain'; queue: number; id: number; buffers: ChainBuffer[] }
  /** A chain was returned to the driver. */
  | { type: 'used'; queue: number; id: number; written: number }
  /** The driver was, or by its own wish was not, told of used buffers. */
  | { type: 'interrupt'; queue: number; raised: boolean }
  /** A configuration change notification. */
  | { type: 'config interrupt' }
  | { type: 'reset'; cause: 'driver' | 'machine' | 'queue'; queue?: number };

export type Region = 'common' | 'notify' | 'isr' | 'device' | 'config';

/** The first bytes of buffers that follow each other, up to `limit`: a copy. */
export function readBuffers(memory: GuestMemory, buffers: readonly ChainBuffer[], limit: number): Uint8Array {
  const size = buffers.reduce((sum, { length }) => sum + length, 0);
  const bytes = new Uint8Array(Math.min(limit, size));
  let at = 0;
  for (const { address, length } of buffers) {
    const count = Math.min(length, bytes.length - at);
    if (count === 0) break;
    memory.read(address, bytes, at, count);
    at += count;
  }
  return bytes;
}
