import type { CommonFieldName } from './common-config.ts';
import { VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_MSI_NO_VECTOR } from './constants.ts';
import type { DeviceConfig } from './device-config.ts';
import type { Features } from './features.ts';
import type { Virtqueue } from './virtqueue.ts';

/** What writes to registers ask for. */
interface Actions {
  setStatus(value: number): void;
  enable(queue: Virtqueue): void;
  resetQueue(queue: Virtqueue): void;
}

const ADDRESS_HALVES = {
  queue_desc_lo: 0,
  queue_desc_hi: 1,
  queue_driver_lo: 2,
  queue_driver_hi: 3,
  queue_device_lo: 4,
  queue_device_hi: 5,
} as const;

/** The fields of `struct virtio_pci_common_cfg`, virtio 1.3, 4.1.4.3, as numbers that a driver reads and writes. */
export class CommonRegisters {
  readonly #queues: () => readonly Virtqueue[];
  readonly #features: Features;
  readonly #config: DeviceConfig;
  readonly #actions: Actions;
  device_status = 0;
  queue_select = 0;

  /** `queues`: those that there are for what the driver has accepted so far, or before FEATURES_OK for all that it may. */
  constructor(queues: () => readonly Virtqueue[], features: Features, config: DeviceConfig, actions: Actions) {
    this.#queues = queues;
    this.#features = features;
    this.#config = config;
    this.#actions = actions;
  }

  readonly get = (name: CommonFieldName): number => {
    const queue = this.#queues()[this.queue_select];
    switch (name) {
      case 'device_feature_select':
        return this.#features.device_feature_select;
      case 'device_feature':
        return this.#features.device_feature;
      case 'driver_feature_select':
        return this.#features.driver_feature_select;
      case 'driver_feature':
        return this.#features.driver_feature;
      case 'config_msix_vector':
      case 'queue_msix_vector':
        return VIRTIO_MSI_NO_VECTOR;
      case 'num_queues':
        return this.#queues().length;
      case 'device_status':
        return this.device_status;
      case 'config_generation':
        return this.#config.readGeneration();
      case 'queue_select':
        return this.queue_select;
      // 4.1.4.3.1: 0 for a queue that is not there.
      case 'queue_size':
        return queue?.size ?? 0;
      case 'queue_enable':
        return queue?.isEnabled ? 1 : 0;
      case 'queue_notify_off':
        return 0;
      case 'queue_notify_data':
        return queue?.index ?? 0;
      // 4.1.4.3.1: a reset of a queue is over as soon as it was asked for.
      case 'queue_reset':
        return 0;
      default:
        return queue?.addressHalves[ADDRESS_HALVES[name]] ?? 0;
    }
  };

  readonly set = (name: CommonFieldName, value: number): void => {
    const queue = this.#queues()[this.queue_select];
    switch (name) {
      case 'device_feature_select':
        this.#features.device_feature_select = value;
        break;
      case 'driver_feature_select':
        this.#features.driver_feature_select = value;
        break;
      case 'driver_feature':
        // 3.1.1: not after FEATURES_OK.
        if (!(this.device_status & VIRTIO_CONFIG_S_FEATURES_OK)) this.#features.driver_feature = value;
        break;
      case 'device_status':
        this.#actions.setStatus(value);
        break;
      case 'queue_select':
        this.queue_select = value;
        break;
      case 'queue_size':
        if (queue && !queue.isEnabled) queue.size = value;
        break;
      // 4.1.4.3.2: the driver must not write 0.
      case 'queue_enable':
        if (queue && value === 1 && !queue.isEnabled) this.#actions.enable(queue);
        break;
      case 'queue_reset':
        if (queue && value === 1) this.#actions.resetQueue(queue);
        break;
      case 'device_feature':
      case 'config_msix_vector':
      case 'num_queues':
      case 'config_generation':
      case 'queue_msix_vector':
      case 'queue_notify_off':
      case 'queue_notify_data':
        break;
      default:
        if (queue && !queue.isEnabled) queue.addressHalves[ADDRESS_HALVES[name]] = value;
    }
  };
}
