import type { ByteSink, RewindableSource } from '../bytes.ts';

/** What {@link VirtioDevice.serve} returns when the reply comes later, through {@link Chain.complete}. */
export const DEFERRED = -1;

/** One descriptor chain, as a device sees it. */
export interface Chain {
  /** The device-readable part. */
  readonly source: RewindableSource;
  /** The device-writable part. */
  readonly sink: ByteSink;
  /**
   * True until the device says that the driver goes on without this chain. The interrupt for it may then come
   * with that of a chain that is awaited, or a little later.
   */
  isAwaited: boolean;
  /**
   * Returns a deferred chain to the driver with `written` bytes of reply. Ignored (and harmless)
   * when the queue was reset in the meantime.
   */
  complete(written: number): void;
  /**
   * Has a deferred chain served by `serve`, which returns what {@link VirtioDevice.serve} does: now if the turn has time for it, or in a
   * later one. Ignored as {@link complete} is.
   */
  serveAgain(serve: () => number): void;
}

/** What the virtio transport needs to know of the device behind it (virtio 1.3, 2.1-2.6). */
export interface VirtioDevice {
  /** Virtio device id, virtio 1.3 section 5. */
  readonly deviceId: number;
  /** Feature bits 0-23 and 50+ that the device offers by itself; the transport adds its own. */
  readonly deviceFeatures: bigint;
  /** Feature bits among those that it has and does not offer: a restored driver may have accepted them elsewhere. Default: none. */
  readonly hiddenFeatures?: bigint;
  /** The chains of each queue are answered in their order: what VIRTIO_F_IN_ORDER takes. */
  readonly answersInOrder: boolean;
  /** `queue_size` at reset of each virtqueue, in order. */
  readonly queueSizes: readonly number[];
  /** How many of these there are for a driver that has accepted `features`. Default: all. */
  queueCount?(features: bigint): number;
  /** Device configuration space. Borrowed: the transport reads it on every access. */
  readonly config: Uint8Array;
  /**
   * `features` are what driver and device have agreed on: at DRIVER_OK, and when a state is restored, 0 if that was before. After a restore every
   * chain that it had is dead.
   */
  negotiated(features: bigint): void;
  /** The driver took a deferred chain back by a reset of its queue or of the device: it is dead. */
  abandon(chain: Chain): void;
  /** The driver reset the device, or the whole machine was reset. Deferred chains were abandoned before. */
  reset(cause: 'driver' | 'machine'): void;
  /**
   * Serves one chain of queue `queueIndex` and returns the number of bytes written to its sink, or
   * {@link DEFERRED}. The chain is borrowed for the call unless deferred. Never throws on guest input.
   */
  serve(queueIndex: number, chain: Chain): number;
}
