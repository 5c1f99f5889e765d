import type { VirtioFsDevice } from '../attach.ts';
import { errnoName } from '../fs/errno.ts';
import { fuse_entry_out, fuse_out_header } from '../fuse/layouts.ts';
import { DEFERRED } from '../fuse/request.ts';
import type { TraceEvent } from '../fuse/session.ts';
import { readBuffers, type TransportEvent } from '../virtio/trace.ts';
import { queueName } from '../virtio-fs.ts';
import { opcodeName, opcodeOf } from './message.ts';

/** Requests that are kept, and at most can be. */
const DEFAULT_LIMIT = 1000;
const MAX_LIMIT = 10_000;
/** Bytes of a request that are kept, and of its reply. */
const MAX_BYTES = 1024;
/** Buffers of a request that are kept: those of 1 MiB in pages, and of headers. */
const MAX_BUFFERS = 320;
/** Of a histogram; the last one has whatever took longer. */
const BUCKETS = 24;

/** The parts of a device that are watched. */
export type Watched = Pick<VirtioFsDevice, 'transport' | 'session'>;

/** One request, as it went through the device. */
export interface RequestRecord {
  /** From 1, in the order of arrival. */
  number: number;
  /** Milliseconds since 1970. */
  time: number;
  /** The index of the virtqueue. */
  queue: number;
  /** Split rings: the head of the chain. Packed: its buffer id. */
  id: number;
  /** Addresses are guest-physical. */
  buffers: { address: number; length: number; writable: boolean }[];
  /** As in `fuse_in_header`, as are `nodeid`, `pid` and `uid`. */
  unique: bigint;
  /** Without FUSE_. */
  opcode: string;
  nodeid: number;
  pid: number;
  uid: number;
  /** The decoded struct, by the header's names; the message's `names` among them. */
  args: Record<string, unknown>;
  /** '' or the errno's name. `ENOENT` too for a LOOKUP that is answered with nodeid 0: there is no such name, and that may be remembered. */
  error: string;
  /** Bytes of the reply; undefined while it waits. */
  written: number | undefined;
  /** Milliseconds in the device; of one that waited, until it was answered. */
  duration: number;
  /** It was not answered at once. */
  hasWaited: boolean;
  /** What came of its answer: an interrupt, or none because the driver did not want one; undefined until that is decided. */
  interrupt: 'raised' | 'suppressed' | undefined;
  /** The first bytes of the message and of its reply, copied. */
  request: Uint8Array;
  reply: Uint8Array;
}

/** By opcode: how many requests there were, how long they took together, and how many of them 1 µs or less, 2 µs, 4 µs and so on. */
export interface Latency {
  count: number;
  /** Milliseconds. */
  total: number;
  /** Counts by duration: entry n is for up to 2^n µs. */
  buckets: Uint32Array;
}

/** Writes down what passes through a device: the last requests, 1000 by default, and how long all took. */
export class Recorder {
  readonly #device: Watched;
  readonly #records: RequestRecord[] = [];
  /** Without an answer, by queue and id. */
  readonly #pending = new Map<string, RequestRecord>();
  /** Answered, and the driver was not told yet. */
  #untold: RequestRecord[] = [];
  readonly #latencies = new Map<string, Latency>();
  #count = 0;
  #limit = DEFAULT_LIMIT;
  #version = 0;
  #current: RequestRecord | undefined;
  #isOn = false;
  readonly #subscriptions: (() => void)[] = [];

  constructor(device: Watched) {
    this.#device = device;
  }

  /** Whether it records. Default: false. */
  get isOn(): boolean {
    return this.#isOn;
  }

  /** Costs some microseconds a request while it is on. */
  set isOn(isOn: boolean) {
    if (isOn === this.#isOn) return;
    this.#isOn = isOn;
    const { transport, session } = this.#device;
    for (const unsubscribe of this.#subscriptions.splice(0)) unsubscribe();
    if (isOn) {
      this.#subscriptions.push(transport.onTrace((event) => this.#onTransport(event)));
      this.#subscriptions.push(session.onTrace((event) => this.#onRequest(event)));
    }
    if (!isOn) this.#forget();
  }

  /** How many requests are kept: 1 to 10,000, each of which takes up to some 3 KB. */
  get limit(): number {
    return this.#limit;
  }

  /** Fewer than are kept: the oldest go. */
  set limit(limit: number) {
    this.#limit = Math.min(Math.max(1, Math.floor(limit) || 1), MAX_LIMIT);
    this.#version++;
    this.#records.splice(0, this.#records.length - this.#limit);
  }

  /** Requests that were written down so far, those that are not kept any more included. */
  get count(): number {
    return this.#count;
  }

  /** Another number whenever a record is. */
  get version(): number {
    return this.#version;
  }

  /** Oldest first. Borrowed. */
  get records(): readonly RequestRecord[] {
    return this.#records;
  }

  /** By opcode. Borrowed. */
  get latencies(): ReadonlyMap<string, Latency> {
    return this.#latencies;
  }

  /** Forgets all records and latencies. */
  clear(): void {
    this.#version++;
    this.#records.length = 0;
    this.#latencies.clear();
    this.#forget();
  }

  /** What is under way can't be matched any more. */
  #forget(): void {
    this.#pending.clear();
    this.#untold = [];
    this.#current = undefined;
  }

  #onTransport(event: TransportEvent): void {
    if (event.type !== 'register') this.#version++;
    switch (event.type) {
      case 'chain':
        return this.#begin(event);
      case 'used':
        return this.#end(event);
      case 'interrupt':
        return this.#tell(event);
      case 'reset':
        return this.#drop(event.queue);
    }
  }

