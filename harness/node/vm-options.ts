import type { MemoryFileSystem, SnapshotStore } from '../../device/index.ts';
import { encodeTag } from '../../device/virtio-fs.ts';
import { VmError } from '../machine/errors.ts';
import type { LifeOptions } from '../machine/guest-life.ts';
import type { ShareOptions as MachineShareOptions } from '../machine/share.ts';
import { imageLocation } from './images/share-image.ts';

/** MiB. */
export const DEFAULT_MEMORY = 256;
/** KiB: the least that v86 makes. */
export const DEFAULT_VIDEO_MEMORY = 256;

/** Bytes: one page. */
const MIN_SHARE_SIZE = 4096;

/** A directory that the guest can mount. */
export interface ShareOptions extends MachineShareOptions {
  /** Host directory to fill the filesystem with a copy of, when the machine starts; or a .tar, .tar.gz, .tgz or memfs .json file; or `image:` and the URL or file of an image. */
  source?: string;
  /** The directory `source` itself, live: guest and host change it both at once, and snapshots leave its files where they are. Default: false. */
  live?: boolean;
  /** With `live`: the guest may give files set-user-ID and set-group-ID bits. Default: false. */
  setIds?: boolean;
}

/** A root filesystem for the guest, which is in memory. */
export interface RootOptions extends Omit<MachineShareOptions, 'tag' | 'filesystem' | 'volume'> {
  /** Host directory to fill it with a copy of, when the machine starts; or a .tar, .tar.gz or .tgz file; or `image:` and the URL or file of an image, whose content is fetched when it is read. */
  source?: string;
  /** One that is there already, instead. */
  filesystem?: MemoryFileSystem;
  /** Tag of its device. Default: `root`. */
  tag?: string;
  /** Path and arguments of what is process 1, `/sbin/init` say, once the agent runs. Default: a small init that mounts what programs expect, and runs a shell on the console. */
  init?: string;
}

/** Kernels of images that `guest-images/` builds. */
export type NamedKernel = 'stock' | 'minimal';

/** Drivers of those images. */
export type NamedDriver = 'stock' | 'fast';

/** Who puts the kernel into RAM. */
export type BootMethod = 'direct' | 'bios';

