import { expect } from 'chai';
import { attachVirtioFs, Volume } from '../../../device/index.ts';
import { loadCodec } from '../../../device/snapshot/codec/codec.ts';
import { SnapshotError } from '../../../device/snapshot/errors.ts';
import { decodePrefix, LAYER_VERSION, PREFIX_LENGTH } from '../../../device/snapshot/layer.ts';
import { MachineSnapshots } from '../../../device/snapshot/machine-snapshots.ts';
import { type FileStore, MemoryStore } from '../../../device/snapshot/store/file-store.ts';
import { SnapshotStore } from '../../../device/snapshot/store/snapshot-store.ts';
import { type BareMachine, bareMachine } from '../../support/bare-machine.ts';

const PAGE = 4096;
const machineOf = { memory: 16 };

interface Frozen {
  machine: BareMachine;
  volume: Volume;
  snapshots: MachineSnapshots;
}

function fillRandomly(ram: Uint8Array, from: number, to: number): void {
  ram.set(crypto.getRandomValues(new Uint8Array(to - from)), from);
}

describe('layered snapshots of a real v86', () => {
  let files: MemoryStore;
  let store: SnapshotStore;
  let running: BareMachine[] = [];

  async function make(): Promise<Frozen> {
    const volume = new Volume();
    let snapshots: Promise<MachineSnapshots>;
    const machine = await bareMachine((emulator) => {
      attachVirtioFs(emulator, { tag: 'share', volume });
      snapshots = MachineSnapshots.of(emulator, store);
    });
    running.push(machine);
    return { machine, volume, snapshots: await snapshots! };
  }

  const ram = ({ machine: { cpu } }: Frozen) => cpu.mem8;
  const contents = (frozen: Frozen) => ram(frozen).slice();
  const freeze = (frozen: Frozen, name?: string) => frozen.snapshots.freeze({ name, machine: machineOf });

  beforeEach(async () => {
    files = new MemoryStore();
    store = await SnapshotStore.open(files, loadCodec());
  });
  afterEach(async () => {
    await Promise.all(running.map((machine) => machine.destroy()));
    running = [];
  });

  it('takes a machine back: RAM, registers and files', async () => {
    const vm = await make();
    fillRandomly(ram(vm), 5 * PAGE, 20 * PAGE);
    vm.volume.writeFileSync('/file', 'before');
    vm.machine.writeConfig(13, 0x3c, 11, 1);
    const before = contents(vm);
    const { id } = await freeze(vm);
    ram(vm).fill(7, 6 * PAGE, 30 * PAGE);
    ram(vm).fill(0, 0, 6 * PAGE);
    vm.volume.writeFileSync('/file', 'after');
    vm.volume.writeFileSync('/other', 'x');
    vm.machine.writeConfig(13, 0x3c, 5, 1);
    await vm.snapshots.restore(id);
    expect(contents(vm)).to.deep.equal(before);
    expect(vm.volume.readFileSync('/file', 'utf8')).to.equal('before');
    expect(vm.volume.existsSync('/other')).to.equal(false);
    expect(vm.machine.readConfig(13, 0x3c, 1)).to.equal(11);
  });

  it('goes on in a new machine', async () => {
    const vm = await make();
    fillRandomly(ram(vm), 100 * PAGE, 110 * PAGE);
    vm.volume.mkdirSync('/dir');
    vm.volume.writeFileSync('/dir/big', 'y'.repeat(300_000));
    const { id } = await freeze(vm);
    const other = await make();
    await other.snapshots.restore(id);
    expect(contents(other)).to.deep.equal(contents(vm));
    expect(other.volume.readFileSync('/dir/big', 'utf8')).to.equal('y'.repeat(300_000));
  });

  it('saves only what changed: pages, and chunks of files', async () => {
    const vm = await make();
    fillRandomly(ram(vm), 0, 10 * PAGE);
    for (let n = 1; n < 10; n++) vm.volume.writeFileSync(`/${n}`, crypto.getRandomValues(new Uint8Array(60_000)));
    const first = await freeze(vm);
    const second = await freeze(vm);
    ram(vm)[3 * PAGE + 5]! ^= 1;
    vm.volume.writeFileSync('/1', crypto.getRandomValues(new Uint8Array(60_000)));
    const third = await freeze(vm);
    expect(first.changedPages).to.be.at.least(10);
    expect([second.changedPages, third.changedPages]).to.deep.equal([0, 1]);
    const added = store.list().map(({ addedBytes }) => addedBytes);
    expect(added[0]).to.be.greaterThan(540_000);
    expect(added[1]).to.be.lessThan(20_000);
    expect(added[2]).to.be.within(64_000, 100_000);
    expect(store.list().map(({ parent }) => parent)).to.deep.equal(['', first.id, second.id]);
  });

  it('goes to and fro between snapshots', async () => {
    const vm = await make();
    const states: { id: string; bytes: Uint8Array }[] = [];
    for (let n = 0; n < 5; n++) {
      for (let k = 0; k < 20; k++) ram(vm).fill(n * 16 + k, (n * 10 + k) * PAGE, (n * 10 + k) * PAGE + PAGE);
      ram(vm).fill(0, n * PAGE, (n + 1) * PAGE);
      states.push({ id: (await freeze(vm)).id, bytes: contents(vm) });
    }
    for (const n of [2, 0, 4, 1, 3, 3, 0]) {
      ram(vm).fill(n, 99 * PAGE, 101 * PAGE);
      await vm.snapshots.restore(states[n]!.id);
      expect(Buffer.compare(contents(vm), states[n]!.bytes), `snapshot ${n}`).to.equal(0);
    }
    const again = await freeze(vm);
    expect(again.changedPages).to.equal(0);
    const other = await make();
    await other.snapshots.restore(again.id);
    expect(Buffer.compare(contents(other), states[0]!.bytes)).to.equal(0);
  });

  it('a snapshot does not change when files are written afterwards, nor when it is restored and written', async () => {
    const vm = await make();
    vm.volume.writeFileSync('/file', 'a'.repeat(100_000));
    const freezing = freeze(vm);
    vm.volume.writeFileSync('/file', 'b'.repeat(100_000));
    const { id } = await freezing;
    for (let n = 0; n < 3; n++) {
      await vm.snapshots.restore(id);
      expect(vm.volume.readFileSync('/file', 'utf8').slice(0, 9)).to.equal('aaaaaaaaa');
      const fd = vm.volume.openSync('/file', 'r+');
      vm.volume.writeSync(fd, 'changed', 0);
      vm.volume.closeSync(fd);
    }
  });

  it('what the host had open is closed by a restore, and it watches anew', async () => {
    const vm = await make();
    const { volume } = vm;
    volume.writeFileSync('/file', 'text');
    const fd = volume.openSync('/file', 'r');
    const { id } = await freeze(vm);
    expect(volume.readSync(fd, Buffer.alloc(4), 0, 4, 0), 'a freeze closes nothing').to.equal(4);
    await vm.snapshots.restore(id);
    expect(() => volume.readSync(fd, Buffer.alloc(4), 0, 4, 0)).to.throw(/EBADF/);
    const seen: string[] = [];
    const watcher = volume.watch('/', {}, (event, name) => seen.push(`${event} ${String(name)}`));
    volume.writeFileSync('/new', '');
    await new Promise((resolve) => setTimeout(resolve, 10));
    watcher.close();
    expect(seen).to.include('rename new');
  });

  /** A machine frozen twice: the second snapshot, of `expected` RAM, needs what is in the first. */
  async function frozenTwice() {
    const vm = await make();
    fillRandomly(ram(vm), 0, 16 * PAGE);
    const first = await freeze(vm, 'first');
    fillRandomly(ram(vm), 20 * PAGE, 24 * PAGE);
    return { vm, first, expected: contents(vm), second: await freeze(vm, 'second') };
  }

  it('gives a snapshot another name, and is as it was otherwise', async () => {
    const { vm, first, expected, second } = await frozenTwice();
    const before = store.info(first.id);
    await store.rename(first.id, 'a name that is longer');
    const third = await freeze(vm, 'third');
    for (const opened of [store, await SnapshotStore.open(files, loadCodec())]) {
      expect(opened.list().map(({ name }) => name)).to.deep.equal(['a name that is longer', 'second', 'third']);
      expect(opened.info(first.id)).to.deep.equal({ ...before, name: 'a name that is longer' });
      expect(opened.info(second.id).parent).to.equal(first.id);
      for (const { id } of [first, second, third]) await opened.verify(id);
    }
    const other = await make();
    await other.snapshots.restore(second.id);
    expect(Buffer.compare(contents(other), expected)).to.equal(0);
  });

  it('removes snapshots, and keeps what others need', async () => {
    const { first, expected, second } = await frozenTwice();
    await store.remove(first.id);
    store = await SnapshotStore.open(files, loadCodec());
    expect(store.list().map(({ name }) => name)).to.deep.equal(['second']);
    await store.verify(second.id);
    const other = await make();
    await other.snapshots.restore(second.id);
    expect(Buffer.compare(contents(other), expected)).to.equal(0);
    await store.remove(second.id);
    expect(await store.gc()).to.be.greaterThan(0);
    expect(await files.list()).to.deep.equal([]);
  });

  it('a machine whose last snapshot was removed is frozen whole the next time', async () => {
    const vm = await make();
    fillRandomly(ram(vm), 0, 16 * PAGE);
    const first = await freeze(vm);
    await store.remove(first.id);
    await store.gc();
    fillRandomly(ram(vm), 20 * PAGE, 21 * PAGE);
    const expected = contents(vm);
    const second = await freeze(vm);
    await store.verify(second.id);
    const other = await make();
    await other.snapshots.restore(second.id);
    expect(Buffer.compare(contents(other), expected)).to.equal(0);
  });

  it('exports one file that stands alone, and imports it elsewhere', async () => {
    const vm = await make();
    fillRandomly(ram(vm), 0, 16 * PAGE);
    await freeze(vm);
    vm.volume.writeFileSync('/f', 'contents');
    const { id } = await freeze(vm, 'moved');
    const file = Buffer.concat(await store.export(id));
    const expected = contents(vm);
    store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const imported = await store.import(file);
    const other = await make();
    await other.snapshots.restore(imported);
    expect(Buffer.compare(contents(other), expected)).to.equal(0);
    expect(store.info(imported)).to.include({ name: 'moved', parent: '' });
  });

  it('finds by name, id and beginning of an id, and says what there is', async () => {
    const vm = await make();
    const { id } = await freeze(vm, 'base');
    expect([store.find('base'), store.find(id), store.find(id.slice(0, 6))]).to.deep.equal([id, id, id]);
    expect(() => store.find('nothing')).to.throw(SnapshotError, /no snapshot is called "nothing": there are base/);
  });

  describe('what is wrong is told, and the machine stays as it was', () => {
    /** A file of a store with one byte changed, or cut. */
    async function damage(change: (bytes: Uint8Array) => Uint8Array): Promise<FileStore> {
      const damaged = new MemoryStore();
      for (const name of await files.list()) await damaged.write(name, [change((await files.read(name, 0)).slice())]);
      return damaged;
    }

    async function attempt(from: FileStore, id: string, vm: Frozen): Promise<Error | undefined> {
      const before = contents(vm);
      try {
        const opened = await SnapshotStore.open(from, loadCodec());
        const { machine } = vm;
        const snapshots = await MachineSnapshots.of(machine.emulator, opened);
        await snapshots.restore(id);
        return undefined;
      } catch (error) {
        expect(Buffer.compare(contents(vm), before)).to.equal(0);
        expect(vm.volume.readFileSync('/mine', 'utf8')).to.equal('untouched');
        return error as Error;
      }
    }

    it('every flipped byte of the head, any cut, and any flipped byte of a chunk', async function () {
      this.timeout(60_000);
      const vm = await make();
      fillRandomly(ram(vm), 0, 4 * PAGE);
      const { id } = await freeze(vm);
      const [name] = await files.list();
      const layer = await files.read(name!, 0);
      const { length } = layer;
      const headEnd = PREFIX_LENGTH + decodePrefix(layer, 'x').headLength;
      for (let at = 0; at < headEnd; at++) {
        const opened = await SnapshotStore.open(await damage((bytes) => ((bytes[at]! ^= 0x10), bytes)), loadCodec());
        expect(opened.list(), `byte ${at} of the head`).to.deep.equal([]);
        expect(opened.damaged().map(({ file }) => file)).to.deep.equal([name]);
      }
      const other = await make();
      other.volume.writeFileSync('/mine', 'untouched');
      const flips = Array.from({ length: 60 }, (_, n) => Math.floor((length - 1) * (n / 59)));
      for (const at of flips) {
        const error = await attempt(await damage((bytes) => ((bytes[at]! ^= 0x10), bytes)), id, other);
        expect(error, `byte ${at} of ${length}`).to.be.instanceOf(SnapshotError);
      }
      for (let end = 0; end < length; end += 1024) {
        expect(
          await attempt(await damage((bytes) => bytes.subarray(0, end)), id, other),
          `cut at ${end}`,
        ).to.be.instanceOf(SnapshotError);
      }
      expect(await attempt(files, id, other)).to.equal(undefined);
    });

    it('a newer version, and one of before the first', async () => {
      await freeze(await make());
      for (const [version, says] of [
        [LAYER_VERSION + 1, 'use a newer release'],
        [0, 'take it again'],
      ] as const) {
        const opened = await SnapshotStore.open(await damage((bytes) => ((bytes[8] = version), bytes)), loadCodec());
        expect(opened.damaged()[0]!.reason).to.include(
          `format version ${version}, and this release reads versions 1 to ${LAYER_VERSION}: ${says}`,
        );
      }
    });

    it('chunks that changed places, and a layer that is missing', async () => {
      const vm = await make();
      for (let at = 0; at < 64; at += 16) fillRandomly(ram(vm), at * PAGE, (at + 16) * PAGE);
      const { id: first } = await freeze(vm);
      const [lower] = await files.list();
      const other = await make();
      other.volume.writeFileSync('/mine', 'untouched');
      const HALF = 16 * PAGE;
      const swapped = await damage((bytes) => {
        const end = bytes.length;
        return Buffer.concat([
          bytes.subarray(0, end - 2 * HALF),
          bytes.subarray(end - HALF),
          bytes.subarray(end - 2 * HALF, end - HALF),
        ]);
      });
      expect(await attempt(swapped, first, other))
        .to.be.instanceOf(SnapshotError)
        .with.property('message')
        .that.matches(/is damaged: its chunk/);
      fillRandomly(ram(vm), 0, PAGE);
      const { id } = await freeze(vm);
      const partial = new MemoryStore();
      for (const name of await files.list()) if (name !== lower) await partial.write(name, [await files.read(name, 0)]);
      expect(await attempt(partial, id, other))
        .to.be.instanceOf(SnapshotError)
        .with.property('message')
        .that.matches(/missing/);
    });

    it('a machine of another size', async () => {
      const vm = await make();
      const { id } = await freeze(vm);
      let snapshots: Promise<MachineSnapshots>;
      const larger = await bareMachine(
        (emulator) => {
          attachVirtioFs(emulator, { tag: 'share' });
          snapshots = MachineSnapshots.of(emulator, store);
        },
        { memory_size: 32 << 20 },
      );
      running.push(larger);
      const error = await (await snapshots!).restore(id).catch((caught: Error) => caught);
      expect(error)
        .to.be.instanceOf(SnapshotError)
        .with.property('message')
        .that.matches(/memory differs: the snapshot has 16 MiB, this emulator 32/);
    });

    it('another tag', async () => {
      const vm = await make();
      const { id } = await freeze(vm);
      let snapshots: Promise<MachineSnapshots>;
      running.push(
        await bareMachine((emulator) => {
          attachVirtioFs(emulator, { tag: 'other' });
          snapshots = MachineSnapshots.of(emulator, store);
        }),
      );
      const error = await (await snapshots!).restore(id).catch((caught: Error) => caught);
      expect(error)
        .to.be.instanceOf(SnapshotError)
        .with.property('message')
        .that.matches(/"share" in slot 13; this emulator "other"/);
    });

    it('a store that fails: the next snapshot is whole all the same', async () => {
      const vm = await make();
      fillRandomly(ram(vm), 0, 4 * PAGE);
      const write = files.write.bind(files);
      files.write = async () => {
        throw new Error('disk full');
      };
      expect(await freeze(vm).catch((error: Error) => error.message)).to.equal('disk full');
      files.write = write;
      const { id } = await freeze(vm);
      const other = await make();
      await other.snapshots.restore(id);
      expect(Buffer.compare(contents(other), contents(vm))).to.equal(0);
    });
  });
});
