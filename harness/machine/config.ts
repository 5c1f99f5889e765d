import type { V86Options } from 'v86';
import { haveSameState } from '../../device/index.ts';
import { VmError } from './errors.ts';

/** What a machine is. All of it has to be the same where a snapshot of it is restored. */
export type MachineConfig = {
  /** v86's npm version. */
  emulator: string;
  /** What the guest booted from: a hash over the guest image's files. */
  image: string;
  /** MiB of RAM. */
  memory: number;
  /** Devices besides v86's fixed set, virtio-fs ones as `virtio-fs TAG`, in slot order; and what else makes a difference. */
  devices: string[];
};

/** What `devices` of a {@link MachineConfig} say. */
export interface Equipment {
  /** With ACPI. */
  acpi: boolean;
  /** The kernel is the small one of `guest-images/`. */
  isMinimalKernel: boolean;
  /** The virtio-fs driver is the one of `guest-images/driver`. */
  hasFastDriver: boolean;
  /** With v86's own 9p device, tag `host9p`. */
  ninep: boolean;
  network: 'ne2k' | 'virtio';
  /** KiB of the VGA card's memory. */
  videoMemory: number;
  /** Of the virtio-fs devices. */
  tags: string[];
  /** Which of them is the guest's root filesystem, if it is one of them. */
  root?: RootDevice;
  /** The uuids of those whose files are a live directory of the host, by tag. Default: none. */
  live?: ReadonlyMap<string, string>;
  /** The ids of the images that others are on, by tag. Default: none. */
  images?: ReadonlyMap<string, string>;
}

/** The share that a guest has its root filesystem on. */
export interface RootDevice {
  tag: string;
  /** What is process 1 there. Default: the init of `guest-images/`. */
  init?: string;
}

/** Whether its guest can sleep: Linux 6.1's own virtio-fs driver refuses, and a guest is woken through ACPI. */
export function canSleep({ acpi, hasFastDriver, isMinimalKernel }: Equipment): boolean {
  return acpi && (hasFastDriver || isMinimalKernel);
}

const ACPI = 'ACPI';
const MINIMAL_KERNEL = 'minimal kernel';
const FAST_DRIVER = 'fast driver';
const NINEP = '9p host9p';
const VIRTIO_NETWORK = 'network virtio';
/** Before the KiB, where they are not v86's own choice. */
const VIDEO_MEMORY = 'video memory ';
const V86_VIDEO_MEMORY = 8192;
const VIRTIO_FS = 'virtio-fs ';
/** Before uuid and tag. */
const LIVE = 'live ';
/** Before the image's id and the tag. */
const IMAGE = 'image ';
/** Before the tag. */
const ROOT = 'root ';
const INIT = 'init ';

const KIB = 1024;
const MIB = 1024 * KIB;

export function devicesOf({
  acpi,
  isMinimalKernel,
  hasFastDriver,
  ninep,
  network,
  videoMemory,
  tags,
  live,
  images,
  root,
}: Equipment): string[] {
  return [
    isMinimalKernel && MINIMAL_KERNEL,
    hasFastDriver && FAST_DRIVER,
    acpi && ACPI,
    ninep && NINEP,
    network === 'virtio' && VIRTIO_NETWORK,
    videoMemory !== V86_VIDEO_MEMORY && `${VIDEO_MEMORY}${videoMemory}`,
    ...tags.flatMap((tag) => [
      VIRTIO_FS + tag,
      live?.has(tag) && `${LIVE}${live.get(tag)} ${tag}`,
      images?.has(tag) && `${IMAGE}${images.get(tag)} ${tag}`,
    ]),
    root && ROOT + root.tag,
    root?.init !== undefined && INIT + root.init,
  ].filter((device) => typeof device === 'string');
}

/** `others`: what is not known here. */
export function equipmentOf({ devices }: Pick<MachineConfig, 'devices'>): Equipment & {
  live: ReadonlyMap<string, string>;
  images: ReadonlyMap<string, string>;
  others: string[];
} {
  const afterEach = (prefix: string) =>
    devices.filter((device) => device.startsWith(prefix)).map((device) => device.slice(prefix.length));
  const [videoMemory] = afterEach(VIDEO_MEMORY);
  const [root] = afterEach(ROOT);
  const [init] = afterEach(INIT);
  const byTag = (prefix: string) =>
    new Map(
      afterEach(prefix).map((device) => {
        const [id] = device.split(' ', 1) as [string];
        return [device.slice(id.length + 1), id];
      }),
    );
  const [live, images] = [byTag(LIVE), byTag(IMAGE)];
  const equipment: Equipment = {
    acpi: devices.includes(ACPI),
    isMinimalKernel: devices.includes(MINIMAL_KERNEL),
    hasFastDriver: devices.includes(FAST_DRIVER),
    ninep: devices.includes(NINEP),
    network: devices.includes(VIRTIO_NETWORK) ? 'virtio' : 'ne2k',
    videoMemory: videoMemory === undefined ? V86_VIDEO_MEMORY : Number(videoMemory),
    tags: afterEach(VIRTIO_FS),
    live,
    images,
    ...(root !== undefined && { root: { tag: root, ...(init !== undefined && { init }) } }),
  };
  const known = new Set(devicesOf(equipment));
  return { ...equipment, live, images, others: devices.filter((device) => !known.has(device)) };
}

/** The same machine, but for the images that shares are on. */
export function withoutImages(config: MachineConfig): MachineConfig {
  return { ...config, devices: config.devices.filter((device) => !device.startsWith(IMAGE)) };
}

/** What v86 has to be told for such a machine; what it boots from is left out. */
export function v86OptionsOf(config: MachineConfig): V86Options {
  const { acpi, ninep, network, videoMemory } = equipmentOf(config);
  return {
    memory_size: config.memory * MIB,
    vga_memory_size: videoMemory * KIB,
    ...(ninep && { filesystem: {} }),
    net_device: { type: network },
    uart1: true,
    acpi,
  };
}

/** The machine that a snapshot or a peer tells of, which may say anything. @throws VmError `snapshot`. */
export function readConfig(machine: Readonly<Record<string, unknown>>): MachineConfig {
  const { emulator, image, memory, devices } = machine;
  if (
    typeof emulator !== 'string' ||
    typeof image !== 'string' ||
    typeof memory !== 'number' ||
    !Array.isArray(devices) ||
    !devices.every((device) => typeof device === 'string')
  )
    throw new VmError(
      'snapshot',
      'the snapshot does not say what its machine is (emulator, image, memory and devices): take it with this program',
    );
  return { emulator, image, memory, devices };
}

/** Throws {@link VmError} `snapshot` that names each setting in which `saved` differs from `present`. */
export function checkConfig(saved: MachineConfig, present: MachineConfig): void {
  const show = (value: string | number | string[]) =>
    Array.isArray(value) ? value.join(', ') || 'none' : String(value);
  const settings = [
    ['emulator', 'v86 version', 'install that version of v86, or one that can restore its snapshots'],
    ['image', 'guest image', 'use the image it was taken with'],
    ['memory', 'memory in MiB', 'give the machine as much'],
    ['devices', 'devices', 'give the machine the same shares, tags and devices, in the same order'],
  ] as const;
  const differences = settings.flatMap(([key, name, cure]) => {
    const [then, now] = [show(saved[key]), show(present[key])];
    const agree = key === 'emulator' ? haveSameState(then, now) : then === now;
    return agree ? [] : [`${name}: the snapshot has ${then}, this machine ${now} (${cure})`];
  });
  if (differences.length)
    throw new VmError('snapshot', `the snapshot is of another machine: ${differences.join('; ')}`);
}
