import { expect } from 'chai';
import { INIT_NEWEST } from '../../../device/conformance/message.ts';
import { filesystemOf, volumeOf } from '../../../device/filesystems/memfs/volume.ts';
import { checkState } from '../../../device/filesystems/memory/check-state.ts';
import type { Directory } from '../../../device/filesystems/memory/directory.ts';
import type { Inode } from '../../../device/filesystems/memory/inode.ts';
import { O_NOATIME } from '../../../device/fs/constants.ts';
import { MAX_COOKIE } from '../../../device/fs/cookies.ts';
import * as C from '../../../device/fuse/constants.ts';
import { fuse_dirent, fuse_entry_out } from '../../../device/fuse/layouts.ts';
import type { PolicyOptions } from '../../../device/fuse/policy.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import { type MemoryFileSystem, Volume } from '../../../device/index.ts';
import { call } from '../../support/fuse-call.ts';

const ENOSPC = -28,
  ESTALE = -116;
const OWNER = { uid: 0, gid: 0 };
const HOURS = 3600;

/** A share with `/d` and files in it, as one session sees it. */
class Scene {
  readonly filesystem: MemoryFileSystem;
  session: FuseSession;
  readonly options: PolicyOptions;

  constructor(options: PolicyOptions = {}, count = 300) {
    this.filesystem = filesystemOf(new Volume());
    this.options = options;
    this.session = this.#begin();
    call(this.session, 'INIT', 0, INIT_NEWEST);
    for (const path of ['/d', '/e']) {
      volumeOf(this.filesystem).mkdirSync(path);
      for (let n = 0; n < count; n++) volumeOf(this.filesystem).writeFileSync(`${path}/${n}`, '');
    }
  }

  #begin(): FuseSession {
    return new FuseSession({ filesystem: this.filesystem, ...this.options });
  }

  /** The session goes on in another one, as after a restore. */
  move(): void {
    const state = FuseSession.checkState(structuredClone(this.session.state()), this.filesystem);
    this.session.close();
    this.session = this.#begin();
    this.session.restore(state, () => undefined);
  }

  node(name: string): number {
    return (fuse_entry_out.decode(call(this.session, 'LOOKUP', 1, name).payload, 0) as { nodeid: number }).nodeid;
  }

  open(name: string, flags = 0): List {
    const nodeid = this.node(name);
    const { error, payload } = call(this.session, 'OPENDIR', nodeid, { flags });
    return new List(this, nodeid, error ? 0n : payload.getBigUint64(0, true), flags);
  }

  rename(dir: number, from: string, to: string): void {
    expect(call(this.session, 'RENAME', dir, { newdir: dir }, from, to).error).to.equal(0);
  }

  directory(name: string) {
    return this.filesystem.lookup(this.filesystem.root, name) as Inode & { directory: Directory };
  }
}

class List {
  readonly nodeid: number;
  readonly #scene: Scene;
  readonly #fh: bigint;
  readonly #flags: number;
  offset = 0n;

  constructor(scene: Scene, nodeid: number, fh: bigint, flags: number) {
    this.#scene = scene;
    this.nodeid = nodeid;
    this.#fh = fh;
    this.#flags = flags;
  }

  /** What the next READDIR gives, "." and ".." left out. */
  next(): string[] {
    const { error, payload } = call(this.#scene.session, 'READDIR', this.nodeid, {
      fh: this.#fh,
      offset: this.offset,
      size: 512,
      flags: this.#flags,
    });
    expect(error).to.equal(0);
    const names: string[] = [];
    for (let at = 0; at < payload.byteLength; ) {
      const { namelen, off } = fuse_dirent.at(payload, at);
      names.push(Buffer.from(payload.buffer, payload.byteOffset + at + fuse_dirent.size, namelen).toString());
      this.offset = BigInt(off);
      at += Math.ceil((fuse_dirent.size + namelen) / 8) * 8;
    }
    return names;
  }

  /** All that is left; `each` is called between two READDIRs. */
  rest(each: (names: string[]) => void = () => {}): string[] {
    const all: string[] = [];
    for (let lot = this.next(); lot.length; lot = this.next()) {
      expect(all.length, 'a list that does not end').to.be.below(100_000);
      all.push(...lot);
      each(lot.filter((name) => !['.', '..'].includes(name)));
    }
    return all.filter((name) => !['.', '..'].includes(name));
  }
}

