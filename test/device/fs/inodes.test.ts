import { expect } from 'chai';
import { BytesSource } from '../../../device/bytes.ts';
import { forgets, INIT_NEWEST } from '../../../device/conformance/message.ts';
import { filesystemOf, volumeOf } from '../../../device/filesystems/memfs/volume.ts';
import { partsOf } from '../../../device/filesystems/memory/filesystem.ts';
import type { Inode } from '../../../device/filesystems/memory/inode.ts';
import * as C from '../../../device/fuse/constants.ts';
import { fuse_dirent, fuse_direntplus, fuse_entry_out } from '../../../device/fuse/layouts.ts';
import { FuseSession, type FuseSessionOptions } from '../../../device/fuse/session.ts';
import { type MemoryFileSystem, Volume } from '../../../device/index.ts';
import { checkTree } from '../../support/check-tree.ts';
import { type Answer, call } from '../../support/fuse-call.ts';

const ENOSPC = -28,
  EROFS = -30,
  ESTALE = -116,
  EOVERFLOW = -75,
  ENFILE = -23,
  ENOENT = -2;
const root = { uid: 0, gid: 0 };

function start({
  filesystem = filesystemOf(new Volume()),
  ...options
}: Partial<Omit<FuseSessionOptions, 'filesystem'>> & { filesystem?: MemoryFileSystem } = {}) {
  const session = new FuseSession({ filesystem, ...options });
  call(session, 'INIT', 0, INIT_NEWEST);
  const entry = (answer: Answer) => fuse_entry_out.at(answer.payload, 0);
  const create = (name: string, dir = 1) => {
    const answer = call(session, 'CREATE', dir, { flags: 2, mode: 0o100644 }, name);
    return answer.error
      ? { error: answer.error, nodeid: 0, fh: 0 }
      : { error: 0, nodeid: entry(answer).nodeid, fh: answer.out.open.fh };
  };
  const lookup = (name: string, dir = 1) => call(session, 'LOOKUP', dir, name);
  const forget = (nodeid: number, count: number) => call(session, 'FORGET', nodeid, { nlookup: count });
  const release = (nodeid: number, fh: number) => call(session, 'RELEASE', nodeid, { fh });
  const write = (nodeid: number, fh: number, offset: number, bytes: Uint8Array) =>
    call(session, 'WRITE', nodeid, { fh, offset, size: bytes.length, flags: 2 }, bytes);
  return { filesystem, session, entry, create, lookup, forget, release, write };
}

/** The names that a READDIR or READDIRPLUS gave, and where the next one goes on. */
function names({ payload }: Answer, isPlus: boolean): { names: string[]; last: number } {
  const found: string[] = [];
  let last = 0;
  const skip = isPlus ? fuse_direntplus.size - fuse_dirent.size : 0;
  for (let at = 0; at < payload.byteLength; ) {
    const dirent = fuse_dirent.at(payload, at + skip);
    const start = payload.byteOffset + at + skip + fuse_dirent.size;
    found.push(Buffer.from(payload.buffer, start, dirent.namelen).toString());
    last = dirent.off;
    at += Math.ceil((skip + fuse_dirent.size + dirent.namelen) / 8) * 8;
  }
  return { names: found, last };
}

