import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BytesSource } from '../../device/bytes.ts';
import { buildImage } from '../../device/image/build.ts';
import { loadCodec, MemoryFileSystem, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { hashNames } from '../../device/snapshot/layer.ts';
import { nodeFlate } from '../node/images/node-flate.ts';
import { imageDirectory } from '../node/images/write-image.ts';
import { Vm } from '../node/vm.ts';
import { Collector, type Measure, type Table } from './report.ts';

const SUBJECTS = ['empty share', 'image'] as const;
/** As many as a Debian with compilers has. */
const FILES = 15_000;
const IN_A_DIRECTORY = 100;
/** Files that are read: that changes the time of the last access of each. */
const READ = 1000;

const measure = (name: string, unit: string): Measure => ({ name, unit, isRate: false });
const PAUSED = measure('guest is paused', 'ms');
const STORED = measure('until that is stored', 'ms');
const SIZE = measure('size of the snapshot', 'MB');
const STATE = measure('… of that, files and sessions', 'MB');
const READ_PAUSED = measure(`guest is paused, when it has listed all and read ${READ} files`, 'ms');
const READ_STATE = measure('… files and sessions', 'MB');
const THAWED = measure('new machine, until the first command is done', 'ms');

/**
 * What it costs to freeze a guest that has an image mounted, beside one with an empty share. `location`: of an image, a Debian say. Default: one of
 * many small files, as what is in files makes no difference.
 */
export async function benchImageFreeze(
  rounds: number,
  onProgress: (message: string) => void,
  location?: string,
): Promise<Table> {
  const place = await mkdtemp(join(tmpdir(), 'bench-image-'));
  try {
    const source = `image:${location ?? (await makeImage(place))}`;
    const collector = new Collector(SUBJECTS);
    for (let round = 1; round <= rounds; round++) {
      for (const subject of SUBJECTS) {
        onProgress(`round ${round} of ${rounds}: freezing with an ${subject}`);
        await freeze(subject === 'image' ? source : undefined, (what, value) => collector.add(subject, what, value));
      }
    }
    return { title: 'Freezing a guest with an image mounted', subjects: [...SUBJECTS], rows: collector.rows() };
  } finally {
    await rm(place, { recursive: true });
  }
}

async function makeImage(place: string): Promise<string> {
  const filesystem = new MemoryFileSystem();
  const owner = { uid: 0, gid: 0 };
  let dir = filesystem.root;
  for (let n = 0; n < FILES; n++) {
    if (n % IN_A_DIRECTORY === 0)
      dir = filesystem.mkdir(filesystem.root, `directory${n / IN_A_DIRECTORY}`, { mode: 0o755, ...owner });
    const file = filesystem.mknod(dir, `file-${n}.txt`, { mode: 0o100644, ...owner });
    const bytes = new TextEncoder().encode(`file ${n} `.repeat(1 + (n % 50)));
    filesystem.write(file, 0, bytes.length, new BytesSource(bytes));
  }
  await buildImage(filesystem, imageDirectory(place), 'many.image', { flate: nodeFlate });
  return join(place, 'many.image');
}

async function freeze(source: string | undefined, add: (measure: Measure, value: number) => void): Promise<void> {
  const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
  const vm = await Vm.boot({ shares: [{ tag: 'share', source }] });
  try {
    const cwd = await vm.mount();
    const started = performance.now();
    const first = await vm.freeze(store);
    add(PAUSED, first.standstill);
    add(STORED, performance.now() - started);
    add(SIZE, store.info(first.id).addedBytes / 1e6);
    add(STATE, (await stateLength(store, first.id)) / 1e6);
    const read = `find . -type f > /tmp/all; head -n ${READ} /tmp/all | xargs cat > /dev/null; sync`;
    await vm.exec(read, { cwd, timeoutMs: 600_000 });
    const { id, standstill } = await vm.freeze(store);
    add(READ_PAUSED, standstill);
    add(READ_STATE, (await stateLength(store, id)) / 1e6);
    const begun = performance.now();
    const other = await Vm.thaw(store, id, { images: source === undefined ? undefined : [source] });
    await other.exec(['true']);
    add(THAWED, performance.now() - begun);
    await other.stop();
  } finally {
    await vm.stop();
  }
}

/** Bytes that the state of the virtio-fs devices takes in a snapshot. */
async function stateLength(store: SnapshotStore, id: string): Promise<number> {
  const { devices, deviceParts, deviceChunks } = store.frozen(id);
  const chunks = await store.chunks([...hashNames(deviceParts), ...hashNames(deviceChunks)]);
  return [...chunks].reduce((sum, [name, bytes]) => sum + store.pack(name, bytes).stored.length, devices.length);
}
