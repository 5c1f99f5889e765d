/**
 * Makes the golden snapshots of this release's format: `npx tsx test/support/golden.ts` writes `v<version>.layer` and
 * `v<version>.blob.gz` to test/snapshots. Once a release is out its files are never made again: they show that what it wrote can
 * still be read.
 */
import { writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { INIT } from '../../device/conformance/message.ts';
import {
  attachVirtioFs,
  createFsFromVolume,
  loadCodec,
  MachineSnapshots,
  MemoryStore,
  SnapshotStore,
  type VirtioFsDevice,
} from '../../device/index.ts';
import { MachineState } from '../../device/snapshot/machine-state.ts';
import { STATE_VERSION } from '../../device/snapshot/upgrades.ts';
import { V86Machine } from '../../device/v86/adapter.ts';
import { bareMachine } from './bare-machine.ts';
import { call } from './fuse-call.ts';

const O_RDWR = 2;

const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
let device: VirtioFsDevice;
let snapshots: Promise<MachineSnapshots>;
const machine = await bareMachine((emulator) => {
  device = attachVirtioFs(emulator, { tag: 'golden', locks: 'shared' });
  snapshots = MachineSnapshots.of(emulator, store);
});
const fs = createFsFromVolume(device!.volume);
fs.mkdirSync('/dir');
for (let n = 0; n < 50; n++) fs.writeFileSync(`/dir/entry-${n}`, `${n}`);
fs.writeFileSync('/big', Buffer.alloc(150_000, 'golden '));
fs.linkSync('/big', '/dir/hard');
fs.symlinkSync('dir/entry-1', '/soft');
fs.chmodSync('/big', 0o4751);
fs.utimesSync('/big', 1e9, 2e9);

const { session } = device!;
call(session, 'INIT', 0, INIT);
const { entry, open } = call(session, 'CREATE', 1, { flags: O_RDWR, mode: 0o100600 }, 'secret').out;
const secret = entry.nodeid;
const { fh } = open;
call(session, 'WRITE', secret, { fh, size: 14 }, new TextEncoder().encode('still readable'));
call(session, 'SETXATTR', secret, { size: 5 }, 'user.colour', new TextEncoder().encode('amber'));
call(session, 'SETLK', secret, { fh, owner: 7, lk: { end: 99, type: 1, pid: 123 } });
call(session, 'SETLKW', secret, { fh, owner: 8, lk: { start: 50, end: 60, type: 1, pid: 124 } });
call(session, 'UNLINK', 1, 'secret');
const dir = call(session, 'LOOKUP', 1, 'dir').out.nodeid;
const dh = call(session, 'OPENDIR', dir).out.fh;
call(session, 'READDIR', dir, { fh: dh, size: 400 });

machine.cpu.mem8.set(new TextEncoder().encode('golden page'), 5 * 4096);
const { id } = await (await snapshots!).freeze({
  name: 'golden',
  machine: { memory: 16 },
  summary: { secret, fh, dir, dh },
});
const path = (suffix: string) => new URL(`../snapshots/v${STATE_VERSION}.${suffix}`, import.meta.url);
await writeFile(path('layer'), Buffer.concat(await store.export(id)));
await writeFile(path('blob.gz'), gzipSync(MachineState.of(V86Machine.of(machine.emulator)).save()));
await machine.destroy();
