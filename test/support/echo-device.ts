import { type Chain, DEFERRED, type VirtioDevice } from '../../device/virtio/device.ts';

/** Bytes of the readable part, and a view of the writable one. */
export type Echo = (queueIndex: number, chain: Chain) => number;

const MAX_REQUESTS = 1000;

/** A device that answers every request with its own bytes, unless told otherwise. */
export class EchoDevice implements VirtioDevice {
  readonly deviceId = 26;
  readonly deviceFeatures = 0n;
  readonly answersInOrder = true;
  readonly config = Uint8Array.from({ length: 40 }, (_, n) => n + 1);
  readonly queueSizes: readonly number[];
  readonly log: string[] = [];
  /** Requests in the order they came, begun anew after a thousand. */
  readonly requests: { queue: number; bytes: Uint8Array }[] = [];
  readonly deferred: Chain[] = [];
  respond: Echo = (_queue, chain) => echo(this.requests.at(-1)!.bytes, chain);

  constructor(queueSizes: readonly number[] = [16, 16]) {
    this.queueSizes = queueSizes;
  }

  negotiated(features: bigint): void {
    this.log.push(`negotiated ${features.toString(16)}`);
  }

  abandon(chain: Chain): void {
    this.log.push(`abandon ${this.deferred.indexOf(chain)}`);
  }

  reset(cause: 'driver' | 'machine'): void {
    this.log.push(`reset ${cause}`);
  }

  serve(queueIndex: number, chain: Chain): number {
    const bytes = new Uint8Array(chain.source.remaining);
    chain.source.read(bytes, 0, bytes.length);
    if (this.requests.length === MAX_REQUESTS) this.requests.length = 0;
    this.requests.push({ queue: queueIndex, bytes });
    return this.respond(queueIndex, chain);
  }

  /** From now on requests wait in {@link deferred}. */
  defer(): void {
    this.respond = (_queue, chain) => {
      this.deferred.push(chain);
      return DEFERRED;
    };
  }
}

export function echo(bytes: Uint8Array, chain: Chain): number {
  return chain.sink.writeAt(0, bytes, 0, bytes.length);
}
