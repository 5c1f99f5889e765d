import {
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_CAP_PCI_CFG,
} from './constants.ts';
import type { Region } from './trace.ts';

/** PCI configuration header, PCI Local Bus 3.0 section 6.1. */
export const PCI_COMMAND = 0x04;
export const PCI_STATUS = 0x06;
export const PCI_COMMAND_INTX_DISABLE = 1 << 10;
export const PCI_STATUS_INTERRUPT = 1 << 3;
const PCI_STATUS_CAP_LIST = 1 << 4;

/** 4.1.2: vendor, and device id 0x1040 + virtio device id. */
const PCI_VENDOR_ID_VIRTIO = 0x1af4;
const PCI_DEVICE_ID_BASE = 0x1040;
/** 4.1.2.1: non-transitional devices have a revision of 1 or higher, and a subsystem id of 0x40 or higher. */
const REVISION = 1;
const SUBSYSTEM_ID = 0x1100;
/** Mass storage controller, other. */
const CLASS_STORAGE_OTHER = [0x00, 0x80, 0x01];

/** Where each structure is in BAR 0, an I/O BAR. */
export const BAR_SIZE = 0x100;
export const BAR: Record<Exclude<Region, 'config'>, { offset: number; length: number }> = {
  common: { offset: 0x00, length: 0x3c },
  notify: { offset: 0x40, length: 4 },
  isr: { offset: 0x48, length: 1 },
  device: { offset: 0x80, length: 0x80 },
};

/** Offsets in configuration space. */
const PM_CAP = 0x40;
export const PMCSR = PM_CAP + 4;
/** PCI Power Management 1.2, 3.2.4: the power state can be written, and D3hot to D0 resets nothing. */
export const PMCSR_POWER_STATE = 3;
export const PMCSR_NO_SOFT_RESET = 1 << 3;
const PM_VERSION_1_2 = 3;
const PCI_CAP_ID_PM = 1;
const PCI_CAP_ID_VNDR = 9;
/** `struct virtio_pci_cap` of PCI_CFG, and the fields that the driver writes: 4.1.4.9. */
const PCI_CFG_CAP = 0x8c;
export const PCI_CFG_BAR = PCI_CFG_CAP + 4;
export const PCI_CFG_OFFSET = PCI_CFG_CAP + 8;
export const PCI_CFG_LENGTH = PCI_CFG_CAP + 12;
export const PCI_CFG_DATA = PCI_CFG_CAP + 16;

/**
 * All queues notify at one place: a multiplier of 0 (4.1.4.4), because the queue's number is what is
 * written there (4.1.5.2).
 */
const NOTIFY_OFF_MULTIPLIER = 0;

interface Capability {
  at: number;
  cfg_type: number;
  region?: { offset: number; length: number };
  extra?: number[];
}

/** 4.1.4: `struct virtio_pci_cap`, in the order of preference that a driver looks for. */
function capabilities(deviceConfigLength: number): Capability[] {
  return [
    { at: 0x48, cfg_type: VIRTIO_PCI_CAP_COMMON_CFG, region: BAR.common },
    { at: 0x58, cfg_type: VIRTIO_PCI_CAP_NOTIFY_CFG, region: BAR.notify, extra: [NOTIFY_OFF_MULTIPLIER, 0, 0, 0] },
    { at: 0x6c, cfg_type: VIRTIO_PCI_CAP_ISR_CFG, region: BAR.isr },
    { at: 0x7c, cfg_type: VIRTIO_PCI_CAP_DEVICE_CFG, region: { ...BAR.device, length: deviceConfigLength } },
    { at: PCI_CFG_CAP, cfg_type: VIRTIO_PCI_CAP_PCI_CFG, extra: [0, 0, 0, 0] },
  ];
}

/** The 256 bytes of configuration space at reset, of a virtio device `deviceId` whose own config has `deviceConfigLength` bytes. */
export function makeConfigSpace(deviceId: number, deviceConfigLength: number): Uint8Array {
  if (deviceConfigLength > BAR.device.length)
    throw new RangeError(
      `the device's configuration has ${deviceConfigLength} bytes: there is room for ${BAR.device.length}`,
    );
  const space = new Uint8Array(256);
  const view = new DataView(space.buffer);
  view.setUint16(0x00, PCI_VENDOR_ID_VIRTIO, true);
  view.setUint16(0x02, PCI_DEVICE_ID_BASE + deviceId, true);
  view.setUint16(PCI_STATUS, PCI_STATUS_CAP_LIST, true);
  space[0x08] = REVISION;
  space.set(CLASS_STORAGE_OTHER, 0x09);
  view.setUint16(0x2c, PCI_VENDOR_ID_VIRTIO, true);
  view.setUint16(0x2e, SUBSYSTEM_ID, true);
  space[0x34] = PM_CAP;
  space[0x3d] = 1;

  const list = capabilities(deviceConfigLength);
  space.set([PCI_CAP_ID_PM, list[0]!.at, PM_VERSION_1_2, 0], PM_CAP);
  view.setUint16(PMCSR, PMCSR_NO_SOFT_RESET, true);
  list.forEach(({ at, cfg_type, region = { offset: 0, length: 0 }, extra = [] }, n) => {
    space.set([PCI_CAP_ID_VNDR, list[n + 1]?.at ?? 0, 16 + extra.length, cfg_type], at);
    view.setUint32(at + 8, region.offset, true);
    view.setUint32(at + 12, region.length, true);
    space.set(extra, at + 16);
  });
  return space;
}
