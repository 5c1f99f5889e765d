/**
 * The device, its filesystems, snapshots and migration: all of it works in Node and in a page.
 *
 * @module v86-virtiofs
 */
export { createFsFromVolume, Volume } from 'memfs';
export { attachVirtioFs, VirtioFsDevice, type VirtioFsOptions } from './attach.ts';
export type { ByteSink, ByteSource } from './bytes.ts';
export { filesystemOf, volumeOf } from './filesystems/memfs/volume.ts';
export { MemoryFileSystem, type MemoryFileSystemOptions } from './filesystems/memory/filesystem.ts';
export { makeAttr } from './fs/attr.ts';
export { ERRNO, type ErrnoName, FsError } from './fs/errno.ts';
export type {
  Answer,
  Attr,
  DirectoryEntry,
  Entry,
  FileSystem,
  Inode,
  NewNode,
  OpenDirectory,
  OpenOptions,
  Owner,
  SetAttr,
  StatFs,
  Timespec,
  Watcher,
} from './fs/filesystem.ts';
export type { LockLimits } from './fs/locks.ts';
export { NotYet, whenHere } from './fs/not-yet.ts';
export { AbsentBytes, type ContentChunk, type Origin } from './fs/origin.ts';
export type { CheckedFiles, Persistent } from './fs/persistence.ts';
export { Watchers } from './fs/watchers.ts';
export { type FaultOptions, type FaultRule, Faults, type MetFault } from './fuse/faults.ts';
export { BlockCache } from './image/block-cache.ts';
export type { BlockCounts } from './image/blocks.ts';
export { type BuiltImage, buildImage, type ImageOptions } from './image/build.ts';
export { ImageError, type ImageFiles, type ReadAnswer, type ReadRequest, StoredImage } from './image/files.ts';
export type { Flate } from './image/flate.ts';
export type { ImageInfo } from './image/head.ts';
export { HttpImage } from './image/http-image.ts';
export { compareImages, type ImageDifference, type ListedFile, listImage } from './image/list.ts';
export { imageFileSystem, loadImage } from './image/load.ts';
export { type OpenImage, type OpenImageOptions, openImage } from './image/open.ts';
export type { Trouble } from './image/retry.ts';
export type { ImageSource } from './image/source.ts';
export { type ImageCheck, verifyImage } from './image/verify.ts';
export { type DeviceView, viewDevice } from './inspect/device-view.ts';
export { toJson, toTraceEvents } from './inspect/export.ts';
export { type MessageField, replyFields, requestFields } from './inspect/message.ts';
export { type Latency, Recorder, type RequestRecord } from './inspect/recorder.ts';
export { type DescriptorView, type QueueView, viewQueue } from './inspect/rings.ts';
export { type WalkStart, type WalkStep, walkIn, walkOut } from './inspect/walk.ts';
export {
  MAX_MESSAGE,
  MAX_STRANGER_MESSAGE,
  type MigrationChannel,
  MigrationError,
  MigrationRefusedError,
  MigrationUnknownError,
} from './migration/channel.ts';
export { type Fate, type FateStore, MemoryFates } from './migration/fates.ts';
export { type Description, type IncomingOptions, MigrationTarget, type Successor } from './migration/incoming.ts';
export { Link as MigrationLink } from './migration/link.ts';
export {
  askForFate,
  type MigrationFate,
  type MigrationOptions,
  type MigrationProgress,
  type MigrationResult,
  migrateOut,
  settleMigration,
} from './migration/outgoing.ts';
export { type PortLike, portChannel } from './migration/port-channel.ts';
export { checkToken, makeToken } from './migration/token.ts';
export { type WebSocketLike, webSocketChannel } from './migration/web-socket-channel.ts';
export { type RecordedEvent, RecordingError, readRecording } from './replay/recording.ts';
export { type ReplayDifference, type ReplayOptions, type ReplayReport, replayRequests } from './replay/replay.ts';
export { RequestRecorder, type RequestRecorderOptions } from './replay/request-recorder.ts';
export { ChunkCodec, loadCodec } from './snapshot/codec/codec.ts';
export { SnapshotError } from './snapshot/errors.ts';
export { type Contents, type Difference, diff, inspect, type LockContents } from './snapshot/inspect.ts';
export {
  type FreezeOptions,
  type FreezeResult,
  MachineSnapshots,
  type RestoreOptions,
} from './snapshot/machine-snapshots.ts';
export type { RestorePolicies, RestoreReport } from './snapshot/session-only.ts';
export type { SnapshotInfo } from './snapshot/store/catalog.ts';
export { type FileStore, MemoryStore } from './snapshot/store/file-store.ts';
export { HttpStore } from './snapshot/store/http-store.ts';
export { OpfsStore } from './snapshot/store/opfs-store.ts';
export { OverlayStore } from './snapshot/store/overlay-store.ts';
export { SnapshotStore } from './snapshot/store/snapshot-store.ts';
export { exportWhole, type WholeOptions } from './snapshot/whole.ts';
export { type DirectoryJson, dumpJson, loadJson } from './trees/json.ts';
export type { Skipped, TreeProgress, TreeReport } from './trees/report.ts';
export { dumpTar, loadTar, type TarOptions } from './trees/tar.ts';
export { MachineError } from './v86/errors.ts';
export { type LeaseState, MachineStateError, type Operation } from './v86/lease.ts';
export type { V86Like } from './v86/types.ts';
export { haveSameState } from './v86/versions.ts';
