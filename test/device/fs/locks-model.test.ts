import { expect } from 'chai';
import { F_RDLCK, F_UNLCK, F_WRLCK } from '../../../device/fs/constants.ts';
import { EDEADLK, FsError } from '../../../device/fs/errno.ts';
import { LOCK_END_MAX, type Lock, LockTable } from '../../../device/fs/locks.ts';
import { randomNumbers } from '../../support/hostile-driver.ts';
import { BYTES, listLocks, ModelLocks } from '../../support/model-locks.ts';

/** Compares after each step what is held, who waits, who was granted and what was answered. Returns how many waited, were granted and met EDEADLK. */
function compare(seed: number, steps: number): { waited: number; granted: number; deadlocks: number } {
  const random = randomNumbers(seed);
  let table = new LockTable();
  const model = new ModelLocks();
  let granted: number[] = [];
  const total = { waited: 0, granted: 0, deadlocks: 0 };
  const wanted = (): Lock => {
    const start = random(BYTES);
    return {
      space: random(4) ? 'posix' : 'flock',
      ino: 1 + random(2),
      session: random(3) ? 'one' : 'two',
      owner: BigInt(random(5)),
      fh: 1n,
      pid: 1,
      type: [F_RDLCK, F_WRLCK, F_WRLCK, F_UNLCK, F_UNLCK][random(5)]!,
      start: BigInt(start),
      end: random(4) && start < BYTES - 1 ? BigInt(start + random(BYTES - 1 - start)) : LOCK_END_MAX,
    };
  };
  for (let step = 0; step < steps; step++) {
    const lock = wanted();
    const where = `seed ${seed}, step ${step}`;
    const kind = random(24);
    if (kind < 8) expect(table.setlk(lock), where).to.equal(model.setlk(lock));
    else if (kind < 18) {
      const expected = model.setlkw(lock);
      let id = 0;
      let found: ReturnType<typeof model.setlkw>;
      try {
        id =
          table.setlkw(lock, (errno) => {
            if (errno) throw new Error(`errno ${errno}`);
            granted.push(id);
          }) ?? 0;
        found = id || undefined;
      } catch (error) {
        if (!(error instanceof FsError) || error.code !== EDEADLK) throw error;
        found = 'EDEADLK';
        total.deadlocks++;
      }
      expect(found, where).to.equal(expected);
      if (id) total.waited++;
    } else if (kind < 20) {
      const id = random(5) ? (model.queue[random(model.queue.length)]?.id ?? 0) : random(1000);
      expect(table.cancel(id), where).to.equal(model.cancel(id));
    } else if (kind < 22) {
      table.releaseOwner(lock.space, lock.ino, lock.session, lock.owner);
      model.releaseOwner(lock);
    } else if (kind === 22) {
      if (lock.type !== F_UNLCK) expect(table.getlk(lock) !== undefined, where).to.equal(model.getlk(lock));
    } else if (random(4) === 0) {
      table.releaseSession(lock.session);
      model.releaseSession(lock.session);
    } else {
      const restored = new LockTable();
      const state = LockTable.checkState(structuredClone(table.state()));
      const numbers = restored.replace(new Set(), [], state.locks, state.waiters);
      model.renumber(numbers);
      for (const { id } of [...restored.waiters()]) restored.resume(id, () => granted.push(id));
      table = restored;
    }
    expect(granted.sort(), where).to.deep.equal(model.granted.sort());
    expect(listLocks(table.locks()), where).to.deep.equal(model.list());
    expect(
      [...table.waiters()].map(({ id }) => id),
      where,
    ).to.deep.equal(model.queue.map(({ id }) => id));
    total.granted += granted.length;
    granted = [];
    model.granted = [];
  }
  return total;
}

describe('locks, compared with a model that goes through everything again after each step', function () {
  this.timeout(120_000);

  it('random requests, waits, cancellations, releases and restores', () => {
    const total = { waited: 0, granted: 0, deadlocks: 0 };
    for (let seed = 1; seed <= 25; seed++) {
      const { waited, granted, deadlocks } = compare(seed, 300);
      total.waited += waited;
      total.granted += granted;
      total.deadlocks += deadlocks;
    }
    for (const [what, count] of Object.entries(total)) expect(count, what).to.be.greaterThan(30);
  });
});
