import type { GuestMemory } from '../guest-memory.ts';
import {
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
} from '../virtio/constants.ts';
import { isAvailable } from '../virtio/packed-ring.ts';
import type { PciTransport } from '../virtio/pci-transport.ts';
import type { RingState } from '../virtio/ring.ts';
import type { Virtqueue } from '../virtio/virtqueue.ts';

/** Entries of each ring that are shown, up to where the driver is. */
const WINDOW = 16;
/** Descriptors that are shown of a queue, and of one indirect table in it. */
const MAX_DESCRIPTORS = 48;
const MAX_INDIRECT = 32;
const HIGH = 2 ** 32;
const U16 = 0xffff;
const RING = 4;
const USED_ELEM_SIZE = 8;
const WRAP_BIT = 15;

/** A descriptor as it is in guest RAM (2.7.5, 2.8.13): addresses are guest-physical. */
export interface DescriptorView {
  index: number;
  addr: number;
  len: number;
  /** Without VIRTQ_DESC_F_. */
  flags: string[];
  /** Split rings, with the flag NEXT. */
  next?: number;
  /** Packed rings: the buffer id. */
  id?: number;
  /** The first entries of what an indirect descriptor refers to; none where that is not in guest RAM. */
  table?: DescriptorView[];
}

/** One virtqueue, as it is in guest RAM and in the device, at one moment. Plain data. */
export interface QueueView {
  index: number;
  size: number;
  isEnabled: boolean;
  isPacked: boolean;
  queue_desc: number;
  queue_driver: number;
  queue_device: number;
  /** Where the device is; undefined while the queue is not enabled. */
  device?: RingState;
  /** Heads (split) or buffer ids (packed) of the chains that are with the device, oldest first. */
  inFlight: number[];
  /** What each descriptor does: 0 nothing, 1 waits for the device, 2 is with it. */
  entries: Uint8Array;
  /** Split: those of the chains in the avail ring's window and in flight. Packed: those around the device's place. */
  descriptors: DescriptorView[];
  /** `virtq_avail` (2.7.6), of split rings. `ring`: the entries before `idx`, oldest first; `isNew`: the device has not taken it. */
  avail?: { flags: number; idx: number; used_event?: number; ring: { at: number; head: number; isNew: boolean }[] };
  /** `virtq_used` (2.7.8), of split rings: the entries before `idx`, oldest first. */
  used?: { flags: number; idx: number; avail_event?: number; ring: { at: number; id: number; len: number }[] };
  /** `pvirtq_event_suppress` (2.8.14) of either side, of packed rings. */
  events?: { side: 'driver' | 'device'; offset: number; wrap: number; flags: number }[];
}

/** Reads guest RAM where a driver may have pointed anywhere: outside it is 0. */
class Ram {
  readonly #memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  has(address: number, length: number): boolean {
    return address + length <= this.#memory.size;
  }

  u16(address: number): number {
    return this.has(address, 2) ? this.#memory.readU16(address) : 0;
  }

  u32(address: number): number {
    return this.has(address, 4) ? this.#memory.readU32(address) : 0;
  }

  u64(address: number): number {
    return this.u32(address) + this.u32(address + 4) * HIGH;
  }
}

/** Reads a queue of the transport without changing anything. Never throws, whatever the driver has put there. */
export function viewQueue({ queues, ringFeatures }: PciTransport, index: number): QueueView {
  const queue = queues[index]!;
  const { size, isEnabled, queue_desc, queue_driver, queue_device } = queue;
  const { ring, inFlight } = queue.state();
  const view: QueueView = {
    index,
    size,
    isEnabled,
    isPacked: ringFeatures.isPacked,
    queue_desc,
    queue_driver,
    queue_device,
    inFlight: inFlight.map(({ id }) => id),
    entries: new Uint8Array(size),
    descriptors: [],
  };
  if (!ring) return view;
  view.device = ring;
  if (ringFeatures.isPacked) viewPacked(view, ring, new Ram(queue.memory));
  else viewSplit(view, ring, new Ram(queue.memory), ringFeatures.hasEventIdx);
  return view;
}

