import v86 from 'v86/package.json' with { type: 'json' };
import { haveSameState, type SnapshotInfo } from '../../device/index.ts';
import {
  ACPI,
  MINIMAL_KERNEL,
  namedVideoMemory,
  SUSPEND_DRIVER,
  VIRTIO_FS,
  videoMemoryOf,
} from '../../harness/machine/machine-parts.ts';
import type { GuestManifest } from '../protocol.ts';

/** What a machine has to be for a snapshot to fit. */
export interface MachineSpec {
  machine: SnapshotInfo['machine'];
  /** MiB of RAM. */
  memory: number;
  /** KiB. */
  videoMemory: number;
  hasAcpi: boolean;
  tag: string;
  mountPoint: string;
}

/** What makes no difference to the page's machine, and what it can have. */
const OTHERS = new Set([ACPI, MINIMAL_KERNEL, SUSPEND_DRIVER]);

/** The machine of the page's guest, in this page. */
export function specOf({ machine, memory, tag, mountPoint }: GuestManifest): MachineSpec {
  return {
    machine: { ...machine, emulator: v86.version },
    memory,
    videoMemory: videoMemoryOf(devicesOf(machine)),
    tag,
    mountPoint,
    hasAcpi: devicesOf(machine).includes(ACPI),
  };
}

/** @throws Error for a snapshot's machine that another v86 has made. */
export function checkEmulator({ machine }: Pick<SnapshotInfo, 'machine'>): void {
  if (!haveSameState(String(machine['emulator']), v86.version))
    throw new Error(`it is of v86 ${String(machine['emulator'])}, this page has ${v86.version}`);
}

/** The machine of a snapshot. @throws Error for one that the page can't make. */
export function specOfSnapshot(info: Pick<SnapshotInfo, 'machine'>): MachineSpec {
  const { machine } = info;
  checkEmulator(info);
  const devices = devicesOf(machine);
  const videoMemory = videoMemoryOf(devices);
  const tags = devices.filter((device) => device.startsWith(VIRTIO_FS)).map((device) => device.slice(VIRTIO_FS.length));
  const strange = devices.filter(
    (device) => !device.startsWith(VIRTIO_FS) && !OTHERS.has(device) && device !== namedVideoMemory(videoMemory),
  );
  if (tags.length !== 1 || strange.length || typeof machine['memory'] !== 'number') {
    throw new Error(
      `this snapshot is of a machine that the page can't make: it has ${devices.join(', ') || 'no shared folder'}, the page's machines one shared folder and nothing else; use the command line for it`,
    );
  }
  return {
    machine,
    memory: machine['memory'],
    videoMemory,
    tag: tags[0]!,
    mountPoint: `/mnt/${tags[0]}`,
    hasAcpi: devices.includes(ACPI),
  };
}

/** @throws Error that says what differs. */
export function checkSame({ machine }: SnapshotInfo, { machine: own }: MachineSpec): void {
  for (const key of ['memory', 'devices', 'emulator']) {
    if (
      key === 'emulator'
        ? haveSameState(String(machine[key]), String(own[key]))
        : JSON.stringify(machine[key]) === JSON.stringify(own[key])
    )
      continue;
    throw new Error(
      `this snapshot is of another machine: its ${key} is ${String(machine[key])}, this guest's ${String(own[key])}; open it as a second guest`,
    );
  }
}

function devicesOf(machine: SnapshotInfo['machine']): string[] {
  return Array.isArray(machine['devices']) ? machine['devices'] : [];
}
