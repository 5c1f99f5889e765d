import { expect } from 'chai';
import { MemoryFileSystem } from '../../device/filesystems/memory/filesystem.ts';
import { loadCodec, MachineSnapshots, MemoryStore, SnapshotError, SnapshotStore } from '../../device/index.ts';
import type { GuestProcess } from '../../harness/machine/agent/guest-agent.ts';
import { Vm } from '../../harness/node/vm.ts';
import type { ShareOptions } from '../../harness/node/vm-options.ts';
import { useGuest } from '../support/guest.ts';
import { lateFileSystem, type Pending } from '../support/late-filesystem.ts';
import { freezeUnderLoad } from '../support/load.ts';
import { pipe, TOKEN } from '../support/migrations.ts';
import { declareScenarios, runScenarios } from '../support/posix-guest.ts';

/** A machine with a share whose requests of one kind wait until they are told to go on. */
async function slow(name: string, cache?: ShareOptions['cache']) {
  const files = new MemoryFileSystem();
  const pending: Pending[] = [];
  let isHeld = false;
  const filesystem = lateFileSystem(files, {
    isPersistent: true,
    schedule: (one) => (isHeld && one.name === name ? pending.push(one) : setTimeout(one.perform, 0)),
  });
  const vm = await Vm.boot({ shares: [{ tag: 'share', filesystem, cache }] });
  await vm.mount('share');
  return {
    vm,
    files,
    filesystem,
    pending,
    /** From now on they wait. */
    hold: () => {
      isHeld = true;
    },
    release: () => {
      isHeld = false;
      for (const { perform } of pending.splice(0)) perform();
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

async function outputOf(process: GuestProcess): Promise<string> {
  let output = '';
  process.onStdout = (data) => {
    output += new TextDecoder().decode(data);
  };
  expect(await process.exited).to.equal(0);
  return output;
}

describe('a filesystem that answers later, in the guest', function () {
  this.timeout(300_000);

  describe('whose answers come in any order', () => {
    const files = new MemoryFileSystem();
    const guest = useGuest({ shares: [{ tag: 'share', filesystem: lateFileSystem(files, { atOnceOneIn: 4 }) }] });
    let outcomes: string[][];
    before(async () => {
      outcomes = await runScenarios(guest.vm, '/mnt/share');
    });
    declareScenarios(
      () => outcomes,
      () => true,
    );

    it('does not keep the guest from anything else', async () => {
      await guest.sh(
        'for n in 1 2 3 4 5 6 7 8; do (for k in 1 2 3 4 5 6; do echo $n $k >> f$n; cat f$n > /dev/null; done) & done; wait',
      );
      expect(await guest.sh('cat f? | wc -l')).to.equal('48\n');
    });
  });

  it('that fails now and then gives EIO, and the guest goes on', async () => {
    const filesystem = lateFileSystem(new MemoryFileSystem(), { failsOneIn: 6, seed: 5 });
    const vm = await Vm.boot({ shares: [{ tag: 'share', filesystem }] });
    try {
      await vm.mount('share');
      const { stdout } = await vm.exec(
        'n=0; while [ $n -lt 60 ]; do n=$((n+1)); echo $n > f$n && cat f$n; done 2>&1 | grep -c "Input/output error"; dmesg | grep -ciE "BUG|WARN|Oops"',
        { cwd: '/mnt/share' },
      );
      const [failed, faults] = stdout.split('\n').map(Number);
      expect(failed).to.be.above(5);
      expect(faults).to.equal(0);
    } finally {
      await vm.stop();
    }
  });

  describe('a READ that waits', () => {
    it('is in a snapshot, and is answered where the machine goes on', async () => {
      const { vm, files, pending, hold, release } = await slow('read');
      const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
      try {
        await vm.exec('echo content > /mnt/share/file; sync; echo 3 > /proc/sys/vm/drop_caches');
        hold();
        const reader = vm.spawn(['cat', '/mnt/share/file']);
        await until(() => pending.length > 0);
        const { id } = await vm.freeze(store);
        const plain = await vm.save();

        const copy = await Vm.thaw(store, id);
        expect(await copy.agent.attach(reader.id).exited).to.equal(0);
        expect((await copy.exec('cat /mnt/share/file')).stdout).to.equal('content\n');
        await copy.stop();

        const other = await Vm.restore(plain);
        expect(await outputOf(other.agent.attach(reader.id))).to.equal('content\n');
        await other.stop();

        // It is asked for again here too, and what was waited for until then is dropped.
        const before = pending.length;
        await vm.thaw(store, id);
        await until(() => pending.length > before);
        release();
        expect(await outputOf(vm.agent.attach(reader.id))).to.equal('content\n');
        expect(files.lookup(files.root, 'file')).not.to.equal(undefined);
      } finally {
        release();
        await vm.stop();
      }
    });

    it('goes along when the machine moves', async () => {
      const { vm, pending, hold, release } = await slow('read');
      let moved: Vm | undefined;
      try {
        await vm.exec('echo content > /mnt/share/file; sync; echo 3 > /proc/sys/vm/drop_caches');
        hold();
        const reader = vm.spawn(['cat', '/mnt/share/file']);
        await until(() => pending.length > 0);
        const [here, there] = pipe();
        const [, arrived] = await Promise.all([vm.migrate(here, { token: TOKEN }), Vm.takeOver(TOKEN).serve(there)]);
        moved = arrived!.vm;
        expect(await outputOf(moved.agent.attach(reader.id))).to.equal('content\n');
        release();
        expect((await moved.exec('echo more >> /mnt/share/file; cat /mnt/share/file')).stdout).to.equal(
          'content\nmore\n',
        );
      } finally {
        release();
        await moved?.stop();
        await vm.stop();
      }
    });

    it('ends with the guest’s kill, a reset of the machine, and its end', async () => {
      const { vm, pending, hold, release } = await slow('read');
      try {
        await vm.exec('echo content > /mnt/share/file; sync; echo 3 > /proc/sys/vm/drop_caches');
        hold();
        vm.spawn(['cat', '/mnt/share/file']);
        await until(() => pending.length > 0);
        vm.emulator.restart();
        await vm.life.answer(180_000);
        release();
        await vm.mount('share');
        expect((await vm.exec('cat /mnt/share/file')).stdout).to.equal('content\n');
        expect(vm.share().device.session.changing).to.deep.equal([]);
      } finally {
        release();
        await vm.stop();
      }
    });
  });

  describe('a WRITE that has begun', () => {
    for (const [kind, ...writer] of [
      ['synchronous', 'sh', '-c', `printf %32768s | tr ' ' b | dd of=/mnt/share/file bs=32k conv=notrunc oflag=direct`],
      ['asynchronous', 'direct', '/mnt/share/file', '8', 'b'],
    ] as const)
      it(`and bypasses the page cache, ${kind}: what is read meanwhile does not stay in the cache`, async () => {
        const { vm, pending, hold, release } = await slow('write', 'always');
        try {
          await vm.exec("printf %32768s | tr ' ' a > /mnt/share/file; sync");
          hold();
          const written = vm.spawn([...writer]).exited;
          await until(() => pending.length > 0);
          // Its close waits for the writer, so its end does not come before.
          const reader = vm.spawn(['cat', '/mnt/share/file']);
          let read = '';
          reader.onStdout = (data) => (read += new TextDecoder().decode(data));
          await until(() => read.length >= 32768);
          expect(new Set(read)).to.deep.equal(new Set('a'));
          release();
          expect([await written, await reader.exited]).to.deep.equal([0, 0]);
          expect(new Set((await vm.exec('cat /mnt/share/file')).stdout)).to.deep.equal(new Set('b'));
        } finally {
          release();
          await vm.stop();
        }
      });

    it('is waited for by freeze; save_state refuses meanwhile, and names it', async () => {
      const { vm, pending, files, hold, release } = await slow('write');
      const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
      try {
        hold();
        const writer = vm.spawn(['sh', '-c', 'echo content > /mnt/share/file']);
        await until(() => pending.length > 0);
        const error = await vm.emulator.save_state().then(
          () => undefined,
          (reason: unknown) => reason,
        );
        expect(error).to.be.instanceOf(SnapshotError);
        expect((error as Error).message).to.match(/share: WRITE/);
        const frozen = vm.freeze(store);
        await new Promise((resolve) => setTimeout(resolve, 300));
        release();
        const { id } = await frozen;
        expect(await writer.exited).to.equal(0);
        const copy = await Vm.thaw(store, id);
        try {
          expect(await copy.agent.attach(writer.id).exited).to.equal(0);
          expect((await copy.exec('cat /mnt/share/file')).stdout).to.equal('content\n');
          expect(files.lookup(files.root, 'file')!.size).to.equal(8);
        } finally {
          await copy.stop();
        }
      } finally {
        release();
        await vm.stop();
      }
    });

    it('that never ends is not waited for for ever', async () => {
      const { vm, pending, hold, release } = await slow('write');
      const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
      const snapshots = await MachineSnapshots.of(vm.emulator, store);
      try {
        hold();
        vm.spawn(['sh', '-c', 'echo content > /mnt/share/file']);
        await until(() => pending.length > 0);
        const error = await snapshots.freeze({ machine: {}, patience: 300 }).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        expect(error)
          .to.be.instanceOf(SnapshotError)
          .with.property('message')
          .that.matches(/share: WRITE/);
        release();
        expect((await vm.exec('cat /mnt/share/file')).stdout).to.equal('content\n');
      } finally {
        release();
        await vm.stop();
      }
    });
  });

  it('loses nothing and does nothing twice when it is frozen at work @long', () =>
    freezeUnderLoad({
      share: () => ({ filesystem: lateFileSystem(new MemoryFileSystem(), { atOnceOneIn: 3, isPersistent: true }) }),
      rounds: 8,
      seed: 3,
    }));
});