function viewPacked(view: QueueView, { next_avail, avail_wrap, next_used, used_wrap }: RingState, ram: Ram): void {
  const { size, queue_desc, entries } = view;
  view.events = (['driver', 'device'] as const).map((side) => {
    const at = view[`queue_${side}`];
    const place = ram.u16(at);
    return { side, offset: place & ((1 << WRAP_BIT) - 1), wrap: place >> WRAP_BIT, flags: ram.u16(at + 2) & 3 };
  });
  // Used descriptors are written in order, wherever their chains began: what lies between the two places is not back yet.
  const taken = (next_avail - next_used + size) % size || (avail_wrap === used_wrap ? 0 : size);
  for (let n = 0; n < taken; n++) entries[(next_used + n) % size] = 2;
  for (let n = taken; n < size; n++) {
    const at = next_avail + n - taken;
    if (!isAvailable(ram.u16(queue_desc + (at % size) * VIRTQ_DESC_SIZE + 14), at < size ? avail_wrap : 1 - avail_wrap))
      break;
    entries[at % size] = 1;
  }
  const count = Math.min(WINDOW, size);
  view.descriptors = Array.from({ length: count }, (_, n) =>
    readPacked(ram, queue_desc, (next_avail + size - Math.floor(count / 2) + n) % size),
  );
}

function viewSplit(view: QueueView, { next_avail }: RingState, ram: Ram, hasEventIdx: boolean): void {
  const { size, queue_desc, queue_driver, queue_device, entries } = view;
  const lastOf = (idx: number) =>
    Array.from({ length: Math.min(WINDOW, size, idx) }, (_, n) => idx - Math.min(WINDOW, size, idx) + n);
  const headAt = (number: number) => ram.u16(queue_driver + RING + 2 * (number % size));
  const avail_idx = ram.u16(queue_driver + 2);
  const used_idx = ram.u16(queue_device + 2);
  const waiting = Math.min(size, (avail_idx - next_avail) & U16);
  view.avail = {
    flags: ram.u16(queue_driver),
    idx: avail_idx,
    ...(hasEventIdx && { used_event: ram.u16(queue_driver + RING + 2 * size) }),
    ring: lastOf(avail_idx).map((number) => ({
      at: number % size,
      head: headAt(number),
      isNew: ((number - next_avail) & U16) < waiting,
    })),
  };
  view.used = {
    flags: ram.u16(queue_device),
    idx: used_idx,
    ...(hasEventIdx && { avail_event: ram.u16(queue_device + RING + USED_ELEM_SIZE * size) }),
    ring: lastOf(used_idx).map((number) => {
      const at = number % size;
      const elem = queue_device + RING + USED_ELEM_SIZE * at;
      return { at, id: ram.u32(elem), len: ram.u32(elem + 4) };
    }),
  };
  const mark = (head: number, state: number) => {
    for (let next: number | undefined = head; next !== undefined && next < size && !entries[next]; ) {
      entries[next] = state;
      const at: number = queue_desc + next * VIRTQ_DESC_SIZE;
      next = ram.u16(at + 12) & VIRTQ_DESC_F_NEXT ? ram.u16(at + 14) : undefined;
    }
  };
  for (let n = 0; n < waiting; n++) mark(headAt((next_avail + n) & U16), 1);
  for (const head of view.inFlight) mark(head, 2);
  const shown = new Map<number, DescriptorView>();
  const heads = [...view.avail.ring.map(({ head }) => head).reverse(), ...view.inFlight];
  for (const head of heads) {
    for (
      let next: number | undefined = head;
      next !== undefined && next < size && !shown.has(next) && shown.size < MAX_DESCRIPTORS;
    ) {
      const descriptor = readSplit(ram, queue_desc, next);
      shown.set(next, descriptor);
      next = descriptor.next;
    }
  }
  view.descriptors = [...shown.values()].sort((a, b) => a.index - b.index);
}

