import { NOTIFICATION_MAX } from './fuse/notices.ts';
import type { FuseSession } from './fuse/session.ts';
import { type Chain, DEFERRED, type VirtioDevice } from './virtio/device.ts';

/** virtio 1.3, 5.11.1. */
const VIRTIO_ID_FS = 26;
/** virtio 1.3, 5.11.4: `struct virtio_fs_config`. */
const TAG_LENGTH = 36;
const NUM_REQUEST_QUEUES_OFFSET = 36;
const NOTIFY_BUF_SIZE_OFFSET = 40;
/** docs/virtio-spec-proposal.md: `le32 session`. */
const SESSION_OFFSET = 44;
const CONFIG_LENGTH = 48;
/** virtio 1.3, 5.11.3: there is a notification queue. */
export const VIRTIO_FS_F_NOTIFICATION = 0;
/** virtio 1.3, 5.11.2: where it is, if there is one. */
const NOTIFICATION_QUEUE = 1;
/** docs/virtio-spec-proposal.md: a driver that accepts it finds its FUSE session again after a reset. */
export const VIRTIO_FS_F_SESSION_KEEP = 22;
/** Linux needs 4 descriptors of a request for itself and refuses to mount with none left for data. */
const MIN_QUEUE_SIZE = 8;
const MAX_QUEUE_SIZE = 1024;
const MAX_REQUEST_QUEUES = 16;

export interface VirtioFsConfig {
  /** 1 to 36 bytes of UTF-8. */
  tag: string;
  requestQueues: number;
  queueSize: number;
  /** Whether to offer the notification queue, where the filesystem has something to tell. Default: true. */
  notifications?: boolean;
  /** Whether to offer VIRTIO_FS_F_SESSION_KEEP. Default: true. */
  sessionKeep?: boolean;
}

const NOTIFICATION = 1n << BigInt(VIRTIO_FS_F_NOTIFICATION);
const SESSION_KEEP = 1n << BigInt(VIRTIO_FS_F_SESSION_KEEP);

/**
 * The file system device, virtio 1.3 section 5.11: queue 0 is hiprio, queue 1 has buffers for notifications if the driver takes these, and the
 * others carry requests of one session.
 */
export class VirtioFs implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_FS;
  readonly deviceFeatures: bigint;
  readonly hiddenFeatures = NOTIFICATION | SESSION_KEEP;
  readonly answersInOrder: boolean;
  readonly queueSizes: readonly number[];
  readonly #config = new DataView(new ArrayBuffer(CONFIG_LENGTH));
  readonly #session: FuseSession;
  #notifies = false;
  /** Buffers for notifications, in the order in which the driver made them available. */
  readonly #buffers = new Set<Chain>();

  /** @throws RangeError for what no driver could use. */
  constructor(
    session: FuseSession,
    { tag, requestQueues, queueSize, notifications = true, sessionKeep = true }: VirtioFsConfig,
  ) {
    if (!Number.isInteger(requestQueues) || requestQueues < 1 || requestQueues > MAX_REQUEST_QUEUES) {
      throw new RangeError(`requestQueues is ${requestQueues}: choose 1 to ${MAX_REQUEST_QUEUES}`);
    }
    if (!(queueSize >= MIN_QUEUE_SIZE && queueSize <= MAX_QUEUE_SIZE && Number.isInteger(Math.log2(queueSize)))) {
      throw new RangeError(
        `queueSize is ${queueSize}: choose a power of two from ${MIN_QUEUE_SIZE} to ${MAX_QUEUE_SIZE}`,
      );
    }
    this.#session = session;
    this.answersInOrder = session.answersInOrder;
    this.deviceFeatures = (sessionKeep ? SESSION_KEEP : 0n) | (notifications && session.canNotify ? NOTIFICATION : 0n);
    this.queueSizes = Array.from({ length: 2 + requestQueues }, () => queueSize);
    session.onNotifications = () => this.#notify();
    new Uint8Array(this.#config.buffer).set(encodeTag(tag));
    this.#config.setUint32(NUM_REQUEST_QUEUES_OFFSET, requestQueues, true);
    this.#config.setUint32(NOTIFY_BUF_SIZE_OFFSET, NOTIFICATION_MAX, true);
  }

  /** 5.11.2: the notification queue is only there if it was negotiated. */
  queueCount(features: bigint): number {
    return this.queueSizes.length - (features & NOTIFICATION ? 0 : 1);
  }

  get config(): Uint8Array {
    this.#config.setUint32(SESSION_OFFSET, this.#session.number, true);
    return new Uint8Array(this.#config.buffer);
  }

  negotiated(features: bigint): void {
    // A restored driver makes its buffers available anew, or sleeps.
    this.#buffers.clear();
    this.#session.nextOutlivesReset = (features & SESSION_KEEP) !== 0n;
    this.#session.notifies = this.#notifies = (features & NOTIFICATION) !== 0n;
  }

  abandon(chain: Chain): void {
    if (!this.#buffers.delete(chain)) this.#session.abandon(chain);
  }

  /**
   * A session that a driver with SESSION_KEEP began stays, however often a driver resets the device before one
   * goes on with it: Linux does so twice, and once more for the kernel that resumes another from a disk.
   * Any other session ends: without that the stock driver could never mount again.
   *
   * A driver that goes on believes nothing of what it remembers: notifications may have been on their way, or in the memory of another kernel.
   */
  reset(cause: 'driver' | 'machine'): void {
    if (cause === 'machine' || !this.#session.outlivesReset) this.#session.end();
    else this.#session.forgetNotifications();
  }

  serve(queueIndex: number, chain: Chain): number {
    return this.#notifies && queueIndex === NOTIFICATION_QUEUE ? this.#takeBuffer(chain) : this.#session.handle(chain);
  }

  /** A buffer for a notification. One that is too small, which no driver may bring (5.11.6.3), goes back with nothing in it. */
  #takeBuffer(chain: Chain): number {
    const { sink, source } = chain;
    if (sink.capacity < NOTIFICATION_MAX || source.remaining > 0) return 0;
    const length = this.#buffers.size === 0 ? this.#session.takeNotification(sink) : 0;
    if (length > 0) return length;
    this.#buffers.add(chain);
    return DEFERRED;
  }

  #notify(): void {
    for (const chain of this.#buffers) {
      const length = this.#session.takeNotification(chain.sink);
      if (length === 0) return;
      this.#buffers.delete(chain);
      chain.complete(length);
    }
  }
}

/** What queue `index` is for, where the driver has accepted `features`: hiprio, notification, or one of the requests, counted from 1. */
export function queueName(index: number, features: bigint): string {
  const notifies = (features & NOTIFICATION) !== 0n;
  if (index === 0) return 'hiprio';
  if (notifies && index === NOTIFICATION_QUEUE) return 'notification';
  return `request ${notifies ? index - 1 : index}`;
}

/** The tag as the device shows it; throws a `RangeError` when the guest could not use it. */
export function encodeTag(tag: string): Uint8Array {
  const bytes = new TextEncoder().encode(tag);
  if (bytes.length < 1 || bytes.length > TAG_LENGTH || bytes.includes(0)) {
    throw new RangeError(
      `tag ${JSON.stringify(tag)} has ${bytes.length} bytes of UTF-8: a virtio-fs tag has 1 to ${TAG_LENGTH} and no NUL; choose a shorter name`,
    );
  }
  return bytes;
}
