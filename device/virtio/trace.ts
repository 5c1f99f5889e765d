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
  | { type: 'chain'; queue: number; id: number; buffers: { address: number; length: number; writable: boolean }[] }
  /** A chain was returned to the driver. */
  | { type: 'used'; queue: number; id: number; written: number }
  /** The driver was, or by its own wish was not, told of used buffers. */
  | { type: 'interrupt'; queue: number; raised: boolean }
  /** A configuration change notification. */
  | { type: 'config interrupt' }
  | { type: 'reset'; cause: 'driver' | 'machine' | 'queue'; queue?: number };

export type Region = 'common' | 'notify' | 'isr' | 'device' | 'config';
