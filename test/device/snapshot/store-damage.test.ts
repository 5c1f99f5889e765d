import { expect } from 'chai';
import { type FileStore, loadCodec, MemoryStore, SnapshotStore } from '../../../device/index.ts';
import { adder } from '../../support/small-snapshots.ts';
import { describeDamages, type PlainFiles } from '../../support/store-damages.ts';

class PlainMemory extends MemoryStore implements PlainFiles {
  put(name: string, bytes: Uint8Array): Promise<void> {
    return this.write(name, [bytes]);
  }

  drop(name: string): Promise<void> {
    return this.remove(name);
  }

  another(): PlainFiles {
    return this;
  }
}

describeDamages('memory', () => Promise.resolve(new PlainMemory()), 40);

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
        const error = await (async () => {
          const store = await SnapshotStore.open(files, loadCodec());
          const add = adder(store, done);
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
        })().catch((thrown: Error) => thrown);
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