  /** Nothing answers what was in the queue, or in any. */
  #drop(reset: number | undefined): void {
    const isKept = ({ queue }: RequestRecord) => reset !== undefined && queue !== reset;
    for (const [key, record] of this.#pending) if (!isKept(record)) this.#pending.delete(key);
    this.#untold = this.#untold.filter(isKept);
  }

  #begin({ queue, id, buffers }: Extract<TransportEvent, { type: 'chain' }>): void {
    if (queueName(queue, this.#device.transport.features.accepted) === 'notification') return;
    const request = this.#read(
      buffers.filter(({ writable }) => !writable),
      MAX_BYTES,
    );
    const record: RequestRecord = {
      number: ++this.#count,
      time: now(),
      queue,
      id,
      buffers: buffers.length > MAX_BUFFERS ? firstOf(buffers) : buffers,
      unique: 0n,
      opcode: opcodeName(opcodeOf(request) ?? 0),
      nodeid: 0,
      pid: 0,
      uid: 0,
      args: {},
      error: '',
      written: undefined,
      duration: 0,
      hasWaited: false,
      interrupt: undefined,
      request,
      reply: new Uint8Array(0),
    };
    this.#records.push(record);
    if (this.#records.length > this.#limit) this.#records.shift();
    this.#pending.set(`${queue}/${id}`, record);
    this.#current = record;
  }

  #onRequest({ unique, nodeid, pid, uid, args, length, duration }: TraceEvent): void {
    const record = this.#current;
    if (!record) return;
    this.#current = undefined;
    Object.assign(record, {
      unique,
      nodeid,
      pid,
      uid,
      args,
      duration,
      hasWaited: length === DEFERRED,
    });
    if (!record.hasWaited) this.#measure(record);
  }

  #end({ queue, id, written }: Extract<TransportEvent, { type: 'used' }>): void {
    const record = this.#pending.get(`${queue}/${id}`);
    if (!record) return;
    this.#pending.delete(`${queue}/${id}`);
    record.written = written;
    record.reply = this.#read(
      record.buffers.filter(({ writable }) => writable),
      Math.min(written, MAX_BYTES),
    );
    record.error = errorOf(record);
    this.#untold.push(record);
    if (!record.hasWaited) return;
    record.duration = now() - record.time;
    this.#measure(record);
  }

  #tell({ queue, raised }: Extract<TransportEvent, { type: 'interrupt' }>): void {
    for (const record of this.#untold) if (record.queue === queue) record.interrupt = raised ? 'raised' : 'suppressed';
    this.#untold = this.#untold.filter((record) => record.queue !== queue);
  }

  #read(buffers: RequestRecord['buffers'], limit: number): Uint8Array {
    return readBuffers(this.#device.transport.queues[0]!.memory, buffers, limit);
  }

  #measure({ opcode, duration }: RequestRecord): void {
    let latency = this.#latencies.get(opcode);
    if (!latency) this.#latencies.set(opcode, (latency = { count: 0, total: 0, buckets: new Uint32Array(BUCKETS) }));
    latency.count++;
    latency.total += duration;
    const bucket = Math.ceil(Math.log2(Math.max(1, duration * 1000)));
    latency.buckets[Math.min(bucket, BUCKETS - 1)]!++;
  }
}

/** As many as are kept, of both kinds. */
function firstOf(buffers: RequestRecord['buffers']): RequestRecord['buffers'] {
  const ofKind = (kind: boolean) => buffers.filter(({ writable }) => writable === kind).slice(0, MAX_BUFFERS / 2);
  return [...ofKind(false), ...ofKind(true)];
}

/** What the answer says. */
function errorOf({ opcode, reply }: RequestRecord): string {
  if (reply.length < fuse_out_header.size) return '';
  const view = new DataView(reply.buffer, reply.byteOffset, reply.length);
  const error = view.getInt32(fuse_out_header.offsets.error, true);
  if (error) return errnoName(-error);
  const nodeid = fuse_out_header.size + fuse_entry_out.offsets.nodeid;
  return opcode === 'LOOKUP' && reply.length >= nodeid + 8 && view.getBigUint64(nodeid, true) === 0n ? 'ENOENT' : '';
}

/** Milliseconds since 1970, finer than `Date.now`. */
function now(): number {
  return performance.timeOrigin + performance.now();
}
