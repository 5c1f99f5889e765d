import { MessageChannel } from 'node:worker_threads';
import { expect } from 'chai';
import {
  loadCodec,
  MemoryStore,
  makeToken,
  type PortLike,
  portChannel,
  Recorder,
  SnapshotStore,
} from '../../device/index.ts';
import { forwardChanges, Vm, VmError, VmPool } from '../../harness/index.ts';
import { PANIC } from '../support/panic.ts';

/** What the guest of the snapshot has, and nothing else. */
const LOOK = 'cat /mnt/share/file; ls /mnt/share /tmp; pgrep -f [s]leep; grep -c /mnt /proc/mounts';
const BEFORE = 'before\n/mnt/share:\nfile\n\n/tmp:\n1\n';
const TOKEN = makeToken();

const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    (result) => `it came to an end: ${JSON.stringify(result)}`,
    (error: Error) => error,
  );

async function expectGivenBack(work: Promise<unknown>): Promise<void> {
  const error = await failure(work);
  expect(error).to.be.instanceOf(VmError).with.property('kind', 'stopped');
  expect(error)
    .to.have.property('message')
    .that.matches(/given back to its pool: take another one/);
}

describe('a pool of machines that wait', function () {
  this.timeout(300_000);
  let store: SnapshotStore;
  let id: string;
  let pool: VmPool;

  before(async () => {
    store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
    await vm.mount('share');
    await vm.exec('echo before > /mnt/share/file');
    id = (await vm.freeze(store)).id;
    await vm.stop();
  });
  beforeEach(() => {
    pool = new VmPool(store, id);
  });
  afterEach(() => pool.close());

  const look = async (vm: Vm) => (await vm.exec(LOOK)).stdout;
  /** Gives a machine back, and takes the one that is in its emulator then. */
  async function recycled(vm: Vm): Promise<Vm> {
    await pool.release(vm);
    for (let n = 0; n < 2; n++) {
      const taken = await pool.take();
      if (taken.emulator === vm.emulator) return taken;
      await taken.stop();
    }
    throw new Error('the emulator was thrown away');
  }

  it('gives machines that go on from the snapshot, each with files of its own, until it is closed', async () => {
    const three = new VmPool(store, id, { size: 2 });
    await three.filled();
    const taken = await Promise.all([three.take(), three.take(), three.take()]);
    try {
      for (const [n, machine] of taken.entries())
        expect((await machine.exec(`cat /mnt/share/file; echo ${n} > /mnt/share/file`)).stdout).to.equal('before\n');
      for (const [n, machine] of taken.entries())
        expect(machine.share().fs.readFileSync('/file', 'utf8')).to.equal(`${n}\n`);
    } finally {
      await Promise.all(taken.map((machine) => machine.stop()));
      await three.close();
    }
    expect(await failure(three.take()))
      .to.have.property('message')
      .that.matches(/closed/);
  });

  it('rewinds the one that was given back, and the next has nothing of what was done to it', async () => {
    const vm = await pool.take();
    const heard: string[] = [];
    const host = vm.share().fs;
    vm.emulator.add_listener('serial0-output-byte', () => heard.push('console'));
    vm.emulator.add_listener('emulator-started', () => heard.push('started'));
    vm.life.onEnd(() => heard.push('end'));
    vm.onMoment = () => heard.push('moment');
    vm.share().device.session.onTrace(() => heard.push('request'));
    vm.share().device.transport.onTrace(() => heard.push('ring'));
    const recorder = new Recorder(vm.share().device);
    recorder.isOn = true;
    const problems: Error[] = [];
    const stopForwarding = forwardChanges(vm, { onProblem: (error) => problems.push(error) });
    const shell = vm.spawn(['/bin/sh', '-l'], { pty: { columns: 80, rows: 24 } });
    const kept = vm.spawn('exec sleep 1000');
    const [running, mounting] = [vm.exec('echo x > /mnt/share/a; exec sleep 1000'), vm.exec('exec sleep 1001')];
    await vm.exec('date -s @0; echo secret > /tmp/secret; echo secret > /mnt/share/file; echo secret > /dev/console');
    await vm.exec('mkdir /mnt/other; mount -t tmpfs none /mnt/other; exec 9<> /mnt/share/open; rm /mnt/share/open');
    host.writeFileSync('/host', 'secret');
    const drawn = (await vm.exec('cat /proc/sys/kernel/random/uuid')).stdout;
    const given = [running, mounting, shell.exited, kept.exited].map(expectGivenBack);
    // What the guest has not read yet is typed to nobody.
    await vm.emulator.stop();
    vm.emulator.serial0_send('\necho typed > /mnt/share/typed\n');
    heard.length = 0;
    const fresh = await recycled(vm);
    await Promise.all(given);
    expect(fresh).not.to.equal(vm);
    heard.length = 0;
    const { length } = recorder.records;
    // Late ones of the one before.
    host.writeFileSync('/late', 'secret');
    for (const ask of [
      () => vm.exec('true'),
      async () => vm.spawn('true').exited,
      () => vm.freeze(store),
      () => vm.save(),
      () => vm.thaw(store, id),
      () => vm.mount(),
      () => vm.reboot(),
      () => vm.suspend(),
      () => vm.start(),
      async () => vm.bootsAtReset(() => ({ vmlinux: new Uint8Array(), initrd: new Uint8Array() })),
    ])
      await expectGivenBack(ask());
    await vm.stop();

    expect(await look(fresh)).to.equal(BEFORE);
    expect(fresh.console.lines.join('\n')).not.to.include('secret');
    expect(fresh.share().fs.readdirSync('/')).to.deep.equal(['file']);
    expect(fresh.share().device.session.id).not.to.equal(vm.share().device.session.id);
    expect(await fresh.agent.list()).to.deep.equal([]);
    expect(Math.abs(1000 * Number((await fresh.exec('date +%s')).stdout) - Date.now())).to.be.below(60_000);
    expect((await fresh.exec('cat /proc/sys/kernel/random/uuid')).stdout).not.to.equal(drawn);
    await fresh.exec('echo 1 > /dev/console; echo 1 > /mnt/share/file');
    expect(heard).to.deep.equal([]);
    expect(recorder.records).to.have.length(length);
    // What is forwarded still is told to nobody but to who has asked for it.
    for (const problem of problems) await expectGivenBack(Promise.reject(problem));
    stopForwarding();
    await fresh.stop();
  });

  it('has its own kernel at a reset, and not what the one before wanted @long', async () => {
    const vm = await pool.take();
    vm.bootsAtReset(() => {
      throw new Error('booted the kernel of the one before');
    });
    const fresh = await recycled(vm);
    await failure(fresh.exec('reboot -f'));
    await fresh.ready();
    expect((await fresh.exec('echo booted')).stdout).to.equal('booted\n');
    await fresh.stop();
  });

  /** How a machine may be when it is given back, and whether its emulator can be used again. */
  const states: Record<string, [isUsable: boolean, (vm: Vm) => Promise<unknown>]> = {
    'in the middle of commands': [
      true,
      async (vm) => void [vm.exec('sleep 100'), vm.exec('while :; do :; done')].map((work) => work.catch(() => {})),
    ],
    'after its guest has panicked': [true, (vm) => failure(vm.exec(PANIC))],
    'after its guest has halted': [true, (vm) => failure(vm.exec('halt -f'))],
    'after its guest has rebooted': [true, (vm) => failure(vm.exec('reboot -f'))],
    'while its guest panics': [true, async (vm) => void failure(vm.exec(PANIC))],
    'after the emulator has failed': [
      false,
      (vm) => failure(vm.exec('echo triple > /sys/kernel/reboot/type; reboot -f')),
    ],
    'while it is frozen': [false, async (vm) => void vm.freeze(store).catch(() => {})],
    'while it is saved': [false, async (vm) => void vm.save().catch(() => {})],
    'while it is rewound': [false, async (vm) => void vm.thaw(store, id).catch(() => {})],
    'after it was rewound and frozen': [
      true,
      async (vm) => {
        await vm.thaw(store, id);
        await vm.exec('echo other > /mnt/share/other');
        await vm.freeze(store);
      },
    ],
    'after a restore from elsewhere': [
      true,
      async (vm) => {
        const saved = await vm.save();
        await vm.exec('echo other > /mnt/share/other');
        await vm.restore(saved);
      },
    ],
    'after it was stopped': [false, (vm) => vm.stop()],
    'after it has moved': [
      false,
      async (vm) => {
        const { port1, port2 } = new MessageChannel();
        const served = Vm.takeOver(TOKEN).serve(portChannel(port2 as unknown as PortLike));
        await vm.migrate(portChannel(port1 as unknown as PortLike), { token: TOKEN });
        port1.close();
        await (await served)!.vm.stop();
      },
    ],
    'while it moves': [
      false,
      async (vm) => {
        const { port1, port2 } = new MessageChannel();
        const served = Vm.takeOver(TOKEN).serve(portChannel(port2 as unknown as PortLike));
        const moving = vm.migrate(portChannel(port1 as unknown as PortLike), { token: TOKEN });
        void Promise.allSettled([moving, served]).then(([, arrived]) => {
          port1.close();
          if (arrived.status === 'fulfilled') void arrived.value?.vm.stop();
        });
      },
    ],
  };

  for (const [name, [isUsable, act]] of Object.entries(states)) {
    it(`takes one back ${name}`, async () => {
      const vm = await pool.take();
      await vm.exec('echo x > /mnt/share/x; echo x > /tmp/x');
      await act(vm);
      await pool.release(vm);
      const [fresh, another] = [await pool.take(), await pool.take()];
      try {
        expect([fresh, another].some(({ emulator }) => emulator === vm.emulator)).to.equal(isUsable);
        for (const each of [fresh, another]) expect(await look(each)).to.equal(BEFORE);
      } finally {
        await Promise.all([fresh.stop(), another.stop()]);
      }
    });
  }

  it('takes one back only once, by whatever way, and only its own', async () => {
    let vm: Vm;
    {
      await using mine = await pool.take();
      vm = mine;
      await mine.exec('echo x > /tmp/x');
      void pool.release(mine);
    }
    await pool.release(vm);
    const [one, two] = [await pool.take(), await pool.take()];
    expect(one.emulator).not.to.equal(two.emulator);
    // The one before has no hold on the machine that came after it.
    await pool.release(vm);
    await vm[Symbol.asyncDispose]();
    await vm.stop();
    for (const each of [one, two]) expect(await look(each)).to.equal(BEFORE);
    const other = await Vm.thaw(store, id);
    expect(await failure(pool.release(other))).to.have.property('kind', 'configuration');
    expect(await look(other)).to.equal(BEFORE);
    await Promise.all([one, two].map((each) => pool.release(each)));
    await other.stop();
  });

  it('takes one back when it is closed, before and meanwhile', async () => {
    const [one, two] = [await pool.take(), await pool.take()];
    const back = pool.release(one);
    await Promise.all([pool.close(), back]);
    await pool.release(two);
    for (const vm of [one, two]) expect(vm.isStopped).to.equal(true);
    for (const vm of [one, two]) expect(vm.emulator.is_running()).to.equal(false);
  });

  it('says that the snapshot is gone, and frees what it has', async () => {
    const copy = await store.import(Buffer.concat(await store.export(id)));
    const own = new VmPool(store, copy);
    const vm = await own.take();
    await own.filled();
    await store.remove(copy);
    await own.release(vm);
    const waiting = await own.take();
    expect(await look(waiting)).to.equal(BEFORE);
    expect(await failure(own.take()))
      .to.have.property('message')
      .that.matches(/no snapshot/);
    await waiting.stop();
    await own.close();
  });

  it('lets a machine that was given back before be frozen, as what it has changed @long', async () => {
    const vm = await pool.take();
    await vm.exec('dd if=/dev/urandom of=/dev/shm/large bs=1M count=20; echo x > /mnt/share/x');
    await vm.freeze(store);
    const fresh = await recycled(vm);
    await fresh.exec('echo mine > /mnt/share/mine');
    const frozen = await fresh.freeze(store);
    const { parent, addedBytes } = store.info(frozen.id);
    expect(parent).to.equal(id);
    expect(addedBytes).to.be.below(15e6);
    const again = await recycled(fresh);
    for (const [from, content] of [
      [frozen.id, 'mine\n'],
      [id, ''],
    ] as const) {
      const fork = await Vm.thaw(store, from);
      expect((await fork.exec('cat /mnt/share/mine; ls /dev/shm')).stdout).to.equal(content);
      await fork.stop();
    }
    const forks = new VmPool(store, frozen.id);
    for (let n = 0; n < 3; n++) {
      const fork = await forks.take();
      expect((await fork.exec('cat /mnt/share/mine; echo other > /mnt/share/mine')).stdout).to.equal('mine\n');
      await forks.release(fork);
    }
    await forks.close();
    expect(await look(again)).to.equal(BEFORE);
    await again.stop();
  });

  it('gives nothing of one to another, whatever is done with them in whatever order @long', () =>
    randomly(store, id, 40));
});