/** The chain that the device would take next, as {@link viewQueue} reads it; undefined when there is none. */
export function nextChain(
  queue: Virtqueue,
  isPacked: boolean,
): { head: number; descriptors: DescriptorView[] } | undefined {
  const { size, queue_desc, queue_driver } = queue;
  const { ring } = queue.state();
  if (!ring) return undefined;
  const ram = new Ram(queue.memory);
  const descriptors: DescriptorView[] = [];
  if (isPacked) {
    if (!isAvailable(ram.u16(queue_desc + ring.next_avail * VIRTQ_DESC_SIZE + 14), ring.avail_wrap)) return undefined;
    do descriptors.push(readPacked(ram, queue_desc, (ring.next_avail + descriptors.length) % size, size));
    while (descriptors.at(-1)!.flags.includes('NEXT') && descriptors.length < size);
    return { head: ring.next_avail, descriptors };
  }
  if (ram.u16(queue_driver + 2) === ring.next_avail) return undefined;
  const head = ram.u16(queue_driver + RING + 2 * (ring.next_avail % size));
  for (let next: number | undefined = head; next !== undefined && next < size && descriptors.length < size; ) {
    descriptors.push(readSplit(ram, queue_desc, next, size));
    next = descriptors.at(-1)!.next;
  }
  return { head, descriptors };
}

/** The buffers of a chain, indirect tables followed. */
export function buffersOf(
  descriptors: readonly DescriptorView[],
): { addr: number; len: number; isWritable: boolean }[] {
  return descriptors.flatMap(({ addr, len, flags, table }) =>
    table ? buffersOf(table) : [{ addr, len, isWritable: flags.includes('WRITE') }],
  );
}

/** Copies buffers up to `limit` bytes, as far as they are in guest RAM. */
export function gather(
  memory: GuestMemory,
  buffers: readonly { addr: number; len: number }[],
  limit: number,
): Uint8Array {
  const bytes = new Uint8Array(limit);
  let at = 0;
  for (const { addr, len } of buffers) {
    const count = Math.min(len, limit - at);
    if (addr + count > memory.size) break;
    memory.read(addr, bytes, at, count);
    at += count;
  }
  return bytes.slice(0, at);
}

/** `inner`: how many entries of an indirect table are read; 0 in one, because there are no tables in tables (2.7.5.3.1). */
function readSplit(ram: Ram, table: number, index: number, inner = MAX_INDIRECT): DescriptorView {
  const at = table + index * VIRTQ_DESC_SIZE;
  const flags = ram.u16(at + 12);
  const view: DescriptorView = { index, addr: ram.u64(at), len: ram.u32(at + 8), flags: flagNames(flags) };
  if (flags & VIRTQ_DESC_F_NEXT) view.next = ram.u16(at + 14);
  if (flags & VIRTQ_DESC_F_INDIRECT && inner)
    view.table = readTable(ram, view, inner, (n) => readSplit(ram, view.addr, n, 0));
  return view;
}

function readPacked(ram: Ram, table: number, index: number, inner = MAX_INDIRECT): DescriptorView {
  const at = table + index * VIRTQ_DESC_SIZE;
  const flags = ram.u16(at + 14);
  const view: DescriptorView = {
    index,
    addr: ram.u64(at),
    len: ram.u32(at + 8),
    id: ram.u16(at + 12),
    flags: flagNames(flags),
  };
  if (flags & VIRTQ_DESC_F_INDIRECT && inner)
    view.table = readTable(ram, view, inner, (n) => readPacked(ram, view.addr, n, 0));
  return view;
}

function readTable(
  ram: Ram,
  { addr, len }: DescriptorView,
  most: number,
  read: (n: number) => DescriptorView,
): DescriptorView[] {
  const count = Math.min(most, Math.floor(len / VIRTQ_DESC_SIZE));
  return ram.has(addr, count * VIRTQ_DESC_SIZE) ? Array.from({ length: count }, (_, n) => read(n)) : [];
}

const FLAGS = {
  NEXT: VIRTQ_DESC_F_NEXT,
  WRITE: VIRTQ_DESC_F_WRITE,
  INDIRECT: VIRTQ_DESC_F_INDIRECT,
  AVAIL: VIRTQ_DESC_F_AVAIL,
  USED: VIRTQ_DESC_F_USED,
};

function flagNames(flags: number): string[] {
  return Object.entries(FLAGS)
    .filter(([, flag]) => flags & flag)
    .map(([name]) => name);
}
