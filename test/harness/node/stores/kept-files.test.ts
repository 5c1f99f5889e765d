import { expect } from 'chai';
import { loadCodec, SnapshotStore } from '../../../../device/index.ts';
import { openFiles } from '../../../../harness/node/stores/open-files.ts';
import { addSnapshot, contentOf } from '../../../support/small-snapshots.ts';
import { STORE_KINDS } from '../../../support/store-kinds.ts';
import { storm } from '../../../support/store-storm.ts';

for (const kind of STORE_KINDS)
  describe(`a store in ${kind.kind}`, () => {
    let location: string;
    beforeEach(async function () {
      this.timeout(300_000);
      location = await kind.make();
    });
    afterEach(() => kind.remove(location));

    it('keeps files, read whole and in part', async () => {
      const store = openFiles(location);
      expect(await store.list()).to.deep.equal([]);
      await store.write('a.layer', [Uint8Array.of(1, 2), Uint8Array.of(3, 4, 5)]);
      expect(await store.list()).to.deep.equal(['a.layer']);
      expect([...(await store.read('a.layer', 0))]).to.deep.equal([1, 2, 3, 4, 5]);
      expect([...(await store.read('a.layer', 1, 3))]).to.deep.equal([2, 3]);
      expect([...(await store.read('a.layer', 4, 100))]).to.deep.equal([5]);
      await store.write('a.layer', [Uint8Array.of(6)]);
      expect([...(await store.read('a.layer', 0))]).to.deep.equal([6]);
      await store.remove('a.layer');
      expect(await store.list()).to.deep.equal([]);
      const error: unknown = await store.read('a.layer', 0).catch((caught: unknown) => caught);
      expect(error).to.be.instanceOf(Error);
    });

    it('reads every part of a large file', async () => {
      const bytes = Buffer.from(Array.from({ length: 20_000 }, (_, n) => (n * n) >> 3));
      await openFiles(location).write('a.layer', [bytes]);
      for (const [from, to] of [
        [0, 1],
        [4091, 4093],
        [100, 20_000],
        [8184, 8184],
        [19_999, 30_000],
        [20_000, 20_001],
        [0, undefined],
      ] as const) {
        const store = openFiles(location);
        await store.list();
        for (let time = 0; time < 2; time++)
          expect(
            Buffer.from(await store.read('a.layer', from, to)).equals(bytes.subarray(from, to)),
            `${from}`,
          ).to.equal(true);
      }
    });

    it('lets one change it at a time', async () => {
      const stores = Array.from({ length: 5 }, () => openFiles(location));
      await Promise.all(
        stores.map((store) =>
          store.exclusively(async () => {
            const [name = '0'] = await store.list();
            await store.write(`${Number(name) + 1}`, []);
            if (name !== '0') await store.remove(name);
          }),
        ),
      );
      expect(await openFiles(location).list()).to.deep.equal(['5']);
    });

    it('two that are open keep what the other builds on, and find what the other has moved', async () => {
      const [a, b] = (await Promise.all(
        [0, 1].map(() => SnapshotStore.open(openFiles(location, { isFresh: true }), loadCodec())),
      )) as [SnapshotStore, SnapshotStore];
      const base = await addSnapshot(a, 'base', [contentOf(1), contentOf(2)]);
      await b.refresh();
      const two = await addSnapshot(a, 'two', [contentOf(1), contentOf(3)]);
      await b.remove(base);
      await b.gc();
      await a.verify(two);
      await b.verify(two);
      await b.rename(two, 'a longer name, so that everything in the file moves');
      await a.verify(two);
      await b.remove(two);
      expect(await a.verify(two).catch((error: Error) => error.message)).to.match(/no snapshot|missing|no such/);
    });

    it('loses nothing when three change it at random and are killed', async function () {
      this.timeout(120_000);
      await storm(kind, location, { processes: 3, milliseconds: 4000 });
    });
  });