describe('inodes that persist', () => {
  it('a node id is never used again, though memfs would', () => {
    const { filesystem, create, release, forget } = start();
    const seen = new Set<number>();
    for (let n = 0; n < 200; n++) {
      const { nodeid, fh } = create('same name');
      expect(seen.has(nodeid)).to.equal(false);
      seen.add(nodeid);
      release(nodeid, fh);
      volumeOf(filesystem).unlinkSync('/same name');
      forget(nodeid, 1);
      volumeOf(filesystem).writeFileSync('/of the host', 'x');
      expect(seen.has(volumeOf(filesystem).statSync('/of the host').ino as number)).to.equal(false);
      seen.add(volumeOf(filesystem).statSync('/of the host').ino as number);
      volumeOf(filesystem).unlinkSync('/of the host');
    }
  });

  it('an unlinked one lives until the last lookup and the last handle go', () => {
    for (const first of ['forget', 'release'] as const) {
      const { filesystem, session, create, lookup, forget, release, write } = start();
      const { nodeid, fh } = create('f');
      write(nodeid, fh, 0, new Uint8Array(8192));
      expect(lookup('f').error).to.equal(0);
      call(session, 'UNLINK', 1, 'f');
      const rest = { forget: () => forget(nodeid, 2), release: () => release(nodeid, fh) };
      forget(nodeid, 0);
      rest[first]();
      expect(filesystem.inode(nodeid), first).not.to.equal(undefined);
      rest[first === 'forget' ? 'release' : 'forget']();
      expect(partsOf(filesystem).table.space.pages).to.equal(0);
      expect(filesystem.inode(nodeid)).to.equal(undefined);
    }
  });

  it('lookups count exactly: LOOKUP, CREATE, LINK, READDIRPLUS, FORGET and BATCH_FORGET', () => {
    const { filesystem, session, create, lookup } = start();
    const { nodeid, fh } = create('f');
    lookup('f');
    call(session, 'LINK', 1, { oldnodeid: nodeid }, 'g');
    const dir = call(session, 'OPENDIR', 1).out.fh;
    call(session, 'READDIRPLUS', 1, { fh: dir, size: 4096 });
    call(session, 'READDIR', 1, { fh: dir, size: 4096 });
    call(session, 'RELEASE', nodeid, { fh });
    const count = () => session.state().nodes.nlookup[0];
    expect(count()).to.equal(5);
    call(session, 'FORGET', nodeid, { nlookup: 2n });
    expect(count()).to.equal(3);
    call(session, 'BATCH_FORGET', 0, { count: 2 }, ...forgets([nodeid, 1], [nodeid, 1]));
    expect(count()).to.equal(1);
    call(session, 'BATCH_FORGET', 0, { count: 3 }, ...forgets([nodeid, 1], [1, 5], [4711, 1]));
    expect(session.state().nodes.ino).to.have.length(0);
    expect(call(session, 'GETATTR', nodeid).error).to.equal(ESTALE);
    expect(filesystem.inode(nodeid)!.nlink).to.equal(2);
  });

  it('a forgotten one is found by its number again: "." and ".."', () => {
    const { session, entry, lookup, forget } = start();
    const dir = entry(call(session, 'MKDIR', 1, { mode: 0o755 }, 'd')).nodeid;
    const { generation } = entry(lookup('d'));
    forget(dir, 2);
    const again = call(session, 'LOOKUP', dir, '.');
    expect(entry(again)).to.include({ nodeid: dir, generation });
    expect(entry(call(session, 'LOOKUP', dir, '..')).nodeid).to.equal(1);
    forget(dir, 1);
    call(session, 'RMDIR', 1, 'd');
    expect(call(session, 'LOOKUP', dir, '.').error).to.equal(ESTALE);
  });
});

describe('directories', () => {
  for (const isPlus of [false, true]) {
    it(`100,000 entries are listed once each by ${isPlus ? 'READDIRPLUS' : 'READDIR'}, while others come and go`, function () {
      this.timeout(60_000);
      const { filesystem, session } = start();
      const COUNT = 100_000;
      for (let n = 0; n < COUNT; n++) filesystem.mknod(filesystem.root, `file-${n}`, { mode: 0o100644, ...root });
      const fh = call(session, 'OPENDIR', 1).out.fh;
      const seen = new Map<string, number>();
      const gone = new Set<string>();
      for (let offset = 0, round = 0; ; round++) {
        const { names: found, last } = names(
          call(session, isPlus ? 'READDIRPLUS' : 'READDIR', 1, { fh, offset, size: 32768 }),
          isPlus,
        );
        if (!found.length) break;
        for (const name of found) seen.set(name, (seen.get(name) ?? 0) + 1);
        offset = last;
        if (round < 50) filesystem.mknod(filesystem.root, `new-${round}`, { mode: 0o100644, ...root });
        const victim = `file-${(round * 7919) % COUNT}`;
        if (!gone.has(victim)) filesystem.unlink(filesystem.root, victim);
        gone.add(victim);
      }
      expect(Math.max(...seen.values())).to.equal(1);
      for (let n = 0; n < COUNT; n++)
        if (!gone.has(`file-${n}`)) expect(seen.has(`file-${n}`), `file-${n}`).to.equal(true);
      checkTree(filesystem, [session]);
    });
  }
});

