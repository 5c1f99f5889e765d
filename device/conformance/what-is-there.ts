import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../fs/constants.ts';
import * as C from '../fuse/constants.ts';
import { FuseSession } from '../fuse/session.ts';
import type { Check } from './check.ts';
import { isDots, type Listed } from './client.ts';
import { expect, same } from './expect.ts';
import type { PosixSession } from './posix-session.ts';
import {
  directoriesOf,
  type Found,
  filesOf,
  isA,
  linksOf,
  listAll,
  listWhole,
  readAll,
  readable,
  WHOLE,
  walk,
  withDirectory,
} from './walk.ts';
import { quote, terminated } from './words.ts';

const TYPES = [S_IFSOCK, S_IFLNK, S_IFREG, S_IFBLK, S_IFDIR, S_IFCHR, S_IFIFO];
/** Room for one entry of any length, or for some of usual ones. */
const LITTLE = 512;
const INODE_NUMBERS = 2 ** 31;
const SOME = 30;
const NOWHERE = 'a name that nothing has';

const namesOf = (entries: { name: Uint8Array }[]) => entries.map(({ name }) => quote(name)).join(' ');

/** What is true of any tree: of one that is made for it, or of what a filesystem that can't be changed has. */
const CHECKS: Record<string, (session: PosixSession, found: Found[]) => Promise<void>> = {
  async 'attributes are what an inode can have'(session, found) {
    for (const { path, attr } of found) {
      expect(TYPES.includes(attr.mode & S_IFMT), `${path}: mode ${attr.mode.toString(8)} has no type`);
      expect(attr.ino > 0 && attr.ino < INODE_NUMBERS, `${path}: inode number ${attr.ino} is not below 2^31`);
      expect(attr.nlink > 0, `${path}: nlink is 0, and it has a name`);
      for (const name of ['atimensec', 'mtimensec', 'ctimensec'] as const)
        expect(attr[name] < 1e9, `${path}: ${name} is ${attr[name]}`);
    }
    const [root] = found;
    expect(isA(root!.attr, S_IFDIR), 'the root is no directory');
    const statfs = (await session.ask('STATFS', 1)).out.st;
    expect(statfs.bfree <= statfs.blocks && statfs.ffree <= statfs.files, 'statfs: more is free than there is');
  },
  async 'a list has . and .. first, and no name twice'(session, found) {
    for (const { path, nodeid } of directoriesOf(found)) {
      const names = (await listWhole(session, nodeid)).map(({ name }) => quote(name));
      same(names.slice(0, 2).join(' '), '"." ".."', `${path}: the first entries`);
      same(new Set(names).size, names.length, `${path}: different names`);
    }
  },
  async 'what a list names can be looked up, and is what the list says'(session, found) {
    for (const { path, nodeid } of directoriesOf(found))
      for (const { name, ino, type } of await listAll(session, nodeid)) {
        const { attr } = (await session.ask('LOOKUP', nodeid, terminated(name))).out;
        const what = `${path}/${quote(name)}`;
        same(attr.ino, ino, `${what}: inode number of LOOKUP and of the list`);
        same((attr.mode & S_IFMT) >> 12, type, `${what}: type of LOOKUP and of the list`);
      }
  },
  async 'an inode has one number, and a number one inode'(_session, found) {
    const seen = new Map<number, Found>();
    for (const one of found) {
      const other = seen.get(one.attr.ino);
      seen.set(one.attr.ino, one);
      if (!other) continue;
      const isLinked = one.nodeid === other.nodeid && one.attr.nlink > 1 && !isA(one.attr, S_IFDIR);
      expect(isLinked, `${one.path} and ${other.path} have the same inode number, ${one.attr.ino}`);
    }
  },
  async 'a list is the same in small pieces, and again'(session, found) {
    for (const { path, nodeid } of directoriesOf(found)) {
      const whole = namesOf(await listAll(session, nodeid));
      same(namesOf(await listAll(session, nodeid, LITTLE)), whole, `${path} in pieces of ${LITTLE} bytes`);
      same(namesOf(await listAll(session, nodeid)), whole, `${path} listed once more`);
    }
  },
  async 'a listing resumes at each of its cookies, in another open directory too'(session, found) {
    for (const { path, nodeid } of directoriesOf(found)) {
      const entries = (await listAll(session, nodeid)).slice(0, 40);
      for (const [n, { cookie }] of entries.slice(0, -1).entries()) {
        expect(
          Number.isInteger(cookie) && cookie > 0 && cookie < 2 ** 31,
          `${path}: cookie ${cookie} is not below 2^31`,
        );
        const [next] = await withDirectory(session, nodeid, (fh) => session.list(nodeid, fh, cookie, LITTLE));
        same(next && quote(next.name), quote(entries[n + 1]!.name), `${path}: the entry after cookie ${cookie}`);
      }
    }
  },
  async 'READDIRPLUS has what READDIR and GETATTR say'(session, found) {
    for (const { path, nodeid } of directoriesOf(found)) {
      const entries = await listAll(session, nodeid, WHOLE, true);
      same(namesOf(entries), namesOf(await listAll(session, nodeid)), `${path}: names`);
      for (const entry of entries) {
        const what = `${path}/${quote(entry.name)}`;
        expect(entry.attr !== undefined, `${what}: attributes are missing`);
        const attr = await session.attr(entry.nodeid);
        for (const field of ['ino', 'mode', 'size', 'nlink', 'uid', 'gid', 'mtime', 'mtimensec'] as const)
          same(entry.attr![field], attr[field], `${what}: ${field} of READDIRPLUS and GETATTR`);
      }
    }
  },
  async 'a file has as many bytes as its size says, however it is read'(session, found) {
    for (const { path, nodeid, attr } of filesOf(found)) {
      const whole = await readAll(session, nodeid, WHOLE);
      same(whole.length, readable(attr.size), `${path}: bytes`);
      const pieces = await readAll(session, nodeid, 4093);
      const at = pieces.findIndex((byte, n) => byte !== whole[n]);
      expect(pieces.length === whole.length && at < 0, `${path}: differs at byte ${at} when it is read in pieces`);
    }
  },
  async 'nothing is past the end of a file'(session, found) {
    for (const { path, nodeid, attr } of filesOf(found)) {
      const { fh } = (await session.ask('OPEN', nodeid, { flags: 0 })).out;
      const last = await session.ask('READ', nodeid, { fh, offset: Math.max(0, attr.size - 1), size: 4096 });
      same(last.bytes.length, Math.min(1, attr.size), `${path}: bytes at the end`);
      for (const offset of [attr.size, attr.size + 1, attr.size + 10_000_000, 2 ** 52]) {
        const { bytes } = await session.ask('READ', nodeid, { fh, offset, size: 4096 });
        same(bytes.length, 0, `${path}: bytes at ${offset}, past its end`);
      }
      await session.ask('RELEASE', nodeid, { fh });
    }
  },
  async 'a symbolic link is as long as its target'(session, found) {
    for (const { path, nodeid, attr } of linksOf(found))
      same((await session.ask('READLINK', nodeid)).bytes.length, attr.size, `${path}: bytes of its target`);
  },
  async 'what is not there is ENOENT, and what is no directory has nothing in it'(session, found) {
    for (const { path, nodeid } of directoriesOf(found))
      for (const name of [NOWHERE, 'x'.repeat(255), '%', '...', 'constructor', '__proto__'])
        same(await session.attempt('LOOKUP', nodeid, name), 'ENOENT', `${path}: LOOKUP of ${name}`);
    for (const { path, nodeid } of filesOf(found))
      expect((await session.attempt('LOOKUP', nodeid, NOWHERE)) !== 'ok', `${path}: has an entry, and is a file`);
  },
  async 'what is asked at the same time is answered as one after the other'(session, found) {
    const ask = async ({ nodeid, attr, parent, path }: Found): Promise<string> => {
      if (isA(attr, S_IFDIR)) return namesOf(await listAll(session, nodeid, LITTLE));
      if (isA(attr, S_IFREG)) return quote((await readAll(session, nodeid, 4096)).subarray(0, 10_000));
      return String((await session.ask('GETATTR', path === '.' ? parent : nodeid)).out.attr.ino);
    };
    const some = found.slice(0, 60);
    const expected: string[] = [];
    for (const one of some) expected.push(await ask(one));
    const twice = await Promise.all([...some, ...some].map(ask));
    for (const [n, answer] of twice.entries())
      same(answer, expected[n % some.length], `${some[n % some.length]!.path}, asked together with others`);
  },
};

