import { expect } from 'chai';
import { F_RDLCK, F_UNLCK, F_WRLCK } from '../../../device/fs/constants.ts';
import { FsError } from '../../../device/fs/errno.ts';
import { LOCK_END_MAX, type Lock, type LockLimits, LockTable } from '../../../device/fs/locks.ts';
import { randomNumbers } from '../../support/hostile-driver.ts';

const TYPES = { none: F_UNLCK, read: F_RDLCK, write: F_WRLCK };
type Type = keyof typeof TYPES;

/** A lock of `owner` ("a", or "other:a" of another session) on bytes `start` to `end` of a file. */
function lock(
  owner: string,
  type: Type,
  start = 0,
  end?: number,
  { ino = 1, space = 'posix', fh = 1n }: Partial<Pick<Lock, 'ino' | 'space' | 'fh'>> = {},
): Lock {
  const [name, session = 'one'] = owner.split(':').reverse() as [string, string?];
  return {
    space,
    ino,
    session,
    owner: BigInt(name.codePointAt(0)!),
    fh,
    pid: 1,
    type: TYPES[type],
    start: BigInt(start),
    end: end === undefined ? LOCK_END_MAX : BigInt(end),
  };
}

const flock = (owner: string, type: Type) => lock(owner, type, 0, undefined, { space: 'flock' });

/** Which bytes of file 1 who has how, as "a read 0-9". */
function held(table: LockTable): string[] {
  return [...table.locks()]
    .map(
      ({ owner, type, start, end }) =>
        `${String.fromCodePoint(Number(owner))} ${type === F_RDLCK ? 'read' : 'write'} ${start}-${end === LOCK_END_MAX ? '' : end}`,
    )
    .sort();
}

function refused(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof FsError) return String(error.code);
    throw error;
  }
  return 'granted';
}

const EDEADLK = '35',
  ENOLCK = '37',
  EINVAL = '22';

describe('locks: ranges of one owner', () => {
  const cases: { name: string; locks: [Type, number, number?][]; expect: string[] }[] = [
    {
      name: 'apart',
      locks: [
        ['read', 0, 9],
        ['read', 20, 29],
      ],
      expect: ['a read 0-9', 'a read 20-29'],
    },
    {
      name: 'beside each other become one',
      locks: [
        ['read', 0, 9],
        ['read', 10, 19],
      ],
      expect: ['a read 0-19'],
    },
    {
      name: 'across each other become one',
      locks: [
        ['write', 5, 15],
        ['write', 0, 9],
        ['write', 12, 30],
      ],
      expect: ['a write 0-30'],
    },
    {
      name: 'of two kinds stay apart',
      locks: [
        ['read', 0, 9],
        ['write', 10, 19],
      ],
      expect: ['a read 0-9', 'a write 10-19'],
    },
    {
      name: 'the middle of another kind splits',
      locks: [
        ['read', 0, 99],
        ['write', 40, 59],
      ],
      expect: ['a read 0-39', 'a read 60-99', 'a write 40-59'],
    },
    {
      name: 'the middle given up splits',
      locks: [
        ['write', 0, 99],
        ['none', 40, 59],
      ],
      expect: ['a write 0-39', 'a write 60-99'],
    },
    {
      name: 'both ends given up',
      locks: [
        ['write', 10, 89],
        ['none', 0, 19],
        ['none', 80, 99],
      ],
      expect: ['a write 20-79'],
    },
    {
      name: 'all given up',
      locks: [
        ['write', 10, 89],
        ['read', 200],
        ['none', 0],
      ],
      expect: [],
    },
    {
      name: 'to the end of the file',
      locks: [
        ['write', 10],
        ['none', 50, 59],
      ],
      expect: ['a write 10-49', 'a write 60-'],
    },
    {
      name: 'another kind takes the place of all it covers',
      locks: [
        ['read', 0, 9],
        ['read', 20, 29],
        ['write', 0, 100],
      ],
      expect: ['a write 0-100'],
    },
  ];
  for (const { name, locks, expect: expected } of cases) {
    it(name, () => {
      const table = new LockTable();
      for (const [type, start, end] of locks) expect(table.setlk(lock('a', type, start, end))).to.equal(true);
      expect(held(table)).to.deep.equal(expected);
    });
  }

  it('that are none are refused', () => {
    const table = new LockTable();
    expect(refused(() => table.setlk({ ...lock('a', 'read'), start: -1n }))).to.equal(EINVAL);
    expect(refused(() => table.setlk({ ...lock('a', 'read'), end: LOCK_END_MAX + 1n }))).to.equal(EINVAL);
    expect(refused(() => table.setlk(lock('a', 'read', 5, 4)))).to.equal(EINVAL);
    expect(refused(() => table.setlk({ ...lock('a', 'read'), type: 7 }))).to.equal(EINVAL);
  });
});

