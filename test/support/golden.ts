/**
 * Makes the golden snapshots of this release's format: `npx tsx test/support/golden.ts` writes `v<version>.layer` and
 * `v<version>.blob.gz` to test/snapshots. Once a release is out its files are never made again: they show that what it wrote can
 * still be read.
 */
import { writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
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

const INIT = 26,
  CREATE = 35,
  WRITE = 16,
  UNLINK = 10,
  LOOKUP = 1,
  OPENDIR = 27,
  READDIR = 28,
  SETLK = 32,
  SETLKW = 33,
  SETXATTR = 21;
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
call(session, INIT, 0, 7, 38, 0x20000, 0xffffffff, 0, ...Array<number>(11).fill(0));
const created = call(session, CREATE, 1, O_RDWR, 0o100600, 0, 0, 'secret').payload;
const secret = created.getUint32(0, true);
const fh = created.getBigUint64(128, true);
call(session, WRITE, secret, fh, 0n, 14, 0, 0n, 0, 0, new TextEncoder().encode('still readable'));
call(session, SETXATTR, secret, 5, 0, 'user.colour', new TextEncoder().encode('amber'));
call(session, SETLK, secret, fh, 7n, 0n, 99n, 1, 123, 0, 0);
call(session, SETLKW, secret, fh, 8n, 50n, 60n, 1, 124, 0, 0);
call(session, UNLINK, 1, 'secret');
const dir = call(session, LOOKUP, 1, 'dir').payload.getUint32(0, true);
const dh = call(session, OPENDIR, dir, 0, 0).payload.getBigUint64(0, true);
call(session, READDIR, dir, dh, 0n, 400, 0, 0n, 0, 0);

machine.cpu.mem8.set(new TextEncoder().encode('golden page'), 5 * 4096);
const { id } = await (await snapshots!).freeze({
  name: 'golden',
  machine: { memory: 16 },
  summary: { secret, fh: Number(fh), dir, dh: Number(dh) },
});
const path = (suffix: string) => new URL(`../snapshots/v${STATE_VERSION}.${suffix}`, import.meta.url);
await writeFile(path('layer'), Buffer.concat(await store.export(id)));
await writeFile(path('blob.gz'), gzipSync(MachineState.of(V86Machine.of(machine.emulator)).save()));
await machine.destroy();
