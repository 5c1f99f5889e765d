// A guest moves while its files stay where they are: only the session moves, with open files and locks.
import { makeToken, portChannel, Volume } from 'v86-virtiofs';
import { Vm } from 'v86-virtiofs/harness';

const volume = Volume.fromJSON({ '/hello.txt': 'from the host\n' });
const vm = await Vm.boot({ shares: [{ tag: 'share', locks: 'shared', volume }] });
const cwd = await vm.mount();
await vm.exec('exec 3< hello.txt; (sleep 1; cat <&3 > copy.txt) > /dev/null 2>&1 &', { cwd });

const token = makeToken();
const { port1, port2 } = new MessageChannel();
const channel = portChannel(port1);

const target = Vm.takeOver(token, { shares: [{ tag: 'share', locks: 'shared', volume }] }, { onLockConflict: 'drop' });
const arrival = target.serve(portChannel(port2));
await vm.migrate(channel, { token, sessionOnly: true });

const arrived = (await arrival)!.vm;
await arrived.exec('wait; while [ ! -s copy.txt ]; do sleep 0.1; done', { cwd });
console.log(volume.readFileSync('/copy.txt', 'utf8'));
await arrived.stop();
