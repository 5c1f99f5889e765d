import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { PACKAGE_ROOT } from '../../guest-images/paths.ts';
import { DirectoryStore } from '../node/stores/directory-store.ts';
import { Vm } from '../node/vm.ts';
import { VmPool } from '../node/vm-pool.ts';
import { type BenchRow, Collector, type Measure, medianOf, type Target, target } from './report.ts';

export const SNAPSHOT_KINDS = ['layers', 'v86'] as const;
/** MiB that the guest uses, and of them those that change between two snapshots: 5% of its RAM. */
const USED = 100;
const CHANGED = 13;

const time = (name: string): Measure => ({ name, unit: 'ms', isRate: false });
const FULL = time('guest is paused: everything is new');
const INCREMENTAL = time(`guest is paused: ${CHANGED} MiB have changed`);
const STORED = time('until that is stored');
const REWIND = time(`guest is paused: back by ${CHANGED} MiB`);
const FRESH = time('new emulator, until the first command is done');
const POOL = time('machine from a pool, until the first command is done');
const RECYCLED = time('machine given back to a pool, until it has run a command for the next one');
const PROCESS = time('new Node process, until the first command is done');
const SIZE: Measure = { name: `size of a snapshot after ${CHANGED} MiB have changed`, unit: 'MB', isRate: false };

/** How often a machine is given back in a round. */
const RECYCLINGS = 5;

/** Layered snapshots beside v86's own `save_state` and `restore_state`, of one guest with 256 MiB. */
export async function benchSnapshots(rounds: number, onProgress: (message: string) => void): Promise<BenchRow[]> {
  const collector = new Collector(SNAPSHOT_KINDS);
  onProgress('booting the guest');
  const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
  const dirty = () => vm.exec(`dd if=/dev/urandom of=/dev/shm/changed bs=1M count=${CHANGED - 1} conv=notrunc`);
  const timed = async <T>(measure: Measure, action: () => Promise<T>): Promise<T> => {
    const started = performance.now();
    const result = await action();
    collector.add('v86', measure, performance.now() - started);
    return result;
  };
  try {
    await vm.mount('share');
    await vm.exec(
      `dd if=/dev/urandom of=/dev/shm/used bs=1M count=${USED - CHANGED}; dd if=/dev/urandom of=/mnt/share/file bs=64k count=16`,
    );
    await dirty();
    for (let round = 1; round <= rounds; round++) {
      onProgress(`round ${round} of ${rounds}: layers`);
      const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
      const first = await vm.freeze(store);
      collector.add('layers', FULL, first.standstill);
      await dirty();
      const started = performance.now();
      const second = await vm.freeze(store);
      collector.add('layers', STORED, performance.now() - started);
      collector.add('layers', INCREMENTAL, second.standstill);
      collector.add('layers', SIZE, store.info(second.id).addedBytes / 1e6);
      await dirty();
      collector.add('layers', REWIND, await vm.thaw(store, second.id));
      const begun = performance.now();
      const other = await Vm.thaw(store, second.id);
      await other.exec(['true']);
      collector.add('layers', FRESH, performance.now() - begun);
      await other.stop();
      // No other guest runs beside those of the pool.
      await vm.pause();
      const pool = new VmPool(store, second.id);
      await pool.filled();
      const asked = performance.now();
      let lent = await pool.take();
      await lent.exec(['true']);
      collector.add('layers', POOL, performance.now() - asked);
      await pool.filled();
      // Two machines, in turn.
      const emulators = new Set([lent.emulator]);
      for (let n = 0; n < RECYCLINGS; n++) {
        await lent.exec(`dd if=/dev/urandom of=/dev/shm/changed bs=1M count=${CHANGED - 1} conv=notrunc`);
        const returned = performance.now();
        await pool.release(lent);
        lent = await pool.take();
        await lent.exec(['true']);
        collector.add('layers', RECYCLED, performance.now() - returned);
        emulators.add(lent.emulator);
      }
      if (emulators.size > 2) throw new Error('the pool has made other machines');
      await lent.stop();
      await pool.close();
      await vm.start();
      collector.add('layers', PROCESS, await inNewProcess(store, second.id));

      onProgress(`round ${round} of ${rounds}: v86`);
      await timed(FULL, () => vm.emulator.save_state());
      await dirty();
      const state = await timed(INCREMENTAL, () => vm.emulator.save_state());
      collector.add('v86', SIZE, state.byteLength / 1e6);
      await dirty();
      await timed(REWIND, () => vm.emulator.restore_state(state));
      await vm.agent.ready();
      const snapshot = await vm.save();
      await timed(FRESH, async () => {
        const fresh = await Vm.restore(snapshot);
        await fresh.exec(['true']);
        await fresh.stop();
      });
    }
    return collector.rows();
  } finally {
    await vm.stop();
  }
}

export function snapshotTargets(rows: BenchRow[]): Target[] {
  const of = (measure: Measure) => medianOf(rows, measure, 'layers');
  // With what the system needs, the guest has 140 MiB in use.
  return [
    target('new machine from 140 MiB in use', 'ms', of(FRESH), 200),
    target('… recycled', 'ms', of(RECYCLED), 60),
  ];
}

/** Milliseconds of the command line's `restore`, compiled, from its start to its end. */
async function inNewProcess(store: SnapshotStore, id: string): Promise<number> {
  const cli = join(PACKAGE_ROOT, 'dist/cli/v86-virtiofs.mjs');
  if (!existsSync(cli)) throw new Error('the command line is not compiled: run `npm run build:library` first');
  const directory = await mkdtemp(join(tmpdir(), 'bench-'));
  try {
    const copy = await (await SnapshotStore.open(new DirectoryStore(directory), loadCodec())).import(
      Buffer.concat(await store.export(id)),
    );
    const started = performance.now();
    execFileSync(process.execPath, [cli, 'restore', '--store', directory, copy, '--', 'true']);
    return performance.now() - started;
  } finally {
    await rm(directory, { recursive: true });
  }
}
