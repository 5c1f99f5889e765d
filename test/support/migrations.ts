import { connect, createServer, type Server } from 'node:net';
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import {
  type MigrationChannel,
  MigrationError,
  MigrationTarget,
  MigrationUnknownError,
  makeToken,
  settleMigration,
} from '../../device/index.ts';
import { duplexChannel } from '../../harness/node/migration/duplex-channel.ts';
import { type MigratedVm, Vm } from '../../harness/node/vm.ts';
import type { VmOptions } from '../../harness/node/vm-options.ts';
import { randomNumbers } from './hostile-driver.ts';

export const TOKEN = makeToken();
/** In a message of a link. */
const TYPE_AT = 8;
export const SWITCH = 8,
  RUNNING = 9;
/** More than a short message has, with its length. */
const SHORT = 60;
/** After which a side gives up in tests, in milliseconds. */
const SILENCE = 3000;

/** Where a connection breaks, both ways: after so many bytes in both directions together, or so far into the first message of a type. */
export interface Break {
  bytes?: number;
  type?: number;
  after?: number;
  /** Nobody is told, as when the other computer has lost its power. */
  isSilent?: boolean;
}

/** Two ends of a connection. */
export function pipe({
  bytes = Infinity,
  type,
  after = 0,
  isSilent = false,
}: Break = {}): [MigrationChannel, MigrationChannel] {
  const [there, back] = [new PassThrough(), new PassThrough()];
  let left = bytes;
  const cut = (from: PassThrough): PassThrough => {
    const to = new PassThrough();
    from.on('data', (data: Buffer) => {
      const part = data.subarray(0, Math.max(0, left));
      left -= part.length;
      if (part.length) to.write(part);
      if (part.length < data.length && !isSilent) for (const stream of [there, back, ...ends]) stream.end();
    });
    from.on('end', () => to.end());
    return to;
  };
  const ends = [cut(there), cut(back)] as const;
  const breaking = (channel: MigrationChannel): MigrationChannel => ({
    ...channel,
    send: (message) => {
      if (message[TYPE_AT] === type && message.length > TYPE_AT) left = Math.min(left, after);
      return channel.send(message);
    },
  });
  return [breaking(duplexChannel(ends[1], there)), breaking(duplexChannel(ends[0], back))];
}

