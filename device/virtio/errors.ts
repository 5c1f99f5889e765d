/** What a driver got wrong. */
export type VirtioErrorKind =
  /** A ring, table or buffer is not (wholly) in guest RAM. */
  | 'address'
  /** `queue_size` or a ring's alignment is not allowed. */
  | 'queue'
  /** A ring's index or descriptor number is impossible. */
  | 'ring'
  /** A descriptor chain loops, is too long, or mixes flags that exclude each other. */
  | 'chain'
  /** Not the driver's fault: the device failed while it served a chain. */
  | 'device';

/**
 * The driver broke the rules of the virtio specification, so the device needs a reset
 * (2.1.2: DEVICE_NEEDS_RESET). The message says what was found and what was expected.
 */
export class VirtioError extends Error {
  override readonly name = 'VirtioError';
  readonly kind: VirtioErrorKind;
  /** The virtqueue it happened on. */
  readonly queue: number;

  constructor(kind: VirtioErrorKind, queue: number, message: string, options?: ErrorOptions) {
    super(`virtqueue ${queue}: ${message}`, options);
    this.kind = kind;
    this.queue = queue;
  }
}