const WITH_HANDLES: typeof CHECKS = {
  async 'inodes are found by their number, and their parents'(session, found) {
    for (const { path, nodeid, attr, parent } of found) {
      same((await session.ask('LOOKUP', nodeid, '.')).out.attr.ino, attr.ino, `${path}: "." by its number`);
      if (!isA(attr, S_IFDIR) || path === '.') continue;
      same((await session.ask('LOOKUP', nodeid, '..')).out.nodeid, parent, `${path}: ".."`);
    }
    same(await session.attempt('LOOKUP', INODE_NUMBERS - 1, '.'), 'ESTALE', 'a number that no inode has');
  },
  async 'open files and half-read directories go on in a restored session'(session, found) {
    const files = [];
    for (const { path, nodeid } of filesOf(found).slice(0, SOME)) {
      const { fh } = (await session.ask('OPEN', nodeid, { flags: 0 })).out;
      files.push({ path, nodeid, fh, bytes: await firstBytes(session, nodeid, fh) });
    }
    const directories = [];
    for (const { path, nodeid } of directoriesOf(found).slice(0, SOME)) {
      const whole = await listAll(session, nodeid, LITTLE);
      const { fh } = (await session.ask('OPENDIR', nodeid)).out;
      const [first, second] = await session.list(nodeid, fh, 0, LITTLE);
      directories.push({ path, nodeid, fh, whole, cookie: (second ?? first)!.cookie });
    }
    restore(session);
    for (const { path, nodeid, fh, bytes } of files)
      same(await firstBytes(session, nodeid, fh), bytes, `${path}, which was open`);
    for (const { path, nodeid, fh, whole, cookie } of directories) {
      const rest: Listed[] = [];
      for (let at = cookie; rest.length <= whole.length; at = rest.at(-1)!.cookie) {
        const part = await session.list(nodeid, fh, at, LITTLE);
        if (!part.length) break;
        rest.push(...part);
      }
      const names = namesOf(rest.filter((entry) => !isDots(entry)).slice(0, whole.length));
      same(names, namesOf(whole), `${path}, which was half read`);
    }
  },
};

