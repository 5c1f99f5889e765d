import v86 from 'v86/package.json' with { type: 'json' };
import { haveSameState, type SnapshotInfo } from '../../device/index.ts';
import { equipmentOf, type MachineConfig, readConfig } from '../../harness/machine/config.ts';
import type { GuestManifest } from '../protocol.ts';

/** The machine of the page's guest, in this page. */
export function configOfPage({ machine }: GuestManifest): MachineConfig {
  return { ...readConfig(machine), emulator: v86.version };
}

/** @throws Error for a snapshot's machine that another v86 has made. */
export function checkEmulator({ machine }: Pick<SnapshotInfo, 'machine'>): void {
  if (!haveSameState(String(machine['emulator']), v86.version))
    throw new Error(`it was made with v86 ${String(machine['emulator'])}, and this page has ${v86.version}`);
}

/** The machine of a snapshot. @throws Error for one that the page can’t make. */
export function configOfSnapshot(info: Pick<SnapshotInfo, 'machine'>): MachineConfig {
  checkEmulator(info);
  const config = readConfig(info.machine);
  const { tags, root, live, images, ninep, network, others } = equipmentOf(config);
  const folders = tags.filter((tag) => tag !== root?.tag);
  // A root that is not there, or comes before the folder, is none that this project makes.
  const isSound = folders.length === 1 && tags[0] === folders[0] && (root === undefined) === (tags.length === 1);
  const hasOtherImages = [...images.keys()].some((tag) => tag !== root?.tag);
  if (!isSound || hasOtherImages || live.size || ninep || network !== 'ne2k' || others.length) {
    throw new Error(
      `this snapshot is of a machine that the page can’t make: it has ${config.devices.join(', ') || 'no shared folder'}, and the page's machines have one shared folder, a root filesystem perhaps, and nothing else; use the command line for it`,
    );
  }
  return config;
}

const KEYS = ['memory', 'devices', 'emulator'] as const;

function agree(key: (typeof KEYS)[number], machine: SnapshotInfo['machine'], own: MachineConfig): boolean {
  return key === 'emulator'
    ? haveSameState(String(machine[key]), own[key])
    : JSON.stringify(machine[key]) === JSON.stringify(own[key]);
}

/** Whether a machine like this one can go to the snapshot. */
export function isSame({ machine }: Pick<SnapshotInfo, 'machine'>, own: MachineConfig): boolean {
  return KEYS.every((key) => agree(key, machine, own));
}

/** @throws Error that says what differs. */
export function checkSame({ machine }: SnapshotInfo, own: MachineConfig): void {
  for (const key of KEYS) {
    if (agree(key, machine, own)) continue;
    throw new Error(
      `this snapshot is of another machine: its ${key} is ${String(machine[key])}, this guest's ${String(own[key])}; open it as a second guest`,
    );
  }
}