describe('limits and policy', () => {
  it('size: ENOSPC at the limit, shown by STATFS, free again right after', () => {
    const filesystem = filesystemOf(new Volume(), { size: 40 * 4096 });
    const { session, create, write, release, forget } = start({ filesystem });
    const bfree = () => call(session, 'STATFS', 1).out.st.bfree;
    const before = bfree();
    const { nodeid, fh } = create('f');
    expect(write(nodeid, fh, 0, new Uint8Array(16 * 4096)).error).to.equal(0);
    expect(bfree()).to.equal(before - 16);
    expect(write(nodeid, fh, 16 * 4096, new Uint8Array(16 * 4096)).error).to.equal(0);
    expect(write(nodeid, fh, 32 * 4096, new Uint8Array(16 * 4096)).error).to.equal(ENOSPC);
    expect(bfree()).to.equal(before - 32);
    call(session, 'UNLINK', 1, 'f');
    expect(bfree(), 'open still').to.equal(before - 32);
    release(nodeid, fh);
    forget(nodeid, 1);
    expect(bfree()).to.equal(before);
  });

  it('inodes: ENOSPC for the one too many', () => {
    const { create } = start({ filesystem: filesystemOf(new Volume(), { inodes: 3 }) });
    expect([create('a'), create('b'), create('c')].map(({ error }) => error)).to.deep.equal([0, 0, ENOSPC]);
  });

  it('handles: ENFILE for the one too many, and what was made for it stays', () => {
    const { create, lookup } = start({ maxHandles: 2 });
    expect([create('a'), create('b'), create('c')].map(({ error }) => error)).to.deep.equal([0, 0, ENFILE]);
    expect(lookup('c').error).to.equal(0);
  });

  it('read-only: EROFS for all that would change something', () => {
    const filesystem = filesystemOf(Volume.fromJSON({ '/f': 'text' }));
    const { session, entry, lookup } = start({ filesystem, readOnly: true });
    const { nodeid } = entry(lookup('f'));
    const before = JSON.stringify(volumeOf(filesystem).toJSON());
    const answers = {
      MKDIR: call(session, 'MKDIR', 1, { mode: 0o755 }, 'd'),
      MKNOD: call(session, 'MKNOD', 1, { mode: 0o100644 }, 'n'),
      SYMLINK: call(session, 'SYMLINK', 1, 'l', 'x'),
      UNLINK: call(session, 'UNLINK', 1, 'f'),
      RENAME: call(session, 'RENAME', 1, { newdir: 1 }, 'f', 'g'),
      CREATE: call(session, 'CREATE', 1, { flags: 2, mode: 0o100644 }, 'c'),
      'OPEN to write': call(session, 'OPEN', nodeid, { flags: 1 }),
      'OPEN with O_TRUNC': call(session, 'OPEN', nodeid, { flags: 0o1000 }),
      LINK: call(session, 'LINK', 1, { oldnodeid: nodeid }, 'h'),
      SETXATTR: call(session, 'SETXATTR', 1, { size: 1 }, 'user.a', Buffer.from('x')),
      TMPFILE: call(session, 'TMPFILE', 1, { flags: 2, mode: 0o100644 }, '/'),
    };
    for (const [name, { error }] of Object.entries(answers)) expect(error, name).to.equal(EROFS);
    const fh = call(session, 'OPEN', nodeid).out.fh;
    expect(call(session, 'READ', nodeid, { fh, size: 100 }).text).to.equal('text');
    expect(JSON.stringify(volumeOf(filesystem).toJSON())).to.equal(before);
  });

  it('ids are mapped both ways, and those in no range are refused or nobody’s', () => {
    const filesystem = filesystemOf(Volume.fromJSON({ '/f': '', '/other': '' }));
    volumeOf(filesystem).chownSync('/f', 100_005, 200_007);
    const { session, entry, lookup } = start({
      filesystem,
      uidMap: [{ guest: 0, host: 100_000, count: 10 }],
      gidMap: [{ guest: 0, host: 200_000, count: 10 }],
    });
    expect(entry(lookup('f')).attr).to.include({ uid: 5, gid: 7 });
    expect(entry(lookup('other')).attr).to.include({ uid: 65534, gid: 65534 });
    call(session, 'MKDIR', 1, { mode: 0o755 }, 'd');
    expect(volumeOf(filesystem).statSync('/d')).to.include({ uid: 100_000, gid: 200_000 });
    const setattr = (uid: number) =>
      call(session, 'SETATTR', entry(lookup('d')).nodeid, { valid: C.FATTR_UID, uid }).error;
    expect(setattr(9)).to.equal(0);
    expect(volumeOf(filesystem).statSync('/d').uid).to.equal(100_009);
    expect(setattr(10)).to.equal(EOVERFLOW);
  });

  it('a sparse file of 1 TiB costs what is in it, and appending by 4 KiB costs what is appended', () => {
    const { filesystem, create, write } = start();
    const sparse = create('sparse');
    for (let n = 0; n < 10; n++) write(sparse.nodeid, sparse.fh, n * 2 ** 36, new Uint8Array(100));
    expect(partsOf(filesystem).table.space.pages).to.be.lessThan(15);
    const inode: Inode = filesystem.mknod(filesystem.root, 'log', { mode: 0o100644, ...root }) as Inode;
    const page = new Uint8Array(4096).fill(1);
    const PAGES = 65_536;
    for (let n = 0; n < PAGES; n++) filesystem.write(inode, n * 4096, 4096, new BytesSource(page));
    expect(inode.content!.pages).to.equal(PAGES);
    const stored = [...inode.content!.chunks()].reduce((sum, { bytes }) => sum + bytes.buffer.byteLength, 0);
    expect(stored).to.be.at.most(1.1 * PAGES * 4096);
  });

  it('host and guest see each other’s changes at once, watchers included', async () => {
    const { filesystem, session, create, lookup } = start();
    const events: string[] = [];
    const watcher = volumeOf(filesystem).watch('/', {}, (event, name) => events.push(`${event} ${String(name)}`));
    create('by-guest');
    expect(volumeOf(filesystem).readdirSync('/')).to.deep.equal(['by-guest']);
    volumeOf(filesystem).renameSync('/by-guest', '/by-host');
    expect(lookup('by-guest').error).to.equal(ENOENT);
    expect(lookup('by-host').error).to.equal(0);
    call(session, 'UNLINK', 1, 'by-host');
    expect(volumeOf(filesystem).existsSync('/by-host')).to.equal(false);
    await new Promise((resolve) => setTimeout(resolve, 20));
    watcher.close();
    expect(events).to.include('rename by-guest').and.to.include('rename by-host');
  });
});
