// A guest that may use only so much: memory, time, output, and room in its share.
import { MemoryFileSystem } from 'v86-virtiofs';
import { Vm } from 'v86-virtiofs/harness';

const filesystem = new MemoryFileSystem({ size: 16 << 20, inodes: 1000, locks: { maxLocks: 100 } });
const vm = await Vm.boot({ memory: 128, shares: [{ tag: 'share', filesystem, turnBudget: 5 }] });
const cwd = await vm.mount();

const { code, stderr } = await vm.exec('dd if=/dev/zero of=big bs=1M count=20', {
  cwd,
  timeoutMs: 20_000,
  maxOutput: 1 << 20,
});
console.log(code, stderr); // 1, No space left on device
await vm.exec('sleep 60', { timeoutMs: 500 }).catch(({ kind }) => console.log(kind)); // timeout
await vm.stop();
