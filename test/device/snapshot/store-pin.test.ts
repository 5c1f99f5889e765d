import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../../device/index.ts';
import { hashNames } from '../../../device/snapshot/layer.ts';
import { addSnapshot, contentOf } from '../../support/small-snapshots.ts';

/** Counts what is read of files. */
class Counting extends MemoryStore {
  reads = 0;

  override read(name: string, from: number, to?: number): Promise<Uint8Array> {
    this.reads++;
    return super.read(name, from, to);
  }
}

describe('a pinned snapshot', () => {
  it('is in memory once, for all who read it, until the last of them has let it go', async () => {
    const files = new Counting();
    const id = await addSnapshot(await SnapshotStore.open(files, loadCodec()), 'a', [contentOf(1), contentOf(2)]);
    const store = await SnapshotStore.open(files, loadCodec());
    const names = hashNames(store.frozen(id).ram.used);
    expect(store.pinnedLength(id)).to.equal(contentOf(1).length + contentOf(2).length);
    const unpin = [await store.pin(id), await store.pin(id)];
    files.reads = 0;
    const [one, two] = [await store.chunks(names), await store.chunks(names)];
    for (const [n, name] of names.entries()) {
      expect(one.get(name))
        .to.equal(two.get(name))
        .and.to.deep.equal(contentOf(n + 1));
      await store.visit([name], (_, bytes) => expect(bytes).to.equal(one.get(name)));
    }
    expect(files.reads).to.equal(0);
    unpin[0]!();
    unpin[0]!();
    expect((await store.chunks(names)).get(names[0]!)).to.equal(one.get(names[0]!));
    expect(files.reads).to.equal(0);
    unpin[1]!();
    expect((await store.chunks(names)).get(names[0]!)).to.deep.equal(contentOf(1));
    expect(files.reads).to.be.above(0);
  });

  it('can only be one that is whole', async () => {
    const files = new MemoryStore();
    const id = await addSnapshot(await SnapshotStore.open(files, loadCodec()), 'a', [contentOf(1)]);
    const [name] = await files.list();
    const bytes = (await files.read(name!, 0)).slice();
    bytes[bytes.length - 1]! ^= 1;
    await files.write(name!, [bytes]);
    const store = await SnapshotStore.open(files, loadCodec());
    expect(await store.pin(id).catch((error: Error) => error.message)).to.match(/is damaged/);
  });
});
