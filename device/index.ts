export { attachVirtioFs, VirtioFsDevice, type VirtioFsOptions } from './attach.ts';
export { createFsFromVolume, Volume } from 'memfs';
export { MemfsBackend } from './fs/memfs-backend.ts';
export { viewDevice, type DeviceView } from './inspect/device-view.ts';
export { toJson, toTraceEvents } from './inspect/export.ts';
export { replyFields, requestFields, type MessageField } from './inspect/message.ts';
export { Recorder, type Latency, type RequestRecord } from './inspect/recorder.ts';
export { viewQueue, type DescriptorView, type QueueView } from './inspect/rings.ts';
export { walkIn, walkOut, type WalkStart, type WalkStep } from './inspect/walk.ts';
export { MachineError } from './v86/errors.ts';
export { MachineStateError, type LeaseState, type Operation } from './v86/lease.ts';
export type { V86Like } from './v86/types.ts';
export { haveSameState } from './v86/versions.ts';
export { SnapshotError } from './snapshot/errors.ts';
export { ChunkCodec, loadCodec } from './snapshot/codec/codec.ts';
export { diff, inspect, type Contents, type Difference, type LockContents } from './snapshot/inspect.ts';
export {
  MachineSnapshots,
  type FreezeOptions,
  type FreezeResult,
  type RestoreOptions,
} from './snapshot/machine-snapshots.ts';
export type { RestorePolicies, RestoreReport } from './snapshot/session-only.ts';
export { HttpStore } from './snapshot/store/http-store.ts';
export { OpfsStore } from './snapshot/store/opfs-store.ts';
export { MemoryStore, type FileStore } from './snapshot/store/file-store.ts';
export {
  MAX_MESSAGE,
  MAX_STRANGER_MESSAGE,
  MigrationError,
  MigrationRefusedError,
  MigrationUnknownError,
  type MigrationChannel,
} from './migration/channel.ts';
export { MemoryFates, type Fate, type FateStore } from './migration/fates.ts';
export { MigrationTarget, type Description, type IncomingOptions, type Successor } from './migration/incoming.ts';
export { Link as MigrationLink } from './migration/link.ts';
export { portChannel, type PortLike } from './migration/port-channel.ts';
export { checkToken, makeToken } from './migration/token.ts';
export { webSocketChannel, type WebSocketLike } from './migration/web-socket-channel.ts';
export {
  askForFate,
  migrateOut,
  settleMigration,
  type MigrationFate,
  type MigrationOptions,
  type MigrationProgress,
  type MigrationResult,
} from './migration/outgoing.ts';
export { SnapshotStore, type SnapshotInfo } from './snapshot/store/snapshot-store.ts';
export { dumpJson, loadJson, type DirectoryJson } from './trees/json.ts';
export { dumpTar, loadTar, type TarOptions } from './trees/tar.ts';
export type { Skipped, TreeProgress, TreeReport } from './trees/report.ts';
