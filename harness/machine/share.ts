import { fromMilliseconds } from '../../device/fs/clock.ts';
import {
  attachVirtioFs,
  createFsFromVolume,
  ERRNO,
  type FileSystem,
  FsError,
  MemoryFileSystem,
  type VirtioFsDevice,
  type VirtioFsOptions,
  type Volume,
  volumeOf,
} from '../../device/index.ts';
import { V86Machine } from '../../device/v86/adapter.ts';
import { CountedClock } from '../../device/v86/counted-clock.ts';
import { VmError } from './errors.ts';
import { printable } from './printable.ts';

/** A directory that the guest can mount. */
export interface ShareOptions extends Omit<VirtioFsOptions<FileSystem>, 'tag'> {
  /** What the guest mounts, 1 to 36 bytes of UTF-8. */
  tag: string;
  /** Bytes that its files, directories and attributes may take; holes take none. Not with a `filesystem` or `volume` of your own, which has its own limit. Default: 2 GiB. */
  size?: number;
}

/** Attaches the device of a share, with a new filesystem in memory unless it has one. @throws as `attachVirtioFs`. */
export function attachShare(
  emulator: Parameters<typeof attachVirtioFs>[0],
  { size, ...options }: ShareOptions,
): VirtioFsDevice<FileSystem> {
  const isThere = options.filesystem ?? options.volume;
  const machine = V86Machine.of(emulator);
  const clock = machine.clock instanceof CountedClock ? () => fromMilliseconds(machine.rtc) : undefined;
  return attachVirtioFs(emulator, {
    ...options,
    filesystem: isThere ? options.filesystem : new MemoryFileSystem({ size, clock }),
  });
}

const ROOT = '/';

/** The `fs` API of memfs. */
type MemfsApi = ReturnType<typeof createFsFromVolume>;

/** One virtio-fs device of a machine, and the filesystem behind it. */
export class Share<F extends FileSystem = FileSystem> {
  readonly tag: string;
  readonly device: VirtioFsDevice<F>;
  /** Where `mount` puts it when not told otherwise. */
  readonly mountPoint: string;
  #fs: MemfsApi | undefined;

  /** `isRoot`: the guest boots from it. */
  constructor(device: VirtioFsDevice<F>, isRoot = false) {
    this.device = device;
    this.tag = device.tag;
    const name = device.tag.replaceAll('/', '_');
    this.mountPoint = isRoot ? ROOT : `/mnt/${/^\.+$/.test(name) ? '_' : name}`;
  }

  /** Whether the guest has its root filesystem here. */
  get isRoot(): boolean {
    return this.mountPoint === ROOT;
  }

  /** What is in memory of it, which can be filled, saved and written back. @throws VmError `share` for a filesystem of another kind. */
  get files(): MemoryFileSystem {
    const { filesystem } = this.device;
    if (filesystem instanceof MemoryFileSystem) return filesystem;
    throw new VmError(
      'share',
      `the files of share ${printable(JSON.stringify(this.tag))} are not in memory: use them where they are`,
    );
  }

  /** @throws as {@link files}. */
  get volume(): Volume {
    return volumeOf(this.files);
  }

  /**
   * Fetches the content of a file that is elsewhere, for the host's synchronous calls: it is here until the function is called that this resolves to.
   *
   * @throws FsError ENOENT; EIO when it can't be had. As {@link files}.
   */
  async fetch(path: string): Promise<() => void> {
    const { files } = this;
    let inode: ReturnType<typeof files.inode> = files.root;
    for (const name of path.split('/').filter(Boolean)) inode = inode && files.lookup(inode, name);
    if (!inode) throw new FsError(ERRNO.ENOENT, `${path} is not in share ${JSON.stringify(this.tag)}`);
    return files.fetch(inode);
  }

  /**
   * Takes back all that was changed since the image was new: its files are again as they are there. What the guest still has open stays until it is closed; what it
   * knows of names and attributes lasts as long as its `cache` says. Unmount first where that matters.
   *
   * @throws VmError `share` where it is on no image, or that does not say what it has. As {@link files}.
   */
  reset(): void {
    const { files } = this;
    const { tree } = files.origin ?? {};
    if (!tree)
      throw new VmError(
        'share',
        `share ${printable(JSON.stringify(this.tag))} is on no image that it could go back to: load it again`,
      );
    files.restore(files.checkState({ ...tree, uuid: files.uuid }));
    files.settle();
  }

  /** The host's side of the share, with the API of `node:fs`. @throws as {@link files}. */
  get fs(): MemfsApi {
    return (this.#fs ??= createFsFromVolume(this.volume));
  }
}

/** See `Machine.share`. */
export function findShare<S extends Share>(shares: readonly S[], tag: string | undefined): S {
  const share = tag === undefined ? shares[0] : shares.find((candidate) => candidate.tag === tag);
  if (share) return share;
  const tags = shares.map((candidate) => JSON.stringify(candidate.tag)).join(', ') || 'none';
  throw new VmError('configuration', `this machine has no share ${JSON.stringify(tag) ?? ''}: it has ${tags}`);
}