async function firstBytes(session: PosixSession, nodeid: number, fh: number): Promise<string> {
  return quote((await session.ask('READ', nodeid, { fh, size: 4096 })).bytes);
}

/** Goes on in another session on the same filesystem, as with a snapshot of sessions alone. */
function restore(session: PosixSession): void {
  const before = session.session;
  const { filesystem } = before;
  const state = FuseSession.checkState(structuredClone(before.state()), {
    inode: (ino) => filesystem.inode?.(ino),
  });
  same(state.missing.join(), '', 'inodes that can not be found again');
  session.session = new FuseSession({ filesystem });
  session.session.restore(state, () => undefined);
  before.close();
}

const READ_ONLY: typeof CHECKS = {
  async 'nothing can be changed'(session, found) {
    const REFUSALS = ['EROFS', 'EPERM', 'EACCES', 'EOPNOTSUPP', 'ENOSYS'];
    const attempts = async function* ({ path, nodeid, attr, parent }: Found) {
      const set = (valid: number) => session.attempt('SETATTR', nodeid, { valid, mode: 0o600, size: 0 });
      yield ['chmod', await set(C.FATTR_MODE)];
      yield ['chown', await set(C.FATTR_UID)];
      if (isA(attr, S_IFREG)) {
        yield ['truncate', await set(C.FATTR_SIZE)];
        yield ['write', await overwrite(session, nodeid)];
      }
      if (isA(attr, S_IFDIR)) {
        yield ['mkdir', await session.attempt('MKDIR', nodeid, { mode: 0o755 }, NOWHERE)];
        yield ['mknod', await session.attempt('MKNOD', nodeid, { mode: 0o100644 }, NOWHERE)];
        yield ['create', await session.attempt('CREATE', nodeid, { flags: 0o102, mode: 0o100644 }, NOWHERE)];
        yield ['symlink', await session.attempt('SYMLINK', nodeid, NOWHERE, 'target')];
      }
      if (path === '.') return;
      const name = await nameOf(session, parent, attr.ino);
      const isDirectory = isA(attr, S_IFDIR);
      yield ['remove', await session.attempt(isDirectory ? 'RMDIR' : 'UNLINK', parent, name)];
      yield ['rename', await session.attempt('RENAME2', parent, { newdir: parent }, name, NOWHERE)];
      if (!isDirectory) yield ['link', await session.attempt('LINK', parent, { oldnodeid: nodeid }, NOWHERE)];
    };
    for (const one of found) {
      for await (const [what, result] of attempts(one))
        expect(REFUSALS.includes(result!), `${one.path}: ${what} comes to ${result}, not EROFS`);
      const { mode, size, mtime } = await session.attr(one.nodeid);
      expect(
        mode === one.attr.mode && size === one.attr.size && mtime === one.attr.mtime,
        `${one.path}: has changed, though all was refused`,
      );
    }
  },
};

