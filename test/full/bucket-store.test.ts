import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'chai';
import { loadCodec, SnapshotStore } from '../../device/index.ts';
import { openFiles } from '../../harness/node/stores/open-files.ts';
import { bucketFiles } from '../support/bucket-files.ts';
import { describeDamages } from '../support/store-damages.ts';
import { describeInterruptions, verifyAll } from '../support/store-interruptions.ts';
import { BUCKET } from '../support/store-kinds.ts';

const WRITER = new URL('../support/store-writer.ts', import.meta.url).pathname;
const HOUR = 3_600_000;

describeInterruptions(1);

describeDamages('a bucket', bucketFiles, 5);

it('a process that is stopped and let go on at random, while others remove and reclaim, loses nothing and breaks nothing', async function () {
  this.timeout(300_000);
  const location = await BUCKET.make();
  const open = () => SnapshotStore.open(openFiles(location), loadCodec());
  const child = spawn(process.execPath, ['--import', 'tsx', WRITER, location], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const stored = new Set<string>();
  const removed = new Set<string>();
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) stored.add(line);
  });
  await once(child.stdout, 'data');
  for (let round = 0; round < 30; round++) {
    await pause(Math.random() * 300);
    child.kill('SIGSTOP');
    const store = await open();
    for (const { id, name } of store.list().slice(0, -2)) {
      removed.add(name);
      await store.remove(id);
    }
    await store.gc();
    await openFiles(location).removeLeftovers(Date.now() + 2 * HOUR);
    child.kill('SIGCONT');
    await verifyAll(await open());
  }
  child.kill('SIGKILL');
  await once(child, 'close');
  const store = await open();
  await verifyAll(store);
  const names = store.list().map(({ name }) => name);
  expect(names).to.include.members([...stored].filter((name) => !removed.has(name)));
  expect(stored.size).to.be.greaterThan(30);
});
