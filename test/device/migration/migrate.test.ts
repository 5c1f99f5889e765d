import { MessageChannel } from 'node:worker_threads';
import { expect } from 'chai';
import { Volume } from 'memfs';
import {
  loadCodec,
  MemoryStore,
  type MigrationChannel,
  MigrationError,
  MigrationTarget,
  makeToken,
  migrateOut,
  type PortLike,
  portChannel,
  type RestorePolicies,
  SnapshotStore,
  type Successor,
} from '../../../device/index.ts';
import { encodeHello } from '../../../device/migration/hello.ts';
import {
  type BareGuest,
  bareGuest,
  lockFile,
  lockHolders,
  type OpenFile,
  openFile,
  UNLOCK,
  WRITE_LOCK,
} from '../../support/bare-guest.ts';

const codec = loadCodec();
/** In a hello: behind the name of the protocol. */
const VERSION_AT = 'v86-virtiofs migration'.length;
const TOKEN = makeToken();

function ports(): [MigrationChannel, MigrationChannel] {
  const { port1, port2 } = new MessageChannel();
  return [portChannel(port1 as unknown as PortLike), portChannel(port2 as unknown as PortLike)];
}

describe('live migration of a machine', () => {
  let running: BareGuest[] = [];

  async function guest(volume: Volume, store?: SnapshotStore): Promise<BareGuest> {
    const made = await bareGuest(store ?? (await SnapshotStore.open(new MemoryStore(), codec)), volume);
    running.push(made);
    return made;
  }

  const send = ({ machine }: BareGuest, channel: MigrationChannel) =>
    migrateOut(machine.emulator, channel, { token: TOKEN, machine: {}, sessionOnly: true, codec });

  /** Takes machines into `there`, and writes down what becomes of each. */
  function targetOf(
    { machine }: BareGuest,
    policies: RestorePolicies = {},
    ready?: () => Promise<void>,
  ): { target: MigrationTarget<Successor>; calls: string[] } {
    const calls: string[] = [];
    const note = (what: string) => async () => void calls.push(what);
    const target = new MigrationTarget<Successor>({
      token: TOKEN,
      codec,
      policies,
      onProblem: ({ message }) => void calls.push(`problem: ${message}`),
      make: async () => ({
        emulator: machine.emulator,
        start: note('start'),
        ready: ready ?? note('ready'),
        destroy: note('destroy'),
      }),
    });
    return { target, calls };
  }

  afterEach(async () => {
    await Promise.all(running.map(({ machine }) => machine.destroy()));
    running = [];
  });

  it('a machine that is here and does not answer is returned, since there is no other, and what is wrong is told', async () => {
    const first = await guest(new Volume());
    const second = await guest(first.device.volume);
    const [here, there] = ports();
    const { target, calls } = targetOf(second, {}, () => Promise.reject(new Error('it does not answer')));
    const [, successor] = await Promise.all([send(first, here), target.serve(there)]);
    expect(successor!.emulator).to.equal(second.machine.emulator);
    expect(calls).to.deep.equal(['start', 'problem: it does not answer']);
  });

  it('a slow link gets small messages, so that no pause between them seems like silence', async () => {
    const first = await guest(new Volume());
    const second = await guest(first.device.volume);
    for (let at = 2 << 20; at < (2 << 20) + 100_000; at += 50_000)
      first.machine.cpu.mem8.set(crypto.getRandomValues(new Uint8Array(50_000)), at);
    const [here, there] = ports();
    const lengths: number[] = [];
    const measured: MigrationChannel = {
      ...here,
      send: (message) => (lengths.push(message.length), here.send(message)),
    };
    const bandwidth = 50_000;
    await Promise.all([
      migrateOut(first.machine.emulator, measured, { token: TOKEN, machine: {}, sessionOnly: true, codec, bandwidth }),
      targetOf(second).target.serve(there),
    ]);
    expect(Math.max(...lengths)).to.be.within(16_000, bandwidth / 2);
  });

  it('a copy of the machine that is there already is another one, and keeps its locks', async () => {
    const store = await SnapshotStore.open(new MemoryStore(), codec);
    const first = await guest(new Volume(), store);
    const file = openFile(first, 'here');
    expect(lockFile(first, file, 5n)).to.equal(0);
    const { id } = await first.snapshots.freeze({ machine: {} });
    const copy = await guest(new Volume(), store);
    await copy.snapshots.restore(id);
    expect(copy.device.session.id).not.to.equal(first.device.session.id);
    const second = await guest(copy.device.volume);
    const [here, there] = ports();
    const [sent] = await Promise.allSettled([send(first, here), targetOf(second).target.serve(there)]);
    expect(sent)
      .to.have.property('reason')
      .that.has.property('message')
      .that.matches(/another guest .* has a posix lock/);
    expect(lockHolders(copy)).to.deep.equal([5]);
    // A rewind is of the machine itself.
    const { id: session } = copy.device.session;
    const again = await copy.snapshots.freeze({ machine: {} });
    await copy.snapshots.restore(again.id);
    expect([copy.device.session.id, lockHolders(copy)]).to.deep.equal([session, [5]]);
    expect(lockFile(copy, file, 6n), 'its lock is in the way of others').to.equal(-11);
    expect(lockFile(copy, file, 5n, UNLOCK)).to.equal(0);
    expect(lockHolders(copy), 'and it can give it up').to.deep.equal([]);
  });

  describe('when another guest there has its lock', () => {
    /** A guest with a lock, and one that has a copy of the folder, where somebody else has locked the same. */
    async function conflict(policies: RestorePolicies) {
      const store = await SnapshotStore.open(new MemoryStore(), codec);
      const first = await guest(new Volume(), store);
      const file = openFile(first, 'here');
      const { id } = await first.snapshots.freeze({ machine: {} });
      const copy = await guest(new Volume(), store);
      await copy.snapshots.restore(id);
      const thief = await guest(copy.device.volume);
      expect(lockFile(thief, openFile(thief, 'here'), 6n)).to.equal(0);
      expect(lockFile(first, file, 5n)).to.equal(0);
      const second = await guest(copy.device.volume);
      const [here, there] = ports();
      const { target, calls } = targetOf(second, policies);
      const [sent, taken] = await Promise.allSettled([send(first, here), target.serve(there)]);
      return { first, file, second, thief, sent, taken, calls };
    }

    const stillLocks = (guest: BareGuest, file: OpenFile) =>
      lockFile(guest, file, 7n, WRITE_LOCK, 'SETLKW') === undefined;

    it('fail: is refused, and the machine keeps its lock', async () => {
      const { first, file, thief, second, sent, taken, calls } = await conflict({});
      for (const [side, { status, reason }] of Object.entries({
        MigrationRefusedError: sent,
        MigrationError: taken,
      }) as [string, PromiseRejectedResult][]) {
        expect([status, reason.name]).to.deep.equal(['rejected', side]);
        expect(reason.message).to.match(
          /another guest \(process 6\) has a posix lock on inode \d+ that this one's process 5 had/,
        );
      }
      expect(calls).to.deep.equal(['destroy']);
      expect([lockHolders(first), lockHolders(thief)]).to.deep.equal([[5], [6]]);
      expect(second.device.session.negotiated).to.equal(undefined);
      expect(stillLocks(first, file)).to.equal(true);
    });

    for (const [onLockConflict, holders, outcome] of [
      ['drop', [6], 'dropped'],
      ['steal', [5], 'stolen'],
    ] as const) {
      it(`${onLockConflict}: it moves, and the lock is ${outcome}`, async () => {
        const { thief, second, sent, taken, calls } = await conflict({ onLockConflict });
        expect([sent.status, taken.status]).to.deep.equal(['fulfilled', 'fulfilled']);
        expect(calls).to.deep.equal(['start', 'ready']);
        expect(lockHolders(thief)).to.deep.equal(holders);
        expect(second.device.session.negotiated).not.to.equal(undefined);
      });
    }
  });

  describe('when the other side has another version', () => {
    /** A side that is of the next version, whichever it is. */
    async function next(channel: MigrationChannel): Promise<void> {
      await channel.receive();
      const hello = encodeHello('destination', false);
      hello[VERSION_AT]!++;
      await channel.send(hello);
    }

    const refusal =
      /the other side speaks version 3 of the protocol, and this one 2: use the same release on both sides/;

    it('the source keeps its machine', async () => {
      const first = await guest(new Volume());
      const file = openFile(first, 'here');
      const [here, there] = ports();
      const [sent] = await Promise.allSettled([send(first, here), next(there)]);
      expect(sent)
        .to.have.property('reason')
        .that.is.instanceOf(MigrationError)
        .with.property('message')
        .that.matches(refusal);
      expect(await there.receive(), 'the channel is closed').to.equal(undefined);
      expect(lockFile(first, file, 5n)).to.equal(0);
    });

    it('the destination makes none', async () => {
      const { target, calls } = targetOf(await guest(new Volume()));
      const [here, there] = ports();
      const hello = encodeHello('source', true);
      hello[VERSION_AT]!++;
      await here.send(hello);
      const error = await target.serve(there).catch((thrown: Error) => thrown);
      expect(error).to.be.instanceOf(MigrationError).with.property('message').that.matches(refusal);
      expect(calls).to.deep.equal([]);
    });
  });
});
