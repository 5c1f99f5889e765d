import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { expect } from 'chai';
import {
  attachVirtioFs,
  inspect,
  loadCodec,
  MachineSnapshots,
  MemoryStore,
  SnapshotStore,
  type VirtioFsDevice,
} from '../../../device/index.ts';
import { MachineState } from '../../../device/snapshot/machine-state.ts';
import { STATE_VERSION } from '../../../device/snapshot/upgrades.ts';
import { V86Machine } from '../../../device/v86/adapter.ts';
import { type BareMachine, bareMachine } from '../../support/bare-machine.ts';
import { call } from '../../support/fuse-call.ts';

const OLD = 'entry-0';
const DIRECTORY = new URL('../../snapshots/', import.meta.url);
const versions = readdirSync(DIRECTORY)
  .flatMap((name) => /^v(\d+)\.layer$/.exec(name)?.[1] ?? [])
  .map(Number)
  .sort((a, b) => a - b);

it('there are golden snapshots of every version that a release has written', () => {
  const released = Array.from({ length: STATE_VERSION - 1 }, (_, n) => n + 1);
  expect(versions).to.include.members(released);
});

for (const version of versions)
  describe(`golden snapshot of format version ${version}`, () => {
    let store: SnapshotStore;
    let id: string;
    before(async () => {
      store = await SnapshotStore.open(new MemoryStore(), loadCodec());
      id = await store.import(readFileSync(new URL(`v${version}.layer`, DIRECTORY)));
    });

    it('tells what is in it', async () => {
      const { devices, filesystems, name, machine } = await inspect(store, id);
      expect({ name, machine }).to.deep.equal({ name: 'golden', machine: { memory: 16 } });
      const [{ handles, negotiated, waiting }] = devices as [(typeof devices)[number]];
      expect(handles.map(({ kind, path }) => `${kind} ${path}`)).to.deep.equal(['file (deleted)', 'directory /dir']);
      expect([negotiated?.major, negotiated?.minor, waiting]).to.deep.equal([7, 38, 1]);
      const [{ files, locks, waiters }] = filesystems as [(typeof filesystems)[number]];
      expect(files.size).to.equal(54);
      expect(files.get('/dir/hard')).to.deep.equal(files.get('/big'));
      expect(files.get('/big')).to.include({ size: 150_000, mode: 0o104751, mtime: 2e9 });
      expect(locks).to.deep.equal([{ space: 'posix', pid: 123, type: 1, start: 0n, end: 99n, path: '(deleted)' }]);
      expect(waiters).to.deep.equal([{ space: 'posix', pid: 124, type: 1, start: 50n, end: 60n, path: '(deleted)' }]);
    });

    it('goes on: files, the deleted one, attributes, the half-read directory and locks', async () => {
      await withMachine(store, async (machine, device, snapshots) => {
        await snapshots.restore(id);
        expect(new TextDecoder().decode(machine.cpu.mem8.subarray(5 * 4096, 5 * 4096 + 11))).to.equal('golden page');
        goesOn(device, store.info(id).summary);
      });
    });

    it('is kept in this release’s format from then on: renamed, exported and imported', async () => {
      const copy = await SnapshotStore.open(new MemoryStore(), loadCodec());
      const copied = await copy.import(Buffer.concat(await store.export(id)));
      await copy.rename(copied, 'renamed');
      await withMachine(copy, async (_, device, snapshots) => {
        await snapshots.restore(copied);
        goesOn(device, copy.info(copied).summary);
        await copy.verify((await snapshots.freeze({ machine: { memory: 16 } })).id);
      });
    });

    it('so does the part of v86’s own snapshots that is ours', async () => {
      const blob = gunzipSync(readFileSync(new URL(`v${version}.blob.gz`, DIRECTORY)));
      await withMachine(store, async ({ emulator }, device) => {
        const prepared = MachineState.of(V86Machine.of(emulator)).prepare(blob);
        expect(device.volume.existsSync('/big')).to.equal(false);
        prepared();
        goesOn(device, store.info(id).summary);
      });
    });

    async function withMachine(
      from: SnapshotStore,
      action: (machine: BareMachine, device: VirtioFsDevice, snapshots: MachineSnapshots) => Promise<void>,
    ): Promise<void> {
      let device: VirtioFsDevice;
      let snapshots: Promise<MachineSnapshots>;
      const machine = await bareMachine((emulator) => {
        device = attachVirtioFs(emulator, { tag: 'golden', locks: 'shared' });
        snapshots = MachineSnapshots.of(emulator, from);
      });
      try {
        await action(machine, device!, await snapshots!);
      } finally {
        await machine.destroy();
      }
    }

    function goesOn({ session, volume }: VirtioFsDevice, summary: unknown): void {
      const { secret, fh, dir, dh } = summary as Record<'secret' | 'fh' | 'dir' | 'dh', number>;
      expect((volume.readFileSync('/big') as Buffer).length).to.equal(150_000);
      expect(volume.readlinkSync('/soft')).to.equal('dir/entry-1');
      expect(call(session, 'READ', secret, { fh, size: 100 }).text).to.equal('still readable');
      expect(call(session, 'GETXATTR', secret, { size: 100 }, 'user.colour').text).to.equal('amber');
      expect(
        call(session, 'GETLK', secret, {
          fh,
          owner: 9n,
          lk: { end: 1, type: 1, pid: 1 },
        }).out.lk.pid,
        'pid of the lock',
      ).to.equal(123);
      let text = '';
      for (let offset = BigInt(session.state().handles.handles[1]!.position); ; ) {
        const { payload, text: part } = call(session, 'READDIR', dir, { fh: dh, offset, size: 4000 });
        if (payload.byteLength === 0) break;
        text += part;
        for (let at = 0; at < payload.byteLength; at += 24 + Math.ceil(payload.getUint32(at + 16, true) / 8) * 8)
          offset = payload.getBigUint64(at + 8, true);
      }
      expect(text).to.contain('entry-49').and.to.contain('hard').and.not.to.contain(`${OLD}\0`);
    }
  });
