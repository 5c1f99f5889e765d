import { MessageChannel } from 'node:worker_threads';
import { expect } from 'chai';
import {
  type LeaseState,
  loadCodec,
  MachineSnapshots,
  MachineStateError,
  MemoryStore,
  type MigrationChannel,
  MigrationError,
  MigrationTarget,
  MigrationUnknownError,
  makeToken,
  migrateOut,
  type PortLike,
  portChannel,
  SnapshotStore,
  type Successor,
  Volume,
} from '../../../device/index.ts';
import { MESSAGE } from '../../../device/migration/link.ts';
import { V86Machine } from '../../../device/v86/adapter.ts';
import type { Departure } from '../../../device/v86/lease.ts';
import { type BareGuest, bareGuest } from '../../support/bare-guest.ts';

const codec = loadCodec();
const TOKEN = makeToken();
/** `jmp $`, where a processor begins. */
const RESET_VECTOR = 0xffff0;
const LOOP = [0xeb, 0xfe];

interface Subject extends BareGuest {
  store: SnapshotStore;
  /** A snapshot of it, layered and v86's own. */
  id: string;
  state: ArrayBuffer;
}

function ports(): [MigrationChannel, MigrationChannel] {
  const { port1, port2 } = new MessageChannel();
  return [portChannel(port1 as unknown as PortLike), portChannel(port2 as unknown as PortLike)];
}

