import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { dumpTar, loadCodec, MachineSnapshots, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { ensureGuestImage, type GuestImageOptions } from '../../guest-images/build.ts';
import { equipmentOf } from '../../harness/machine/config.ts';
import { Vm } from '../../harness/node/vm.ts';
import { GUEST_VERSION, type GuestManifest, type PackedFile } from '../protocol/manifest.ts';
import type { ShellInfo } from '../protocol.ts';
import { spawnShell } from '../worker/shells.ts';
import { putInFront } from './put-in-front.ts';

const TAG = 'share';
const PREFIX = 'guest-';
/** What a visitor finds in the shared folder. */
const SHARED = fileURLToPath(new URL('../share', import.meta.url));

/** Leaves zeros in free memory, which make no part of a snapshot; but for 4 MiB, so that nothing has to make room. */
const WIPE = `
sync; echo 3 > /proc/sys/vm/drop_caches
mkdir /run/wipe && mount -t tmpfs -o size=100% none /run/wipe
free=$(sed -n 's/^MemFree: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo)
dd if=/dev/zero of=/run/wipe/zeros bs=64k count=$(((free - 4096) / 64)) 2>/dev/null
umount /run/wipe; rmdir /run/wipe; echo 3 > /proc/sys/vm/drop_caches`;

/** A page's guest: the snapshot it starts from, and what it boots from where it can't have that. */
class Guest {
  readonly #files = new Map<string, Buffer>();

  /** A file that the manifest names. Its own name does not say what it is: servers would have the browser unpack it, which then can't go on where a download broke. */
  pack(name: string, content: Uint8Array): PackedFile {
    const packed = gzipSync(content, { level: 9 });
    const file = `${PREFIX}${createHash('sha256').update(packed).digest('hex').slice(0, 16)}.${name}.bin`;
    this.#files.set(file, packed);
    return { file, size: packed.length, unpackedSize: content.length };
  }

  /** In place of the guest that was there. */
  async write(directory: string, manifest: GuestManifest): Promise<void> {
    await mkdir(directory, { recursive: true });
    for (const name of await readdir(directory)) if (name.startsWith(PREFIX)) await rm(join(directory, name));
    for (const [name, content] of this.#files) await writeFile(join(directory, name), content);
    await writeFile(join(directory, 'guest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  }
}

/** A shell at its prompt, for the page's first terminal. */
async function openShell(vm: Vm, cwd: string): Promise<ShellInfo> {
  const shell = spawnShell(vm.agent, cwd, { columns: 80, rows: 24 });
  let output = Buffer.alloc(0);
  await new Promise<void>((resolve, reject) => {
    shell.onStdout = (bytes) => {
      output = Buffer.concat([output, bytes]);
      if (output.includes('# ')) resolve();
    };
    shell.exited.then(() => reject(new Error("the guest's shell has ended")), reject);
  });
  return { id: shell.id, output: new Uint8Array(output) };
}

export interface PageGuestOptions extends Pick<GuestImageOptions, 'kernel' | 'driver'> {
  /** MiB. */
  memory: number;
  /** The image that it has its root filesystem on, in the directory of its own. Default: it has its initial RAM disk. */
  image?: string;
  onProgress(message: string): void;
}

/** Milliseconds; a second of a quiet machine's. */
const WIPING = 600_000;

/** Boots a guest, mounts its share, and packs into a directory what the page needs of it, in place of the guest that was there. */
export async function buildPageGuest(
  directory: string,
  { kernel, driver, memory, image, onProgress }: PageGuestOptions,
): Promise<GuestManifest> {
  const guest = new Guest();
  const files = await ensureGuestImage({ kernel, driver, onProgress });
  const vm = await Vm.boot({
    kernel,
    driver,
    memory,
    acpi: true,
    shares: [{ tag: TAG, locks: 'shared', source: SHARED }],
    ...(image !== undefined && { root: `image:${join(directory, image)}` }),
    onProgress,
  });
  try {
    onProgress('taking the snapshot');
    const mountPoint = await vm.mount(TAG);
    const { code, stderr } = await vm.exec(`chown -R 0:0 ${mountPoint} && ${WIPE}`, { timeoutMs: WIPING });
    if (code !== 0) throw new Error(`the guest could not be prepared: ${stderr}`);
    const shell = await openShell(vm, mountPoint);
    const { id, layer, store } = await freeze(vm, shell);
    if (image !== undefined) {
      onProgress('looking at what is read first');
      await putInFront(directory, image, { store, id, shell: shell.id });
    }
    const folder = Buffer.from(
      await new Response(dumpTar(vm.share(TAG).files).stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer(),
    );
    const pack = async (name: string, path: string) => guest.pack(name, await readFile(path));
    const manifest: GuestManifest = {
      version: GUEST_VERSION,
      snapshot: { ...guest.pack('layer', layer), id },
      boot: {
        kernel: await pack('vmlinux', files.vmlinux),
        initrd: await pack('initrd', files.initrd),
        folder: guest.pack('tar', folder),
      },
      rootBoot: {
        init: await pack('init', files.init),
        agent: await pack('agent', files.agent),
        // The small kernel has all in it that mounting a root takes.
        ...(kernel === 'stock' && { initrd: await pack('initrd', files.initrd) }),
      },
      ...(image !== undefined && { root: { id: equipmentOf(vm.config).images.get('root')!, image } }),
      machine: vm.config,
    };
    await guest.write(directory, manifest);
    return manifest;
  } finally {
    await vm.stop();
  }
}

/** A snapshot that stands alone. Chunks stay as they are in its layer: gzip packs all of them together, and better. */
async function freeze(vm: Vm, shell: ShellInfo): Promise<{ id: string; layer: Uint8Array; store: SnapshotStore }> {
  const codec = loadCodec();
  const plain = {
    hash: codec.hash.bind(codec),
    unseal: codec.unseal.bind(codec),
    compress: (bytes: Uint8Array) => bytes,
  };
  const store = await SnapshotStore.open(new MemoryStore(), plain);
  const snapshots = await MachineSnapshots.of(vm.emulator, store);
  const { id } = await snapshots.freeze({ name: 'start', machine: vm.config, summary: { shells: [shell] } });
  const layer = Buffer.concat(await store.export(id));
  const exported = new MemoryStore();
  await exported.write('start.layer', [layer]);
  const alone = await SnapshotStore.open(exported, plain);
  return { id: alone.list()[0]!.id, layer, store: alone };
}
