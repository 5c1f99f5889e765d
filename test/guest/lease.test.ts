import { expect } from 'chai';
import {
  loadCodec,
  MachineStateError,
  MemoryStore,
  type MigrationChannel,
  MigrationError,
  type MigrationTarget,
  MigrationUnknownError,
  SnapshotStore,
  settleMigration,
} from '../../device/index.ts';
import { Link, MESSAGE } from '../../device/migration/link.ts';
import { V86Machine } from '../../device/v86/adapter.ts';
import { VmError } from '../../harness/machine/errors.ts';
import { type MigratedVm, Vm } from '../../harness/node/vm.ts';
import { pipe, RUNNING, SWITCH, TOKEN } from '../support/migrations.ts';

const TYPE_AT = 8;

describe('a machine runs in one place', function () {
  this.timeout(240_000);
  let store: SnapshotStore;
  let vm: Vm;
  let earlier: string;
  const successors: Vm[] = [];

  beforeEach(async () => {
    store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    vm = await Vm.boot({ shares: [{ tag: 'share' }] });
    await vm.mount('share');
    await vm.exec('echo earlier > /mnt/share/file');
    earlier = (await vm.freeze(store, 'earlier')).id;
    await vm.exec('echo later > /mnt/share/file');
  });
  afterEach(async () => {
    await Promise.all([vm, ...successors.splice(0)].map((each) => each.stop()));
  });

  const runs = ({ emulator }: Vm) => emulator.is_running();
  const file = async (where: Vm) => (await where.exec('cat /mnt/share/file')).stdout.trim();
  const stateOf = ({ emulator }: Vm) => V86Machine.of(emulator).lease.state;

  /** Calls `act` before the source sends its first message for which that is true. */
  function before(
    channel: MigrationChannel,
    is: (message: Uint8Array) => boolean,
    act: () => Promise<unknown>,
  ): MigrationChannel {
    let isDone = false;
    return {
      ...channel,
      send: async (message) => {
        if (!isDone && is(message)) {
          isDone = true;
          await act();
        }
        return channel.send(message);
      },
    };
  }

  async function lose(type: number) {
    const target = Vm.takeOver(TOKEN);
    const [here, there] = pipe({ type, after: 5 });
    const [sent, taken] = await Promise.allSettled([vm.migrate(here, { token: TOKEN }), target.serve(there)]);
    const successor = taken.status === 'fulfilled' ? taken.value?.vm : undefined;
    if (successor) successors.push(successor);
    const unknown = (sent as PromiseRejectedResult).reason as MigrationUnknownError;
    expect(unknown).to.be.instanceOf(MigrationUnknownError);
    return { target, unknown, successor };
  }

  async function ask(unknown: MigrationUnknownError, target: MigrationTarget<MigratedVm>) {
    const [question, answer] = pipe();
    const [fate] = await Promise.all([settleMigration(unknown, question, TOKEN), target.serve(answer)]);
    return fate;
  }

  it('a rewind between the last round and the switch is refused, and the machine arrives', async () => {
    const [here, there] = pipe();
    let rewound: unknown;
    const spy = before(
      here,
      (message) => message[TYPE_AT] === SWITCH,
      async () => {
        rewound = await vm.thaw(store, earlier).catch((error: Error) => error);
        expect(runs(vm)).to.equal(false);
      },
    );
    const [, successor] = await Promise.all([vm.migrate(spy, { token: TOKEN }), Vm.takeOver(TOKEN).serve(there)]);
    successors.push(successor!.vm);
    expect(rewound).to.be.instanceOf(MachineStateError).and.to.include({ operation: 'restore', state: 'switching' });
    expect([runs(vm), runs(successor!.vm), await file(successor!.vm)]).to.deep.equal([false, true, 'later']);
  });

  it('a destination remembers what it has started, however many others it has refused', async () => {
    const { target, unknown, successor } = await lose(RUNNING);
    expect(runs(successor!)).to.equal(true);
    const full = Object.assign(target.options, { maxMachines: 1 });
    expect(full.maxMachines).to.equal(1);
    for (let n = 0; n < 1001; n++) {
      const [caller, answer] = pipe();
      const served = target.serve(answer).catch((error: Error) => error.message);
      const link = await Link.open(caller, 'source', TOKEN);
      await link.sendJson(MESSAGE.DESCRIPTION, { id: crypto.randomUUID(), machine: {} });
      await link.receive(MESSAGE.ACCEPTED).catch(() => {});
      link.close();
      expect(await served).to.match(/has a machine already/);
    }
    expect(await ask(unknown, target)).to.equal('runs there');
    expect([runs(vm), runs(successor!), stateOf(vm)]).to.deep.equal([false, true, 'handed over']);
    expect(() => unknown.resume()).to.throw(MachineStateError);
  });

  it('a machine that may run elsewhere does nothing here, until that is settled', async () => {
    const { target, unknown, successor } = await lose(SWITCH);
    expect(successor).to.equal(undefined);
    for (const [what, act] of Object.entries({
      exec: () => vm.exec('true'),
      thaw: () => vm.thaw(store, earlier),
      migrate: () => vm.migrate(pipe()[0], { token: TOKEN }),
      suspend: () => vm.suspend(),
      wake: () => vm.wake(),
      spawn: async () => vm.spawn('true'),
      run: () => vm.emulator.run(),
      start: () => vm.start(),
    })) {
      const error = await act().then(
        () => 'done',
        (thrown: Error) => thrown,
      );
      expect(error, what).to.be.instanceOf(MachineStateError).with.property('state', 'unknown');
    }
    expect(await vm.save().catch((error: Error) => error))
      .to.be.instanceOf(VmError)
      .with.property('kind', 'unsettled');
    const { id } = await vm.freeze(store, 'kept');
    expect(await Vm.thaw(store, id).catch((error: Error) => error))
      .to.be.instanceOf(VmError)
      .with.property('kind', 'unsettled');
    // A destination that does not know of it decides nothing.
    expect(await ask(unknown, Vm.takeOver(TOKEN))).to.equal('unknown');
    expect([runs(vm), stateOf(vm)]).to.deep.equal([false, 'unknown']);

    expect(await ask(unknown, target)).to.equal('runs here');
    expect(await file(vm)).to.equal('later');
    await vm.thaw(store, earlier);
    expect(await file(vm)).to.equal('earlier');
    expect(
      await vm.thaw(store, id).catch((error: Error) => error),
      'the one that was kept is as it was',
    ).to.be.instanceOf(VmError);
    const after = await vm.freeze(store);
    const copy = await Vm.thaw(store, after.id);
    successors.push(copy);
    expect(await file(copy)).to.equal('earlier');
  });

  it('stopped in its rounds it arrives nowhere', async () => {
    const [here, there] = pipe();
    const spy = before(
      here,
      (message) => message[TYPE_AT] === MESSAGE.ROUND,
      () => vm.stop(),
    );
    const [sent, taken] = await Promise.allSettled([
      vm.migrate(spy, { token: TOKEN }),
      Vm.takeOver(TOKEN).serve(there),
    ]);
    expect((sent as PromiseRejectedResult).reason)
      .to.be.instanceOf(MigrationError)
      .with.property('message')
      .that.matches(/because the machine was stopped/);
    expect(taken.status).to.equal('rejected');
    expect(runs(vm)).to.equal(false);
    expect(await vm.exec('true').catch((error: Error) => error))
      .to.be.instanceOf(VmError)
      .with.property('kind', 'stopped');
  });

  it('a command that is given while it is switched over waits, and runs when it stays', async () => {
    const [here, there] = pipe();
    let command: Promise<string> | undefined;
    const spy = before(
      here,
      (message) => message[TYPE_AT] === MESSAGE.ROUND && stateOf(vm) === 'switching',
      async () => {
        command = file(vm);
        there.close();
      },
    );
    const [sent] = await Promise.allSettled([vm.migrate(spy, { token: TOKEN }), Vm.takeOver(TOKEN).serve(there)]);
    expect((sent as PromiseRejectedResult).reason)
      .to.be.instanceOf(MigrationError)
      .and.not.instanceOf(MigrationUnknownError);
    expect(await command).to.equal('later');
  });

  it('rewinds that are asked for at once come one after the other', async () => {
    const later = (await vm.freeze(store, 'later')).id;
    await Promise.all([vm.thaw(store, earlier), vm.thaw(store, later), vm.thaw(store, earlier), vm.freeze(store)]);
    expect(await file(vm)).to.equal('earlier');
  });
});
