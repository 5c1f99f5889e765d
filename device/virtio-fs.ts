import type { FuseSession } from './fuse/session.ts';
import type { Chain, VirtioDevice } from './virtio/device.ts';

/** virtio 1.3, 5.11.1. */
const VIRTIO_ID_FS = 26;
/** virtio 1.3, 5.11.4: `struct virtio_fs_config`. */
const TAG_LENGTH = 36;
const NUM_REQUEST_QUEUES_OFFSET = 36;
/** After `notify_buf_size`, docs/virtio-spec-proposal.md: `le32 session`. */
const SESSION_OFFSET = 44;
const CONFIG_LENGTH = 48;
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
}

/** The file system device, virtio 1.3 section 5.11: queue 0 is hiprio, the others carry requests of one session. */
export class VirtioFs implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_FS;
  readonly deviceFeatures = 1n << BigInt(VIRTIO_FS_F_SESSION_KEEP);
  readonly answersInOrder: boolean;
  readonly queueSizes: readonly number[];
  readonly #config = new DataView(new ArrayBuffer(CONFIG_LENGTH));
  readonly #session: FuseSession;

  /** @throws RangeError for what no driver could use. */
  constructor(session: FuseSession, { tag, requestQueues, queueSize }: VirtioFsConfig) {
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
    this.queueSizes = Array.from({ length: 1 + requestQueues }, () => queueSize);
    new Uint8Array(this.#config.buffer).set(encodeTag(tag));
    this.#config.setUint32(NUM_REQUEST_QUEUES_OFFSET, requestQueues, true);
  }

  get config(): Uint8Array {
    this.#config.setUint32(SESSION_OFFSET, this.#session.number, true);
    return new Uint8Array(this.#config.buffer);
  }

  negotiated(features: bigint): void {
    this.#session.nextOutlivesReset = (features & this.deviceFeatures) !== 0n;
  }

  abandon(chain: Chain): void {
    this.#session.abandon(chain);
  }

  /**
   * A session that a driver with SESSION_KEEP began stays, however often a driver resets the device before one
   * goes on with it: Linux does so twice, and once more for the kernel that resumes another from a disk.
   * Any other session ends: without that the stock driver could never mount again.
   */
  reset(cause: 'driver' | 'machine'): void {
    if (cause === 'machine' || !this.#session.outlivesReset) this.#session.end();
  }

  serve(_queueIndex: number, chain: Chain): number {
    return this.#session.handle(chain);
  }
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
