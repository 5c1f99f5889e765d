import type { GuestAgent } from '../../harness/guest-agent.ts';

export type Scene = Record<string, unknown>;
export function setUp(agent: GuestAgent): Promise<Scene>;
export function goOn(agent: GuestAgent, scene: Scene, readFile: (path: string) => Uint8Array, expected: string): Promise<string[]>;
export function calculate(agent: GuestAgent): Promise<string>;
