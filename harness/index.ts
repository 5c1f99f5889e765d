export { BootCache, cacheDirectory } from './boot-cache.ts';
export { DirectoryStore } from './directory-store.ts';
export { VmError } from './errors.ts';
export type { ExecOptions, ExecOutput, GuestProcess, SpawnOptions } from './guest-agent.ts';
export type { Share } from './share.ts';
export { readSnapshot, writeSnapshot, type MachineConfig, type Snapshot } from './snapshot-file.ts';
export { Vm, type ExecResult } from './vm.ts';
export { VmPool } from './vm-pool.ts';
export type { BootMethod, CustomImage, ShareOptions, VmOptions } from './vm-options.ts';
