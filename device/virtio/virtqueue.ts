import { type GuestMemory, GuestMemoryError } from '../guest-memory.ts';
import { VIRTQ_SIZE_MAX } from './constants.ts';
import { type ChainOwner, type ChainState, DescriptorChain } from './descriptor-chain.ts';
import { DEFERRED } from './device.ts';
import { VirtioError } from './errors.ts';
import { PackedRing } from './packed-ring.ts';
import type { Ring, RingAddresses, RingState } from './ring.ts';
import { SplitRing } from './split-ring.ts';
import type { TransportEvent } from './trace.ts';

const HIGH = 2 ** 32;
/** How long the driver hears nothing of chains that it does not wait for. */
const SOON_MS = 1;

/** What the driver and the device negotiated about rings. */
export interface RingFeatures {
  readonly isPacked: boolean;
  readonly hasIndirect: boolean;
  readonly hasEventIdx: boolean;
}

/** Counts since the device was made. */
export interface QueueStatistics {
  kicks: number;
  requests: number;
  bytesRead: number;
  bytesWritten: number;
  /** Interrupts that the driver asked for, and those that it did not want. */
  interrupts: number;
  suppressed: number;
  /** The most requests that one kick brought. */
  deepest: number;
}

export interface QueueState extends RingAddresses {
  queue_size: number;
  queue_enable: boolean;
  /** Only of an enabled queue. */
  ring: RingState | undefined;
  inFlight: ChainState[];
}

/** What a queue tells its transport. */
export interface QueueEvents {
  /** Used buffers that the driver wants to hear of. */
  interrupt(): void;
  fail(error: VirtioError): void;
  /** A chain that is with the device has something to be served for. */
  serveAgain(chain: DescriptorChain, serve: () => number): void;
  /** Whoever listens to the trace. */
  onTrace: ((event: TransportEvent) => void) | undefined;
}

/** One virtqueue: its registers, its ring and the chains that are with the device. */
export class Virtqueue implements ChainOwner, RingAddresses {
  readonly index: number;
  readonly memory: GuestMemory;
  /** `queue_size` at reset. */
  readonly maxSize: number;
  size: number;
  /** `queue_desc`, `queue_driver` and `queue_device`, low and high halves. */
  readonly addressHalves = new Uint32Array(6);
  readonly statistics: QueueStatistics = {
    kicks: 0,
    requests: 0,
    bytesRead: 0,
    bytesWritten: 0,
    interrupts: 0,
    suppressed: 0,
    deepest: 0,
  };
  readonly #events: QueueEvents;
  readonly #inFlight = new Set<DescriptorChain>();
  readonly #free: DescriptorChain[] = [];
  #ring: Ring | undefined;
  /** Whether the driver waits for any of what {@link run} has served. */
  #isAwaited = false;
  #isDrained = true;
  #soon: ReturnType<typeof setTimeout> | undefined;

  constructor(index: number, maxSize: number, memory: GuestMemory, events: QueueEvents) {
    this.index = index;
    this.maxSize = this.size = maxSize;
    this.memory = memory;
    this.#events = events;
  }

  get queue_desc(): number {
    return this.#address(0);
  }

  get queue_driver(): number {
    return this.#address(2);
  }

  get queue_device(): number {
    return this.#address(4);
  }