describe('a list of a directory', () => {
  for (const stateless of [false, true]) {
    const how = stateless ? 'without OPENDIR' : 'with OPENDIR';

    it(`ends, though each entry is renamed as it comes, ${how}`, () => {
      const scene = new Scene({ stateless });
      const list = scene.open('d');
      const found = list.rest((names) => names.forEach((name) => scene.rename(list.nodeid, name, `${name}-`)));
      expect(found).to.have.length(300);
    });

    it(`ends, though others are made all the time, two at once, ${how}`, () => {
      const scene = new Scene({ stateless });
      const [one, other] = [scene.open('d'), scene.open('e')];
      let made = 0;
      const make = () =>
        ['d', 'e'].forEach((name) =>
          Array.from({ length: 40 }, () => volumeOf(scene.filesystem).writeFileSync(`/${name}/new${made++}`, '')),
        );
      for (let lots = 0; lots < 1000; lots++) {
        make();
        if (![...one.next(), ...other.next()].length) return;
      }
      expect.fail('they go on for ever');
    });

    it(`ends after a restore half way, ${how}`, () => {
      const scene = new Scene({ stateless });
      const list = scene.open('d');
      const found = [...list.next(), ...list.next()].filter((name) => /\d/.test(name));
      found.forEach((name) => scene.rename(list.nodeid, name, `${name}-`));
      scene.move();
      found.push(...list.rest((names) => names.forEach((name) => scene.rename(list.nodeid, name, `${name}-`))));
      const early = found.filter((name) => !name.endsWith('-'));
      expect(new Set(early).size).to.equal(300).and.to.equal(early.length);
      // Without a handle nobody knows what was there when it began.
      if (!stateless) expect(found).to.have.length(300);
    });

    it(`begins anew from offset 0, ${how}`, () => {
      const scene = new Scene({ stateless });
      const list = scene.open('d');
      list.next();
      volumeOf(scene.filesystem).writeFileSync('/d/new', '');
      list.offset = 0n;
      expect(list.rest()).to.have.length(301).and.to.include('new');
    });
  }

  it('begins with what is there at OPENDIR', () => {
    const scene = new Scene();
    const list = scene.open('d');
    volumeOf(scene.filesystem).writeFileSync('/d/new', '');
    scene.move();
    list.offset = 1n;
    expect(list.rest()).to.have.length(300);
  });

  it('leaves nothing out when what was at its end is removed', () => {
    const scene = new Scene();
    const list = scene.open('d');
    const before = list.next();
    for (let n = 250; n < 300; n++) volumeOf(scene.filesystem).unlinkSync(`/d/${n}`);
    volumeOf(scene.filesystem).writeFileSync('/d/new', '');
    expect([...before, ...list.rest()].filter((name) => /^\d/.test(name))).to.deep.equal(
      Array.from({ length: 250 }, (_, n) => String(n)),
    );
    expect(list.next()).to.deep.equal([]);
  });
});

describe('cookies of a directory', () => {
  /** As if two thousand million names had been in it. */
  function used(scene: Scene, name: string, left: number): void {
    const { directory } = scene.directory(name);
    const entries = [...directory.entries()];
    for (const { name } of entries) directory.delete(name);
    directory.insert(entries.map((entry, n) => ({ entry, cookie: MAX_COOKIE - left - entries.length + n })));
    directory.nextCookie = MAX_COOKIE - left;
  }

  it('begin anew when they have run out, and lists under way go on where they are', () => {
    const scene = new Scene();
    used(scene, 'd', 5);
    const list = scene.open('d');
    const found = [...list.next(), ...list.next()];
    const late = scene.open('d');
    for (let n = 0; n < 50; n++) volumeOf(scene.filesystem).writeFileSync(`/d/new${n}`, '');
    expect(scene.directory('d').directory.numbering).to.equal(1);
    found.push(...list.rest());
    const old = Array.from({ length: 300 }, (_, n) => String(n));
    expect(found.filter((name) => !/^\./.test(name))).to.deep.equal(old);
    expect(late.rest(), 'its first READDIR is from offset 0').to.have.length(350);
  });

  it('are fit for a restore at every count', () => {
    const scene = new Scene({}, 3);
    used(scene, 'd', 3);
    for (let n = 0; n < 6; n++) {
      volumeOf(scene.filesystem).writeFileSync(`/d/new${n}`, '');
      checkState(structuredClone(scene.filesystem.state()));
    }
    expect(scene.directory('d').directory.numbering).to.equal(1);
  });

  it('are in the next snapshot as they are when they have begun anew, of all inodes', () => {
    const scene = new Scene({}, 1000);
    used(scene, 'd', 1);
    scene.filesystem.state();
    for (let n = 0; n < 3; n++) volumeOf(scene.filesystem).writeFileSync(`/d/new${n}`, '');
    expect(scene.directory('d').directory.numbering).to.equal(1);
    checkState(structuredClone(scene.filesystem.state()));
  });

  it('never run out by renaming', () => {
    const scene = new Scene({}, 3);
    for (let round = 0; round < 4; round++) {
      used(scene, 'd', 1);
      const { nodeid } = scene.open('d');
      for (let n = 0; n < 5; n++) {
        scene.rename(nodeid, '0', 'x');
        scene.rename(nodeid, 'x', '0');
      }
    }
    expect(scene.open('d').rest()).to.have.members(['0', '1', '2']);
    expect(call(scene.session, 'MKDIR', scene.node('d'), { mode: 0o755 }, 'more').error).not.to.equal(ENOSPC);
  });
});