describe('locks: who gets in whose way', () => {
  it('random ones are as bytes with owners would have it', () => {
    const BYTES = 24;
    for (let seed = 1; seed <= 20; seed++) {
      const random = randomNumbers(seed);
      const table = new LockTable();
      const owners = ['a', 'b', 'c', 'other:a'];
      const model = owners.map(() => Array<Type>(BYTES).fill('none'));
      for (let n = 0; n < 500; n++) {
        const who = random(owners.length);
        const type = (['none', 'read', 'write'] as const)[random(3)]!;
        const start = random(BYTES);
        const end = start + random(BYTES - start);
        const isFree =
          type === 'none' ||
          !model.some(
            (bytes, other) =>
              other !== who &&
              bytes.slice(start, end + 1).some((taken) => taken === 'write' || (taken === 'read' && type === 'write')),
          );
        const wanted = lock(owners[who]!, type, start, end);
        if (type !== 'none') expect(table.getlk(wanted) === undefined, `seed ${seed}, step ${n}`).to.equal(isFree);
        expect(table.setlk(wanted), `seed ${seed}, step ${n}`).to.equal(isFree);
        if (isFree) model[who]!.fill(type, start, end + 1);
      }
    }
  });

  it('owners of two sessions with one number are two, files don’t mix, nor flock with ranges', () => {
    const table = new LockTable();
    expect(table.setlk(lock('a', 'write'))).to.equal(true);
    expect(table.setlk(lock('other:a', 'write'))).to.equal(false);
    expect(table.getlk(lock('other:a', 'read', 7, 7))).to.include({
      session: 'one',
      pid: 1,
      start: 0n,
      end: LOCK_END_MAX,
    });
    expect(table.setlk(lock('other:a', 'write', 0, 9, { ino: 2 }))).to.equal(true);
    expect(table.setlk(flock('other:a', 'write'))).to.equal(true);
  });

  it('flock: a conversion that is refused has lost what there was', () => {
    const table = new LockTable();
    table.setlk(flock('a', 'read'));
    table.setlk(flock('b', 'read'));
    expect(table.setlk(flock('a', 'write'))).to.equal(false);
    expect(held(table)).to.deep.equal(['b read 0-']);
  });

  it('FLUSH ends an owner’s, RELEASE what was taken through the open file, and the end of a session all of it', () => {
    const table = new LockTable();
    table.setlk(lock('a', 'read', 0, 9, { fh: 1n }));
    table.setlk(lock('b', 'read', 0, 9, { fh: 2n }));
    table.setlk(lock('other:a', 'read', 0, 9, { fh: 1n }));
    table.releaseOwner('posix', 1, 'one', BigInt('a'.codePointAt(0)!));
    expect(held(table)).to.deep.equal(['a read 0-9', 'b read 0-9']);
    table.releaseHandle(1, 'one', 2n);
    expect(held(table)).to.deep.equal(['a read 0-9']);
    table.releaseSession('other');
    expect(held(table)).to.deep.equal([]);
  });
});

