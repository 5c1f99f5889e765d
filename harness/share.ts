import { createFsFromVolume, type IFs, type Volume } from 'memfs';
import type { VirtioFsDevice } from '../device/index.ts';
import { VmError } from './errors.ts';
import { loadHostTree, type LoadedTree } from './host-tree.ts';
import { writeBack, type WriteBackReport } from './write-back.ts';

/** One virtio-fs device of a machine, and the filesystem behind it. */
export class Share {
  readonly tag: string;
  readonly device: VirtioFsDevice;
  /** Where `Vm.mount` puts it when not told otherwise. */
  readonly mountPoint: string;
  #fs: IFs | undefined;
  #tree: LoadedTree | undefined;

  constructor(device: VirtioFsDevice) {
    this.device = device;
    this.tag = device.tag;
    const name = device.tag.replaceAll('/', '_');
    this.mountPoint = `/mnt/${/^\.+$/.test(name) ? '_' : name}`;
  }

  get volume(): Volume {
    return this.device.volume;
  }

  /** The host's side of the share, with the API of `node:fs`. */
  get fs(): IFs {
    return (this.#fs ??= createFsFromVolume(this.volume));
  }

  /** The host directory this was loaded from. */
  get directory(): string | undefined {
    return this.#tree?.directory;
  }

  /** Copies a host directory into the share. Throws {@link VmError} `share` when it can't be read. */
  load(directory: string, onProgress?: (files: number, bytes: number) => void): LoadedTree {
    this.#tree = loadHostTree(directory, this.device.backend, onProgress);
    return this.#tree;
  }

  /** Carries changes back to the directory that {@link load} read. Unmount or `sync` in the guest first. */
  writeBack(): WriteBackReport {
    if (!this.#tree) throw new VmError('share', `share ${JSON.stringify(this.tag)} was not loaded from a host directory: give it one`);
    return writeBack(this.#tree, this.device.backend);
  }
}
