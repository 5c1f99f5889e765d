import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BytesSink, BytesSource } from '../../../../device/bytes.ts';
import { FsError } from '../../../../device/fs/errno.ts';
import type { OpenDirectory } from '../../../../device/fs/filesystem.ts';
import { LiveDirectory, type LiveDirectoryOptions } from '../../../../harness/node/live/live-directory.ts';

type Live = LiveDirectory['root'];

const own = { uid: process.getuid!(), gid: process.getgid!() };
const encoder = new TextEncoder();
const isRoot = own.uid === 0;

describe('a live directory', () => {
  let top: string;
  let share: string;
  let live: LiveDirectory;
  const opened: LiveDirectory[] = [];
  /** Of this process, what is open below the directory. */
  const descriptors = () =>
    readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        const path = readlinkSync(`/proc/self/fd/${fd}`);
        return path.startsWith(top) ? [path] : [];
      } catch {
        return [];
      }
    });
  const at = (...names: string[]) => join(share, ...names);
  const open = (options: LiveDirectoryOptions = {}) => {
    const made = LiveDirectory.open(share, { io: 'now', ...options });
    opened.push(made);
    return made;
  };
  const find = (path: string, from = live): Live => {
    let inode: Live = from.root;
    for (const name of path.split('/').filter(Boolean)) inode = from.lookup(inode, name)!.inode as Live;
    from.retain(inode);
    return inode;
  };
  const codeOf = (action: () => unknown): string => {
    try {
      action();
    } catch (error) {
      if (error instanceof FsError) return error.message;
      throw error;
    }
    return 'ok';
  };
  const create = (dir: Live, name: string, mode = 0o644) =>
    live.create(dir, name, { mode, ...own }, 2, {}).inode as Live;
  const write = (inode: Live, offset: number | 'end', text: string, into = live) =>
    into.write(inode, offset, text.length, new BytesSource(encoder.encode(text)));
  const read = (inode: Live, offset = 0, length = 100, from = live) => {
    const bytes = new Uint8Array(length);
    const count = from.read(inode, offset, length, new BytesSink(bytes), 0) as number;
    return new TextDecoder().decode(bytes.subarray(0, count));
  };
  const list = (reader: OpenDirectory, cookie = 0, count = Infinity) => {
    const found: { name: string; cookie: number }[] = [];
    for (const { name, cookie: each } of reader.read(cookie, false, false) as Iterable<{
      name: string;
      cookie: number;
    }>) {
      if (found.length === count) break;
      found.push({ name, cookie: each });
    }
    return found;
  };
  const names = (reader: OpenDirectory, cookie?: number) => list(reader, cookie).map(({ name }) => name);

  beforeEach(() => {
    top = realpathSync(mkdtempSync(join(tmpdir(), 'live-')));
    share = join(top, 'share');
    mkdirSync(join(share, 'd'), { recursive: true });
    mkdirSync(join(top, 'outside'));
    writeFileSync(at('a'), 'host');
    writeFileSync(at('d', 'b'), 'below');
    writeFileSync(join(top, 'outside', 'b'), 'precious');
    live = open();
  });
  afterEach(() => {
    for (const each of opened.splice(0)) each.end();
    expect(descriptors(), 'no descriptor is left').to.deep.equal([]);
    // Node's own stops at long paths.
    execFileSync('rm', ['-rf', top]);
  });

  it('is what the host has, at once, both ways', () => {
    const a = find('a');
    expect(read(a)).to.equal('host');
    writeFileSync(at('a'), 'the host again');
    expect(read(a)).to.equal('the host again');
    expect(live.getattr(a).size).to.equal(14);
    write(a, 4, 'guest');
    write(a, 'end', '!');
    appendFileSync(at('a'), '?');
    write(a, 'end', '.');
    expect(readFileSync(at('a'), 'utf8')).to.equal('the guestagain!?.');
    write(create(find('d'), 'new'), 0, 'made');
    expect(readFileSync(at('d', 'new'), 'utf8')).to.equal('made');
    live.symlink(live.root, 'l', '../outside/b', { mode: 0, ...own });
    expect(readlinkSync(at('l'))).to.equal('../outside/b');
    unlinkSync(at('l'));
    symlinkSync('elsewhere', at('l'));
    expect(live.readlink(find('l'))).to.equal('elsewhere');
  });

  it('has every name that Linux has', () => {
    const name = `\udcff\udc80 ä${'n'.repeat(248)}`;
    write(create(live.root, name), 0, 'x');
    const bytes = Buffer.concat([Buffer.from([0xff, 0x80]), Buffer.from(` ä${'n'.repeat(248)}`)]);
    expect(readFileSync(Buffer.concat([Buffer.from(`${share}/`), bytes]), 'utf8')).to.equal('x');
    expect(names(live.opendir(live.root))).to.have.members(['.', '..', 'a', 'd', name]);
    expect(codeOf(() => create(live.root, 'n'.repeat(256)))).to.equal('ENAMETOOLONG');
  });

  it('gives the same numbers to the same files, here and in another process, wherever they are moved', () => {
    const [a, d] = [find('a'), find('d')];
    renameSync(at('a'), at('d', 'c'));
    renameSync(at('d'), at('e'));
    const other = open();
    for (const [inode, path] of [
      [a, 'e/c'],
      [d, 'e'],
    ] as const) {
      const { ino, generation } = find(path, other);
      expect({ ino, generation }).to.deep.equal({ ino: inode.ino, generation: inode.generation });
      expect(ino)
        .to.be.above(1)
        .and.below(2 ** 31);
      expect(find(path)).to.equal(inode);
    }
    expect(other.uuid).to.equal(live.uuid);
    renameSync(share, join(top, 'moved'));
    mkdirSync(share);
    expect(open().uuid, 'another directory of the same name').not.to.equal(live.uuid);
    rmdirSync(share);
    renameSync(join(top, 'moved'), share);
    expect(read(find('e/c'))).to.equal('host');
  });

  it('tells a file from the one that had its number on the host before', () => {
    const seen = new Map<number, number>();
    let reused = 0;
    for (let n = 0; n < 200 && reused < 3; n++) {
      writeFileSync(at('x'), '');
      const { inode } = live.lookup(live.root, 'x')!;
      if (seen.get(inode.ino) !== undefined) {
        reused++;
        expect(seen.get(inode.ino)).not.to.equal(inode.generation);
      }
      seen.set(inode.ino, inode.generation);
      unlinkSync(at('x'));
    }
  });

  it('keeps a file that has lost its name while it is held, and refuses to open it by that', () => {
    const a = find('a');
    live.open(a, 2, {});
    live.unlink(live.root, 'a');
    expect(a.isUnlinked).to.equal(true);
    write(a, 'end', ' lives');
    expect(read(a)).to.equal('host lives');
    expect(live.getattr(a).nlink).to.equal(0);
    const b = find('d/b');
    unlinkSync(at('d', 'b'));
    expect(b.isUnlinked, 'by the host').to.equal(true);
    expect(read(b)).to.equal('below');
    live.close(a);
    for (const inode of [a, b]) live.release(inode);
  });

  it('links, renames and NOREPLACE', () => {
    const a = find('a');
    expect(live.link(a, find('d'), 'twin').inode).to.equal(a);
    expect(live.getattr(a).nlink).to.equal(2);
    renameSync(at('a'), at('elsewhere'));
    live.unlink(find('d'), 'twin');
    live.link(a, live.root, 'again');
    expect(readFileSync(at('again'), 'utf8')).to.equal('host');
    // The guest still knows the name before, and does not look it up again.
    const long = 'n'.repeat(255);
    live.link(a, live.root, long);
    live.unlink(live.root, long);
    live.link(a, live.root, long);
    live.unlink(live.root, long);
    expect(codeOf(() => live.rename(live.root, 'again', live.root, 'elsewhere', 1, own))).to.equal('EEXIST');
    expect(codeOf(() => live.rename(live.root, 'again', live.root, 'elsewhere', 2, own))).to.equal('EINVAL');
    expect(codeOf(() => live.rename(live.root, 'd', live.root, 'again', 0, own))).to.equal('ENOTDIR');
    expect(codeOf(() => live.rename(live.root, 'none', live.root, 'x', 1, own))).to.equal('ENOENT');
    live.rename(live.root, 'again', find('d'), 'x', 1, own);
    live.rename(live.root, 'd', live.root, 'f', 1, own);
    expect(codeOf(() => live.rename(live.root, 'f', find('f'), 'g', 1, own))).to.equal('EINVAL');
    expect(readdirSync(share).sort()).to.deep.equal(['elsewhere', 'f']);
    expect(readdirSync(at('f')).sort()).to.deep.equal(['b', 'x']);
  });

  it('reads directories on from any cookie, whatever comes and goes, here and in another process', () => {
    mkdirSync(at('many'));
    const stay = Array.from({ length: 300 }, (_, n) => `stays-${n}`);
    for (const name of stay) writeFileSync(at('many', name), '');
    for (let n = 0; n < 100; n++) writeFileSync(at('many', `goes-${n}`), '');
    const reader = live.opendir(find('many'));
    const first = list(reader, 0, 150);
    const { cookie } = first.at(-1)!;
    for (let n = 0; n < 100; n++) unlinkSync(at('many', `goes-${n}`));
    for (let n = 0; n < 100; n++) writeFileSync(at('many', `comes-${n}`), '');
    const other = open();
    for (const rest of [names(reader, cookie), names(other.opendir(find('many', other)), cookie)]) {
      const all = [...first.map(({ name }) => name), ...rest].filter((name) => name.startsWith('stays'));
      expect(all.sort()).to.deep.equal([...stay].sort());
    }
    expect(names(reader, cookie).filter((name) => name.startsWith('comes'))).to.deep.equal([]);
    expect(names(reader, 0).filter((name) => name.startsWith('comes'))).to.have.length(100);
    expect(first.every(({ cookie: each }) => each > 0 && each < reader.end)).to.equal(true);
  });

  it('follows no link that takes the place of a directory, and goes on with the directory', () => {
    const d = find('d');
    renameSync(at('d'), at('e'));
    symlinkSync('../outside', at('d'));
    expect(read(live.lookup(d, 'b')!.inode as Live)).to.equal('below');
    create(d, 'new');
    expect(readdirSync(join(top, 'outside'))).to.deep.equal(['b']);
    expect(readdirSync(at('e')).sort()).to.deep.equal(['b', 'new']);
    const link = find('d');
    expect(codeOf(() => live.lookup(link, 'b'))).to.equal('ENOTDIR');
    expect(codeOf(() => live.open(link, 0, {}))).to.equal('EINVAL');
  });

  it('leaves alone what is moved out of it', () => {
    const [d, b] = [find('d'), find('d/b')];
    live.open(b, 2, {});
    renameSync(at('d'), join(top, 'outside', 'd'));
    const stale = [
      () => live.lookup(d, 'b'),
      () => create(d, 'new'),
      () => live.unlink(d, 'b'),
      () => live.setattr(b, { mode: 0o600 }),
      () => live.setattr(d, { mode: 0o700 }),
      () => live.rename(d, 'b', live.root, 'back', 0, own),
      () => names(live.opendir(d)),
      () => live.link(b, live.root, 'back'),
      () => write(b, 0, 'changed'),
    ];
    expect(stale.map(codeOf)).to.deep.equal(stale.map(() => 'ESTALE'));
    expect(readFileSync(join(top, 'outside', 'd', 'b'), 'utf8')).to.equal('below');
    renameSync(join(top, 'outside', 'd'), at('d'));
    expect(stale.at(-1)!()).to.equal(7);
  });

  it('leaves a file alone whose last name is moved out of it, whatever name it was opened by', () => {
    const a = find('a');
    live.open(a, 2, {});
    live.link(a, find('d'), 'twin');
    live.unlink(live.root, 'a');
    expect(write(a, 0, 'here')).to.equal(4);
    renameSync(at('d', 'twin'), join(top, 'outside', 'twin'));
    expect(codeOf(() => write(a, 0, 'gone'))).to.equal('ESTALE');
    expect(codeOf(() => live.setattr(a, { mode: 0o600 }))).to.equal('ESTALE');
    expect(readFileSync(join(top, 'outside', 'twin'), 'utf8')).to.equal('here');
    renameSync(join(top, 'outside', 'twin'), at('x (deleted)'));
    find('x (deleted)');
    expect(write(a, 0, 'back')).to.equal(4);
  });

  it('goes deeper than a path may be long', () => {
    const name = 'n'.repeat(200);
    let dir = live.root;
    for (let n = 0; n < 30; n++) dir = live.mkdir(dir, name, { mode: 0o755, ...own }).inode as Live;
    const inode = create(dir, 'deep');
    write(inode, 0, 'here');
    expect(read(inode)).to.equal('here');
    live.setattr(inode, { mode: 0o600 });
    expect(live.getattr(inode).mode & 0o777).to.equal(0o600);
    live.unlink(dir, 'deep');
  });

  it('knows more than it may have open', () => {
    const few = open({ maxDescriptors: 16 });
    for (let n = 0; n < 300; n++) {
      mkdirSync(at(`dir-${n}`));
      writeFileSync(at(`dir-${n}`, 'f'), `${n}`);
    }
    live.end();
    const files = Array.from({ length: 300 }, (_, n) => find(`dir-${n}/f`, few));
    files.forEach((inode, n) => expect(read(inode, 0, 9, few)).to.equal(`${n}`));
    expect(descriptors().length).to.be.within(10, 17);
    renameSync(at('dir-0', 'f'), at('dir-0', 'g'));
    writeFileSync(at('dir-0', 'f'), 'another');
    expect(
      codeOf(() => few.getattr(files[0]!)),
      'not the one that has its name now',
    ).to.equal('ESTALE');
    unlinkSync(at('dir-1', 'f'));
    expect(codeOf(() => few.getattr(files[1]!))).to.equal('ESTALE');
    // What has no name is not given back.
    for (const inode of files.slice(2, 10)) few.open(inode, 2, {});
    for (let n = 2; n < 10; n++) few.unlink(few.lookup(few.root, `dir-${n}`)!.inode as Live, 'f');
    files.slice(20).forEach((inode) => few.getattr(inode));
    files.slice(2, 10).forEach((inode, n) => expect(read(inode, 0, 9, few)).to.equal(`${n + 2}`));
  });

  it('gives set-user-ID and set-group-ID bits only when it may', () => {
    const a = find('a');
    expect(codeOf(() => live.setattr(a, { mode: 0o4755 }))).to.equal('EPERM');
    expect(codeOf(() => create(live.root, 's', 0o2755))).to.equal('EPERM');
    chmodSync(at('a'), 0o4755);
    live.setattr(a, { mode: 0o4700 });
    expect(statSync(at('a')).mode & 0o7777, 'what it has may stay').to.equal(0o4700);
    expect(live.write(a, 0, 1, new BytesSource(new Uint8Array(1)), true)).to.equal(1);
    expect(statSync(at('a')).mode & 0o7777).to.equal(0o700);
    const free = open({ setIds: true });
    free.setattr(find('a', free), { mode: 0o6755 });
    expect(statSync(at('a')).mode & 0o7777).to.equal(0o6755);
    free.setattr(find('d', free), { mode: 0o3777 });
    expect(statSync(at('d')).mode & 0o7777).to.equal(0o3777);
  });

  it('has permissions, owners and times as the guest gives them', () => {
    const d = find('d');
    live.setattr(d, {
      mode: 0o2775,
      atime: { sec: -5, nsec: 250_000_000 },
      mtime: { sec: 5_000_000_000, nsec: 123_456_789 },
    });
    const { mode, mtime, atime } = live.getattr(d);
    expect({ mode: mode & 0o7777, mtime, atime }).to.deep.equal({
      mode: 0o2775,
      mtime: { sec: 5_000_000_000, nsec: 123_456_000 },
      atime: { sec: -5, nsec: 250_000_000 },
    });
    const made = live.mkdir(d, 'inner', { mode: 0o777, umask: 0o27, ...own });
    expect(made.attr.mode & 0o7777, 'set-group-ID is inherited').to.equal(0o2750);
    const file = live.mknod(d, 'file', { mode: 0o100666, ...own, uid: 1234 });
    expect(file.attr.mode & 0o7777).to.equal(0o666);
    expect(file.attr.uid).to.equal(isRoot ? 1234 : own.uid);
    expect(codeOf(() => live.mknod(d, 'fifo', { mode: 0o010644, ...own }))).to.equal('EPERM');
    expect(codeOf(() => live.mkdir(d, 'file', { mode: 0o755, ...own }))).to.equal('EEXIST');
    live.setattr(find('a'), { size: 2 });
    expect(readFileSync(at('a'), 'utf8')).to.equal('ho');
    expect(codeOf(() => live.setattr(find('a'), { size: 2 ** 60 }))).to.equal('EFBIG');
    live.symlink(live.root, 'l', 'a', { mode: 0, ...own });
    live.setattr(find('l'), { mtime: { sec: 77, nsec: 0 } });
    expect([lstatSync(at('l')).mtimeMs, lstatSync(at('a')).mtimeMs === 77_000]).to.deep.equal([77_000, false]);
    expect(codeOf(() => live.setattr(find('l'), { mode: 0o600 }))).to.equal('EOPNOTSUPP');
    const stat = live.statfs();
    expect(stat.blocks).to.be.above(0);
  });

  it('answers later where the disk is slow, and keeps what it needs until then', async () => {
    const slow = open({ io: 'later' });
    const a = find('a', slow);
    slow.open(a, 2, {});
    const bytes = new Uint8Array(20);
    const reading = slow.read(a, 0, 20, new BytesSink(bytes), 0);
    const writing = write(a, 'end', ' and guest', slow);
    const syncing = slow.fsync(a, false);
    slow.close(a);
    slow.release(a);
    slow.unlink(slow.root, 'a');
    slow.end();
    expect(reading).to.be.instanceOf(Promise);
    expect(await Promise.all([reading, writing, syncing])).to.deep.equal([await reading, 10, undefined]);
    expect(new TextDecoder().decode(bytes.subarray(0, 4))).to.equal('host');
    await live.fsync(find('d'), true);
  });

  it('waits for more files at once than it may have open', async () => {
    const few = open({ io: 'later', maxDescriptors: 16 });
    for (let n = 0; n < 30; n++) writeFileSync(at(`f-${n}`), `${n}`);
    const all = Array.from({ length: 30 }, (_, n) => {
      const bytes = new Uint8Array(9);
      try {
        return { bytes, reading: few.read(find(`f-${n}`, few), 0, 9, new BytesSink(bytes), 0) };
      } catch (error) {
        return { bytes, reading: (error as FsError).message };
      }
    });
    const counts = await Promise.all(all.map(({ reading }) => reading));
    counts.forEach((count, n) =>
      expect(
        typeof count === 'number' ? new TextDecoder().decode(all[n]!.bytes.subarray(0, count)) : count,
      ).to.be.oneOf([`${n}`, 'ENFILE']),
    );
    expect(counts.filter((count) => typeof count === 'number').length).to.be.above(10);
  });

  it('is refused when it has ended', () => {
    const d = find('d');
    live.end();
    expect(codeOf(() => live.lookup(d, 'b'))).to.equal('ESTALE');
    expect(codeOf(() => live.getattr(live.root))).to.equal('ESTALE');
    live.release(d);
  });

  it('finds files by number alone while a guest comes back, and at no other time', () => {
    const numbers = ['a', 'd', 'd/b'].map((path) => find(path).ino);
    const other = open();
    expect(numbers.map((ino) => other.inode(ino))).to.deep.equal([undefined, undefined, undefined]);
    renameSync(at('d', 'b'), at('c'));
    unlinkSync(at('a'));
    const found = other.recall(() => numbers.map((ino) => other.inode(ino)));
    expect(found.map((inode) => inode?.ino)).to.deep.equal([undefined, ...numbers.slice(1)]);
    expect(read(found[2]!, 0, 9, other)).to.equal('below');
    expect(other.inode(12345)).to.equal(undefined);
  });

  it('looks for them through a chain of directories that is longer than any path, as far as a path goes', () => {
    const cwd = process.cwd();
    const numbers: number[] = [];
    const name = 'd'.repeat(200);
    let inode = live.root;
    process.chdir(share);
    try {
      for (let depth = 1; depth <= 60; depth++) {
        mkdirSync(name);
        process.chdir(name);
        inode = live.lookup(inode, name)!.inode as Live;
        if (depth % 20 === 0) numbers.push(inode.ino);
      }
    } finally {
      process.chdir(cwd);
    }
    const other = open();
    const found = other.recall(() => numbers.map((ino) => other.inode(ino)?.ino));
    expect(found).to.deep.equal([numbers[0], undefined, undefined]);
  });

  describe('without descriptors', () => {
    beforeEach(() => {
      live.end();
      live = open({ hasDescriptors: false });
    });

    it('does the same', () => {
      const [a, d] = [find('a'), find('d')];
      write(a, 'end', ' guest');
      expect(read(a)).to.equal('host guest');
      live.setattr(a, { mode: 0o600, mtime: { sec: 5, nsec: 0 } });
      live.link(a, d, 'twin');
      live.rename(live.root, 'a', d, 'c', 0, own);
      live.unlink(d, 'twin');
      live.mkdir(d, 'e', { mode: 0o755, ...own });
      live.symlink(d, 'l', 'c', { mode: 0, ...own });
      expect(live.readlink(find('d/l'))).to.equal('c');
      live.setattr(find('d/l'), { mtime: { sec: 9, nsec: 0 } });
      expect(names(live.opendir(d))).to.have.members(['.', '..', 'b', 'c', 'e', 'l']);
      expect([lstatSync(at('d', 'c')).mtimeMs, lstatSync(at('d', 'c')).mode & 0o777]).to.deep.equal([5000, 0o600]);
      expect(live.getattr(live.root).ino).to.equal(1);
    });

    it('follows no link that takes the place of a directory or a file', () => {
      const [a, d] = [find('a'), find('d')];
      renameSync(at('d'), at('e'));
      symlinkSync('../outside', at('d'));
      unlinkSync(at('a'));
      symlinkSync('../outside/b', at('a'));
      expect(codeOf(() => live.lookup(d, 'b'))).to.equal('ESTALE');
      expect(codeOf(() => create(d, 'new'))).to.equal('ESTALE');
      expect(codeOf(() => write(a, 0, 'x'))).to.equal('ESTALE');
      expect(codeOf(() => live.setattr(a, { mode: 0o777 }))).to.equal('ESTALE');
      linkSync(at('e', 'b'), at('b'));
      expect(read(find('b'))).to.equal('below');
    });
  });
});
