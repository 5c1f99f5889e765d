import { expect } from 'chai';
import { createFsFromVolume, Volume } from 'memfs';
import { BytesSink, BytesSource } from '../../../device/bytes.ts';
import { INIT } from '../../../device/conformance/message.ts';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import type { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import { RENAME_EXCHANGE, RENAME_WHITEOUT, S_IFREG } from '../../../device/fs/constants.ts';
import type { Inode, Watcher } from '../../../device/fs/filesystem.ts';
import { Watchers } from '../../../device/fs/watchers.ts';
import { NOTIFICATION_MAX } from '../../../device/fuse/notices.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import { call } from '../../support/fuse-call.ts';
import { PlainFileSystem } from '../../support/plain-filesystem.ts';

const ROOT = 1;
const INVAL_INODE = 2,
  INVAL_ENTRY = 3,
  INC_EPOCH = 8;
const EXPIRE_ONLY = 1n << 35n;
const NAMES = ['a', 'b', 'c', 'd', 'ä'];

interface Told {
  code: number;
  ino: number;
  name?: string;
  content?: boolean;
}

/** A guest that takes notifications, over plain buffers. */
class Guest {
  readonly session: FuseSession;
  waiting = 0;

  constructor(filesystem: MemoryFileSystem, flags = EXPIRE_ONLY) {
    this.session = new FuseSession({ filesystem });
    this.session.notifies = true;
    this.session.onNotifications = () => void this.waiting++;
    call(this.session, 'INIT', 0, { ...INIT, flags: INIT.flags | (1 << 30), flags2: Number(flags >> 32n) });
  }

  lookup(dir: number, name: string) {
    return call(this.session, 'LOOKUP', dir, name).out;
  }

  /** All there is to tell. */
  take(): Told[] {
    const told: Told[] = [];
    const bytes = new Uint8Array(NOTIFICATION_MAX);
    const view = new DataView(bytes.buffer);
    for (;;) {
      const length = this.session.takeNotification(new BytesSink(bytes));
      if (!length) return told;
      expect(view.getUint32(0, true), 'fuse_out_header.len').to.equal(length);
      expect(view.getBigUint64(8, true), 'fuse_out_header.unique').to.equal(0n);
      const code = view.getInt32(4, true);
      const ino = Number(view.getBigUint64(16, true));
      if (code === INVAL_INODE) {
        expect(length).to.equal(16 + 24);
        told.push({ code, ino, content: view.getBigInt64(24, true) >= 0n });
      } else if (code === INVAL_ENTRY) {
        const namelen = view.getUint32(24, true);
        expect(length).to.equal(16 + 16 + namelen + 1);
        expect(bytes[length - 1]).to.equal(0);
        told.push({ code, ino, name: Buffer.from(bytes.subarray(32, 32 + namelen)).toString('latin1') });
      } else told.push({ code, ino: 0 });
    }
  }
}

function filesystem() {
  const volume = Volume.fromJSON({ '/file': 'one', '/dir/below': 'two' });
  return { filesystem: filesystemOf(volume), fs: createFsFromVolume(volume) };
}

describe('notifications of what others change', () => {
  it('are of nodes that the guest knows, and of names in these', () => {
    const { filesystem: files, fs } = filesystem();
    const guest = new Guest(files);
    fs.writeFileSync('/dir/below', 'three');
    fs.writeFileSync('/dir/new', '');
    expect(guest.take(), 'of the root alone is anything known').to.deep.equal([]);
    const dir = guest.lookup(ROOT, 'dir').nodeid;
    fs.writeFileSync('/dir/below', 'four');
    fs.writeFileSync('/dir/ä', '');
    expect(guest.take()).to.deep.equal([
      { code: INVAL_ENTRY, ino: dir, name: '\xc3\xa4' },
      { code: INVAL_INODE, ino: dir, content: true },
    ]);
    const file = guest.lookup(dir, 'below').nodeid;
    fs.chmodSync('/dir/below', 0o600);
    expect(guest.take()).to.deep.equal([{ code: INVAL_INODE, ino: file, content: false }]);
    call(guest.session, 'FORGET', file, { nlookup: 1n });
    fs.writeFileSync('/dir/below', 'five');
    expect(guest.take()).to.deep.equal([]);
  });

  it('are not of what the guest itself does, and are of what another does', () => {
    const { filesystem: files } = filesystem();
    const [one, other] = [new Guest(files), new Guest(files)];
    other.lookup(ROOT, 'file');
    const { entry, open } = call(one.session, 'CREATE', ROOT, { flags: 2, mode: 0o100644 }, 'new').out;
    call(one.session, 'WRITE', entry.nodeid, { fh: open.fh, size: 3 }, new Uint8Array(3));
    call(one.session, 'UNLINK', ROOT, 'file');
    expect(one.take()).to.deep.equal([]);
    expect(other.take().filter(({ code }) => code === INVAL_ENTRY)).to.deep.equal([
      { code: INVAL_ENTRY, ino: ROOT, name: 'new' },
      { code: INVAL_ENTRY, ino: ROOT, name: 'file' },
    ]);
  });

  it('that wait are told once, and come after what is being done has been done', async () => {
    const { filesystem: files, fs } = filesystem();
    const guest = new Guest(files);
    const { nodeid } = guest.lookup(ROOT, 'file');
    for (let n = 0; n < 100; n++) fs.writeFileSync('/file', `${n}`);
    expect(guest.waiting).to.equal(0);
    await Promise.resolve();
    expect(guest.waiting).to.equal(1);
    expect(guest.take()).to.deep.equal([{ code: INVAL_INODE, ino: nodeid, content: true }]);
  });

  it('become one of everything when more than 1,024 wait, and nothing is lost by that', () => {
    const { filesystem: files, fs } = filesystem();
    const guest = new Guest(files);
    for (let n = 0; n < 5000; n++) fs.writeFileSync(`/new-${n}`, '');
    expect(guest.session.state().notices).to.deep.equal({ everything: true, inodes: [], entries: [] });
    expect(guest.take()).to.deep.equal([{ code: INC_EPOCH, ino: 0 }]);
    fs.writeFileSync('/one more', '');
    expect(guest.take()).to.have.length(2);
  });

  it('of a filesystem that is set back are of everything, for others than the machine that sets it back', () => {
    const { filesystem: files, fs } = filesystem();
    const [one, other] = [new Guest(files), new Guest(files)];
    const saved = files.state();
    const session = one.session.state();
    fs.writeFileSync('/file', 'later');
    files.restore(files.checkState(structuredClone(saved)));
    one.session.restore(FuseSession.checkState(session, files), () => undefined);
    expect(one.take()).to.deep.equal([]);
    expect(other.take()).to.deep.equal([{ code: INC_EPOCH, ino: 0 }]);
  });

  it('of a session whose filesystem has gone on without it are of everything', () => {
    const { filesystem: files } = filesystem();
    const guest = new Guest(files);
    const state = FuseSession.checkState(guest.session.state(), files);
    const next = new FuseSession({ filesystem: files });
    next.notifies = true;
    next.restore(state, () => undefined, true);
    const bytes = new Uint8Array(NOTIFICATION_MAX);
    expect(next.takeNotification(new BytesSink(bytes))).to.equal(16);
    expect(bytes[4]).to.equal(INC_EPOCH);
  });

  it('that wait go on in a restored session, by its state as plain data', () => {
    const { filesystem: files, fs } = filesystem();
    const guest = new Guest(files);
    const { nodeid } = guest.lookup(ROOT, 'file');
    fs.writeFileSync('/file', 'changed');
    fs.writeFileSync('/\udcff', '');
    const state = structuredClone(guest.session.state());
    const next = new Guest(files);
    next.session.restore(FuseSession.checkState(state, files), () => undefined);
    const told = next.take();
    expect(told).to.deep.equal(guest.take());
    expect(told).to.deep.include({ code: INVAL_INODE, ino: nodeid, content: true });
    expect(told).to.deep.include({ code: INVAL_ENTRY, ino: ROOT, name: '\xff' });
  });

  it('of an invalid state are refused', () => {
    const { filesystem: files } = filesystem();
    const state = new Guest(files).session.state();
    const many = Array.from({ length: 1025 }, (_, ino) => ({ ino: ino + 1, content: true }));
    for (const notices of [
      {},
      { everything: 1, inodes: [], entries: [] },
      { everything: false, inodes: many, entries: [] },
      { everything: false, inodes: [{ ino: 0, content: true }], entries: [] },
      { everything: false, inodes: [], entries: [{ ino: 1, name: 'a/b' }] },
      { everything: false, inodes: [], entries: [{ ino: 1, name: 'x'.repeat(256) }] },
      { everything: false, inodes: [], entries: [null] },
    ])
      expect(() => FuseSession.checkState({ ...state, notices }, files), JSON.stringify(notices).slice(0, 80)).to.throw(
        TypeError,
        /what the guest has to be told/,
      );
  });

  it('are none of what is no file name, which a filesystem of your own may report', async () => {
    const filesystem = new PlainFileSystem();
    const watchers = new Watchers();
    const session = new FuseSession({
      filesystem: Object.assign(filesystem, { watch: (one: Watcher) => watchers.add(one) }),
    });
    session.notifies = true;
    const lengths: number[] = [];
    session.onNotifications = () => {
      const sink = new BytesSink(new Uint8Array(NOTIFICATION_MAX));
      for (let length = session.takeNotification(sink); length; length = session.takeNotification(sink))
        lengths.push(length);
    };
    call(session, 'INIT', 0, INIT);
    for (const name of [
      '',
      '.',
      '..',
      'a/b',
      'a\0b',
      'x'.repeat(256),
      'ä'.repeat(128),
      'x'.repeat(1 << 20),
      'y'.repeat(255),
    ]) {
      watchers.entryChanged(filesystem.root, name);
      FuseSession.checkState(structuredClone(session.state()), { inode: () => filesystem.root });
      await Promise.resolve();
    }
    expect(lengths).to.deep.equal([16 + 16 + 255 + 1]);
  });

  it('end with the session, and are none for a driver that takes none', () => {
    const { filesystem: files, fs } = filesystem();
    const guest = new Guest(files);
    fs.writeFileSync('/x', '');
    call(guest.session, 'DESTROY', 0);
    fs.writeFileSync('/y', '');
    expect(guest.session.state()).not.to.have.property('notices');
    const stock = new FuseSession({ filesystem: files });
    call(stock, 'INIT', 0, INIT);
    fs.writeFileSync('/z', '');
    expect(stock.state()).not.to.have.property('notices');
  });

  describe('decide how long a guest believes what it was told', () => {
    const timeouts = (options: object, notifies: boolean) => {
      const { filesystem: files } = filesystem();
      const session = new FuseSession({ filesystem: files, ...options });
      session.notifies = notifies;
      call(session, 'INIT', 0, INIT);
      const { entry_valid, attr_valid } = call(session, 'LOOKUP', ROOT, 'file').out;
      const missing = call(session, 'LOOKUP', ROOT, 'missing');
      return [entry_valid, attr_valid, missing.error === 0 ? missing.out.entry_valid : undefined];
    };
    for (const [cache, with_, without] of [
      [undefined, [2 ** 32, 2 ** 32, 2 ** 32], [1, 1, undefined]],
      ['always', [2 ** 32, 2 ** 32, 2 ** 32], [86400, 86400, 86400]],
      ['auto', [1, 1, undefined], [1, 1, undefined]],
      ['never', [0, 0, undefined], [0, 0, undefined]],
    ] as const)
      it(`cache ${cache ?? 'by default'}`, () => {
        const options = cache ? { cache } : {};
        expect(timeouts(options, true)).to.deep.equal(with_);
        expect(timeouts(options, false)).to.deep.equal(without);
      });
  });

  describe('leave a guest that believes all that was not taken back with the truth', () => {
    for (const seed of [1, 2, 3, 4, 5, 6])
      it(`after each of 2,000 random changes from seed ${seed}, by the host, another guest and the filesystem's owner`, () =>
        new Believer(seed).run(2000));
  });
});

type Facts = Record<string, unknown>;

/** A guest that remembers every name, attribute and content that it has seen, until it is told. */
class Believer {
  readonly #files: MemoryFileSystem;
  readonly #fs: ReturnType<typeof createFsFromVolume>;
  readonly #guest: Guest;
  readonly #other: Guest;
  #seed: number;
  /** `ino/name`: the inode, or 0. */
  readonly #names = new Map<string, { dir: Inode; name: string; ino: number }>();
  readonly #attrs = new Map<number, Facts>();
  readonly #contents = new Map<number, string>();

  constructor(seed: number) {
    const volume = new Volume();
    this.#seed = seed;
    this.#files = filesystemOf(volume);
    this.#fs = createFsFromVolume(volume);
    this.#guest = new Guest(this.#files);
    this.#other = new Guest(this.#files);
  }

  #random(below: number): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#seed / 2 ** 32) * below);
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random(from.length)]!;
  }

  run(steps: number): void {
    let saved = this.#files.state();
    for (let n = 0; n < steps; n++) {
      let what: string;
      if (this.#random(200) === 0) {
        what = 'restore';
        this.#files.restore(this.#files.checkState(structuredClone(saved)));
        saved = this.#files.state();
      } else {
        what = this.#change();
      }
      this.#hear();
      this.#check(`${n}: ${what}`);
      this.#learn();
    }
  }

  /** One change, which may be refused. */
  #change(): string {
    const path = () => `/${this.#random(2) ? '' : `${this.#pick(NAMES)}/`}${this.#pick(NAMES)}`;
    const [fs, files] = [this.#fs, this.#files];
    const node = () => this.#pick([...files.inodes()]);
    const dir = () => this.#pick([...files.inodes()].filter(({ isDirectory }) => isDirectory));
    const bytes = (length: number) => new BytesSource(Uint8Array.from({ length }, () => this.#random(256)));
    const changes: Record<string, () => unknown> = {
      writeFile: () => fs.writeFileSync(path(), `${this.#random(1e9)}`),
      appendFile: () => fs.appendFileSync(path(), 'x'),
      truncate: () => fs.truncateSync(path(), this.#random(20)),
      chmod: () => fs.chmodSync(path(), this.#random(0o1000)),
      chown: () => fs.chownSync(path(), this.#random(3), this.#random(3)),
      utimes: () => fs.utimesSync(path(), this.#random(1e9), this.#random(1e9)),
      lutimes: () => fs.lutimesSync(path(), this.#random(1e9), this.#random(1e9)),
      mkdir: () => fs.mkdirSync(path()),
      rmdir: () => fs.rmdirSync(path()),
      rm: () => fs.rmSync(path(), { recursive: true }),
      unlink: () => fs.unlinkSync(path()),
      renameByHost: () => fs.renameSync(path(), path()),
      link: () => fs.linkSync(path(), path()),
      symlink: () => fs.symlinkSync(this.#pick(NAMES), path()),
      copyFile: () => fs.copyFileSync(path(), path()),
      openAndWrite: () => {
        const fd = fs.openSync(path(), 'r+');
        fs.writeSync(fd, Buffer.from('yy'), 0, 2, this.#random(10));
        fs.ftruncateSync(fd, this.#random(10));
        fs.fchmodSync(fd, 0o640);
        fs.futimesSync(fd, 1, 2);
        fs.closeSync(fd);
      },
      setattr: () => files.setattr(node(), { mode: this.#random(0o10000) }),
      size: () => files.setattr(node(), { size: this.#random(10_000) }),
      times: () => files.setattr(node(), { atime: 'now', mtime: { sec: this.#random(1e9), nsec: 1 } }),
      owner: () => files.setattr(node(), { uid: this.#random(9), killSuidgid: true }),
      write: () => files.write(node(), this.#random(5000), 10, bytes(10), true),
      fallocate: () => files.fallocate(node(), this.#random(5000), 1 + this.#random(5000), this.#pick([0, 1, 3, 0x11])),
      copy: () => files.copyFileRange(node(), 0, node(), this.#random(5000), 1000),
      setxattr: () => files.setxattr(node(), 'user.x', new Uint8Array(3), 0),
      removexattr: () => files.removexattr(node(), 'user.x'),
      create: () => files.create(dir(), this.#pick(NAMES), { mode: S_IFREG | 0o644, uid: 0, gid: 0 }, 0x200),
      mknod: () => files.mknod(dir(), this.#pick(NAMES), { mode: 0o010644, uid: 0, gid: 0 }),
      tmpfile: () => {
        const inode = files.tmpfile(dir(), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
        files.link(inode, dir(), this.#pick(NAMES));
      },
      rename: () =>
        files.rename(
          dir(),
          this.#pick(NAMES),
          dir(),
          this.#pick(NAMES),
          this.#pick([0, 0, RENAME_EXCHANGE, RENAME_WHITEOUT]),
          { uid: 0, gid: 0 },
        ),
      byAnother: () => {
        const { session } = this.#other;
        const created = call(session, 'CREATE', ROOT, { flags: 2, mode: 0o100644 }, this.#pick(NAMES));
        if (created.error) return;
        const { entry, open } = created.out;
        call(session, 'WRITE', entry.nodeid, { fh: open.fh, size: 4 }, new Uint8Array(4));
        call(session, 'RELEASE', entry.nodeid, { fh: open.fh });
        call(session, 'FORGET', entry.nodeid, { nlookup: 1n });
      },
    };
    const name = this.#pick(Object.keys(changes));
    try {
      changes[name]!();
    } catch (error) {
      if (!('code' in (error as object))) throw error;
    }
    return name;
  }

  #hear(): void {
    this.#other.take();
    for (const { code, ino, name, content } of this.#guest.take()) {
      if (code === INC_EPOCH) {
        this.#names.clear();
        this.#attrs.clear();
        this.#contents.clear();
      } else if (code === INVAL_ENTRY) {
        this.#names.delete(`${ino}/${name}`);
      } else {
        this.#attrs.delete(ino);
        if (content) this.#contents.delete(ino);
      }
    }
  }

  #facts(inode: Inode & { size: number }): Facts {
    const { ino, mode, uid, gid, rdev, nlink, size, mtime, ctime, btime } = this.#files.getattr(inode as never);
    return { ino, mode, uid, gid, rdev, nlink, size, mtime: { ...mtime }, ctime: { ...ctime }, btime: { ...btime } };
  }

  #content(inode: { ino: number }): string {
    const { size, target } = this.#files.inode(inode.ino)!;
    if (target !== undefined) return target;
    const bytes = new Uint8Array(size);
    this.#files.read(this.#files.inode(inode.ino)!, 0, size, new BytesSink(bytes), 0, true);
    return Buffer.from(bytes).toString('latin1');
  }

  #check(what: string): void {
    for (const { dir, name, ino } of this.#names.values()) {
      const found = this.#files.inode(dir.ino)?.directory?.get(name)?.inode.ino ?? 0;
      expect(found, `${what}: ${JSON.stringify(name)} in ${dir.ino}`).to.equal(ino);
    }
    for (const [ino, facts] of this.#attrs) {
      const inode = this.#files.inode(ino);
      if (inode) expect(this.#facts(inode), `${what}: attributes of ${ino}`).to.deep.equal(facts);
    }
    for (const [ino, content] of this.#contents)
      if (this.#files.inode(ino))
        expect(this.#content({ ino }) === content, `${what}: content of ${ino}`).to.equal(true);
  }

  /** Looks at something. */
  #learn(): void {
    const known = [ROOT, ...this.#guest.session.state().nodes.ino];
    for (let n = 0; n < 3; n++) {
      const dir = this.#files.inode(this.#pick(known));
      if (!dir?.isDirectory) continue;
      const name = this.#pick(NAMES);
      const { nodeid } = this.#guest.lookup(dir.ino, name);
      const latin1 = Buffer.from(name).toString('latin1');
      this.#names.set(`${dir.ino}/${latin1}`, { dir, name, ino: nodeid });
      const inode = nodeid ? this.#files.inode(nodeid)! : dir;
      this.#attrs.set(inode.ino, this.#facts(inode));
      if (inode.isRegular || inode.target !== undefined) this.#contents.set(inode.ino, this.#content(inode));
    }
  }
}
