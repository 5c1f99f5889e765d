// A guest whose share is a folder in memory; frozen with a file open, and resumed from there.
import { Vm } from 'v86-virtiofs/harness';

const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
vm.share().fs.writeFileSync('/hello.txt', 'from the host\n');
const directory = await vm.mount();

const { stdout } = await vm.exec('cat hello.txt; echo "from the guest" > answer.txt', { cwd: directory });
console.log(stdout, vm.share().fs.readFileSync('/answer.txt', 'utf8'));

await vm.exec('while sleep 0.1; do date; done > open.txt 2>&1 &', { cwd: directory });
const snapshot = await vm.save(); // `writeSnapshot(path, snapshot)` keeps it
await vm.stop();

const resumed = await Vm.restore(snapshot); // here, or in another process
console.log((await resumed.exec('sleep 0.3; wc -l < open.txt', { cwd: directory })).stdout);
await resumed.stop();
