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
    throw new Error(`it is of v86 ${String(machine['emulator'])}, this page has ${v86.version}`);
}

/** The machine of a snapshot. @throws Error for one that the page can't make. */
export function configOfSnapshot(info: Pick<SnapshotInfo, 'machine'>): MachineConfig {
  checkEmulator(info);
  const config = readConfig(info.machine);
  const { tags, live, ninep, network, others } = equipmentOf(config);
  if (tags.length !== 1 || live.size || ninep || network !== 'ne2k' || others.length) {
    throw new Error(
      `this snapshot is of a machine that the page can't make: it has ${config.devices.join(', ') || 'no shared folder'}, and the page's machines have one shared folder and nothing else; use the command line for it`,
    );
  }
  return config;
}

/** @throws Error that says what differs. */
export function checkSame({ machine }: SnapshotInfo, own: MachineConfig): void {
  for (const key of ['memory', 'devices', 'emulator'] as const) {
    if (
      key === 'emulator'
        ? haveSameState(String(machine[key]), own[key])
        : JSON.stringify(machine[key]) === JSON.stringify(own[key])
    )
      continue;
    throw new Error(
      `this snapshot is of another machine: its ${key} is ${String(machine[key])}, this guest's ${String(own[key])}; open it as a second guest`,
    );
  }
}