  #address(half: number): number {
    return this.addressHalves[half]! + this.addressHalves[half + 1]! * HIGH;
  }

  get isEnabled(): boolean {
    return this.#ring !== undefined;
  }

  /** Chains that are with the device, oldest first. */
  get inFlight(): ReadonlySet<DescriptorChain> {
    return this.#inFlight;
  }

  /** `queue_enable` = 1 (4.1.4.3.2). @throws VirtioError for sizes and addresses that no ring can have. */
  enable(features: RingFeatures): void {
    this.#ring = this.#makeRing(features, this.maxSize);
  }

  #makeRing({ isPacked, hasIndirect, hasEventIdx }: RingFeatures, maxSize: number): Ring {
    const { index, size, memory } = this;
    // 2.7: a power of two; 2.8: any size.
    const isSize = size >= 1 && size <= maxSize && (isPacked || Number.isInteger(Math.log2(size)));
    if (!isSize)
      throw new VirtioError(
        'queue',
        index,
        `queue_size is ${size}: expected ${isPacked ? '1' : 'a power of two'} to ${maxSize}`,
      );
    for (const { name, size: bytes, alignment } of isPacked
      ? PackedRing.areas(size)
      : SplitRing.areas(size, hasEventIdx)) {
      const address = this[name];
      const at = `${name} is 0x${address.toString(16)}`;
      if (address % alignment !== 0)
        throw new VirtioError('queue', index, `${at}: expected a multiple of ${alignment}`);
      if (address + bytes > memory.size)
        throw new VirtioError(
          'address',
          index,
          `${at}: its ${bytes} bytes are not in guest RAM (${memory.size} bytes)`,
        );
    }
    const { queue_desc, queue_driver, queue_device } = this;
    const parts = {
      index,
      size,
      memory,
      addresses: { queue_desc, queue_driver, queue_device },
      hasIndirect,
      hasEventIdx,
    };
    return isPacked ? new PackedRing(parts) : new SplitRing(parts);
  }

  /** Back to the state after a device reset (2.4.1) or queue reset (2.6.1.1). Returns the chains that are dead now. */
  reset(): DescriptorChain[] {
    const dead = [...this.#inFlight];
    this.#inFlight.clear();
    this.#ring = undefined;
    this.size = this.maxSize;
    this.addressHalves.fill(0);
    return dead;
  }

  /**
   * Serves up to `limit` available chains, as long as `mayGoOn` before each, and tells the driver if it wants to know: at once, or
   * soon when it waits for none of them. Returns how many were served; {@link isDrained} tells whether others may be available.
   */
  run(
    serve: (queueIndex: number, chain: DescriptorChain) => number,
    limit: number,
    mayGoOn: () => boolean = always,
  ): number {
    this.#isDrained = !this.#ring;
    if (!this.#ring) return 0;
    const most = Math.min(limit, this.size);
    let count = 0;
    this.#isAwaited = false;
    try {
      while (count < most && mayGoOn()) {
        if (this.#serveOne(this.#ring, serve)) {
          count++;
          continue;
        }
        this.#isDrained = true;
        if (!this.#ring) return count;
        break;
      }
      this.#ring.askForKick();
      if (this.#isAwaited) this.#signal(this.#ring);
      else if (count) this.#signalSoon();
    } catch (error) {
      this.#isDrained = true;
      this.#events.fail(this.#asVirtioError(error));
    }
    if (count > this.statistics.deepest) this.statistics.deepest = count;
    return count;
  }

  /** Whether the last {@link run} has found the end of what is available, or can't go on. */
  get isDrained(): boolean {
    return this.#isDrained;
  }

  #serveOne(ring: Ring, serve: (queueIndex: number, chain: DescriptorChain) => number): boolean {
    const chain = this.#free.pop() ?? new DescriptorChain(this);
    if (!ring.take(chain)) {
      this.#free.push(chain);
      return false;
    }
    if (this.#inFlight.size >= this.size)
      throw new VirtioError('ring', this.index, `more than ${this.size} chains are with the device at once`);
    const { onTrace } = this.#events;
    if (onTrace) onTrace(chainEvent(this.index, chain));
    const { statistics } = this;
    const readable = chain.remaining;
    this.#inFlight.add(chain);
    const written = serve(this.index, chain);
    statistics.requests++;
    statistics.bytesRead += readable;
    // A reset or a completion from within `serve` has taken the chain away.
    if (written === DEFERRED || !this.#inFlight.delete(chain)) return this.#ring === ring;
    this.#put(ring, chain, written);
    this.#isAwaited ||= chain.isAwaited;
    this.#free.push(chain);
    return this.#ring === ring;
  }

  #put(ring: Ring, chain: DescriptorChain, written: number): void {
    const length = Math.min(written, chain.capacity);
    ring.put(chain, length);
    this.statistics.bytesWritten += length;
    this.#events.onTrace?.({ type: 'used', queue: this.index, id: chain.id, written: length });
  }

  #signal(ring: Ring): void {
    const wanted = ring.wantsInterrupt();
    if (wanted === undefined) return;
    if (wanted) {
      this.statistics.interrupts++;
      this.#events.interrupt();
    } else {
      this.statistics.suppressed++;
    }
    this.#events.onTrace?.({ type: 'interrupt', queue: this.index, raised: wanted });
  }

  /** Often an interrupt for another chain comes first, and the driver finds these ones too. */
  #signalSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      try {
        if (this.#ring) this.#signal(this.#ring);
      } catch (error) {
        this.#events.fail(this.#asVirtioError(error));
      }
    }, SOON_MS);
  }

  /** A deferred chain is answered: see `Chain.complete`. Not recycled: its device may hold on to it. */
  complete(chain: DescriptorChain, written: number): void {
    const ring = this.#ring;
    if (!this.#inFlight.delete(chain) || !ring) return;
    try {
      this.#put(ring, chain, written);
      this.#signal(ring);
    } catch (error) {
      this.#events.fail(this.#asVirtioError(error));
    }
  }

  serveAgain(chain: DescriptorChain, serve: () => number): void {
    this.#events.serveAgain(chain, serve);
  }

  #asVirtioError(error: unknown): VirtioError {
    if (error instanceof VirtioError) return error;
    if (error instanceof GuestMemoryError)
      return new VirtioError('address', this.index, error.message, { cause: error });
    return new VirtioError('device', this.index, `the device failed: ${String(error)}`, { cause: error });
  }

  state(): QueueState {
    return {
      queue_size: this.size,
      queue_desc: this.queue_desc,
      queue_driver: this.queue_driver,
      queue_device: this.queue_device,
      queue_enable: this.isEnabled,
      ring: this.#ring?.state(),
      inFlight: [...this.#inFlight].map((chain) => chain.state()),
    };
  }

  /** Takes over `state`, which this queue or one like it has had. @throws VirtioError when no driver could have brought it about. */
  restore(state: QueueState, features: RingFeatures): void {
    this.reset();
    this.size = state.queue_size;
    this.addressHalves.set(
      [state.queue_desc, state.queue_driver, state.queue_device].flatMap((address) => [
        address % HIGH,
        Math.floor(address / HIGH),
      ]),
    );
    if (!state.ring) return;
    this.#ring = this.#makeRing(features, VIRTQ_SIZE_MAX);
    this.#ring.restore(state.ring);
    if (state.ring.unsignalled) this.#signalSoon();
    for (const chain of state.inFlight) this.#inFlight.add(DescriptorChain.restored(this, chain));
  }
}

function always(): boolean {
  return true;
}

function chainEvent(queue: number, chain: DescriptorChain): TransportEvent {
  const { id, buffers, readable } = chain.state();
  return {
    type: 'chain',
    queue,
    id,
    buffers: Array.from({ length: buffers.length / 2 }, (_, n) => ({
      address: buffers[2 * n]!,
      length: buffers[2 * n + 1]!,
      writable: n >= readable,
    })),
  };
}
