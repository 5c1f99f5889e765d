export { attachVirtioFs, VirtioFsDevice, type VirtioFsOptions } from './attach.ts';
export { createFsFromVolume, Volume } from 'memfs';
export { MemfsBackend } from './fs/memfs-backend.ts';
export { MachineError } from './v86/adapter.ts';
export { SnapshotError } from './snapshot/errors.ts';
