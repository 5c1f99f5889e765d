export { attachVirtioFs, VirtioFsDevice, type VirtioFsOptions } from './attach.ts';
export { createFsFromVolume, Volume } from 'memfs';
export { MemfsBackend } from './fs/memfs-backend.ts';
export { MachineError } from './v86/adapter.ts';
export { SnapshotError } from './snapshot/errors.ts';
export { ChunkCodec, loadCodec } from './snapshot/codec/codec.ts';
export { MachineSnapshots, type FreezeOptions, type FreezeResult } from './snapshot/machine-snapshots.ts';
export { MemoryStore, type FileStore } from './snapshot/store/file-store.ts';
export { SnapshotStore, type SnapshotInfo } from './snapshot/store/snapshot-store.ts';