export interface VmOptions extends LifeOptions {
  /** MiB of RAM. Default: 256. */
  memory?: number;
  /** KiB of the VGA card's memory: a power of two from 256, which is enough for text. Every snapshot has it all. Default: 256. */
  videoMemory?: number;
  /** Directories that the guest can mount. Default: none. */
  shares?: ShareOptions[];
  /**
   * The guest's root filesystem, or its source: it boots from that, and has the device behind those of `shares`. What it changes there is its own.
   * Such a machine is not kept in the cache. Default: the initial RAM disk.
   */
  root?: RootOptions | string;
  /** Of a machine that goes on from a snapshot, without `shares`: the directories that its live shares are of. */
  live?: string[];
  /** Likewise, the images that its shares and its root are on: files, or URLs. */
  images?: string[];
  /** Milliseconds that the guest waits for content of an image while nothing comes; then it gets EIO. Default: 60,000. */
  imagePatience?: number;
  /** Called with what is wrong where an image is, while the guest waits for it, and with "" when that has passed. Default: `onProgress`. */
  onImageTrouble?: (message: string) => void;
  /**
   * The guest's virtio-fs driver: the kernel's own; or `fast`, the one of `guest-images/driver`, which looks for answers at once and can suspend,
   * and is built for the kernel when it is first asked for. Default: V86_VIRTIOFS_DRIVER where the kernel is one of the named ones, or `stock`.
   */
  driver?: NamedDriver;
  /**
   * `stock`: Debian's; `minimal`: Linux 6.12 with little more than a guest needs here, which is built when it is first asked for; or the path of a
   * kernel of your own, a bzImage or an ELF file. Default: V86_VIRTIOFS_KERNEL, or `stock`.
   */
  kernel?: NamedKernel | (string & {});
  /** Path of the initial RAM disk for a kernel of your own; the agent is put beside what is in it, unless it has that. Default: a small one with BusyBox. */
  initrd?: string;
  /**
   * Modules for a kernel of your own: what `make modules_install INSTALL_MOD_PATH=DIR` made, or the `lib/modules/RELEASE` in it. Those that the agent and
   * shares need are loaded at boot; `modprobe` finds all of them where the guest has that directory mounted at `/mnt/kernel-modules`, as a share with that tag.
   */
  modules?: string;
  /** Path of a SeaBIOS image, for the boot method `bios`, which is the default then. Default: that of the image, or of the package seabios. */
  bios?: string;
  /** With ACPI, which a guest needs to be woken from sleep; that takes a BIOS, and the machine is not kept in the cache. Default: false. */
  acpi?: boolean;
  /** `direct` loads the kernel into RAM itself, `bios` lets SeaBIOS do it. Default: `direct`. */
  bootMethod?: BootMethod;
  /** More words for the kernel's command line. */
  cmdline?: string;
  /** Also plug in v86's own 9p device, tag `host9p`, with an empty filesystem. */
  ninep?: boolean;
  /** v86's network card. Default: `ne2k`. */
  network?: 'ne2k' | 'virtio';
  /** More of v86's own options, `virtio_console` say. A machine with them is not kept in the cache. */
  v86?: Record<string, unknown>;
  /**
   * Start from the cached snapshot of a machine like this one, making it first where there is
   * none. `false` boots anew, with the shares on the bus from the beginning. Default: true.
   */
  cache?: boolean;
  /** Where `Vm.checkpoint` keeps moments: a store in memory. The first one costs least where the machine came from. Default: one of its own. */
  checkpoints?: SnapshotStore;
  /** For the machine to come up. Default: 180,000: a cold boot takes its time on a loaded machine. */
  timeoutMs?: number;
  /** Called with each line that the guest's console finished. */
  onConsole?: (line: string) => void;
  /** Called with what is being done, and with "" when the machine is there. */
  onProgress?: (message: string) => void;
}

/** Throws {@link VmError} `configuration` for shares that can't be plugged into one machine. */
export function checkShares(shares: ShareOptions[]): void {
  const tags = new Set<string>();
  for (const { tag, size, filesystem, volume, live, setIds, source } of shares) {
    const share = `the share ${JSON.stringify(tag)}`;
    if (setIds && !live) throw new VmError('configuration', `${share} is not live: leave out \`setIds\``);
    if (live && source === undefined)
      throw new VmError('configuration', `${share} is live and says of which directory not: give \`source\``);
    if (live && imageLocation(source!) !== undefined)
      throw new VmError(
        'configuration',
        `${share} is of an image, which is no directory to share live: leave out \`live\``,
      );
    if (live && (size !== undefined || (filesystem ?? volume)))
      throw new VmError(
        'configuration',
        `${share} is the directory ${source} itself, which has its own limits: leave out \`size\`, \`filesystem\` and \`volume\``,
      );
    if (size !== undefined && (!Number.isSafeInteger(size) || size < MIN_SHARE_SIZE))
      throw new VmError('configuration', `a share can't have a size of ${size} bytes: give at least ${MIN_SHARE_SIZE}`);
    if (size !== undefined && (filesystem ?? volume))
      throw new VmError(
        'configuration',
        `the share ${JSON.stringify(tag)} has a filesystem of its own, with its own limit: leave out \`size\`, or give \`new MemoryFileSystem({ size })\``,
      );
    try {
      encodeTag(tag);
    } catch (error) {
      throw new VmError('configuration', (error as Error).message, { cause: error });
    }
    if (tag.includes('\n'))
      throw new VmError(
        'configuration',
        `the tag ${JSON.stringify(tag)} has a newline, which Linux's driver refuses: choose another name`,
      );
    if (tags.has(tag))
      throw new VmError('configuration', `two shares have the tag ${JSON.stringify(tag)}: give each its own`);
    tags.add(tag);
  }
}
