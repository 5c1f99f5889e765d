import {
  attachVirtioFs,
  loadCodec,
  MachineSnapshots,
  MemoryFileSystem,
  MemoryStore,
  SnapshotStore,
} from '../../device/index.ts';
import { bareMachine } from '../../test/support/bare-machine.ts';
import { type BenchRow, Collector, type Measure, medianOf, type Target, target } from './report.ts';

/** Files that the goals are for. */
const GOAL = 300_000;
const COUNTS = [0, 100_000, GOAL, 1_000_000];
/** As the columns of the table. */
export const SIZES = COUNTS.map(sizeOf);
const IN_A_DIRECTORY = 1000;
/** Files that change between two snapshots. */
const CHANGED = 100;
/** How often they do. */
const CHANGES = 5;

const ms = (name: string): Measure => ({ name, unit: 'ms', isRate: false });
const HEAP: Measure = { name: 'heap of an empty file', unit: 'bytes', isRate: false };
const CREATE = ms('create them');
const FIRST = ms('guest is paused: everything is new');
const AGAIN = ms(`guest is paused: ${CHANGED} files have changed`);
const BUSY = ms('… and the process is busy until that is stored');
const BACK = ms(`guest is paused: back by ${CHANGED} files`);
const FRESH = ms('a new machine, thawed');

/** What freezing and thawing cost by the number of files, with a machine that has nothing else: 16 MiB, and no guest in it. */
export async function benchScale(rounds: number, onProgress: (message: string) => void): Promise<BenchRow[]> {
  const collector = new Collector(SIZES);
  for (let round = 1; round <= rounds; round++) {
    for (const [n, count] of COUNTS.entries()) {
      onProgress(`round ${round} of ${rounds}: ${SIZES[n]}`);
      await measure(count, (measure, value) => collector.add(SIZES[n]!, measure, value));
    }
  }
  return collector.rows();
}

export function scaleTargets(rows: BenchRow[]): Target[] {
  const of = (measure: Measure) => medianOf(rows, measure, sizeOf(GOAL));
  return [target(`incremental freeze, ${GOAL} files`, 'ms', of(AGAIN), 30), target(HEAP.name, 'bytes', of(HEAP), 200)];
}

async function measure(count: number, add: (measure: Measure, value: number) => void): Promise<void> {
  const machine = { memory: 16 };
  const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
  const own = await makeMachine(store);
  const before = heap();
  add(CREATE, await timed(() => fill(own.filesystem, count)));
  if (count) add(HEAP, (heap() - before) / count);
  collect();
  add(FIRST, (await own.snapshots.freeze({ machine })).standstill);
  let last = '';
  for (let time = 0; time < CHANGES; time++) {
    change(own.filesystem, time);
    collect();
    const started = performance.now();
    const { standstill, id } = await own.snapshots.freeze({ machine });
    add(AGAIN, standstill);
    add(BUSY, performance.now() - started);
    last = id;
  }
  change(own.filesystem, CHANGES);
  collect();
  add(BACK, await own.snapshots.restore(last));
  await own.destroy();
  const other = await makeMachine(store);
  add(FRESH, await timed(() => other.snapshots.restore(last)));
  await other.destroy();
}

async function makeMachine(store: SnapshotStore): Promise<{
  filesystem: MemoryFileSystem;
  snapshots: MachineSnapshots;
  destroy(): Promise<void>;
}> {
  const filesystem = new MemoryFileSystem({ inodes: 2 ** 21 });
  let snapshots: Promise<MachineSnapshots>;
  const machine = await bareMachine((emulator) => {
    attachVirtioFs(emulator, { tag: 'share', filesystem });
    snapshots = MachineSnapshots.of(emulator, store);
  });
  return { filesystem, snapshots: await snapshots!, destroy: () => machine.destroy() };
}

const owner = { uid: 0, gid: 0 };

function fill(filesystem: MemoryFileSystem, count: number): void {
  for (let n = 0; n < count; n += IN_A_DIRECTORY) {
    const dir = filesystem.mkdir(filesystem.root, `dir-${n}`, { mode: 0o755, ...owner });
    for (let k = n; k < n + IN_A_DIRECTORY; k++) filesystem.mknod(dir, `f${k}`, { mode: 0o100644, ...owner });
  }
}

function change(filesystem: MemoryFileSystem, time: number): void {
  const dir = filesystem.mkdir(filesystem.root, `change-${time}`, { mode: 0o755, ...owner });
  for (let n = 0; n < CHANGED; n++) filesystem.mknod(dir, `n${n}`, { mode: 0o100644, ...owner });
}

function sizeOf(count: number): string {
  return `${count} files`;
}

async function timed(action: () => unknown): Promise<number> {
  const started = performance.now();
  await action();
  return performance.now() - started;
}

/** What making the files has left behind does not count. With `--expose-gc`. */
function collect(): void {
  (globalThis as { gc?(): void }).gc?.();
}

/** Bytes in use: exact with `--expose-gc`. */
function heap(): number {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
