// Snapshots that cost what has changed, and a log of what passes through the device.
import { writeFile } from 'node:fs/promises';
import { loadCodec, MachineSnapshots, MemoryStore, Recorder, SnapshotStore, toTraceEvents } from 'v86-virtiofs';
import { Vm } from 'v86-virtiofs/harness';

const vm = await Vm.boot({ shares: [{ tag: 'share' }], cache: false });
const { emulator } = vm;
const { device } = vm.share();

const recorder = new Recorder(device);
recorder.isOn = true; // until it is false again: some microseconds a request
await vm.mount();
for (const { opcode, args, error, duration } of recorder.records) console.log(opcode, args, error, duration);
await writeFile('trace.json', toTraceEvents(recorder.records)); // for ui.perfetto.dev
recorder.isOn = false;

const store = await SnapshotStore.open(new MemoryStore(), loadCodec()); // or a DirectoryStore of v86-virtiofs/harness
const snapshots = await MachineSnapshots.of(emulator, store);
const { id, standstill } = await snapshots.freeze({ name: 'before', machine: { memory: 256 } });
console.log(`paused for ${standstill.toFixed(0)} ms`);
await vm.exec('echo changed > /mnt/share/file');
await snapshots.restore(id); // back, or in another emulator of the store
console.log(vm.share().fs.existsSync('/file'));
await vm.stop();
