import { mkdtemp, readdir, rm, stat, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadCodec, SnapshotStore } from '../../../device/index.ts';
import { BucketError } from '../../../harness/node/stores/bucket.ts';
import { openFiles } from '../../../harness/node/stores/open-files.ts';
import { BaseStore } from '../../../harness/testing/base-store.ts';
import { addSnapshot, contentOf } from '../../support/small-snapshots.ts';
import { BUCKET } from '../../support/store-kinds.ts';

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

  it('makes one again whose first making was days ago', async () => {
    const id = await provide(1);
    const then = new Date(Date.now() - 48 * HOUR);
    await utimes(join(directory, '.making/key1'), then, then);
    await rm(join(directory, `${id}.layer`));
    made = 0;
    await provide(1);
    expect(made).to.equal(1);
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

describe('the store of base machines of several machines', () => {
  let location: string;
  before(async function () {
    this.timeout(300_000);
    location = await BUCKET.make();
  });

  it('has what the first of them has made', async () => {
    let made = 0;
    const make = async (store: SnapshotStore, name: string) => {
      made++;
      await addSnapshot(store, name, [contentOf(1)]);
    };
    const first = await new BaseStore(location).provide('key', make);
    expect((await new BaseStore(location).provide('key', make)).id).to.equal(first.id);
    expect(made).to.equal(1);
    const failed = await addSnapshot(first.store, '', [contentOf(1), contentOf(2)]);
    const kept = await new BaseStore(location).keepFailure(first, failed, 'a test');
    const store = await SnapshotStore.open(openFiles(location), loadCodec());
    expect(store.find('failed a test')).to.equal(kept);
    await store.verify(kept);
  });

  it('makes none because the server does not answer', async () => {
    let made = 0;
    const make = (seed: number) => async (store: SnapshotStore, name: string) => {
      made++;
      await addSnapshot(store, name, [contentOf(seed)]);
    };
    const { id } = await new BaseStore(location).provide('other', make(20));
    const place = new URL(location).searchParams.get('endpoint')!;
    const gone = new BaseStore(location.replace(encodeURIComponent(place), encodeURIComponent('http://127.0.0.1:1')));
    const error = await gone.provide('other', make(20)).catch((caught: unknown) => caught);
    expect(error).to.be.instanceOf(BucketError);
    expect(made).to.equal(1);
    expect((await new BaseStore(location).provide('other', make(20))).id).to.equal(id);
  });
});
