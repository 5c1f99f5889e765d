// A guest whose share is a folder in memory; frozen with a file open, and resumed from there.
import { Vm } from 'v86-virtiofs/harness';

const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
vm.share().fs.writeFileSync('/hello.txt', 'from the host\n');
const cwd = await vm.mount();
console.log((await vm.exec('cat hello.txt; while sleep 0.1; do date; done > log 2>&1 &', { cwd })).stdout);

const snapshot = await vm.save(); // the whole machine, with its files and the one that is open
await vm.stop();
const resumed = await Vm.restore(snapshot); // here, or in another process
console.log((await resumed.exec('sleep 0.3; wc -l < log', { cwd })).stdout);
await resumed.stop();
