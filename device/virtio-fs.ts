import type { FuseSession } from './fuse/session.ts';
import type { Chain, VirtioDevice } from './virtio/device.ts';

/** virtio 1.3, 5.11.1. */
const VIRTIO_ID_FS = 26;
/** virtio 1.3, 5.11.4: `struct virtio_fs_config`. */
const TAG_LENGTH = 36;
const NUM_REQUEST_QUEUES_OFFSET = 36;
const CONFIG_LENGTH = 40;

/** The file system device, virtio 1.3 section 5.11: queue 0 is hiprio, the others carry requests of one session. */
export class VirtioFs implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_FS;
  readonly deviceFeatures = 0n;
  readonly queueSizes: readonly number[];
  readonly config: Uint8Array;
  readonly #session: FuseSession;

  /** `tag`: 1 to 36 bytes of UTF-8. */
  constructor(session: FuseSession, { tag, requestQueues, queueSize }: { tag: string; requestQueues: number; queueSize: number }) {
    this.#session = session;
    this.queueSizes = Array.from({ length: 1 + requestQueues }, () => queueSize);
    this.config = new Uint8Array(CONFIG_LENGTH);
    this.config.set(encodeTag(tag));
    new DataView(this.config.buffer).setUint32(NUM_REQUEST_QUEUES_OFFSET, requestQueues, true);
  }

  driverOk(): void {}

  /** A reset takes the session along: without it the stock driver could never mount again. */
  reset(): void {
    this.#session.dropWaiters();
    this.#session.end();
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