describe('access times', () => {
  const READERS: Record<string, (scene: Scene, flags: number) => void> = {
    file(scene, flags) {
      const nodeid = scene.node('f');
      const fh = call(scene.session, 'OPEN', nodeid, { flags }).out.fh;
      expect(call(scene.session, 'READ', nodeid, { fh, size: 4096, flags }).text).to.equal('content');
    },
    directory: (scene, flags) => void scene.open('f', flags).rest(),
  };
  for (const [kind, read] of Object.entries(READERS)) {
    for (const [flags, moves] of [
      [0, true],
      [O_NOATIME, false],
    ] as const) {
      it(`of a ${kind} ${moves ? 'move when it is read' : 'stay with O_NOATIME'}`, () => {
        const scene = new Scene({}, 0);
        if (kind === 'file') volumeOf(scene.filesystem).writeFileSync('/f', 'content');
        else volumeOf(scene.filesystem).mkdirSync('/f');
        const inode = scene.filesystem.lookup(scene.filesystem.root, 'f')!;
        scene.filesystem.setattr(inode, { atime: { sec: 24 * HOURS, nsec: 0 } });
        read(scene, flags);
        expect(scene.filesystem.getattr(inode).atime.sec !== 24 * HOURS).to.equal(moves);
      });
    }
  }
});

describe('a file that has lost its last name', () => {
  const CHANGES: Record<string, (scene: Scene, nodeid: number) => { error: number | undefined }> = {
    OPEN: (scene, nodeid) => call(scene.session, 'OPEN', nodeid, { flags: 1 }),
    SETATTR: (scene, nodeid) => call(scene.session, 'SETATTR', nodeid, { valid: C.FATTR_SIZE }),
    SETXATTR: (scene, nodeid) => call(scene.session, 'SETXATTR', nodeid, { size: 1 }, 'user.a', new Uint8Array([1])),
    REMOVEXATTR: (scene, nodeid) => call(scene.session, 'REMOVEXATTR', nodeid, 'user.b'),
  };
  for (const [name, change] of Object.entries(CHANGES)) {
    it(`is stale for ${name}, unless this session has it open`, () => {
      const scene = new Scene({}, 0);
      const make = () => {
        const inode = scene.filesystem.mknod(scene.filesystem.root, 'f', { mode: 0o100644, ...OWNER });
        scene.filesystem.setxattr(inode, 'user.b', new Uint8Array(1), 0);
        return scene.node('f');
      };
      const known = make();
      volumeOf(scene.filesystem).unlinkSync('/f');
      expect(change(scene, known).error).to.equal(ESTALE);
      const open = make();
      call(scene.session, 'OPEN', open, { flags: 2 });
      volumeOf(scene.filesystem).unlinkSync('/f');
      expect(change(scene, open).error).not.to.equal(ESTALE);
      const stale = new Scene({ stateless: true }, 0);
      stale.filesystem.mknod(stale.filesystem.root, 'f', { mode: 0o100644, ...OWNER });
      const stateless = stale.node('f');
      volumeOf(stale.filesystem).unlinkSync('/f');
      expect(change(stale, stateless).error, 'stateless: nobody knows what is open').not.to.equal(ESTALE);
    });
  }
});
