import type { VirtioFsDevice } from '../attach.ts';
import { COMMON_CFG } from '../virtio/common-config.ts';
import {
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FAILED,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from '../virtio/constants.ts';
import type { QueueStatistics } from '../virtio/virtqueue.ts';
import { queueName, VIRTIO_FS_F_NOTIFICATION, VIRTIO_FS_F_SESSION_KEEP } from '../virtio-fs.ts';

/** In the order in which a driver sets them. */
const STATUS = {
  ACKNOWLEDGE: VIRTIO_CONFIG_S_ACKNOWLEDGE,
  DRIVER: VIRTIO_CONFIG_S_DRIVER,
  FEATURES_OK: VIRTIO_CONFIG_S_FEATURES_OK,
  DRIVER_OK: VIRTIO_CONFIG_S_DRIVER_OK,
  DEVICE_NEEDS_RESET: VIRTIO_CONFIG_S_NEEDS_RESET,
  FAILED: VIRTIO_CONFIG_S_FAILED,
};
const FEATURES = {
  VIRTIO_FS_F_NOTIFICATION,
  VIRTIO_FS_F_SESSION_KEEP,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_VERSION_1,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_RING_RESET,
};
const STRUCTURES: Record<number, string> = {
  1: 'COMMON_CFG',
  2: 'NOTIFY_CFG',
  3: 'ISR_CFG',
  4: 'DEVICE_CFG',
  5: 'PCI_CFG',
};
const PCI_CAPABILITY_LIST = 0x34;
const PCI_CAP_ID_PM = 1;
const PCI_CAP_ID_VNDR = 9;
/** Halves of an address: shown as one. */
const HALF = /_(lo|hi)$/;

/** A device's registers and what was negotiated, with the specification's names. Plain data. */
export interface DeviceView {
  tag: string;
  slot: number;
  /** Vendor and device, as `lspci -n` shows them. */
  pciId: string;
  /** 2.1. */
  status: { name: string; isSet: boolean }[];
  features: { bit: number; name: string; isOffered: boolean; isAccepted: boolean }[];
  /** 4.1.4, as the driver finds them in configuration space; `offset` and `length` are in BAR `bar`. */
  capabilities: { at: number; name: string; bar?: number; offset?: number; length?: number }[];
  /** 4.1.4.3, and what else a driver can read. `queue_*` are those of the queue in `queue_select`. */
  registers: { name: string; value: number }[];
  interrupt: { isRaised: boolean; isQueue: boolean; isConfig: boolean; isDisabled: boolean };
  isHeld: boolean;
  queues: (QueueStatistics & { name: string; size: number; isEnabled: boolean; inFlight: number })[];
}

/** Reads it all without a trace: nothing is acknowledged by it. */
export function viewDevice({
  tag,
  slot,
  transport,
  session,
}: Pick<VirtioFsDevice, 'tag' | 'slot' | 'transport' | 'session'>): DeviceView {
  const config = new DataView(transport.configSpace.buffer, transport.configSpace.byteOffset);
  const { device_status, isr, intx_disabled, power_state } = transport.state();
  const { offered, accepted } = transport.features;
  const has = (features: bigint, bit: number) => (features & (1n << BigInt(bit))) !== 0n;
  return {
    tag,
    slot,
    pciId: [0, 2].map((at) => config.getUint16(at, true).toString(16).padStart(4, '0')).join(':'),
    status: Object.entries(STATUS).map(([name, bit]) => ({ name, isSet: (device_status & bit) !== 0 })),
    features: Object.entries(FEATURES)
      .map(([name, bit]) => ({ bit, name, isOffered: has(offered, bit), isAccepted: has(accepted, bit) }))
      .sort((a, b) => a.bit - b.bit),
    capabilities: capabilitiesOf(config),
    registers: [
      ...registersOf(transport.common),
      { name: 'ISR status', value: isr },
      { name: 'PMCSR PowerState', value: power_state },
      { name: 'virtio_fs session', value: session.number },
    ],
    interrupt: {
      isRaised: isr !== 0 && !intx_disabled,
      isQueue: (isr & 1) !== 0,
      isConfig: (isr & 2) !== 0,
      isDisabled: intx_disabled,
    },
    isHeld: transport.isHeld,
    queues: transport.queues.map(({ index, size, isEnabled, inFlight, statistics }) => ({
      ...statistics,
      name: queueName(index, accepted),
      size,
      isEnabled,
      inFlight: inFlight.size,
    })),
  };
}

function registersOf(common: VirtioFsDevice['transport']['common']): DeviceView['registers'] {
  return COMMON_CFG.filter(({ name }) => !name.endsWith('_hi')).map(({ name }) => {
    const high = name.replace(HALF, '_hi') as typeof name;
    return high === name
      ? { name, value: common[name] }
      : { name: name.replace(HALF, ''), value: common[name] + common[high] * 2 ** 32 };
  });
}

function capabilitiesOf(config: DataView): DeviceView['capabilities'] {
  const found: DeviceView['capabilities'] = [];
  for (let at = config.getUint8(PCI_CAPABILITY_LIST); at; at = config.getUint8(at + 1)) {
    const id = config.getUint8(at);
    const type = config.getUint8(at + 3);
    if (id === PCI_CAP_ID_PM) found.push({ at, name: 'Power Management' });
    if (id === PCI_CAP_ID_VNDR) {
      const place =
        type === 5
          ? {}
          : {
              bar: config.getUint8(at + 4),
              offset: config.getUint32(at + 8, true),
              length: config.getUint32(at + 12, true),
            };
      found.push({ at, name: `VIRTIO_PCI_CAP_${STRUCTURES[type]}`, ...place });
    }
  }
  return found;
}
