/** Adds snapshots to the store in a directory until it is killed, and tells the name of each when it is stored. */
import { loadCodec, SnapshotStore } from '../../device/index.ts';
import { toHex, toU32 } from '../../device/snapshot/layer.ts';
import { DirectoryStore } from '../../harness/directory-store.ts';

const store = await SnapshotStore.open(new DirectoryStore(process.argv[2]!), loadCodec());
for (let n = 0; ; n++) {
  const page = crypto.getRandomValues(new Uint8Array(4096 * (1 + (n % 60)) % 65536));
  const hash = store.codec.hash(page);
  const name = `${process.pid}-${n}`;
  await store.add({
    created: new Date().toISOString(), name, parent: '', machine: {}, summary: {}, state: new Uint8Array(0), stateLength: 0,
    schema: 2, devices: new Uint8Array(0), deviceParts: new Uint8Array(0), deviceChunks: new Uint8Array(0),
    ram: { pageCount: 16, first: toU32([0]), count: toU32([1]), chunk: toU32([0]), page: toU32([0]), used: hash },
  }, new Map([[toHex(hash), page]]));
  process.stdout.write(`${name}\n`);
}
