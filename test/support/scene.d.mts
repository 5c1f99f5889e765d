import type { FileSystem, VirtioFsDevice } from '../../device/index.ts';
import type { GuestAgent } from '../../harness/machine/agent/guest-agent.ts';

export type Scene = Record<string, unknown>;
export interface Expectations {
  calculated: string;
  negotiated: string;
}
export function setUp(agent: GuestAgent): Promise<Scene>;
export function goOn(agent: GuestAgent, scene: Scene, device: VirtioFsDevice<FileSystem>, expected: Expectations): Promise<string[]>;
export function expectations(agent: GuestAgent, device: VirtioFsDevice<FileSystem>): Promise<Expectations>;