describe('locks: those who wait', () => {
  /** A table, and who has been granted in which order. */
  function waiting(limits: LockLimits = {}) {
    const table = new LockTable(limits);
    const granted: string[] = [];
    const wait = (wanted: Lock, name: string) => table.setlkw(wanted, () => granted.push(name));
    return { table, granted, wait };
  }

  it('get it in the order they came', () => {
    const { table, granted, wait } = waiting();
    table.setlk(lock('a', 'write'));
    for (const name of ['b', 'c', 'd', 'e']) wait(lock(name, 'write'), name);
    for (const name of ['a', 'b', 'c', 'd']) table.setlk(lock(name, 'none'));
    expect(granted).to.deep.equal(['b', 'c', 'd', 'e']);
  });

  it('a reader does not overtake a writer who waits, and readers get it together', () => {
    const { table, granted, wait } = waiting();
    table.setlk(lock('a', 'read'));
    wait(lock('b', 'write'), 'b');
    wait(lock('c', 'read'), 'c');
    wait(lock('d', 'read'), 'd');
    expect(granted).to.deep.equal([]);
    table.setlk(lock('a', 'none'));
    expect(granted).to.deep.equal(['b']);
    table.setlk(lock('b', 'none'));
    expect(granted).to.deep.equal(['b', 'c', 'd']);
  });

  it('who wants other bytes waits for nobody', () => {
    const { table, wait } = waiting();
    table.setlk(lock('a', 'write', 0, 9));
    wait(lock('b', 'write', 0, 99), 'b');
    expect(wait(lock('c', 'write', 200, 299), 'c')).to.equal(undefined);
  });

  it('who is waited for overtakes: waiting behind those would never end', () => {
    const { table, granted, wait } = waiting();
    table.setlk(lock('a', 'write', 0, 9));
    table.setlk(lock('b', 'write', 20, 29));
    wait(lock('c', 'write', 0, 29), 'c');
    expect(wait(lock('a', 'write', 10, 19), 'a')).to.equal(undefined);
    table.setlk(lock('a', 'none'));
    table.setlk(lock('b', 'none'));
    expect(granted).to.deep.equal(['c']);
  });

  it('a wait that could never end is refused, round two corners and between sessions too', () => {
    const { table, granted, wait } = waiting();
    for (const [n, name] of ['a', 'b', 'other:c'].entries()) table.setlk(lock(name, 'write', n, n));
    wait(lock('a', 'write', 1, 1), 'a');
    wait(lock('b', 'write', 2, 2), 'b');
    expect(refused(() => wait(lock('other:c', 'write', 0, 0), 'c'))).to.equal(EDEADLK);
    table.setlk(lock('other:c', 'none'));
    expect(granted).to.deep.equal(['b']);
    table.setlk(lock('b', 'none'));
    expect(granted).to.deep.equal(['b', 'a']);
  });

  it('flock is not looked at for that, as in Linux', () => {
    const { table, wait } = waiting();
    table.setlk({ ...flock('a', 'write'), ino: 1 });
    table.setlk({ ...flock('b', 'write'), ino: 2 });
    expect(wait({ ...flock('a', 'write'), ino: 2 }, 'a')).to.be.a('number');
    expect(wait({ ...flock('b', 'write'), ino: 1 }, 'b')).to.be.a('number');
  });

  it('who gives up waiting is not granted, and lets those behind through', () => {
    const { table, granted, wait } = waiting();
    table.setlk(lock('a', 'read'));
    const writer = wait(lock('b', 'write'), 'b')!;
    wait(lock('c', 'read'), 'c');
    expect(table.cancel(writer)).to.equal(true);
    expect(granted).to.deep.equal(['c']);
    expect(table.cancel(writer)).to.equal(false);
  });

  it('the end of a session takes its waiters along', () => {
    const { table, granted, wait } = waiting();
    table.setlk(lock('a', 'write'));
    wait(lock('other:b', 'write'), 'b');
    wait(lock('c', 'write'), 'c');
    table.releaseSession('other');
    table.setlk(lock('a', 'none'));
    expect(granted).to.deep.equal(['c']);
  });

  it('a session may have so many locks and so many waiters, and others theirs', () => {
    const { table, wait } = waiting({ maxLocks: 3, maxWaiters: 2 });
    for (const at of [0, 10, 20]) expect(table.setlk(lock('a', 'write', at, at))).to.equal(true);
    expect(refused(() => table.setlk(lock('b', 'write', 30, 30)))).to.equal(ENOLCK);
    expect(refused(() => table.setlk(lock('a', 'none', 0, 20)))).to.equal('granted');
    table.setlk(lock('a', 'write', 0, 20));
    expect(refused(() => table.setlk(lock('other:a', 'write', 30, 30)))).to.equal('granted');
    wait(lock('b', 'write', 0, 0), 'b');
    wait(lock('c', 'write', 0, 0), 'c');
    expect(refused(() => wait(lock('d', 'write', 0, 0), 'd'))).to.equal(ENOLCK);
    expect(refused(() => wait(lock('other:d', 'write', 0, 0), 'd'))).to.equal('granted');
  });

  it('who gets less than he had lets those through who came before him', () => {
    const { table, granted, wait } = waiting();
    table.setlk(lock('a', 'write', 0, 9));
    table.setlk(lock('c', 'write', 10, 19));
    wait(lock('b', 'read', 0, 4), 'b');
    wait(lock('a', 'read', 0, 19), 'a');
    table.setlk(lock('c', 'none'));
    expect(granted).to.deep.equal(['a', 'b']);
  });

  it('who has as many locks as there may be when it is his turn is told ENOLCK, and others go on', () => {
    const table = new LockTable({ maxLocks: 2 });
    const told: string[] = [];
    table.setlk(lock('other:a', 'write'));
    table.setlkw(lock('b', 'write', 0, 0), (errno) => told.push(`b ${errno}`));
    table.setlkw(lock('other:c', 'write', 1, 1), (errno) => told.push(`c ${errno}`));
    for (const at of [0, 10]) table.setlk(lock('b', 'read', at, at, { ino: 2 }));
    table.setlk(lock('other:a', 'none'));
    expect(told).to.deep.equal([`b ${ENOLCK}`, 'c 0']);
  });

  it('a file has at most four times as many locks and waiters as a session, whoever they are of', () => {
    const { table, wait } = waiting({ maxLocks: 2, maxWaiters: 1 });
    for (let n = 0; n < 8; n++) table.setlk(lock(`${n % 4}:a`, 'write', 2 * n, 2 * n));
    expect(refused(() => table.setlk(lock('five:a', 'write', 100, 100)))).to.equal(ENOLCK);
    for (let n = 0; n < 4; n++) wait(lock(`${n}:b`, 'write', 0, 0), 'b');
    expect(refused(() => wait(lock('five:b', 'write', 0, 0), 'b'))).to.equal(ENOLCK);
  });

  it('a state says where it has more of them than a table allows', () => {
    const { table, wait } = waiting();
    for (const at of [0, 10, 20]) table.setlk(lock('a', 'write', at, at));
    for (const name of ['b', 'c']) wait(lock(name, 'write'), name);
    const state = LockTable.checkState(structuredClone(table.state()));
    expect(new LockTable({ maxLocks: 3, maxWaiters: 2 }).excessOf(state)).to.equal(undefined);
    expect(new LockTable({ maxLocks: 2 }).excessOf(state)).to.equal('a session with more than 2 locks');
    expect(new LockTable({ maxWaiters: 1 }).excessOf(state)).to.equal('a session with more than 1 waiters');
  });

  it('go on waiting in a restored table, in their order', () => {
    const { table, wait } = waiting();
    table.setlk(lock('a', 'write'));
    const ids = ['b', 'c'].map((name) => wait(lock(name, 'write'), name)!);
    const other = new LockTable();
    const state = LockTable.checkState(structuredClone(table.state()));
    const numbers = other.replace(new Set(), [], state.locks, state.waiters);
    const granted: string[] = [];
    ids.forEach((id, n) => expect(other.resume(numbers.get(id)!, () => granted.push('bc'[n]!))).to.equal(true));
    other.setlk(lock('a', 'none'));
    other.setlk(lock('b', 'none'));
    expect(granted).to.deep.equal(['b', 'c']);
  });
});
