import { createFsFromVolume, type IFs, type Volume } from 'memfs';
import type { TreeProgress, TreeReport, VirtioFsDevice } from '../device/index.ts';
import { isArchive, loadArchive, saveArchive } from './archive.ts';
import { VmError } from './errors.ts';
import { loadHostTree, type LoadedTree } from './host-tree.ts';
import { writeBack, type WriteBackReport } from './write-back.ts';

/** One virtio-fs device of a machine, and the filesystem behind it. */
export class Share {
  readonly tag: string;
  readonly device: VirtioFsDevice;
  /** Where `Vm.mount` puts it when not told otherwise. */
  readonly mountPoint: string;
  /** What {@link load} could not take along. */
  skipped: TreeReport['skipped'] = [];
  #fs: IFs | undefined;
  #tree: LoadedTree | undefined;
  #archive: string | undefined;

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

  /** The host directory or archive this was loaded from. */
  get source(): string | undefined {
    return this.#archive ?? this.#tree?.directory;
  }

  /**
   * Copies a host directory, or what is in an archive, into the share. What could not be taken along is in {@link skipped}.
   * Throws {@link VmError} `share` when it can't be read.
   */
  async load(source: string, onProgress?: TreeProgress): Promise<void> {
    if (await isArchive(source)) {
      this.skipped = (await loadArchive(source, this.device.backend, onProgress)).skipped;
      this.#archive = source;
      return;
    }
    this.#tree = loadHostTree(source, this.device.backend, onProgress);
    this.skipped = this.#tree.skipped;
  }

  /**
   * Carries changes back to what {@link load} read: an archive is written anew. Unmount or `sync` in the guest first.
   * Returns what had to stay behind.
   */
  async writeBack(): Promise<WriteBackReport['kept']> {
    if (this.#archive) return (await saveArchive(this.#archive, this.device.backend)).skipped;
    if (!this.#tree) throw new VmError('share', `share ${JSON.stringify(this.tag)} was not loaded from the host: give it a directory or an archive`);
    return writeBack(this.#tree, this.device.backend).kept;
  }

  /** Writes what is in the share to a .tar, .tar.gz, .tgz or memfs .json file, whole or not at all. Returns what could not be taken along. */
  async save(path: string, onProgress?: TreeProgress): Promise<TreeReport['skipped']> {
    return (await saveArchive(path, this.device.backend, onProgress)).skipped;
  }
}
