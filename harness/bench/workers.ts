import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadCodec, SnapshotStore } from '../../device/index.ts';
import { DirectoryStore } from '../node/stores/directory-store.ts';
import { Vm } from '../node/vm.ts';
import { VmWorkers, type WorkerVm } from '../node/workers/vm-workers.ts';
import { Collector, type Measure, type Table } from './report.ts';

const THREADS = { '2 threads': 2, '1 thread': 1 } as const;
const MEMORY = 256;
/** Guests that each run {@link WRITE}. */
const GUESTS = 200;
const WRITE = 'echo written > /mnt/share/file; cat /mnt/share/file';
/** In each thread, of the processor's own work. */
const LOOP = 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done';
/** Of one thread, that are there at once. */
const AT_ONCE = 4;
const MB = 1e6;

const RATE: Measure = { name: 'guests that begin, write and end', unit: '/s', isRate: true };
const MIPS: Measure = { name: 'a guest in each thread that counts', unit: 'MIPS', isRate: true };
const START: Measure = { name: 'threads are ready, from nothing', unit: 'ms', isRate: false };
const PER_FORK: Measure = { name: `memory for each of ${AT_ONCE} guests of a thread`, unit: 'MB', isRate: false };

/** Forks of one snapshot in threads. */
export async function benchWorkers(rounds: number, onProgress: (message: string) => void): Promise<Table> {
  const subjects = Object.keys(THREADS);
  const collector = new Collector(subjects);
  const directory = await mkdtemp(join(tmpdir(), 'bench-'));
  try {
    const { id, instructions } = await freeze(directory);
    for (let round = 1; round <= rounds; round++)
      for (const [subject, workers] of Object.entries(THREADS)) {
        onProgress(`round ${round} of ${rounds}: ${subject}`);
        const add = (measure: Measure, value: number) => collector.add(subject, measure, value);
        await measure(await VmWorkers.start(directory, id, { workers }), workers, instructions, add);
        add(PER_FORK, await memoryOf(directory, id, workers));
      }
    return { title: `Forks of a guest of ${MEMORY} MiB in threads of one process`, subjects, rows: collector.rows() };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** A snapshot in `directory`, and how many instructions {@link LOOP} takes there. */
async function freeze(directory: string): Promise<{ id: string; instructions: number }> {
  const store = await SnapshotStore.open(new DirectoryStore(directory), loadCodec());
  const vm = await Vm.boot({ memory: MEMORY, shares: [{ tag: 'share' }] });
  try {
    await vm.mount();
    const { id } = await vm.freeze(store);
    const before = vm.emulator.get_instruction_counter() >>> 0;
    await vm.exec(LOOP);
    return { id, instructions: ((vm.emulator.get_instruction_counter() >>> 0) - before + 2 ** 32) % 2 ** 32 };
  } finally {
    await vm.stop();
  }
}

async function measure(
  pool: VmWorkers,
  workers: number,
  instructions: number,
  add: (measure: Measure, value: number) => void,
): Promise<void> {
  const inEach = (action: (vm: WorkerVm) => Promise<unknown>) =>
    Promise.all(
      Array.from({ length: workers }, async () => {
        await using vm = await pool.take();
        await action(vm);
      }),
    );
  try {
    const beginning = performance.now();
    await inEach((vm) => vm.exec('true'));
    add(START, performance.now() - beginning);
    const started = performance.now();
    await Promise.all(
      Array.from({ length: GUESTS }, async () => {
        await using vm = await pool.take();
        const { stdout } = await vm.exec(WRITE);
        if (stdout !== 'written\n') throw new Error(`the guest said ${stdout}`);
      }),
    );
    add(RATE, (1000 * GUESTS) / (performance.now() - started));
    // Twice: what the loop is compiled to is the emulator's, and stays.
    for (const isWarm of [false, true]) {
      const looping = performance.now();
      await inEach((vm) => vm.exec(LOOP));
      if (isWarm) add(MIPS, (workers * instructions) / 1000 / (performance.now() - looping));
    }
  } finally {
    await pool.close();
  }
}

/** Of guests that are there at once, beside the first of each thread. */
async function memoryOf(directory: string, id: string, workers: number): Promise<number> {
  const pool = await VmWorkers.start(directory, id, { workers, perWorker: AT_ONCE, rewinds: false });
  const use = async () => (await pool.take()).exec(WRITE);
  try {
    await Promise.all(Array.from({ length: workers }, use));
    const before = process.memoryUsage.rss();
    const more = workers * (AT_ONCE - 1);
    await Promise.all(Array.from({ length: more }, use));
    return (process.memoryUsage.rss() - before) / more / MB;
  } finally {
    await pool.close();
  }
}
