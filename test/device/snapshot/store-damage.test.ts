import { expect } from 'chai';
import { type FileStore, loadCodec, MemoryStore, SnapshotError, SnapshotStore } from '../../../device/index.ts';
import { decodePrefix, PREFIX_LENGTH } from '../../../device/snapshot/layer.ts';
import { addSnapshot, contentOf } from '../../support/small-snapshots.ts';

/** Files of which some can't be read, or are damaged. */
class Files implements FileStore {
  readonly files: MemoryStore;
  readonly unreadable = new Map<string, string>();

  constructor(files = new MemoryStore()) {
    this.files = files;
  }

  list(): Promise<string[]> {
    return this.files.list();
  }

  async read(name: string, from: number, to?: number): Promise<Uint8Array> {
    const code = this.unreadable.get(name);
    if (code) throw Object.assign(new Error(`${code}: can't read ${name}`), { code });
    return this.files.read(name, from, to);
  }

  write(name: string, parts: readonly Uint8Array[]): Promise<void> {
    return this.files.write(name, parts);
  }

  remove(name: string): Promise<void> {
    return this.files.remove(name);
  }

  exclusively<T>(action: () => Promise<T>): Promise<T> {
    return this.files.exclusively(action);
  }

  async change(name: string, change: (bytes: Uint8Array) => Uint8Array | void): Promise<void> {
    const bytes = (await this.files.read(name, 0)).slice();
    await this.files.write(name, [change(bytes) ?? bytes]);
  }
}

type Damage = (files: Files, name: string) => Promise<void> | void;

const headEnd = (bytes: Uint8Array) => PREFIX_LENGTH + decodePrefix(bytes, 'x').headLength;
const flip =
  (place: (bytes: Uint8Array) => number): Damage =>
  (files, name) =>
    files.change(name, (bytes) => void (bytes[place(bytes)]! ^= 0x10));
const cut =
  (place: (bytes: Uint8Array) => number): Damage =>
  (files, name) =>
    files.change(name, (bytes) => bytes.subarray(0, place(bytes)));

/** What can happen to a file. After each its snapshot, and those that need its chunks, are damaged; `costsNothing`: or not even those. */
const DAMAGES: { name: string; damage: Damage; costsNothing?: boolean; isSeenLate?: boolean }[] = [
  { name: 'a flipped byte of the magic', damage: flip(() => 3) },
  { name: 'a flipped byte of the lengths', damage: flip(() => 13) },
  { name: 'a flipped byte of the head', damage: flip((bytes) => headEnd(bytes) - 20) },
  { name: 'a flipped byte of the last chunk', damage: flip((bytes) => bytes.length - 1), isSeenLate: true },
  { name: 'a cut in the prefix', damage: cut(() => 40) },
  { name: 'a cut in the head', damage: cut((bytes) => headEnd(bytes) - 1) },
  { name: 'a cut in the chunks', damage: cut((bytes) => bytes.length - 1) },
  { name: 'an empty file', damage: (files, name) => files.files.write(name, []) },
  {
    name: 'a file of something else',
    damage: (files, name) => files.files.write(name, [new TextEncoder().encode('<!DOCTYPE html>'.repeat(20))]),
  },
  { name: 'a format of a later release', damage: (files, name) => files.change(name, (bytes) => void (bytes[8] = 99)) },
  { name: 'no right to read it', damage: (files, name) => void files.unreadable.set(name, 'EACCES') },
  { name: 'a disk that fails', damage: (files, name) => void files.unreadable.set(name, 'EIO') },
  { name: 'a file that is gone', damage: (files, name) => files.files.remove(name) },
  {
    name: 'a copy under another name',
    damage: async (files, name) => files.files.write('copy.layer', [await files.read(name, 0)]),
    costsNothing: true,
  },
  {
    name: 'a layer of somebody else, which is damaged',
    damage: (files) => files.files.write('photo.layer', [Uint8Array.of(1, 2, 3)]),
    costsNothing: true,
  },
];

/** Which layer is damaged, and the snapshots that it costs. */
const VICTIMS = {
  'a snapshot alone': ['alone'],
  'a snapshot that another needs': ['base', 'above'],
  'chunks without a snapshot': ['kept'],
};

interface Made {
  files: Files;
  ids: Record<string, string>;
  layerOf: Record<keyof typeof VICTIMS, string>;
}

/** Four snapshots: `above` needs chunks of `base`, and `kept` those of one that was removed. */
async function make(): Promise<Made> {
  const files = new Files();
  const store = await SnapshotStore.open(files, loadCodec());
  const ids: Record<string, string> = {};
  ids['alone'] = await addSnapshot(store, 'alone', [contentOf(1), contentOf(2)]);
  ids['base'] = await addSnapshot(store, 'base', [contentOf(3), contentOf(4)]);
  ids['above'] = await addSnapshot(store, 'above', [contentOf(4), contentOf(5)]);
  const removed = await addSnapshot(store, 'removed', [contentOf(6), contentOf(7)]);
  ids['kept'] = await addSnapshot(store, 'kept', [contentOf(7), contentOf(8)]);
  await store.remove(removed);
  const known = new Set(Object.values(ids).map((id) => `${id}.layer`));
  const chunks = (await files.list()).find((name) => !known.has(name))!;
  return {
    files,
    ids,
    layerOf: {
      'a snapshot alone': `${ids['alone']}.layer`,
      'a snapshot that another needs': `${ids['base']}.layer`,
      'chunks without a snapshot': chunks,
    },
  };
}