/** WRITE to an open file: opening it may be refused as well. */
async function overwrite(session: PosixSession, nodeid: number): Promise<string> {
  const opened = await session.attempt('OPEN', nodeid, { flags: 1 });
  if (opened !== 'ok') return opened;
  const { fh } = (await session.ask('OPEN', nodeid, { flags: 1 })).out;
  return session.attempt('WRITE', nodeid, { fh, size: 1 }, Uint8Array.of(120));
}

async function nameOf(session: PosixSession, parent: number, ino: number): Promise<Uint8Array> {
  const entry = (await listAll(session, parent)).find((one) => one.ino === ino && !isDots(one));
  return terminated(entry!.name);
}

const TREE = [
  'mkdir a',
  'mkdir a/b',
  'mkdir a/b/c',
  'create a/empty',
  'open h a/text O_CREAT|O_RDWR',
  'write h 0 hello',
  'close h',
  'open h a/b/large O_CREAT|O_RDWR',
  ...Array.from({ length: 20 }, (_, n) => `write h ${n * 5000} ${String.fromCharCode(65 + n).repeat(5000)}`),
  'close h',
  'mkdir many',
  ...Array.from({ length: 60 }, (_, n) => `create many/a-name-that-is-long-enough-for-several-requests-${n}`),
];

const toChecks = (checks: typeof CHECKS, needs: Check['needs']): Check[] =>
  Object.entries(checks).map(([name, check]) => ({
    subject: 'what is there',
    name,
    needs,
    async run(session, features) {
      if (!features.readOnly)
        for (const step of [...TREE, ...(features.symlinks ? ['symlink some/where a/link'] : [])]) {
          const result = await session.step(step);
          expect(!/^E[A-Z]/.test(result), `${step.slice(0, 100)}: ${result}`);
        }
      await check(session, await walk(session));
    },
  }));

export const WHAT_IS_THERE: readonly Check[] = [
  ...toChecks(CHECKS, []),
  ...toChecks(WITH_HANDLES, ['fileHandles']),
  ...toChecks(READ_ONLY, ['readOnly']),
];
