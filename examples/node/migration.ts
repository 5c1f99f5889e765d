// A guest moves to another machine while it runs. Both are in this process here; the other one may as well be in another process or on another computer.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { makeToken } from 'v86-virtiofs';
import { duplexChannel, Vm } from 'v86-virtiofs/harness';

const token = makeToken(); // both sides have it
const server = createServer().listen(0, 'localhost');
await once(server, 'listening');

const arrival = once(server, 'connection').then(async ([socket]) => {
  const target = Vm.takeOver(token);
  const moved = await target.serve(duplexChannel(socket, socket)); // undefined if the source only asked what has become of a guest
  return moved!.vm;
});

const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
const cwd = await vm.mount();
await vm.exec('n=0; while sleep 0.1; do echo $((n += 1)); done > log 2>&1 &', { cwd });

const socket = connect((server.address() as AddressInfo).port, 'localhost');
const { downtime } = await vm.migrate(duplexChannel(socket, socket), { token });
console.log(`paused for ${downtime.toFixed(0)} ms`);

const arrived = await arrival; // `vm` has been stopped
console.log((await arrived.exec('sleep 0.3; cmp log log && tail -1 log', { cwd })).stdout);
await arrived.stop();
server.close();
