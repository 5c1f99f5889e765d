import { mkdtemp, readdir, rm, stat, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { SnapshotStore } from '../../../device/index.ts';
import { BaseStore } from '../../../harness/testing/base-store.ts';
import { addSnapshot, contentOf } from '../../support/small-snapshots.ts';

const HOUR = 3_600_000;

describe('the store of base machines', () => {
  let directory: string;
  let bases: BaseStore;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bases-'));
    bases = new BaseStore(directory);
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  let made = 0;
  const make = (seed: number) => async (store: SnapshotStore, name: string) => {
    made++;
    await addSnapshot(store, name, [contentOf(seed)]);
  };
  const provide = async (n: number) => (await bases.provide(`key${n}`, make(n))).id;
  /** All of them were used so much earlier. */
  const age = async (hours: number) => {
    for (const name of await readdir(directory)) {
      if (!name.endsWith('.layer')) continue;
      const path = join(directory, name);
      const then = new Date((await stat(path)).mtimeMs - hours * HOUR);
      await utimes(path, then, then);
    }
  };

  it('has each base once', async () => {
    made = 0;
    const first = await provide(1);
    expect(await provide(1)).to.equal(first);
    expect(
      await Promise.all([provide(2), provide(2), new BaseStore(directory).provide('key2', make(2))]),
    ).to.have.length(3);
    expect(made).to.equal(2);
  });

  it('removes those that were not used for longest, but none that may be in use', async () => {
    for (let n = 0; n < 20; n++) await provide(n);
    const layers = async () => (await readdir(directory)).filter((name) => name.endsWith('.layer')).length;
    expect(await layers()).to.equal(20);
    await age(1);
    await provide(0);
    await provide(100);
    expect(await layers()).to.equal(16);
    made = 0;
    await provide(0);
    expect(made).to.equal(0);
  });

  it('keeps the last of the tests that have failed', async () => {
    const base = await bases.provide('key', make(1));
    for (let n = 0; n < 12; n++) {
      const id = await addSnapshot(base.store, '', [contentOf(1), contentOf(50 + n)]);
      await bases.keepFailure(base, id, `test ${n}`);
      await age(1);
    }
    const { store } = await bases.provide('key', make(1));
    const names = store.list().map(({ name }) => name);
    expect(names.filter((name) => name.startsWith('failed '))).to.have.length(10);
    expect(names).to.include('failed test 11').and.not.to.include('failed test 0');
  });
});
