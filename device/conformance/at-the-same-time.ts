import type { Check } from './check.ts';
import { expect, same } from './expect.ts';
import type { PosixSession } from './posix-session.ts';
import { listAll, readAll, WHOLE } from './walk.ts';
import { quote } from './words.ts';

const SEVERAL = 8;
const MANY = 40;
const PIECE = 1000;
const O_CREAT_EXCL_RDWR = 0o302;
const O_APPEND = 0o2000;

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

/** Asks several things before any is answered; gives what came of each. */
function together(count: number, ask: (n: number) => Promise<string>): Promise<string[]> {
  return Promise.all(numbers(count).map(ask));
}

function oneOf(results: string[], others: string, what: string): void {
  const expected = ['ok', ...results.slice(1).map(() => others)].join(' ');
  same([...results].sort((a, b) => Number(b === 'ok') - Number(a === 'ok')).join(' '), expected, what);
}

async function namesIn(session: PosixSession, nodeid = session.top): Promise<string> {
  const names = (await listAll(session, nodeid)).map(({ name }) => quote(name).slice(1, -1));
  return names.sort().join(' ');
}

async function openNew(session: PosixSession, name: string): Promise<{ nodeid: number; fh: number }> {
  const { entry, open } = (await session.ask('CREATE', session.top, { flags: O_CREAT_EXCL_RDWR, mode: 0o100644 }, name))
    .out;
  return { nodeid: entry.nodeid, fh: open.fh };
}

async function makeDirectory(session: PosixSession, name: string): Promise<number> {
  return (await session.ask('MKDIR', session.top, { mode: 0o755 }, name)).out.nodeid;
}

/** Requests that wait while others are served, of one guest or several. */
const CHECKS: Record<string, (session: PosixSession) => Promise<void>> = {
  async 'of several who make a name one does'(session) {
    const { top } = session;
    const create = () => session.attempt('CREATE', top, { flags: O_CREAT_EXCL_RDWR, mode: 0o100644 }, 'file');
    oneOf(await together(SEVERAL, create), 'EEXIST', 'CREATE with O_EXCL');
    const mkdir = () => session.attempt('MKDIR', top, { mode: 0o755 }, 'directory');
    oneOf(await together(SEVERAL, mkdir), 'EEXIST', 'MKDIR');
    same(await namesIn(session), 'directory file', 'names');
  },
  async 'of several who remove a name one does'(session) {
    await session.step('create f');
    await session.step('mkdir d');
    oneOf(await together(SEVERAL, () => session.attempt('UNLINK', session.top, 'f')), 'ENOENT', 'UNLINK');
    oneOf(await together(SEVERAL, () => session.attempt('RMDIR', session.top, 'd')), 'ENOENT', 'RMDIR');
    same(await namesIn(session), '', 'names');
  },
  async 'of several who rename a file one does'(session) {
    const { top } = session;
    await session.step('create f');
    const results = await together(SEVERAL, (n) => session.attempt('RENAME', top, { newdir: top }, 'f', `g${n}`));
    oneOf(results, 'ENOENT', 'RENAME');
    same(await namesIn(session), `g${results.indexOf('ok')}`, 'names');
  },
  async 'names that are made and removed at once are all there, and all gone'(session) {
    const { top } = session;
    const body = { flags: O_CREAT_EXCL_RDWR, mode: 0o100644 };
    const made = await together(MANY, (n) => session.attempt('CREATE', top, body, `f${n}`));
    same(
      made.join(' '),
      numbers(MANY)
        .fill(0)
        .map(() => 'ok')
        .join(' '),
      'CREATE',
    );
    const expected = numbers(MANY).map((n) => `f${n}`);
    same(await namesIn(session), expected.sort().join(' '), 'names');
    await together(MANY, (n) => session.attempt(n % 2 ? 'UNLINK' : 'LOOKUP', top, `f${n}`));
    same(await namesIn(session), expected.filter((name) => Number(name.slice(1)) % 2 === 0).join(' '), 'names');
  },
  async 'appends come one after the other, each whole'(session) {
    const { nodeid, fh } = await openNew(session, 'f');
    const body = { fh, size: PIECE, flags: O_APPEND | 1 };
    await together(SEVERAL, (n) => session.attempt('WRITE', nodeid, body, new Uint8Array(PIECE).fill(65 + n)));
    const bytes = await readAll(session, nodeid, WHOLE);
    same(bytes.length, SEVERAL * PIECE, 'bytes');
    const first = numbers(SEVERAL).map((n) => bytes[n * PIECE]!);
    const isWhole = bytes.every((byte, at) => byte === first[Math.floor(at / PIECE)]);
    expect(isWhole && new Set(first).size === SEVERAL, 'appends are mixed with each other');
  },
  async 'writes beside each other are all there'(session) {
    const { nodeid, fh } = await openNew(session, 'f');
    await together(MANY, (n) => {
      const at = (n * 7) % MANY;
      const bytes = new Uint8Array(PIECE).fill(at);
      return session.attempt('WRITE', nodeid, { fh, size: PIECE, offset: at * PIECE }, bytes);
    });
    const bytes = await readAll(session, nodeid, WHOLE);
    same(bytes.length, MANY * PIECE, 'bytes');
    const wrong = bytes.findIndex((byte, at) => byte !== Math.floor(at / PIECE));
    same(wrong, -1, 'the first byte that is wrong');
  },
  async 'nothing is made in a directory that is removed meanwhile'(session) {
    for (const isFirst of [true, false]) {
      const dir = await makeDirectory(session, 'd');
      const create = () => session.attempt('CREATE', dir, { flags: O_CREAT_EXCL_RDWR, mode: 0o100644 }, 'f');
      const remove = () => session.attempt('RMDIR', session.top, 'd');
      const results = await Promise.all((isFirst ? [create, remove] : [remove, create]).map((ask) => ask()));
      const [created, removed] = isFirst ? results : [...results].reverse();
      expect((created === 'ok') !== (removed === 'ok'), `CREATE comes to ${created}, and RMDIR to ${removed}`);
      same(await namesIn(session), created === 'ok' ? 'd' : '', 'names');
      if (created !== 'ok') continue;
      same(await namesIn(session, dir), 'f', 'names in the directory');
      await session.step('unlink d/f');
      await session.step('rmdir d');
    }
  },
  async 'two directories do not go into each other'(session) {
    const { top } = session;
    const [a, b] = [await makeDirectory(session, 'a'), await makeDirectory(session, 'b')];
    const results = await Promise.all([
      session.attempt('RENAME', top, { newdir: b }, 'a', 'in'),
      session.attempt('RENAME', top, { newdir: a }, 'b', 'in'),
    ]);
    same(results.filter((result) => result === 'ok').length, 1, 'renames that succeed');
    same(await namesIn(session), results[0] === 'ok' ? 'b' : 'a', 'names');
  },
};

export const AT_THE_SAME_TIME: readonly Check[] = Object.entries(CHECKS).map(([name, run]) => ({
  subject: 'at the same time',
  name,
  needs: ['writable'],
  run,
}));
