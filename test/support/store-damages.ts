import { expect } from 'chai';
import { type FileStore, loadCodec, SnapshotError, SnapshotStore } from '../../device/index.ts';
import { decodePrefix, PREFIX_LENGTH } from '../../device/snapshot/layer.ts';
import { addSnapshot, contentOf, contentsOf } from './small-snapshots.ts';

/** Where layers are kept, and what anybody can do to them there. */
export interface PlainFiles extends FileStore {
  exclusively: NonNullable<FileStore['exclusively']>;
  /** Puts bytes in the place of a file, or a file where there was none. */
  put(name: string, bytes: Uint8Array): Promise<void>;
  /** Takes a file away. */
  drop(name: string): Promise<void>;
  /** The same for another process. */
  another(): PlainFiles;
}

/** Files of which some can't be read, or are damaged. */
class Files implements FileStore {
  readonly files: PlainFiles;
  readonly unreadable = new Map<string, string>();

  constructor(files: PlainFiles) {
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
    const bytes = (await this.files.another().read(name, 0)).slice();
    await this.files.put(name, change(bytes) ?? bytes);
  }

  another(): Files {
    return Object.assign(new Files(this.files.another()), { unreadable: this.unreadable });
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
  { name: 'an empty file', damage: (files, name) => files.files.put(name, new Uint8Array(0)) },
  {
    name: 'a file of something else',
    damage: (files, name) => files.files.put(name, new TextEncoder().encode('<!DOCTYPE html>'.repeat(20))),
  },
  { name: 'a format of a later release', damage: (files, name) => files.change(name, (bytes) => void (bytes[8] = 99)) },
  { name: 'no right to read it', damage: (files, name) => void files.unreadable.set(name, 'EACCES') },
  { name: 'a disk that fails', damage: (files, name) => void files.unreadable.set(name, 'EIO') },
  { name: 'a file that is gone', damage: (files, name) => files.files.drop(name) },
  {
    name: 'a copy under another name',
    damage: async (files, name) => files.files.put('copy.layer', (await files.read(name, 0)).slice()),
    costsNothing: true,
  },
  {
    name: 'a layer of somebody else, which is damaged',
    damage: (files) => files.files.put('photo.layer', Uint8Array.of(1, 2, 3)),
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
async function make(plain: PlainFiles): Promise<Made> {
  const files = new Files(plain);
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

/** `rounds`: of random sequences. */
export function describeDamages(kind: string, makeFiles: () => Promise<PlainFiles>, rounds: number): void {
  describe(`a damaged layer in ${kind} costs the snapshots that need it, and nothing else`, function () {
    this.timeout(300_000);
    const open = (files: Files) => SnapshotStore.open(files.another(), loadCodec());

    for (const victim of Object.keys(VICTIMS) as (keyof typeof VICTIMS)[]) {
      for (const { name, damage, costsNothing, isSeenLate } of DAMAGES) {
        it(`${victim}: ${name}`, async () => {
          const { files, ids, layerOf } = await make(await makeFiles());
          const file = layerOf[victim];
          const original = (await files.another().read(file, 0)).slice();
          await damage(files, file);
          const store = await open(files);
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
          const fresh = await addSnapshot(store, 'fresh', contentsOf([2, 4, 7, 9]));
          await store.verify(fresh);
          await store.gc();
          await store.verify(fresh);
          const other = Object.keys(ids).find((key) => !isHurt(key) && key !== 'base')!;
          await store.remove(ids[other]!);
          await store.gc();
          expect(store.list().map(({ id }) => id)).to.include(fresh);

          // Nothing that may still be saved was thrown away: with the file as it was everything is there.
          files.unreadable.clear();
          if (!costsNothing) await files.files.put(file, original);
          const repaired = await open(files);
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
      const { files, ids } = await make(await makeFiles());
      await files.change(`${ids['alone']}.layer`, (bytes) => void (bytes[70]! ^= 1));
      await files.change(`${ids['base']}.layer`, (bytes) => void (bytes[70]! ^= 1));
      const store = await open(files);
      expect(store.find(ids['alone']!.slice(0, 8))).to.equal(ids['alone']);
      expect(() => store.info(ids['alone']!)).to.throw(SnapshotError, /is damaged: the checksum of its head/);
      const error = await attempt(store.remove(ids['base']!));
      expect(error)
        .to.be.instanceOf(SnapshotError)
        .with.property('message')
        .that.matches(/may have what above lacks: copy it again, or remove that first/);
      expect(await files.another().list()).to.include(`${ids['base']}.layer`);
      await store.remove(ids['above']!);
      await store.remove(ids['base']!);
      await store.remove(ids['alone']!);
      expect(store.damaged()).to.deep.equal([]);
      await store.gc();
      await store.verify(ids['kept']!);
    });

    it('stays as long as it has what others need, however often it is to be removed', async () => {
      const { files, ids, layerOf } = await make(await makeFiles());
      // The last chunk of each is one that another snapshot needs.
      for (const file of [layerOf['a snapshot that another needs'], layerOf['chunks without a snapshot']])
        await flip((bytes) => bytes.length - 1)(files, file);
      const store = await open(files);
      const before = await files.another().list();
      for (let time = 0; time < 2; time++) {
        expect(await attempt(store.remove(ids['base']!))).to.be.instanceOf(SnapshotError);
        await store.gc();
        expect(await files.another().list()).to.have.members(before);
      }
      // A chunk that nobody needs would make gc write the others anew.
      await store.remove(ids['kept']!);
      expect(await store.gc()).to.be.greaterThan(0);
      expect(await files.another().list()).not.to.include(layerOf['chunks without a snapshot']);
      expect(await files.another().list()).to.include(`${ids['base']}.layer`);
    });

    it('what is sound stays so, and what comes in is, in one process after the other, whatever is damaged for good', async () => {
      let seed = 54321;
      const below = (count: number) => ((seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) >>> 8) % count;
      for (let round = 0; round < rounds; round++) {
        const { files, ids } = await make(await makeFiles());
        const exported = await Promise.all(
          Object.values(ids).map(async (id) => Buffer.concat(await (await open(files)).export(id))),
        );
        const sound = async () => {
          const store = await open(files);
          const found: string[] = [];
          for (const { id } of store.list()) if (!(await attempt(store.verify(id)))) found.push(id);
          return found;
        };
        for (let step = 0; step < 10; step++) {
          const names = (await files.another().list()).filter((name) => name.endsWith('.layer'));
          const file = names[below(names.length)];
          // Somewhere in the chunks; or at their end, which is seen at once.
          if (file && step % 3 === 0)
            await (below(3)
              ? flip((bytes) => headEnd(bytes) + below(bytes.length - headEnd(bytes)))
              : cut((bytes) => bytes.length - 1))(files, file);
          const before = await sound();
          const store = await open(files);
          const all = store.list().map(({ id }) => id);
          const id = all[below(all.length)]!;
          let gone = '';
          let come: string | undefined;
          const error = await attempt(
            [
              () => store.gc(),
              async () => {
                await store.remove(id);
                gone = id;
              },
              () => store.rename(id, `${round}`),
              async () => (come = await store.import(exported[below(exported.length)]!)),
            ][all.length ? below(4) : 3]!(),
          );
          if (error) expect(error, error.stack).to.be.instanceOf(SnapshotError);
          const after = await sound();
          expect(after, `round ${round}, step ${step}`).to.include.members(before.filter((each) => each !== gone));
          if (come !== undefined) expect(after, `what has come in round ${round}, step ${step}`).to.include(come);
        }
      }
    });

    it('is called by no name that is empty', async () => {
      const { files } = await make(await makeFiles());
      const store = await open(files);
      await addSnapshot(store, '', [contentOf(20)]);
      await files.files.put('photo.layer', Uint8Array.of(1, 2, 3));
      await store.refresh();
      expect(() => store.find('')).to.throw(SnapshotError, /no snapshot is called ""/);
    });

    it('sequences of damage, repair and use lose nothing', async () => {
      let seed = 12345;
      const below = (count: number) => ((seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) >>> 8) % count;
      for (let round = 0; round < rounds; round++) {
        const { files, ids } = await make(await makeFiles());
        const live = new Map(Object.entries(ids));
        for (let step = 0; step < 6; step++) {
          const names = (await files.another().list()).filter((name) => name.endsWith('.layer'));
          const file = names[below(names.length)]!;
          const original = (await files.another().read(file, 0)).slice();
          await DAMAGES[below(DAMAGES.length - 3)]!.damage(files, file);
          const store = await open(files);
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
          if ((await files.another().list()).includes(file)) await files.files.put(file, original);
        }
        const store = await open(files);
        expect(store.damaged()).to.deep.equal([]);
        for (const [key, id] of live)
          expect(await attempt(store.verify(id)), `${key} in round ${round}`).to.equal(undefined);
      }
    });
  });
}
