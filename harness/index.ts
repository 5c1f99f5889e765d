/**
 * Whole machines in Node: guests that boot, run commands, share directories of the host, and are kept in files.
 *
 * @module v86-virtiofs/harness
 */
export { ensureGuestImage, type GuestImage, GuestImageError, type GuestImageOptions } from '../guest-images/build.ts';
export { cacheDirectory, snapshotDirectory } from '../guest-images/paths.ts';
export { ensureUserland } from '../guest-images/userland.ts';
export type {
  ExecOptions,
  ExecOutput,
  ExecResult,
  GuestProcess,
  RunningCommand,
  SignalName,
  SpawnOptions,
} from './machine/agent/guest-agent.ts';
export type { MachineConfig } from './machine/config.ts';
export { CommandError, type GuestEnd, VmError, type VmErrorKind } from './machine/errors.ts';
export { type ForwardOptions, forwardChanges } from './machine/forward-changes.ts';
export type { LifeOptions } from './machine/guest-life.ts';
export type { RenewalOptions } from './machine/renewal.ts';
export type { Expected, WaitOptions } from './machine/wait-for.ts';
export { BootCache } from './node/boot-cache.ts';
export { LiveDirectory, type LiveDirectoryOptions } from './node/live/live-directory.ts';
export { DirectoryFates } from './node/migration/directory-fates.ts';
export { duplexChannel } from './node/migration/duplex-channel.ts';
export { checkSaveTarget, checkWriteBackTarget } from './node/shares/archive.ts';
export type { HostShare as Share, ShareWriteBackOptions } from './node/shares/share.ts';
export { DirectoryStore } from './node/stores/directory-store.ts';
export { type KeptFiles, openFiles } from './node/stores/open-files.ts';
export { readSnapshot, type Snapshot, writeSnapshot } from './node/stores/snapshot-file.ts';
export { type Checkpoint, Vm } from './node/vm.ts';
export type { BootMethod, NamedKernel, RootOptions, ShareOptions, VmOptions } from './node/vm-options.ts';
export { VmPool } from './node/vm-pool.ts';
export type { ThreadVmOptions } from './node/workers/messages.ts';
export { ThreadError, VmWorkers, type VmWorkersOptions, type WorkerVm } from './node/workers/vm-workers.ts';
