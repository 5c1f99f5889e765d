import { MemoryFileSystem } from '../../device/index.ts';
import { devicesOf, equipmentOf, type MachineConfig } from '../../harness/machine/config.ts';
import type { GuestManifest, PackedFile, Progress } from '../protocol.ts';
import type { BootFiles } from './boot-files.ts';
import { fetchManifest, fetchPacked } from './download.ts';
import { configOfPage } from './machine-config.ts';
import type { PageImages } from './page-images.ts';

/** Bytes that the files of a root may take, those of its image included. */
const ROOT_SIZE = 8 * 2 ** 30;
const ROOT_TAG = 'root';

/** The image of a root filesystem can't be had. The message says why, and what to do. */
export class RootError extends Error {
  override readonly name = 'RootError';
}

/** What a new guest begins with. */
export interface Beginning {
  manifest: GuestManifest;
  config: MachineConfig;
  /** Whether the manifest's snapshot is one of such a machine. */
  hasSnapshot: boolean;
}

/** What the server has for guests of this page. */
export class PageGuest {
  readonly #base: URL;
  readonly #root: URL | undefined;
  readonly #images: PageImages;
  readonly #onProgress: (progress: Progress) => void;

  /** `base`: where `guest.json` is; `root`: an image for the guest's root filesystem, in place of the one that it names. */
  constructor(base: URL, root: URL | undefined, images: PageImages, onProgress: (progress: Progress) => void) {
    this.#base = base;
    this.#root = root;
    this.#images = images;
    this.#onProgress = onProgress;
  }

  /** @throws Error that says what can't be had. */
  async begin(): Promise<Beginning> {
    const [manifest, image] = await Promise.all([this.#manifest(), this.#root && this.#images.open(this.#root)]);
    const config = configOfPage(manifest);
    if (!image || image.id === manifest.root?.id) return { manifest, config, hasSnapshot: true };
    return { manifest, config: withRoot(config, image.id), hasSnapshot: false };
  }

  async #manifest(): Promise<GuestManifest> {
    const manifest = await fetchManifest(this.#base);
    const { root } = manifest;
    if (root && !this.#images.knows(root.id)) {
      this.#images.isAt(root.id, new URL(root.image, this.#base));
      // It comes meanwhile; whoever needs it is told what is wrong.
      if (!this.#root) this.#images.withId(root.id).catch(() => {});
    }
    return manifest;
  }

  /** The bytes of the snapshot's layer. */
  async snapshot({ snapshot }: GuestManifest): Promise<Uint8Array<ArrayBuffer>> {
    return (await this.#fetch('download', [snapshot]))[0]!;
  }

  /** What a new guest boots from where it has no snapshot: see {@link Guest.boot}. */
  async coldBoot(
    { boot, rootBoot }: GuestManifest,
    config: MachineConfig,
  ): Promise<{ files: BootFiles; folder: Uint8Array<ArrayBuffer> }> {
    const hasRoot = equipmentOf(config).root !== undefined;
    const wanted = hasRoot ? rootFiles(rootBoot) : [boot.initrd];
    const [vmlinux, folder, ...others] = await this.#fetch('kernel', [boot.kernel, boot.folder, ...wanted]);
    return { files: bootFiles(vmlinux!, others, hasRoot), folder: folder! };
  }

  /** What a machine like this one boots from. @throws Error when the page does not have it. */
  async kernelOf(config: MachineConfig): Promise<BootFiles> {
    const { machine, boot, rootBoot } = await this.#manifest();
    if (config.image !== machine['image'])
      throw new Error('it has not booted from this page’s kernel; go to a snapshot of it');
    const hasRoot = equipmentOf(config).root !== undefined;
    const wanted = hasRoot ? rootFiles(rootBoot) : [boot.initrd];
    const [vmlinux, ...others] = await Promise.all(
      [boot.kernel, ...wanted].map((file) => fetchPacked(this.#base, file, () => {})),
    );
    return bootFiles(vmlinux!, others, hasRoot);
  }

  /** An empty filesystem for the root of a machine, where it has one. @throws RootError when the image that it is on can't be had. */
  async rootOf(config: MachineConfig): Promise<MemoryFileSystem | undefined> {
    const { root, images } = equipmentOf(config);
    if (!root) return undefined;
    const id = images.get(root.tag);
    if (id === undefined) return new MemoryFileSystem({ size: ROOT_SIZE });
    try {
      if (!this.#images.knows(id) && this.#root) await this.#images.open(this.#root);
      if (!this.#images.knows(id)) await this.#manifest();
      const origin = await this.#images.withId(id);
      return new MemoryFileSystem({ size: ROOT_SIZE, origin });
    } catch (error) {
      throw new RootError((error as Error).message, { cause: error });
    }
  }

  /** Puts all that is in its image into such a filesystem. */
  fill(root: MemoryFileSystem): void {
    if (root.origin?.tree) root.restore(root.checkState({ ...root.origin.tree, uuid: root.uuid }));
  }

  async #fetch(what: Progress['what'], files: PackedFile[]): Promise<Uint8Array<ArrayBuffer>[]> {
    const total = files.reduce((sum, { size }) => sum + size, 0);
    const loaded = files.map(() => 0);
    return Promise.all(
      files.map((file, n) =>
        fetchPacked(this.#base, file, (bytes, isBroken) => {
          loaded[n] = Math.min(bytes, file.size);
          this.#onProgress({ what, loaded: loaded.reduce((sum, count) => sum + count), total, isBroken });
        }),
      ),
    );
  }
}

function rootFiles({ init, agent, initrd }: GuestManifest['rootBoot']): PackedFile[] {
  return [init, agent, ...(initrd ? [initrd] : [])];
}

/** `others`: those of {@link rootFiles}, or an initial RAM disk. */
function bootFiles(vmlinux: Uint8Array, others: Uint8Array[], hasRoot: boolean): BootFiles {
  if (!hasRoot) return { vmlinux, initrd: others[0]! };
  const [init, agent, initrd] = others;
  return { vmlinux, programs: { init: init!, agent: agent! }, ...(initrd && { initrd }) };
}

/** Such a machine with its root on an image. */
function withRoot(config: MachineConfig, id: string): MachineConfig {
  const equipment = equipmentOf(config);
  const tags = [...equipment.tags.filter((tag) => tag !== equipment.root?.tag), ROOT_TAG];
  return {
    ...config,
    devices: devicesOf({ ...equipment, tags, images: new Map([[ROOT_TAG, id]]), root: { tag: ROOT_TAG } }),
  };
}
