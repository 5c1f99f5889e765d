import { expect } from 'chai';
import { BytesSource } from '../../../device/bytes.ts';
import { filesystemOf, volumeOf } from '../../../device/filesystems/memfs/volume.ts';
import {
  attachVirtioFs,
  inspect,
  loadCodec,
  MachineSnapshots,
  type MemoryFileSystem,
  MemoryStore,
  SnapshotError,
  SnapshotStore,
  Volume,
} from '../../../device/index.ts';
import { cutByContent, MAX_PART } from '../../../device/snapshot/cut.ts';
import { encodeFields } from '../../../device/snapshot/fields.ts';
import { type BareMachine, bareMachine } from '../../support/bare-machine.ts';
import { checkTree } from '../../support/check-tree.ts';
import { randomNumbers } from '../../support/hostile-driver.ts';

const machineOf = { memory: 16 };
const owner = { uid: 0, gid: 0 };

/** Counts what is read. */
class CountingStore extends MemoryStore {
  bytes = 0;

  override async read(name: string, from: number, to?: number): Promise<Uint8Array> {
    const bytes = await super.read(name, from, to);
    this.bytes += bytes.length;
    return bytes;
  }
}

describe('the state of the devices in a snapshot', function () {
  this.timeout(60_000);
  let files: CountingStore;
  let store: SnapshotStore;
  let running: BareMachine[] = [];

  async function make(
    size = 256 << 20,
  ): Promise<{ machine: BareMachine; filesystem: MemoryFileSystem; snapshots: MachineSnapshots }> {
    const filesystem = filesystemOf(new Volume(), { size });
    let snapshots: Promise<MachineSnapshots>;
    const machine = await bareMachine((emulator) => {
      attachVirtioFs(emulator, { tag: 'share', filesystem });
      snapshots = MachineSnapshots.of(emulator, store);
    });
    running.push(machine);
    return { machine, filesystem, snapshots: await snapshots! };
  }

  beforeEach(async () => {
    files = new CountingStore();
    store = await SnapshotStore.open(files, loadCodec());
  });
  afterEach(async () => {
    await Promise.all(running.map((machine) => machine.destroy()));
    running = [];
  });

  const fill = (filesystem: MemoryFileSystem, count: number) => {
    for (let n = 0; n < count; n++) {
      const inode = filesystem.mknod(filesystem.root, `f${n}`, { mode: 0o100644, uid: 0, gid: 0 });
      filesystem.setxattr(inode, 'user.a', crypto.getRandomValues(new Uint8Array(4000)), 0);
    }
  };

  it('may be long, and costs what has changed of it', async () => {
    const { filesystem, snapshots } = await make();
    fill(filesystem, 1500);
    const first = await snapshots.freeze({ machine: machineOf });
    expect(store.info(first.id).addedBytes).to.be.greaterThan(6_000_000);
    const value = Uint8Array.of(1, 2, 3);
    filesystem.setxattr(filesystem.lookup(filesystem.root, 'f700')!, 'user.a', value, 0);
    const second = await snapshots.freeze({ machine: machineOf });
    expect(store.info(second.id).addedBytes).to.be.lessThan(1_500_000);
    const other = await make();
    await other.snapshots.restore(second.id);
    expect(other.filesystem.getxattr(other.filesystem.lookup(other.filesystem.root, 'f700')!, 'user.a')).to.deep.equal(
      value,
    );
    expect(
      other.filesystem.getxattr(other.filesystem.lookup(other.filesystem.root, 'f1499')!, 'user.a'),
    ).to.have.length(4000);
    expect((await inspect(store, second.id)).filesystems[0]!.files.size).to.equal(1500);
    const copy = await SnapshotStore.open(new MemoryStore(), loadCodec());
    await copy.verify(await copy.import(Buffer.concat(await store.export(second.id))));
  });

  it('is not read where files are as they were', async () => {
    const { machine, filesystem, snapshots } = await make();
    const size = 96 << 20;
    const content = Buffer.alloc(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(content.subarray(at, at + 65536));
    volumeOf(filesystem).writeFileSync('/large', content);
    volumeOf(filesystem).writeFileSync('/small', Buffer.alloc(200_000, 'before'));
    const { id } = await snapshots.freeze({ machine: machineOf });
    for (let time = 0; time < 2; time++) {
      volumeOf(filesystem).writeFileSync('/small', Buffer.alloc(200_000, 'after'));
      const fd = volumeOf(filesystem).openSync('/large', 'r+');
      volumeOf(filesystem).writeSync(fd, Buffer.from('changed'), 0, 7, 5 << 20);
      volumeOf(filesystem).closeSync(fd);
      files.bytes = 0;
      await snapshots.restore(id);
      expect(files.bytes, 'bytes read').to.be.lessThan(1 << 20);
      expect((volumeOf(filesystem).readFileSync('/small') as Buffer).subarray(0, 6).toString()).to.equal('before');
      expect((volumeOf(filesystem).readFileSync('/large') as Buffer).equals(content)).to.equal(true);
    }
    // Nor is it read again, or written, by a freeze of what was restored.
    const again = await snapshots.freeze({ machine: machineOf });
    expect(store.info(again.id).addedBytes).to.be.lessThan(200_000);
    expect(machine.emulator.is_running()).to.equal(false);
  });

  it('is of ranges that are kept once: whatever changes between, each snapshot is what was there, elsewhere and in place', async () => {
    const { filesystem, snapshots } = await make();
    const random = randomNumbers(5);
    const kept: { id: string; state: Buffer }[] = [];
    const stateOf = ({ nextIno: _, ...state }: ReturnType<MemoryFileSystem['state']>) =>
      Buffer.from(encodeFields({ ...state, uuid: '' }));
    for (let n = 0; n < 3000; n++) {
      const inode = filesystem.mknod(filesystem.root, `f${n}`, { mode: 0o100644, ...owner });
      const content = Buffer.alloc([0, 10, 5000][n % 3]!, `content ${n % 40}`);
      filesystem.write(inode, 0, content.length, new BytesSource(content));
    }
    for (let time = 0; time < 6; time++) {
      for (let n = 0; n < 20; n++) {
        const name = `f${random(3000)}`;
        const inode = filesystem.lookup(filesystem.root, name);
        if (!inode) filesystem.mknod(filesystem.root, name, { mode: 0o100600, ...owner });
        else if (random(3)) filesystem.write(inode, 0, 9, new BytesSource(Buffer.alloc(9, `${time}`)));
        else filesystem.unlink(filesystem.root, name);
      }
      const { id } = await snapshots.freeze({ machine: machineOf });
      kept.push({ id, state: stateOf(filesystem.state()) });
      if (time) expect(store.info(id).addedBytes, 'bytes of 20 changes').to.be.lessThan(300_000);
    }
    const other = await make();
    for (const { id, state } of [...kept.slice(2), ...kept, ...kept].reverse()) {
      for (const { filesystem: there, snapshots: its } of [{ filesystem, snapshots }, other]) {
        await its.restore(id);
        expect(stateOf(there.state()).equals(state)).to.equal(true);
        checkTree(there, []);
      }
    }
    files.bytes = 0;
    await snapshots.restore(kept[3]!.id);
    await snapshots.restore(kept[4]!.id);
    expect(files.bytes, 'bytes read of what is here').to.be.lessThan(500_000);
    for (const { id } of kept) {
      const copy = await SnapshotStore.open(new MemoryStore(), loadCodec());
      await copy.verify(await copy.import(Buffer.concat(await store.export(id))));
    }
  });

  it('is kept again when the snapshots that had it are gone', async () => {
    const { filesystem, snapshots } = await make();
    fill(filesystem, 300);
    const first = await snapshots.freeze({ machine: machineOf });
    await store.remove(first.id);
    await store.gc();
    filesystem.unlink(filesystem.root, 'f7');
    const second = await snapshots.freeze({ machine: machineOf });
    const other = await make();
    await other.snapshots.restore(second.id);
    expect(other.filesystem.entries(other.filesystem.root)).to.have.length(299);
    await store.verify(second.id);
  });

  it('a file that has what another range has, which is here already, gets it too', async () => {
    const { filesystem, snapshots } = await make();
    const content = Buffer.alloc(8000, 'the same');
    const write = (name: string) => {
      const inode = filesystem.lookup(filesystem.root, name)!;
      filesystem.write(inode, 0, content.length, new BytesSource(content));
    };
    fill(filesystem, 600);
    write('f500');
    write('f10');
    const { id } = await snapshots.freeze({ machine: machineOf });
    filesystem.unlink(filesystem.root, 'f10');
    await snapshots.restore(id);
    expect(volumeOf(filesystem).readFileSync('/f10')).to.deep.equal(content);
    expect(volumeOf(filesystem).readFileSync('/f500')).to.deep.equal(content);
  });

  it('is judged before it is said to be stored, whichever way it goes', async () => {
    const { machine, filesystem, snapshots } = await make();
    volumeOf(filesystem).writeFileSync('/file', 'x');
    const { id } = await snapshots.freeze({ machine: machineOf });
    const before = await files.list();
    // As a defect would: no way in lets this pass.
    filesystem.lookup(filesystem.root, 'file')!.mode = 0o644;
    const error = await snapshots.freeze({ machine: machineOf }).catch((caught: Error) => caught);
    expect(error)
      .to.be.instanceOf(SnapshotError)
      .with.property('message')
      .that.matches(/has the invalid mode 0644/);
    expect(await files.list()).to.deep.equal(before);
    expect(await machine.emulator.save_state().catch((caught: Error) => caught)).to.be.instanceOf(SnapshotError);
    await snapshots.restore(id);
    await snapshots.freeze({ machine: machineOf });
    expect((await machine.emulator.save_state()).byteLength).to.be.greaterThan(0);
  });

  it('a writer that is more than its reader takes is refused before anything is written', async () => {
    const { snapshots } = await make();
    const long = { machine: machineOf, summary: 'x'.repeat((256 << 20) + 1) };
    const error = await snapshots.freeze(long).catch((caught: Error) => caught);
    expect(error)
      .to.be.instanceOf(SnapshotError)
      .with.property('message')
      .that.matches(/the head of the snapshot has 268\d+ bytes, and there is room for 268435456/);
    expect(await files.list()).to.deep.equal([]);
  });

  it('is cut where its content says so: what is put in at the front changes only the first parts', () => {
    const bytes = new Uint8Array(4 << 20);
    for (let at = 0; at < bytes.length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
    const cut = (whole: Uint8Array) => [...cutByContent(whole)].map((part) => Buffer.from(part).toString('base64'));
    const parts = cut(bytes);
    expect(Buffer.concat(parts.map((part) => Buffer.from(part, 'base64'))).equals(bytes)).to.equal(true);
    const longer = cut(Buffer.concat([Buffer.from('in front'), bytes]));
    expect(longer.filter((part) => !parts.includes(part)).length).to.be.at.most(4);
    expect([...cutByContent(new Uint8Array(1 << 20))].every(({ length }) => length <= MAX_PART)).to.equal(true);
  });
});