const attempt = (action: Promise<unknown>): Promise<Error | undefined> =>
  action.then(
    () => undefined,
    (error: Error) => error,
  );

describe('a damaged layer costs the snapshots that need it, and nothing else', function () {
  this.timeout(60_000);

  for (const victim of Object.keys(VICTIMS) as (keyof typeof VICTIMS)[]) {
    for (const { name, damage, costsNothing, isSeenLate } of DAMAGES) {
      it(`${victim}: ${name}`, async () => {
        const { files, ids, layerOf } = await make();
        const file = layerOf[victim];
        const original = (await files.read(file, 0)).slice();
        await damage(files, file);
        const store = await SnapshotStore.open(files, loadCodec());
        const costs = costsNothing ? [] : VICTIMS[victim];
        const isHurt = (key: string) => costs.includes(key);

        // It is told before anything is read, but for what only reading can tell.
        const listed = store.list();
        for (const key of Object.keys(ids)) {
          const info = listed.find(({ id }) => id === ids[key]);
          const isTold = info?.damage !== '';
          expect(isTold, key).to.equal(isHurt(key) && !isSeenLate);
        }
        if (!isSeenLate && !costsNothing && name !== 'a file that is gone')
          expect(
            store.damaged().map((layer) => layer.file).length + listed.filter((info) => info.damage).length,
          ).to.be.greaterThan(0);

        for (const [key, id] of Object.entries(ids)) {
          for (const [operation, result] of [
            ['verify', await attempt(store.verify(id))],
            ['export', await attempt(store.export(id))],
          ] as const) {
            if (isHurt(key)) expect(result, `${operation} ${key}`).to.be.instanceOf(SnapshotError);
            else expect(result, `${operation} ${key}`).to.equal(undefined);
          }
          if (!isHurt(key)) await store.rename(id, `${key}, renamed`);
        }
        // What is stored now is whole, whatever it has in common with what is damaged.
        const fresh = await addSnapshot(
          store,
          'fresh',
          [2, 4, 7, 9].map((seed) => contentOf(seed)),
        );
        await store.verify(fresh);
        await store.gc();
        await store.verify(fresh);
        const other = Object.keys(ids).find((key) => !isHurt(key) && key !== 'base')!;
        await store.remove(ids[other]!);
        await store.gc();
        expect(store.list().map(({ id }) => id)).to.include(fresh);

        // Nothing that may still be saved was thrown away: with the file as it was everything is there.
        files.unreadable.clear();
        if (!costsNothing) await files.write(file, [original]);
        const repaired = await SnapshotStore.open(files, loadCodec());
        const lost =
          name === 'a file that is gone' ? VICTIMS[victim].filter((key) => `${ids[key]}.layer` === file) : [];
        for (const [key, id] of Object.entries({ ...ids, fresh })) {
          if (key !== other && !lost.includes(key))
            expect(await attempt(repaired.verify(id)), `${key}, repaired`).to.equal(undefined);
        }
      });
    }
  }

  it('is removed by its id, when nothing that others lack may be in it', async () => {
    const { files, ids } = await make();
    await files.change(`${ids['alone']}.layer`, (bytes) => void (bytes[70]! ^= 1));
    await files.change(`${ids['base']}.layer`, (bytes) => void (bytes[70]! ^= 1));
    const store = await SnapshotStore.open(files, loadCodec());
    expect(store.find(ids['alone']!.slice(0, 8))).to.equal(ids['alone']);
    expect(() => store.info(ids['alone']!)).to.throw(SnapshotError, /is damaged: the checksum of its head/);
    const error = await attempt(store.remove(ids['base']!));
    expect(error)
      .to.be.instanceOf(SnapshotError)
      .with.property('message')
      .that.matches(/may have what above lacks: copy it again, or remove that first/);
    expect(await files.list()).to.include(`${ids['base']}.layer`);
    await store.remove(ids['above']!);
    await store.remove(ids['base']!);
    await store.remove(ids['alone']!);
    expect(store.damaged()).to.deep.equal([]);
    await store.gc();
    await store.verify(ids['kept']!);
  });

  it('stays as long as it has what others need, however often it is to be removed', async () => {
    const { files, ids, layerOf } = await make();
    // The last chunk of each is one that another snapshot needs.
    for (const file of [layerOf['a snapshot that another needs'], layerOf['chunks without a snapshot']])
      await flip((bytes) => bytes.length - 1)(files, file);
    const store = await SnapshotStore.open(files, loadCodec());
    const before = await files.list();
    for (let time = 0; time < 2; time++) {
      expect(await attempt(store.remove(ids['base']!))).to.be.instanceOf(SnapshotError);
      await store.gc();
      expect(await files.list()).to.have.members(before);
    }
    // A chunk that nobody needs would make gc write the others anew.
    await store.remove(ids['kept']!);
    expect(await store.gc()).to.be.greaterThan(0);
    expect(await files.list()).not.to.include(layerOf['chunks without a snapshot']);
    expect(await files.list()).to.include(`${ids['base']}.layer`);
  });

  it('sequences of damage, repair and use lose nothing', async () => {
    let seed = 12345;
    const below = (count: number) => ((seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) >>> 8) % count;
    for (let round = 0; round < 40; round++) {
      const { files, ids } = await make();
      const live = new Map(Object.entries(ids));
      for (let step = 0; step < 6; step++) {
        const names = (await files.list()).filter((name) => name.endsWith('.layer'));
        const file = names[below(names.length)]!;
        const original = (await files.read(file, 0)).slice();
        await DAMAGES[below(DAMAGES.length - 3)]!.damage(files, file);
        const store = await SnapshotStore.open(files, loadCodec());
        for (let action = 0; action < 4; action++) {
          const key = [...live.keys()][below(live.size)]!;
          const id = live.get(key)!;
          const error = await attempt(
            [
              () => store.gc(),
              async () => {
                if (live.size < 3) return;
                await store.remove(id);
                live.delete(key);
              },
              () => store.rename(id, `${round}`),
              () => store.verify(id),
              async () =>
                live.set(
                  `${round}-${step}-${action}`,
                  await addSnapshot(store, 'x', [contentOf(below(12)), contentOf(below(12))]),
                ),
              async () =>
                live.set(`${round}-${step}-${action}`, await store.import(Buffer.concat(await store.export(id)))),
            ][below(6)]!(),
          );
          if (error) expect(error, error.stack).to.be.instanceOf(SnapshotError);
        }
        files.unreadable.clear();
        if ((await files.list()).includes(file)) await files.write(file, [original]);
      }
      const store = await SnapshotStore.open(files, loadCodec());
      expect(store.damaged()).to.deep.equal([]);
      for (const [key, id] of live)
        expect(await attempt(store.verify(id)), `${key} in round ${round}`).to.equal(undefined);
    }
  });
});