describe('the lease of a machine, on a real v86', () => {
  let made: BareGuest[] = [];

  async function subject(): Promise<Subject> {
    const store = await SnapshotStore.open(new MemoryStore(), codec);
    const guest = await bareGuest(store, new Volume());
    made.push(guest);
    guest.machine.cpu.mem8.set(LOOP, RESET_VECTOR);
    const { id } = await guest.snapshots.freeze({ machine: {} });
    return { ...guest, store, id, state: await guest.machine.emulator.save_state() };
  }

  afterEach(async () => {
    await Promise.all(made.map(({ machine }) => machine.destroy()));
    made = [];
  });

  const leaseOf = ({ machine }: BareGuest) => V86Machine.of(machine.emulator).lease;
  const runs = ({ machine }: BareGuest) => machine.emulator.is_running();

  async function departure(
    guest: Subject,
    to: 'migrating' | 'switching' | 'unknown' | 'handed over',
  ): Promise<Departure> {
    const departing = await leaseOf(guest).depart();
    if (to === 'migrating') return departing;
    await departing.stand();
    if (to === 'switching') return departing;
    departing.commit();
    if (to === 'unknown') departing.lose();
    else departing.handOver();
    return departing;
  }

  const reach: Record<LeaseState, (guest: Subject) => Promise<unknown>> = {
    ours: async () => {},
    arriving: async (guest) => leaseOf(guest).arrive(),
    migrating: (guest) => departure(guest, 'migrating'),
    switching: (guest) => departure(guest, 'switching'),
    unknown: (guest) => departure(guest, 'unknown'),
    'handed over': (guest) => departure(guest, 'handed over'),
    ended: ({ machine }) => machine.destroy(),
  };

  const STATES = ['ours', 'arriving', 'migrating', 'switching', 'unknown', 'handed over', 'ended'] as const;
  /** In the order of {@link STATES}, as docs/migration.md has it. */
  const MATRIX: [string, (guest: Subject) => unknown, string][] = [
    ['run', ({ machine }) => machine.emulator.run(), 'yes no yes no no no no'],
    ['run, by v86 itself', ({ machine }) => machine.emulator.v86!.run(), 'yes no yes no no no no'],
    ['reboot', ({ machine }) => machine.emulator.restart(), 'yes no yes no no no no'],
    ['freeze', ({ snapshots }) => snapshots.freeze({ machine: {} }), 'yes no yes yes yes no no'],
    ['save_state', ({ machine }) => machine.emulator.save_state(), 'yes no yes yes yes no no'],
    ['save_state, by v86 itself', ({ machine }) => machine.emulator.v86!.save_state(), 'yes no yes yes yes no no'],
    ['rewind', ({ snapshots, id }) => snapshots.restore(id), 'yes no no no no no no'],
    ['restore_state', ({ machine, state }) => machine.emulator.restore_state(state), 'yes no no no no no no'],
    [
      'restore_state, by v86 itself',
      ({ machine, state }) => machine.emulator.v86!.restore_state(state),
      'yes no no no no no no',
    ],
    ['suspend', (guest) => leaseOf(guest).inTurn('suspend', () => {}), 'yes no no no no no no'],
    ['wake', (guest) => leaseOf(guest).inTurn('wake', () => {}), 'yes no no no no no no'],
    [
      'migrate',
      ({ machine }) =>
        migrateOut(machine.emulator, silent(), { token: TOKEN, machine: {}, codec }).catch(unlessRefused),
      'yes no no no no no no',
    ],
    ['be moved into', (guest) => leaseOf(guest).arrive(), 'yes no no no no no no'],
    ['be filled', ({ snapshots, id }) => snapshots.stage(id), 'no yes no no no no no'],
    ['a command', (guest) => leaseOf(guest).check('run a command in'), 'yes no yes no no no no'],
    ['destroy', ({ machine }) => machine.emulator.destroy(), 'yes yes yes yes yes yes yes'],
  ];

  /** The other end hangs up. */
  function silent(): MigrationChannel {
    const [here, there] = ports();
    there.close();
    return here;
  }

  function unlessRefused(error: Error): void {
    if (error instanceof MachineStateError) throw error;
  }

  for (const [n, state] of STATES.entries()) {
    it(`says what can be done with a machine that is ${state}`, async function () {
      this.timeout(60_000);
      const wrong: string[] = [];
      const reached = async () => {
        const guest = await subject();
        await reach[state](guest);
        return guest;
      };
      // What is refused leaves it as it was, for the next one.
      const unchanged = await reached();
      for (const [name, act, line] of MATRIX) {
        const expected = line.split(' ')[n] === 'yes';
        const guest = expected ? await reached() : unchanged;
        let error: unknown;
        try {
          await act(guest);
        } catch (thrown) {
          error = thrown;
        }
        if (
          expected
            ? error
            : !(error instanceof MachineStateError) ||
              error.state !== (name === 'be filled' && state === 'ours' ? 'ours' : state)
        )
          wrong.push(`${name}: ${error ?? 'done'}`);
        if (!expected && (leaseOf(guest).state !== state || runs(guest)))
          wrong.push(`${name}: the machine is ${leaseOf(guest).state} now`);
      }
      expect(wrong).to.deep.equal([]);
    });
  }

  it('tells what it could not do, in which state, and what to do', async () => {
    const guest = await subject();
    const leaving = await departure(guest, 'unknown');
    const error = await guest.machine.emulator.run().catch((thrown: Error) => thrown);
    expect(error).to.be.instanceOf(MachineStateError).and.to.include({ operation: 'run', state: 'unknown' });
    expect(error)
      .to.have.property('message')
      .that.matches(/can't run this machine: it may run on the other side.*settle/);
    leaving.keep();
    await guest.machine.emulator.run();
    expect(runs(guest)).to.equal(true);
  });

  it('what was decided stays decided', async () => {
    const kept = await departure(await subject(), 'unknown');
    kept.keep();
    kept.keep();
    expect(() => kept.handOver()).to.throw(/was kept/);
    const other = await subject();
    const gone = await departure(other, 'unknown');
    gone.handOver();
    gone.handOver();
    expect(() => gone.keep()).to.throw(MachineStateError);
    expect(leaseOf(other).state).to.equal('handed over');
  });

  it('an earlier migration decides nothing about a later one', async () => {
    const guest = await subject();
    const first = await departure(guest, 'unknown');
    first.keep();
    const second = await departure(guest, 'unknown');
    first.keep();
    expect(leaseOf(guest).state).to.equal('unknown');
    second.handOver();
    expect(() => first.handOver()).to.throw(/was kept/);
    expect(leaseOf(guest).state).to.equal('handed over');
  });

  describe('running and standing still', () => {
    it('what ran goes on after a migration that came to nothing, and what stood still does not', async () => {
      for (const isWanted of [true, false]) {
        const guest = await subject();
        if (isWanted) await guest.machine.emulator.run();
        const leaving = await departure(guest, 'switching');
        expect(runs(guest)).to.equal(false);
        leaving.keep();
        expect(runs(guest)).to.equal(isWanted);
      }
    });

    it('two that hold it let it go when both have', async () => {
      const guest = await subject();
      await guest.machine.emulator.run();
      const [one, other] = await Promise.all([leaseOf(guest).hold(), leaseOf(guest).hold()]);
      one();
      one();
      expect(runs(guest)).to.equal(false);
      other();
      expect(runs(guest)).to.equal(true);
    });

    it('what its owner wants while it is held is done afterwards', async () => {
      const guest = await subject();
      const { emulator } = guest.machine;
      let release = await leaseOf(guest).hold();
      await emulator.run();
      expect(runs(guest)).to.equal(false);
      release();
      expect(runs(guest)).to.equal(true);
      release = await leaseOf(guest).hold();
      await emulator.stop();
      release();
      expect(runs(guest)).to.equal(false);
    });

    it('a stop that is overtaken by a run ends all the same', async () => {
      const guest = await subject();
      const { emulator } = guest.machine;
      await emulator.run();
      const stopped = emulator.stop();
      await emulator.run();
      await stopped;
      await new Promise((resolve) => setImmediate(resolve));
      expect(runs(guest)).to.equal(true);
    });
  });

  it('restores of several stores take turns: the last one is there, whole', async () => {
    const guest = await subject();
    const { cpu, emulator } = guest.machine;
    const other = await MachineSnapshots.of(emulator, await SnapshotStore.open(new MemoryStore(), codec));
    const fill = (value: number) => cpu.mem8.fill(value, 2 << 20, 6 << 20);
    const [here, there]: [string[], string[]] = [[], []];
    for (const value of [1, 2, 3]) {
      fill(value);
      here.push((await guest.snapshots.freeze({ machine: {} })).id);
      fill(10 + value);
      there.push((await other.freeze({ machine: {} })).id);
    }
    for (let n = 0; n < 6; n++) {
      // Every other time it is there already, so that there seems to be nothing to do.
      const last = n >> 1;
      await Promise.all([
        guest.snapshots.restore(here[n % 3]!),
        other.restore(there[last]!),
        guest.snapshots.freeze({ machine: {} }),
      ]);
      const value = 11 + last;
      expect(
        cpu.mem8.subarray(2 << 20, 6 << 20).findIndex((byte) => byte !== value),
        `round ${n}`,
      ).to.equal(-1);
    }
  });

  describe('an operation during a migration', () => {
    /** Calls `act` when the source is in that state and is about to send a message of that type. `isCut`: it hears nothing after its order. */
    function when(
      channel: MigrationChannel,
      source: Subject,
      state: LeaseState,
      type: number,
      isCut: boolean,
      act: () => Promise<unknown>,
    ): MigrationChannel {
      let isDone = false;
      return {
        ...channel,
        send: async (message) => {
          if (!isDone && message[8] === type && leaseOf(source).state === state) {
            isDone = true;
            await act();
          }
          await channel.send(message);
          if (isCut && message[8] === MESSAGE.SWITCH) channel.close();
        },
      };
    }

    async function move(
      state: LeaseState,
      type: number,
      act: (source: Subject) => Promise<unknown>,
      { signal, isCut = false }: { signal?: AbortSignal; isCut?: boolean } = {},
    ) {
      const [source, destination] = [await subject(), await subject()];
      await source.machine.emulator.run();
      const [here, there] = ports();
      let isDestroyed = false;
      const target = new MigrationTarget<Successor>({
        token: TOKEN,
        codec,
        make: async () => ({
          emulator: destination.machine.emulator,
          start: () => destination.machine.emulator.run(),
          ready: async () => {},
          destroy: async () => {
            isDestroyed = true;
            await destination.machine.destroy();
          },
        }),
      });
      let outcome: unknown;
      const channel = when(
        here,
        source,
        state,
        type,
        isCut,
        async () =>
          void (outcome = await act(source).then(
            () => 'done',
            (error: Error) => error,
          )),
      );
      const [sent, taken] = await Promise.allSettled([
        migrateOut(source.machine.emulator, channel, { token: TOKEN, machine: {}, codec, signal }),
        target.serve(there),
      ]);
      return { source, destination, sent, taken, outcome, isDestroyed: () => isDestroyed };
    }

    const stages = [
      ['in its rounds', MESSAGE.ROUND, 'migrating'],
      ['in the last round', MESSAGE.ROUND, 'switching'],
      ['in the switch', MESSAGE.SWITCH, 'switching'],
    ] as const;
    for (const [where, type, state] of stages) {
      for (const [name, act] of [
        ['a rewind', ({ snapshots, id }) => snapshots.restore(id)],
        ['a rewind by v86', ({ machine, state: saved }) => machine.emulator.restore_state(saved)],
        [
          'another migration',
          ({ machine }) => migrateOut(machine.emulator, silent(), { token: TOKEN, machine: {}, codec }),
        ],
      ] as [string, (source: Subject) => Promise<unknown>][]) {
        it(`${where}, ${name} is refused, and it arrives`, async () => {
          const { source, destination, sent, outcome } = await move(state, type, act);
          expect(outcome).to.be.instanceOf(MachineStateError).with.property('state', state);
          expect(sent.status).to.equal('fulfilled');
          expect([runs(source), runs(destination), leaseOf(source).state]).to.deep.equal([false, true, 'handed over']);
        });
      }

      it(`${where}, a freeze is done, and it arrives`, async () => {
        const { source, destination, sent, outcome } = await move(state, type, ({ snapshots }) =>
          snapshots.freeze({ machine: {} }),
        );
        expect([outcome, sent.status, runs(source), runs(destination)]).to.deep.equal([
          'done',
          'fulfilled',
          false,
          true,
        ]);
      });

      if (type !== MESSAGE.SWITCH)
        it(`${where}, a stop gives it up: it runs nowhere`, async () => {
          const { source, destination, sent, taken, isDestroyed } = await move(state, type, ({ machine }) =>
            machine.destroy(),
          );
          expect(sent.status === 'rejected' && sent.reason)
            .to.be.instanceOf(MigrationError)
            .with.property('message')
            .that.matches(/because the machine was stopped/);
          expect(taken.status).to.equal('rejected');
          expect([isDestroyed(), runs(source), runs(destination)]).to.deep.equal([true, false, false]);
        });
    }

    it('a stop that comes after the order is too late: it has moved', async () => {
      const { source, destination, sent } = await move('switching', MESSAGE.SWITCH, ({ machine }) => machine.destroy());
      expect([sent.status, leaseOf(source).state, runs(source), runs(destination)]).to.deep.equal([
        'fulfilled',
        'ended',
        false,
        true,
      ]);
    });

    it('cancelled before its switch it stays, and can be rewound and moved', async () => {
      const abort = new AbortController();
      const { source, sent } = await move('migrating', MESSAGE.ROUND, async () => abort.abort(), {
        signal: abort.signal,
      });
      expect(sent.status).to.equal('rejected');
      expect([runs(source), leaseOf(source).state]).to.deep.equal([true, 'ours']);
      await source.snapshots.restore(source.id);
      expect((await leaseOf(source).depart()).signal.aborted).to.equal(false);
    });

    it('the machine that is moved into can be neither run nor rewound before that', async () => {
      const refused: unknown[] = [];
      const { destination, sent } = await move('switching', MESSAGE.SWITCH, async () => {
        for (const action of [made.at(-1)!.machine.emulator.run(), made.at(-1)!.snapshots.freeze({ machine: {} })])
          refused.push(await action.catch((error: Error) => error));
      });
      for (const error of refused) expect(error).to.be.instanceOf(MachineStateError).with.property('state', 'arriving');
      expect([sent.status, runs(destination), leaseOf(destination).state]).to.deep.equal(['fulfilled', true, 'ours']);
    });

    it('a link that breaks after the order leaves it unknown here, whatever is tried', async () => {
      const { source, destination, sent } = await move('switching', MESSAGE.SWITCH, async () => {}, { isCut: true });
      expect(sent.status === 'rejected' && sent.reason).to.be.instanceOf(MigrationUnknownError);
      const { emulator } = source.machine;
      for (const action of [
        () => emulator.run(),
        () => source.snapshots.restore(source.id),
        () => migrateOut(emulator, silent(), { token: TOKEN, machine: {}, codec }),
      ]) {
        expect(
          await action().then(
            () => 'done',
            (error: Error) => error,
          ),
        )
          .to.be.instanceOf(MachineStateError)
          .with.property('state', 'unknown');
      }
      expect([runs(source), runs(destination)]).to.deep.equal([false, true]);
    });
  });
});
