import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { Vm } from '../../harness/vm.ts';
import type { GuestManifest } from '../protocol.ts';

/** MiB: enough for a shell and small programs, and half as long to scan as the harness's default. */
const MEMORY = 128;
const TAG = 'share';
const PREFIX = 'guest-';
/** What a visitor finds in the shared folder. */
const SHARED = fileURLToPath(new URL('../share', import.meta.url));

/** Boots a guest, mounts its share and leaves the snapshot that the page starts from in `directory`. */
async function buildGuest(directory: string): Promise<GuestManifest> {
  const vm = await Vm.boot({ memory: MEMORY, shares: [{ tag: TAG, locks: 'shared', source: SHARED }], onProgress: (message) => message && console.error(message) });
  try {
    const mountPoint = await vm.mount(TAG);
    await vm.exec(`chown -R 0:0 ${mountPoint}; sync; echo 3 > /proc/sys/vm/drop_caches`);
    // Chunks as they are: gzip packs all of them together, and better.
    const codec = loadCodec();
    const plain = { hash: codec.hash.bind(codec), unseal: codec.unseal.bind(codec), compress: (bytes: Uint8Array) => bytes };
    const store = await SnapshotStore.open(new MemoryStore(), plain);
    const { id } = await vm.freeze(store, 'start');
    const layer = Buffer.concat(await store.export(id));
    const exported = new MemoryStore();
    await exported.write('start.layer', [layer]);
    const [start] = (await SnapshotStore.open(exported, plain)).list();
    const packed = gzipSync(layer, { level: 9 });
    const file = `${PREFIX}${createHash('sha256').update(packed).digest('hex').slice(0, 16)}.layer.gz`;
    const manifest: GuestManifest = {
      file, size: packed.length, unpackedSize: layer.length, id: start!.id, machine: store.info(id).machine,
      memory: MEMORY, tag: TAG, mountPoint,
    };
    await mkdir(directory, { recursive: true });
    for (const name of await readdir(directory)) if (name.startsWith(PREFIX)) await rm(join(directory, name));
    await writeFile(join(directory, file), packed);
    await writeFile(join(directory, 'guest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
    return manifest;
  } finally {
    await vm.stop();
  }
}

const { size } = await buildGuest(fileURLToPath(new URL('../../dist/page/guest', import.meta.url)));
console.error(`the page's guest: ${(size / 1e6).toFixed(1)} MB`);
