import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from './constants.ts';
import type { VirtioDevice } from './device.ts';
import type { RingFeatures } from './virtqueue.ts';

/** Features that a host may not want to offer. */
export interface OfferedFeatures {
  /** VIRTIO_F_INDIRECT_DESC. Default: true. */
  indirect?: boolean;
  /** VIRTIO_F_EVENT_IDX. Default: true. */
  eventIdx?: boolean;
  /** VIRTIO_F_RING_PACKED: the packed ring in place of the split one. Default: false. */
  packed?: boolean;
  /** VIRTIO_F_IN_ORDER, where the device never defers an answer. Default: false. */
  inOrder?: boolean;
  /** VIRTIO_F_RING_RESET. Default: true. */
  ringReset?: boolean;
}

/** What a driver has made of the feature registers. */
export interface FeaturesState {
  device_feature_select: number;
  driver_feature_select: number;
  /** Accepted feature bits. */
  driver_features: bigint;
  /** The driver has accepted bits that no device has. */
  accepts_unknown: boolean;
}

const bit = (n: number): bigint => 1n << BigInt(n);
const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const SELECTED_BITS = 0xffffffffn;
/** Feature bits that have a window; further windows read as 0 (4.1.4.3.1). */
const WINDOWS = 2;

/** The feature bits of one device, and what its driver has accepted of them: virtio 1.3, 2.2. */
export class Features {
  readonly offered: bigint;
  /** All that the transport and the device can do, offered or not. */
  readonly implemented: bigint;
  device_feature_select = 0;
  driver_feature_select = 0;
  #accepted = 0n;
  /** The driver has accepted bits that no window has. */
  #acceptsUnknown = false;

  constructor({ deviceFeatures, hiddenFeatures = 0n, answersInOrder }: VirtioDevice, offer: OfferedFeatures) {
    const { indirect = true, eventIdx = true, packed = false, inOrder = false, ringReset = true } = offer;
    const own = (isOffered: boolean, n: number) => (isOffered ? bit(n) : 0n);
    this.offered =
      VERSION_1 |
      deviceFeatures |
      own(indirect, VIRTIO_F_INDIRECT_DESC) |
      own(eventIdx, VIRTIO_F_EVENT_IDX) |
      own(packed, VIRTIO_F_RING_PACKED) |
      own(inOrder && answersInOrder, VIRTIO_F_IN_ORDER) |
      own(ringReset, VIRTIO_F_RING_RESET);
    this.implemented =
      this.offered |
      [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED, VIRTIO_F_RING_RESET].reduce(
        (all, n) => all | bit(n),
        hiddenFeatures | own(answersInOrder, VIRTIO_F_IN_ORDER),
      );
  }

  /** Bits that the driver has accepted. */
  get accepted(): bigint {
    return this.#accepted;
  }

  /** The register: the 32 bits offered that `device_feature_select` selects. */
  get device_feature(): number {
    return windowOf(this.offered, this.device_feature_select);
  }

  /** The register: the 32 bits accepted that `driver_feature_select` selects. */
  get driver_feature(): number {
    return windowOf(this.#accepted, this.driver_feature_select);
  }

  set driver_feature(value: number) {
    if (this.driver_feature_select >= WINDOWS) {
      this.#acceptsUnknown ||= value !== 0;
      return;
    }
    const shift = BigInt(32 * this.driver_feature_select);
    this.#accepted = (this.#accepted & ~(SELECTED_BITS << shift)) | (BigInt(value) << shift);
  }

  /** 2.2.2, 6.1: only a subset of what was offered, and always VIRTIO_F_VERSION_1. */
  get areAcceptable(): boolean {
    return !this.#acceptsUnknown && (this.#accepted & ~this.offered) === 0n && (this.#accepted & VERSION_1) !== 0n;
  }

  /** Whether the driver has accepted bit `n`. */
  has(n: number): boolean {
    return (this.#accepted & bit(n)) !== 0n;
  }

  reset(): void {
    this.device_feature_select = this.driver_feature_select = 0;
    this.#accepted = 0n;
    this.#acceptsUnknown = false;
  }

  state(): FeaturesState {
    return {
      device_feature_select: this.device_feature_select,
      driver_feature_select: this.driver_feature_select,
      driver_features: this.#accepted,
      accepts_unknown: this.#acceptsUnknown,
    };
  }

  restore(state: FeaturesState): void {
    this.device_feature_select = state.device_feature_select;
    this.driver_feature_select = state.driver_feature_select;
    this.#accepted = state.driver_features;
    this.#acceptsUnknown = state.accepts_unknown;
  }
}

function windowOf(features: bigint, select: number): number {
  return select < WINDOWS ? Number((features >> BigInt(32 * select)) & SELECTED_BITS) : 0;
}

/** The rings' format where the driver has accepted `features`. */
export function ringFeatures(features: bigint): RingFeatures {
  const has = (n: number) => (features & bit(n)) !== 0n;
  return {
    isPacked: has(VIRTIO_F_RING_PACKED),
    hasIndirect: has(VIRTIO_F_INDIRECT_DESC),
    hasEventIdx: has(VIRTIO_F_EVENT_IDX),
  };
}
