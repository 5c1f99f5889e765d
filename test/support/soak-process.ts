import { readdirSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { queryObjects } from 'node:v8';
import { loadCodec, MachineSnapshots, SnapshotStore } from '../../device/index.ts';
import { GuestAgent } from '../../harness/machine/agent/guest-agent.ts';
import { duplexChannel } from '../../harness/node/migration/duplex-channel.ts';
import { DirectoryStore } from '../../harness/node/stores/directory-store.ts';
import { Vm } from '../../harness/node/vm.ts';
import { randomNumbers } from './hostile-driver.ts';
import { TOKEN } from './migrations.ts';

// Two guests at work: one stays, is frozen, rewound and forked, and one migrates, again and again, until it is time. Says what it takes after each round,
// a line of JSON each; `--expose-gc`.

/** What this process, its store and the guest that stays hold on to. */
export interface Sample {
  /** MiB. */
  heap: number;
  buffers: number;
  rss: number;
  /** Of the guest that stays. */
  guestMemory: number;
  descriptors: number;
  /** Timers, sockets and the like that keep the process alive. */
  resources: number;
  /** Objects of the kinds that machines, commands and migrations make. */
  objects: number;
  listeners: number;
  files: number;
  /** That the agent keeps, and that run, in the guest that stays. */
  kept: number;
  processes: number;
}

const [directory, milliseconds, least, seed] = process.argv.slice(2) as [string, string, string, string];
/** Snapshots that stay in the store. */
const KEPT = 4;
const MiB = 1 << 20;
/** What was written is read again, by another name. */
const IO =
  'set -e; cd /mnt/share; d=w$1; mkdir -p $d; for i in 1 2 3; do dd if=/dev/urandom of=$d/f$i bs=64k count=4 2>/dev/null; cp $d/f$i $d/g$i; mv $d/g$i $d/h$i; ln -sf f$i $d/l$i; cmp $d/l$i $d/h$i; done; rm -r $d; echo whole';

const random = randomNumbers(Number(seed));
const store = await SnapshotStore.open(new DirectoryStore(directory), loadCodec());
/** Processes of the guest that stays that wait for a line. */
const asked = new Set<number>();
const options = { shares: [{ tag: 'share', source: 'docs' }], memory: 128 };

function expectSame(found: unknown, wanted: unknown, what: string): void {
  if (found !== wanted) throw new Error(`${what}: ${JSON.stringify(found)}, and not ${JSON.stringify(wanted)}`);
}

async function work(vm: Vm, name: string): Promise<void> {
  const { stdout, stderr } = await vm.exec(['sh', '-c', IO, 'sh', name], { timeoutMs: 600_000 });
  expectSame(stdout, 'whole\n', `the work of ${name} (${stderr})`);
}

/** Frozen while it works; a process that was started before is found again after each rewind. */
async function freezeAndRewind(vm: Vm, kept: string[]): Promise<void> {
  const working = work(vm, `${random(1000)}`);
  // A rewind ends it.
  const ended = working.then(
    () => true,
    () => false,
  );
  const waiting = vm.spawn('read line; echo "$line"; exit 7');
  asked.add(waiting.id);
  await vm.exec('true');
  kept.push((await vm.freeze(store)).id);
  if (random(2)) await working;
  await vm.thaw(store, kept.at(-1)!);
  await ended;
  await answerAll(vm, [waiting.id]);
  // Orphaned by the rewind, it goes on, to its own end.
  await vm.exec('while pidof dd cp cmp; do sleep 0.1; done; rm -rf /mnt/share/w*', { timeoutMs: 600_000 });
  // What waits at another moment is answered too, or it would go into each that follows.
  if (random(2)) {
    await vm.thaw(store, kept[random(kept.length)]!);
    await answerAll(
      vm,
      (await vm.agent.list()).filter((id) => asked.has(id)),
    );
    await vm.exec('while pidof dd cp cmp; do sleep 0.1; done; rm -rf /mnt/share/w*', { timeoutMs: 600_000 });
  }
}

/** Attaches to processes that wait for a line, and sees them to their ends. */
async function answerAll(vm: Vm, ids: number[]): Promise<void> {
  for (const id of ids) {
    const process = vm.agent.attach(id);
    let said = '';
    process.onStdout = (data) => (said += new TextDecoder().decode(data));
    process.onStderr = () => {};
    await process.write('hello\n').catch(() => {});
    expectSame(`${await process.exited} ${said}`, '7 hello\n', 'what was attached to');
  }
}

async function fork(id: string): Promise<void> {
  const forks = await Promise.all([Vm.thaw(store, id), Vm.thaw(store, id)]);
  for (const vm of forks) {
    expectSame((await vm.exec('echo forked')).stdout, 'forked\n', 'what a fork says');
    await vm.stop();
  }
}

/** Over TCP, in this process. */
async function migrate(vm: Vm): Promise<Vm> {
  let onSocket = (_socket: Socket) => {};
  const accepted = new Promise<Socket>((resolve) => (onSocket = resolve));
  const server = createServer((socket) => onSocket(socket));
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  const address = server.address();
  if (typeof address !== 'object' || !address) throw new Error('no port');
  const here = connect(address.port, 'localhost');
  const there = await accepted;
  server.close();
  const working = work(vm, 'on the way').catch(() => {});
  const [, successor] = await Promise.all([
    vm.migrate(duplexChannel(here, here, true), { token: TOKEN }),
    Vm.takeOver(TOKEN).serve(duplexChannel(there, there)),
  ]);
  await working;
  const next = successor!.vm;
  await next.exec('while pidof dd cp cmp; do sleep 0.1; done; rm -rf /mnt/share/w*', { timeoutMs: 600_000 });
  await work(next, 'there');
  return next;
}

async function measure(vm: Vm): Promise<Sample> {
  const kept = (await vm.agent.list()).length;
  const { stdout } = await vm.exec(
    "sync; echo 3 > /proc/sys/vm/drop_caches; ls -d /proc/[0-9]*/exe | wc -l; awk '/^MemFree/ { print $2 }' /proc/meminfo",
  );
  const [processes, free] = stdout.trim().split('\n').map(Number) as [number, number];
  for (let n = 0; n < 3; n++) {
    globalThis.gc!();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const objects = [Vm, GuestAgent, MachineSnapshots, AbortSignal, WebAssembly.Memory, Promise].reduce(
    (sum, kind) => sum + queryObjects(kind, { format: 'count' }),
    0,
  );
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  return {
    heap: heapUsed / MiB,
    buffers: arrayBuffers / MiB,
    rss: rss / MiB,
    guestMemory: (options.memory * 1024 - free) / 1024,
    descriptors: readdirSync('/proc/self/fd').length,
    resources: process.getActiveResourcesInfo().length,
    objects,
    listeners: process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0),
    files: readdirSync(directory).length,
    kept,
    processes,
  };
}

const stays = await Vm.boot(options);
let travels = await Vm.boot(options);
for (const vm of [stays, travels]) await vm.mount('share');
const base = (await stays.freeze(store, 'base')).id;
const kept = [base];
const end = Date.now() + Number(milliseconds);
for (let round = 0; Date.now() < end || round < Number(least); round++) {
  await freezeAndRewind(stays, kept);
  await work(stays, 'alone');
  travels = await migrate(travels);
  if (round % 2) await fork(kept[random(kept.length)]!);
  while (kept.length > KEPT) await store.remove(kept.shift()!);
  if (round % 4 === 3) await store.gc();
  process.stdout.write(`${JSON.stringify(await measure(stays))}\n`);
}
await stays.stop();
await travels.stop();
process.exit();