/** A TCP server between two sides that breaks the first connection instead of passing its first message of this type on. `isLast`: nobody answers there afterwards. */
export async function breakingProxy(port: number, type: number, isLast = false): Promise<Server> {
  let isWhole = false;
  const server = createServer((socket) => {
    const other = connect(port, 'localhost');
    const ends = [duplexChannel(socket, socket), duplexChannel(other, other)] as const;
    for (const end of ends) end.admit();
    const pass = async (from: MigrationChannel, to: MigrationChannel) => {
      for (let message: Uint8Array | undefined; (message = await from.receive()); await to.send(message)) {
        if (isWhole || message[TYPE_AT] !== type || message.length > SHORT) continue;
        isWhole = true;
        if (isLast) server.close();
        break;
      }
    };
    for (const [from, to] of [
      [0, 1],
      [1, 0],
    ] as const)
      void pass(ends[from], ends[to])
        .catch(() => {})
        .finally(() => ends.forEach((end) => end.close()));
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  return server;
}

interface Destination {
  token?: string;
  options?: VmOptions;
  limit?: number;
  listen?: (channel: MigrationChannel) => Promise<void>;
}

/** Writes this many bytes of randomness, all others than before, and counts how often it has. */
const CHANGING =
  '(while :; do dd if=/dev/urandom of=/dev/shm/x bs=1M count=3 2>/dev/null; n=$((n+1)); echo $n > /mnt/share/new; mv /mnt/share/new /mnt/share/count; done) > /dev/null 2>&1 & echo $! > /tmp/pid';
/** A link takes so many large messages in the time that it takes the guest to change all that. */
const BATCH = 12;

/** Lets the guest change more than the other end of the link takes, however fast the two are. Ended by `kill $(cat /tmp/pid)`. */
export async function outpace(vm: Vm, channel: MigrationChannel): Promise<MigrationChannel> {
  const { volume } = vm.share();
  const count = () => (volume.existsSync('/count') ? Number(volume.readFileSync('/count', 'utf8')) : 0);
  await vm.exec(CHANGING);
  let sent = 0;
  return {
    ...channel,
    send: async (message) => {
      if (message.length > 100_000 && sent++ % BATCH === 0) {
        for (const before = count(); count() <= before && vm.emulator.is_running(); )
          await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return channel.send(message);
    },
  };
}

/** Tries to migrate to something that may not be what it should. */
export async function migrateWith(
  vm: Vm,
  { token = TOKEN, options = {}, limit, listen, ...source }: Destination & Omit<Parameters<Vm['migrate']>[1], 'token'>,
): Promise<unknown> {
  const [here, there] = pipe();
  const serve = async () => {
    if (listen) return listen(there);
    const ready = Vm.takeOver(token, options);
    const target = limit === undefined ? ready : new MigrationTarget<MigratedVm>({ ...ready.options, limit });
    await (await target.serve(there))?.vm.stop();
  };
  const [result, served] = await Promise.allSettled([vm.migrate(here, { ...source, token: TOKEN }), serve()]);
  if (!listen) expect(served.status, 'the destination').to.equal('rejected');
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}

const TASK = `n=0; while :; do n=$((n+1)); dd if=/tmp/data of=/mnt/share/new bs=$((n % 50 * 100 + 100)) count=9 2>/dev/null
  dd if=/tmp/data bs=$((n % 50 * 100 + 100)) count=9 2>/dev/null | cmp - /mnt/share/new || echo "round $n" >> /mnt/share/failed; mv /mnt/share/new /mnt/share/old; echo $n > /mnt/share/number.new; mv /mnt/share/number.new /mnt/share/number; done`;

/** Migrates a guest over a link that breaks there. Returns the machine that runs then, the only one, and what was sent when all of it was. */
export async function migrateBroken(
  vm: Vm,
  broken: Break,
  options: VmOptions = {},
): Promise<{ vm: Vm; outcome: 'here' | 'there' | 'unknown'; bytes: number }> {
  const [here, there] = pipe(broken);
  const timeoutMs = broken.isSilent ? SILENCE : undefined;
  const target = new MigrationTarget<MigratedVm>({ ...Vm.takeOver(TOKEN, options).options, timeoutMs });
  const [sent, taken] = await Promise.allSettled([vm.migrate(here, { token: TOKEN, timeoutMs }), target.serve(there)]);
  const successor = taken.status === 'fulfilled' ? taken.value?.vm : undefined;
  const at = JSON.stringify(broken);
  if (sent.status === 'fulfilled') {
    expect(successor, at).not.to.equal(undefined);
    return { vm: successor!, outcome: 'there', bytes: sent.value.bytes };
  }
  if (!(sent.reason instanceof MigrationUnknownError)) {
    expect(sent.reason, at).to.be.instanceOf(MigrationError);
    expect(successor, at).to.equal(undefined);
    return { vm, outcome: 'here', bytes: 0 };
  }
  const [ask, answer] = pipe();
  const [fate] = await Promise.all([settleMigration(sent.reason, ask, TOKEN), target.serve(answer)]);
  expect(fate, at).to.equal(successor ? 'runs there' : 'runs here');
  if (successor) await vm.stop();
  return { vm: successor ?? vm, outcome: 'unknown', bytes: 0 };
}

/**
 * Migrates a guest that does I/O and verifies it, over a link that breaks at a random byte, again and again, wherever the machine is then.
 * After each break exactly one machine runs.
 */
export async function migrateThroughCuts({ cuts, seed }: { cuts: number; seed: number }): Promise<void> {
  const random = randomNumbers(seed);
  let vm = await Vm.boot({ shares: [{ tag: 'share' }] });
  const outcomes = { here: 0, there: 0, unknown: 0 };
  try {
    await vm.mount('share');
    await vm.exec(
      'cat > /tmp/task; dd if=/dev/urandom of=/tmp/data bs=64k count=2 2>/dev/null; sh /tmp/task > /dev/null 2>&1 &',
      { stdin: TASK },
    );
    // How much a whole one takes.
    let whole = 0;
    for (let n = 0; n <= cuts; n++) {
      const isWhole = n === 0;
      // Two thirds of the breaks are in the last two messages, where it matters.
      const where: Break = [
        { bytes: random(whole) },
        { type: SWITCH, after: random(SHORT) },
        { type: RUNNING, after: random(SHORT) },
      ][random(3)]!;
      const broken: Break = isWhole ? {} : { ...where, isSilent: n % 4 === 0 };
      const at = `cut ${n}, ${JSON.stringify(broken)}`;
      const before = Number((await vm.exec('cat /mnt/share/number')).stdout);
      const { outcome, bytes, ...after } = await migrateBroken(vm, broken);
      outcomes[outcome]++;
      if (isWhole) whole = bytes;
      vm = after.vm;
      const now = await vm.exec('sleep 0.2; cat /mnt/share/number; cat /mnt/share/failed 2>/dev/null');
      expect(Number(now.stdout), `${at}: the task goes on, and nothing failed: ${now.stdout}`).to.be.greaterThan(
        before,
      );
    }
    expect(outcomes.here, JSON.stringify(outcomes)).to.be.greaterThan(0);
    expect(outcomes.unknown, JSON.stringify(outcomes)).to.be.greaterThan(0);
  } finally {
    await vm.stop();
  }
}
