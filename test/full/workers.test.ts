import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Tinypool } from 'tinypool';
import { loadCodec, SnapshotStore } from '../../device/index.ts';
import { VmError } from '../../harness/machine/errors.ts';
import { DirectoryStore } from '../../harness/node/stores/directory-store.ts';
import { Vm } from '../../harness/node/vm.ts';
import { ThreadError, VmWorkers } from '../../harness/node/workers/vm-workers.ts';

const LOOK = 'cat /mnt/share/file; ls /tmp';

async function failure(work: Promise<unknown>): Promise<Error> {
  return work.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: Error) => error,
  );
}

describe('machines in threads', function () {
  this.timeout(300_000);
  const directory = mkdtempSync(join(tmpdir(), 'workers-'));
  let id: string;
  /** The pool that has run something last. */
  let last: Tinypool;
  const pools: VmWorkers[] = [];
  const start = async (options?: Parameters<typeof VmWorkers.start>[2]) => {
    const pool = await VmWorkers.start(directory, id, options);
    pools.push(pool);
    return pool;
  };

  before(async () => {
    // It has to be found from inside.
    const { Tinypool } = await import('tinypool');
    const { run } = Tinypool.prototype;
    Tinypool.prototype.run = function (this: Tinypool, ...args: Parameters<typeof run>) {
      last = this;
      return run.apply(this, args);
    };
    after(() => {
      Tinypool.prototype.run = run;
    });
    const store = await SnapshotStore.open(new DirectoryStore(directory), loadCodec());
    const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
    await vm.mount('share');
    await vm.exec('echo before > /mnt/share/file');
    id = (await vm.freeze(store)).id;
    await vm.stop();
  });
  afterEach(() => Promise.all(pools.splice(0).map((pool) => pool.close())));
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('gives each its own guest, waits for a thread, and nothing of one is left for the next', async () => {
    const pool = await start({ workers: 2 });
    const test = async (n: number) => {
      await using vm = await pool.take();
      expect(vm.shares).to.deep.equal([{ tag: 'share', isRoot: false, mountPoint: '/mnt/share' }]);
      expect((await vm.exec(LOOK)).stdout).to.equal('before\n');
      const { stdout, stderr, code } = await vm.exec(
        `echo ${n} > /mnt/share/file; echo ${n} > /tmp/${n}; cat /mnt/share/file - >&2; cat /mnt/share/file; exit ${n}`,
        { stdin: 'given' },
      );
      expect([stdout, stderr, code]).to.deep.equal([`${n}\n`, `${n}\ngiven`, n]);
    };
    await Promise.all([1, 2, 3, 4, 5, 6].map(test));
  });

  it('passes output on as it is taken, and what goes wrong there ends the command', async () => {
    const pool = await start({ workers: 1 });
    await using vm = await pool.take();
    const yes = vm.spawn('yes');
    let taken = 0;
    let go = () => {};
    yes.onStdout = (data) => {
      taken += data.length;
      return new Promise<void>((resolve) => (go = resolve));
    };
    // Nothing was taken yet: what is under way is bounded, and the guest answers still.
    await vm.exec('sleep 1');
    expect(taken).to.be.below(3 << 20);
    const error = new Error('enough');
    yes.onStdout = () => {
      throw error;
    };
    go();
    expect(await failure(yes.exited)).to.equal(error);
    expect((await vm.exec('pidof yes || echo none')).stdout).to.equal('none\n');
    expect(await failure(vm.exec('yes', { maxOutput: 100_000 }))).to.have.property('kind', 'guest');
    expect(await failure(vm.exec(['/none']))).to.include({ code: 127, name: 'VmError' });
  });

  it('tells what has become of a guest, and ends only that one', async () => {
    const pool = await start({ workers: 1, perWorker: 2 });
    const [one, two] = await Promise.all([pool.take(), pool.take()]);
    const waiting = two.exec('sleep 2; echo still here');
    expect(await failure(one.exec('echo c > /proc/sysrq-trigger')))
      .to.be.instanceOf(VmError)
      .with.property('kind', 'crashed');
    const sleeping = one.spawn('sleep 1000').exited;
    expect(await failure(sleeping)).to.have.property('kind', 'crashed');
    expect((await waiting).stdout).to.equal('still here\n');
    await one.release();
    expect(await failure(one.exec('true'))).to.have.property('kind', 'stopped');
    await two.release();
  });

  it('says why there is no guest', async () => {
    const pool = await VmWorkers.start(directory, id.replace(/^./, 'x'), { workers: 1 });
    pools.push(pool);
    expect(await failure(pool.take()))
      .to.have.property('message')
      .that.matches(/no snapshot/);
    const other = await start({ workers: 1, memory: 128 });
    expect(await failure(other.take()))
      .to.be.instanceOf(VmError)
      .with.property('kind', 'snapshot');
  });

  it('a thread that dies takes its own guests with it, and nothing waits for them', async () => {
    const pool = await start({ workers: 2 });
    const [one, two] = await Promise.all([pool.take(), pool.take()]);
    const [lost, kept] = [one.spawn('sleep 1000'), two.exec('sleep 2; echo kept')];
    const [written] = [lost.write('x'.repeat(500_000))];
    written.catch(() => {});
    await killThread(0);
    const error = await failure(lost.exited);
    expect(error).to.be.instanceOf(ThreadError);
    expect(await failure(written)).to.be.instanceOf(Error);
    expect(await failure(one.exec('true'))).to.be.instanceOf(ThreadError);
    await one.release();
    expect((await kept).stdout).to.equal('kept\n');
    await two.release();
    expect((await failure(pool.take())).message).to.match(/start others/);
  });

  it('ends with what still runs and waits', async () => {
    const pool = await start({ workers: 1 });
    const vm = await pool.take();
    const ends = [vm.exec('sleep 1000'), pool.take()].map(failure);
    await pool.close();
    for (const error of await Promise.all(ends)) expect(error).to.be.instanceOf(VmError);
    expect((await failure(pool.take())).message).to.match(/closed/);
  });

  /** Ends a thread from outside, as nothing of ours does. */
  async function killThread(n: number): Promise<void> {
    const { threads } = last as unknown as { threads: { terminate(): Promise<unknown> }[] };
    await threads[n]!.terminate();
  }
});