/** Random steps with a pool, each machine compared with what it should have. */
async function randomly(store: SnapshotStore, id: string, steps: number, seed = 1): Promise<void> {
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const pool = new VmPool(store, id, { size: 2 });
  const taken = new Map<Vm, string[]>();
  const log: string[] = [];
  const pick = () => [...taken.keys()][random(taken.size)]!;
  const expected = (names: string[]) => [...names, 'file'].sort().join('\n');
  const actions: Record<string, (vm: Vm) => Promise<unknown>> = {
    write: async (vm) => {
      const name = `f${log.length}`;
      taken.get(vm)!.push(name);
      await vm.exec(`echo x > /mnt/share/${name}; cp /mnt/share/${name} /tmp`);
    },
    'write by the host': async (vm) => {
      const name = `h${log.length}`;
      taken.get(vm)!.push(name);
      vm.share().fs.writeFileSync(`/${name}`, 'x');
    },
    dirty: (vm) => vm.exec(`dd if=/dev/urandom of=/dev/shm/d bs=64k count=${1 + random(64)}`),
    spawn: async (vm) => vm.spawn('exec sleep 1000'),
    freeze: async (vm) => {
      const frozen = await vm.freeze(store);
      const fork = await Vm.thaw(store, frozen.id);
      expect((await fork.exec('ls /mnt/share')).stdout.trim(), log.join('\n')).to.equal(expected(taken.get(vm)!));
      await fork.stop();
    },
    rewind: async (vm) => {
      await vm.thaw(store, id);
      taken.set(vm, []);
    },
    release: async (vm) => {
      taken.delete(vm);
      const released = pool.release(vm);
      if (random(2)) await released;
    },
    stop: async (vm) => {
      taken.delete(vm);
      await vm.stop();
    },
  };
  const words = [...Object.keys(actions), 'release', 'release'];
  try {
    for (let step = 0; step < steps; step++) {
      if (taken.size === 0 || (taken.size < 3 && random(3) === 0)) {
        log.push('take');
        const vm = await pool.take();
        expect(taken.has(vm)).to.equal(false);
        taken.set(vm, []);
        expect((await vm.exec(LOOK)).stdout, log.join('\n')).to.equal(BEFORE);
        continue;
      }
      const vm = pick();
      const word = words[random(words.length)]!;
      log.push(word);
      await actions[word]!(vm);
      for (const [each, names] of taken) {
        expect((await each.exec('ls /mnt/share')).stdout.trim(), log.join('\n')).to.equal(expected(names));
        expect(each.share().fs.readdirSync('/').sort().join('\n'), log.join('\n')).to.equal(expected(names));
      }
    }
  } finally {
    await Promise.all([...taken.keys()].map((vm) => vm.stop()));
    await pool.close();
  }
}
