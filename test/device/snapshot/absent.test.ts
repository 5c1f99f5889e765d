import { expect } from 'chai';
import { BytesSource } from '../../../device/bytes.ts';
import type { MemoryOrigin } from '../../../device/filesystems/memory/inode-table.ts';
import { EIO, FsError } from '../../../device/fs/errno.ts';
import { AbsentBytes, type ContentChunk } from '../../../device/fs/origin.ts';
import {
  attachVirtioFs,
  diff,
  exportWhole,
  inspect,
  MemoryFileSystem,
  MemoryStore,
  SnapshotError,
  SnapshotStore,
} from '../../../device/index.ts';
import { loadCodec } from '../../../device/snapshot/codec/codec.ts';
import { decodeFields, encodeFields } from '../../../device/snapshot/fields.ts';
import { MachineSnapshots } from '../../../device/snapshot/machine-snapshots.ts';
import { type BareMachine, bareMachine } from '../../support/bare-machine.ts';
import { ChunkOrigin, empty } from '../../support/chunk-origin.ts';

const CHUNK = 65_536;
const NODE = { mode: 0o100644, uid: 0, gid: 0 };
const machineOf = { memory: 16 };

describe('snapshots of files whose content is elsewhere', () => {
  let store: SnapshotStore;
  let running: BareMachine[] = [];
  const origin = new ChunkOrigin();

  async function make(filesystem: MemoryFileSystem) {
    let snapshots: Promise<MachineSnapshots>;
    const machine = await bareMachine((emulator) => {
      attachVirtioFs(emulator, { tag: 'root', filesystem });
      snapshots = MachineSnapshots.of(emulator, store);
    });
    running.push(machine);
    return { filesystem, machine, snapshots: await snapshots! };
  }

  /** 20 files of 64 KiB, all elsewhere. */
  function image(): MemoryFileSystem {
    const filesystem = new MemoryFileSystem({ origin });
    for (let n = 0; n < 20; n++) {
      const inode = filesystem.mknod(filesystem.root, `f${n}`, NODE);
      filesystem.write(inode, 0, CHUNK, new BytesSource(new Uint8Array(CHUNK).map((_, at) => (at * n) >> 3)));
    }
    empty(filesystem, origin);
    return filesystem;
  }

  const inodeOf = (filesystem: MemoryFileSystem, name: string) => filesystem.lookup(filesystem.root, name)!;
  async function read(filesystem: MemoryFileSystem, name: string): Promise<Uint8Array> {
    const inode = inodeOf(filesystem, name);
    const release = await filesystem.fetch(inode);
    const bytes = new Uint8Array(inode.size);
    filesystem.read(
      inode,
      0,
      bytes.length,
      {
        capacity: bytes.length,
        writeAt: (to, from, at, length) => (bytes.set(from.subarray(at, at + length), to), length),
      },
      0,
    );
    release();
    return bytes;
  }
  const write = (filesystem: MemoryFileSystem, name: string) =>
    filesystem.write(
      inodeOf(filesystem, name),
      0,
      CHUNK,
      new BytesSource(crypto.getRandomValues(new Uint8Array(CHUNK))),
    );

  beforeEach(async () => {
    store = await SnapshotStore.open(new MemoryStore(), loadCodec());
  });
  afterEach(async () => {
    await Promise.all(running.map((machine) => machine.destroy()));
    running = [];
  });

  it('have what was written alone, however much was read, and name the image', async () => {
    const vm = await make(image());
    for (let n = 0; n < 20; n++) await read(vm.filesystem, `f${n}`);
    const first = await vm.snapshots.freeze({ machine: machineOf });
    write(vm.filesystem, 'f3');
    const second = await vm.snapshots.freeze({ machine: machineOf });
    const [one, two] = store.list();
    expect(one!.addedBytes).to.be.below(200_000);
    expect(two!.addedBytes).to.be.within(CHUNK, CHUNK + 60_000);
    expect(store.frozen(first.id).bases).to.deep.equal([origin.id]);
    expect((await inspect(store, second.id)).filesystems[0]!.files.get('/f3')!.size).to.equal(CHUNK);

    const twin = await make(new MemoryFileSystem({ origin }));
    await twin.snapshots.restore(second.id);
    for (const name of ['f1', 'f3', 'f19'])
      expect(Buffer.compare(await read(twin.filesystem, name), await read(vm.filesystem, name)), name).to.equal(0);
    const written = await read(vm.filesystem, 'f3');
    await vm.snapshots.restore(first.id);
    expect(Buffer.compare(await read(vm.filesystem, 'f3'), written)).not.to.equal(0);
  });

  for (const [what, other] of [
    ['none', undefined],
    ['another one', new ChunkOrigin({ id: 'ab'.repeat(32) })],
  ] as const) {
    it(`are refused where there is ${what}, and say which image it takes`, async () => {
      const vm = await make(image());
      const { id } = await vm.snapshots.freeze({ machine: machineOf });
      const state = (await vm.machine.emulator.save_state()) as ArrayBuffer;
      const twin = await make(new MemoryFileSystem({ origin: other }));
      twin.filesystem.mknod(twin.filesystem.root, 'stays', NODE);
      let thrown: unknown;
      await twin.snapshots.restore(id).catch((error: unknown) => (thrown = error));
      expect(thrown).to.be.instanceOf(SnapshotError);
      expect((thrown as Error).message).to.match(
        new RegExp(`image ${origin.id} .* has ${other ? `image ${other.id}` : 'no image'}`),
      );
      thrown = undefined;
      await twin.machine.emulator.restore_state(state).catch((error: unknown) => (thrown = error));
      expect(String(thrown)).to.contain(origin.id);
      expect(inodeOf(twin.filesystem, 'stays').nlink).to.equal(1);
    });
  }

  for (const [what, forge, says] of [
    ['do not say where', { origin: undefined }, /elsewhere, and it does not say where/],
    ['name no image', { origin: '../image' }, /id of its image is invalid/],
    ['have a number for it', { origin: 5 }, /id of its image is invalid/],
  ] as const) {
    it(`that ${what} are refused, with nothing changed`, () => {
      const state = decodeFields(encodeFields(image().state())) as object;
      const filesystem = new MemoryFileSystem({ origin });
      expect(() => filesystem.checkState({ ...state, ...forge })).to.throw(TypeError, says);
      expect(filesystem.entries(filesystem.root)).to.deep.equal([]);
    });
  }

  it('that have more bytes elsewhere than pages, or what looks like content, are refused', () => {
    for (const bytes of [new AbsentBytes(new Uint8Array(32), 4097), { hash: new Uint8Array(32), length: 5 }]) {
      const state = image().state();
      const [range] = state.ranges;
      const { chunks } = range!;
      const map = new Uint8Array(Uint32Array.of(1, ...new Array(19).fill(0xffff)).buffer);
      const forged = { ...range, chunks: { ...chunks, map, bytes: [bytes, ...chunks!.bytes.slice(1)] } };
      expect(() => new MemoryFileSystem({ origin }).checkState({ ...state, ranges: [forged] })).to.throw(/malformed/);
    }
  });

  it("v86's own have as little, and come back", async () => {
    const vm = await make(image());
    write(vm.filesystem, 'f0');
    const state = (await vm.machine.emulator.save_state()) as ArrayBuffer;
    const plain = await make(new MemoryFileSystem());
    const empty = (await plain.machine.emulator.save_state()) as ArrayBuffer;
    expect(state.byteLength - empty.byteLength).to.be.within(CHUNK, 2 * CHUNK);
    const twin = await make(new MemoryFileSystem({ origin }));
    await twin.machine.emulator.restore_state(state);
    for (const name of ['f0', 'f7'])
      expect(Buffer.compare(await read(twin.filesystem, name), await read(vm.filesystem, name)), name).to.equal(0);
  });

  describe('whose names and attributes are those of an image too', () => {
    const told = new ChunkOrigin({ id: 'd1'.repeat(32) });
    const trees = () => new Map([[told.id, told.tree!]]);

    /** On an image of 2000 files. */
    async function start() {
      const filesystem = new MemoryFileSystem();
      for (let n = 0; n < 2000; n++) {
        const inode = filesystem.mknod(filesystem.root, `f${n}`, NODE);
        filesystem.write(inode, 0, 1000, new BytesSource(new Uint8Array(1000).fill(n)));
      }
      told.tree = told.without(filesystem.state());
      return make(on());
    }
    const on = () => {
      const filesystem = new MemoryFileSystem({ origin: told });
      filesystem.restore(filesystem.checkState({ ...told.tree, uuid: filesystem.uuid }));
      return filesystem;
    };
    const stateOf = (id: string) => {
      const { devices, deviceParts, deviceChunks } = store.frozen(id);
      return devices.length + deviceParts.length + deviceChunks.length;
    };
    const names = (filesystem: MemoryFileSystem) => filesystem.entries(filesystem.root).map(({ name }) => name);

    it('have what was changed alone, and come back in place and elsewhere', async () => {
      const vm = await start();
      const { filesystem } = vm;
      const first = await vm.snapshots.freeze({ machine: machineOf });
      expect(stateOf(first.id)).to.be.below(2000);
      for (const inode of filesystem.inodes()) filesystem.setattr(inode, { atime: { sec: 1, nsec: 0 } });
      const touched = await vm.snapshots.freeze({ machine: machineOf });
      const { addedBytes } = store.info(touched.id);
      filesystem.unlink(filesystem.root, 'f1000');
      filesystem.rename(filesystem.root, 'f1001', filesystem.root, 'moved', 0, { uid: 0, gid: 0 });
      write(filesystem, 'f7');
      const second = await vm.snapshots.freeze({ machine: machineOf });
      expect(addedBytes).to.be.below(60_000 + 2000 * 20);
      expect(store.info(second.id).addedBytes).to.be.below(CHUNK + 100_000);
      const written = await read(filesystem, 'f7');

      for (const empty of [true, false]) {
        const twin = await make(empty ? new MemoryFileSystem({ origin: told }) : on());
        for (const id of [second.id, first.id, second.id, touched.id, second.id]) {
          await twin.snapshots.restore(id);
          expect(names(twin.filesystem).includes('moved')).to.equal(id === second.id);
          expect(inodeOf(twin.filesystem, 'f5').atime.sec === 1).to.equal(id !== first.id);
        }
        expect(names(twin.filesystem)).to.deep.equal(names(filesystem));
        expect(Buffer.compare(await read(twin.filesystem, 'f7'), written)).to.equal(0);
        const again = await twin.snapshots.freeze({ machine: machineOf });
        expect(store.frozen(again.id).bases).to.deep.equal([told.id]);
        expect(store.info(again.id).addedBytes).to.be.below(100_000);
      }
      await vm.snapshots.restore(first.id);
      expect(names(filesystem)).to.include.members(['f1000', 'f1001']);
      expect((await read(filesystem, 'f7')).every((byte) => byte === 7)).to.equal(true);
    });

    it('go through a file of their own, and through what v86 saves', async () => {
      const vm = await start();
      write(vm.filesystem, 'f7');
      vm.filesystem.unlink(vm.filesystem.root, 'f8');
      const { id } = await vm.snapshots.freeze({ machine: machineOf });
      const other = await SnapshotStore.open(new MemoryStore(), loadCodec());
      const imported = await other.import(Buffer.concat(await store.export(id)));
      const state = (await vm.machine.emulator.save_state()) as ArrayBuffer;
      store = other;
      for (const restore of [
        (twin: Awaited<ReturnType<typeof make>>) => twin.snapshots.restore(imported),
        (twin: Awaited<ReturnType<typeof make>>) => twin.machine.emulator.restore_state(state),
      ]) {
        const twin = await make(new MemoryFileSystem({ origin: told }));
        await restore(twin);
        expect(names(twin.filesystem)).to.deep.equal(names(vm.filesystem));
        expect(Buffer.compare(await read(twin.filesystem, 'f7'), await read(vm.filesystem, 'f7'))).to.equal(0);
      }
    });

    it('tell their files where the image is told, and that it is needed elsewhere', async () => {
      const vm = await start();
      const first = await vm.snapshots.freeze({ machine: machineOf });
      write(vm.filesystem, 'f7');
      vm.filesystem.unlink(vm.filesystem.root, 'f8');
      const second = await vm.snapshots.freeze({ machine: machineOf });
      const [known] = (await inspect(store, second.id, trees())).filesystems;
      expect([known!.files.size, known!.isPartial, known!.image]).to.deep.equal([1999, false, told.id]);
      const { filesystems } = await diff(store, first.id, second.id, trees());
      expect(filesystems).to.deep.equal([{ added: [], removed: ['/f8'], changed: ['/f7'] }]);
      const [unknown] = (await inspect(store, second.id)).filesystems;
      expect([unknown!.files.size, unknown!.isPartial, unknown!.image]).to.deep.equal([0, true, told.id]);
      expect((await diff(store, first.id, second.id)).filesystems).to.deep.equal([
        { added: [], removed: [], changed: [], needs: told.id },
      ]);
    });

    it('are exported with all that the image has, and need it no more', async () => {
      const vm = await start();
      write(vm.filesystem, 'f7');
      vm.filesystem.unlink(vm.filesystem.root, 'f8');
      const long = vm.filesystem.mknod(vm.filesystem.root, 'long', NODE);
      vm.filesystem.write(long, 0, CHUNK, new BytesSource(new Uint8Array(CHUNK).fill(3)));
      const { id } = await vm.snapshots.freeze({ machine: machineOf });
      const seen: [number, number][] = [];
      const before = told.fetches.reduce((sum, count) => sum + count, 0);
      const options = {
        machine: { memory: 17 },
        onProgress: (done: number, all: number) => void seen.push([done, all]),
      };
      const file = Buffer.concat(await exportWhole(store, id, [told], options));
      // f0, f256 and so on are the same.
      expect(told.fetches.reduce((sum, count) => sum + count, 0) - before).to.be.within(255, 2000);
      expect(seen.at(-1)![0]).to.equal(seen.at(-1)![1]).and.to.be.above(200_000);
      store = await SnapshotStore.open(new MemoryStore(), loadCodec());
      const imported = await store.import(file);
      expect(store.frozen(imported).bases).to.equal(undefined);
      expect(store.frozen(imported).machine).to.deep.equal({ memory: 17 });
      const twin = await make(new MemoryFileSystem());
      await twin.snapshots.restore(imported);
      expect(names(twin.filesystem)).to.deep.equal(names(vm.filesystem));
      for (const name of ['f0', 'f7', 'f600', 'f1999', 'long'])
        expect(Buffer.compare(await read(twin.filesystem, name), await read(vm.filesystem, name)), name).to.equal(0);
      // One that is on no image is as it was.
      const again = Buffer.concat(await exportWhole(store, imported, []));
      expect(again.length).to.be.closeTo(file.length, 100);
    });

    it('are not exported whole where the image is not told, or not there, or does not say what is right', async () => {
      const vm = await start();
      vm.filesystem.unlink(vm.filesystem.root, 'f8');
      const { id } = await vm.snapshots.freeze({ machine: machineOf });
      const refusal = (origins: MemoryOrigin[], options = {}) =>
        exportWhole(store, id, origins, options).then(() => '', String);
      expect(await refusal([])).to.include(`SnapshotError: the snapshot is on image ${told.id}`);
      const fetch = () => Promise.reject(FsError.of(EIO));
      expect(await refusal([{ id: told.id, tree: told.tree, fetch }])).to.include('EIO');
      expect(await refusal([{ id: told.id, tree: undefined, fetch }])).to.include('SnapshotError');
      const short = async (wanted: readonly ContentChunk[]) => wanted.map(() => new Uint8Array(5));
      expect(await refusal([{ id: told.id, tree: told.tree, fetch: short }])).to.match(/5 bytes of a chunk of \d+/);
      const aborted = AbortSignal.abort(new Error('enough'));
      expect(await refusal([told], { signal: aborted })).to.include('enough');
      expect(await refusal([told])).to.equal('');
    });

    it('are refused where the image says of itself something else, or nothing', async () => {
      const vm = await start();
      vm.filesystem.unlink(vm.filesystem.root, 'f8');
      const { id } = await vm.snapshots.freeze({ machine: machineOf });
      for (const [origin, says] of [
        [{ id: told.id, tree: undefined, fetch: told.fetch.bind(told) }, /what that has is not known here/],
        [new ChunkOrigin({ id: 'ab'.repeat(32) }), /attach that image/],
        [Object.assign(new ChunkOrigin({ id: told.id }), { tree: { ...told.tree!, ranges: [] } }), /no such range/],
      ] as const) {
        const twin = await make(new MemoryFileSystem({ origin }));
        const thrown = await twin.snapshots.restore(id).then(String, String);
        expect(thrown)
          .to.match(/SnapshotError/)
          .and.match(says);
        expect(names(twin.filesystem)).to.deep.equal([]);
      }
    });
  });
});