/** Files of a process that ends at the operation with a number: before it, or when it is done. */
class MortalFiles implements FileStore {
  readonly #files: MemoryStore;
  #left: number;
  readonly #isAfter: boolean;
  isDead = false;

  constructor(files: MemoryStore, left: number, isAfter: boolean) {
    this.#files = files;
    this.#left = left;
    this.#isAfter = isAfter;
  }

  async #operate<T>(operation: () => Promise<T>): Promise<T> {
    if (this.isDead || this.#left-- <= 0) {
      if (!this.isDead && this.#isAfter) await operation();
      this.isDead = true;
      throw new Error('the process has ended');
    }
    return operation();
  }

  list = () => this.#operate(() => this.#files.list());
  read = (name: string, from: number, to?: number) => this.#operate(() => this.#files.read(name, from, to));
  write = (name: string, parts: readonly Uint8Array[]) => this.#operate(() => this.#files.write(name, parts));
  remove = (name: string) => this.#operate(() => this.#files.remove(name));
  exclusively = <T>(action: () => Promise<T>) => this.#files.exclusively(action);
}

describe('a process that ends at any operation on the files', () => {
  for (const isAfter of [false, true]) {
    it(`keeps what was said to be done: killed ${isAfter ? 'after' : 'before'} it`, async function () {
      this.timeout(60_000);
      let operations = 0;
      for (; ; operations++) {
        const memory = new MemoryStore();
        const files = new MortalFiles(memory, operations, isAfter);
        const done = new Map<string, string | undefined>();
        const removing = new Set<string>();
        const error = await attempt(
          (async () => {
            const store = await SnapshotStore.open(files, loadCodec());
            const add = async (name: string, seeds: number[]) => {
              const id = await addSnapshot(
                store,
                name,
                seeds.map((seed) => contentOf(seed)),
              );
              done.set(id, name);
              return id;
            };
            const remove = async (id: string) => {
              removing.add(id);
              await store.remove(id);
            };
            const a = await add('a', [1, 2]);
            const b = await add('b', [2, 3]);
            done.set(b, undefined);
            await store.rename(b, 'renamed');
            done.set(b, 'renamed');
            const c = await add('c', [3, 4]);
            await remove(a);
            await remove(b);
            const d = await store.import(Buffer.concat(await store.export(c)));
            done.set(d, 'c');
            await add('e', [1, 3]);
            await remove(c);
            await store.gc();
            await remove(d);
            await store.gc();
          })(),
        );
        const left = await SnapshotStore.open(memory, loadCodec());
        const check = async () => {
          for (const { id } of left.list()) await left.verify(id);
          for (const [id, name] of done)
            if (!removing.has(id))
              expect(left.info(id).name, `operation ${operations}`).to.be.oneOf(
                name === undefined ? ['b', 'renamed'] : [name],
              );
        };
        expect(left.damaged()).to.deep.equal([]);
        await check();
        await left.gc();
        await check();
        if (!error) break;
        expect(error.message).to.match(/the process has ended/);
      }
      expect(operations).to.be.greaterThan(50);
    });
  }
});
