import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'chai';
import { loadCodec, SnapshotStore } from '../../device/index.ts';
import { openFiles } from '../../harness/node/stores/open-files.ts';
import type { StoreKind } from './store-kinds.ts';

const HOUR = 3_600_000;
const FUZZER = new URL('./store-fuzzer.ts', import.meta.url).pathname;

/** Lets several processes change a store at random, some of which are killed on the way, and looks whether anything is lost: a directory, or a store in a bucket. */
export async function storm(
  { everything }: StoreKind,
  location: string,
  { processes, milliseconds }: { processes: number; milliseconds: number },
): Promise<void> {
  const stored = new Set<string>();
  const removed = new Set<string>();
  const problems: string[] = [];
  let kills = 0;
  const start = (): ChildProcess => {
    const child = spawn(process.execPath, ['--import', 'tsx', FUZZER, location], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let rest = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        if (line.startsWith('+')) stored.add(line.slice(1));
        else if (line.startsWith('-')) removed.add(line.slice(1));
        else if (line.startsWith('!')) problems.push(line.slice(1));
      }
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => void problems.push(text));
    return child;
  };
  const kill = async (child: ChildProcess): Promise<void> => {
    child.kill('SIGKILL');
    await once(child, 'close');
    kills++;
  };
  const children = Array.from({ length: processes }, start);
  await Promise.all(children.map((child) => once(child.stdout!, 'data')));
  for (const end = performance.now() + milliseconds; performance.now() < end; ) {
    await pause(Math.random() * 1500);
    const n = Math.floor(Math.random() * processes);
    await kill(children[n]!);
    children[n] = start();
    await once(children[n]!.stdout!, 'data');
  }
  await Promise.all(children.map(kill));

  expect(problems).to.deep.equal([]);
  expect(stored.size, 'snapshots stored').to.be.greaterThan(kills);
  const store = await SnapshotStore.open(openFiles(location), loadCodec());
  const check = async () => {
    expect(store.damaged()).to.deep.equal([]);
    const ids = store.list().map(({ id }) => id);
    expect(ids).to.include.members([...stored].filter((id) => !removed.has(id)));
    for (const id of ids) await store.verify(id);
  };
  await check();
  await store.gc();
  await openFiles(location).removeLeftovers(Date.now() + HOUR);
  await check();
  expect(await everything(location)).to.deep.equal((await openFiles(location).list()).sort());
}
