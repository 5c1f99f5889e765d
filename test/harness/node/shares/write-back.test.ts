import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { filesystemOf } from '../../../../device/filesystems/memfs/volume.ts';
import { Volume } from '../../../../device/index.ts';
import { VmError } from '../../../../harness/machine/errors.ts';
import { loadHostTree } from '../../../../harness/node/shares/host-tree.ts';
import { writeBack, writingBack } from '../../../../harness/node/shares/write-back.ts';
import { randomNumbers } from '../../../support/hostile-driver.ts';
import { differences, Guest, listing } from '../../../support/random-guest.ts';
import { attackWriteBack } from '../../../support/write-back-attack.ts';

describe('write-back', () => {
  let root: string;
  let share: string;
  let outside: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'write-back-'));
    share = join(root, 'share');
    outside = join(root, 'outside');
    mkdirSync(join(share, 'a'), { recursive: true });
    mkdirSync(outside);
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));
  const own = { uid: 0, gid: 0 };
  const load = () => {
    const volume = new Volume();
    const filesystem = filesystemOf(volume);
    return { volume, filesystem, tree: loadHostTree(share, filesystem) };
  };

  describe('stays inside', () => {
    it('when the guest replaces a directory by a link to the outside', () => {
      writeFileSync(join(share, 'a/x'), 'precious');
      linkSync(join(share, 'a/x'), join(outside, 'x'));
      const { volume, filesystem, tree } = load();
      volume.unlinkSync('/a/x');
      volume.rmdirSync('/a');
      volume.symlinkSync('../outside', '/a');
      expect(writeBack(tree, filesystem).kept).to.deep.equal([]);
      expect(readFileSync(join(outside, 'x'), 'utf8')).to.equal('precious');
      expect(readlinkSync(join(share, 'a'))).to.equal('../outside');
    });

    for (const [what, path] of [
      ['directory', 'a'],
      ['directory further up', 'a/s'],
    ] as const) {
      it(`when the host replaces the ${what} by a link`, () => {
        mkdirSync(join(share, path), { recursive: true });
        mkdirSync(join(outside, 's'));
        const { volume, filesystem, tree } = load();
        volume.writeFileSync(`/${path}/planted`, 'x');
        renameSync(join(share, 'a'), join(share, 'a.old'));
        symlinkSync('../outside', join(share, 'a'));
        const { kept } = writeBack(tree, filesystem);
        expect(kept).to.have.length.above(0);
        expect(kept[0]!.path).to.match(/^a/);
        expect(readdirSync(outside)).to.deep.equal(path === 'a' ? ['s'] : ['s']);
        expect(readdirSync(join(outside, 's'))).to.deep.equal([]);
      });
    }

    it('when another directory, or a link to one, takes the place of the share', () => {
      const { volume, filesystem, tree } = load();
      volume.writeFileSync('/planted', 'x');
      renameSync(share, `${share}.old`);
      expect(() => writeBack(tree, filesystem)).to.throw(
        VmError,
        /can't write back to .*share: it, or a directory above it, was removed/,
      );
      symlinkSync('outside', share);
      expect(() => writeBack(tree, filesystem)).to.throw(VmError, /another directory has taken its place/);
      expect(readdirSync(outside)).to.deep.equal([]);
    });

    it('when directories and links change places at every step, guest and host together, 1,000 times', function () {
      this.timeout(60_000);
      const { rounds, swaps, written } = attackWriteBack(root, 1000, 1);
      expect(rounds).to.equal(1000);
      // Otherwise nothing was tried.
      expect(swaps).to.be.above(1000);
      expect(written).to.be.above(300);
    });
  });

  describe('keeps to what the host trusts a guest with', () => {
    it('no set-id and sticky bits, permissions within the umask, the owner of what was there', () => {
      writeFileSync(join(share, 'mine'), 'x');
      chmodSync(join(share, 'mine'), 0o664);
      const { volume, filesystem, tree } = load();
      filesystem.setattr(filesystem.mknod(filesystem.root, 'sh', { mode: 0o100755, uid: 1234, gid: 0 }), {
        mode: 0o6777,
      });
      filesystem.setattr(filesystem.mknod(filesystem.root, 'dir', { mode: 0o40777, ...own }), { mode: 0o7777 });
      volume.writeFileSync('/mine', 'changed');
      const before = process.umask(0o022);
      try {
        writeBack(tree, filesystem);
      } finally {
        process.umask(before);
      }
      expect((lstatSync(join(share, 'sh')).mode & 0o7777).toString(8)).to.equal('755');
      expect(lstatSync(join(share, 'sh')).uid).to.equal(process.getuid!());
      expect((lstatSync(join(share, 'dir')).mode & 0o7777).toString(8)).to.equal('755');
      expect((lstatSync(join(share, 'mine')).mode & 0o7777).toString(8), 'the host had it so').to.equal('664');
    });

    it('with the option, all of them', function () {
      if (process.getuid!() !== 0) return this.skip();
      const { filesystem, tree } = load();
      filesystem.setattr(filesystem.mknod(filesystem.root, 'sh', { mode: 0o100755, uid: 1234, gid: 56 }), {
        mode: 0o6777,
      });
      expect(writeBack(tree, filesystem, { owners: true }).kept).to.deep.equal([]);
      const { mode, uid, gid } = lstatSync(join(share, 'sh'));
      expect({ mode: mode & 0o7777, uid, gid }).to.deep.equal({ mode: 0o6777, uid: 1234, gid: 56 });
    });

    it('the owner of a file that another user has', function () {
      if (process.getuid!() !== 0) return this.skip();
      writeFileSync(join(share, 'theirs'), 'x');
      execFileSync('chown', ['1234:56', join(share, 'theirs')]);
      const { volume, filesystem, tree } = load();
      volume.writeFileSync('/theirs', 'changed');
      filesystem.setattr(filesystem.lookup(filesystem.root, 'theirs')!, { uid: 0, gid: 0 });
      writeBack(tree, filesystem);
      expect(lstatSync(join(share, 'theirs'))).to.include({ uid: 1234, gid: 56 });
    });

    it('no devices, FIFOs and sockets', () => {
      const { filesystem, tree } = load();
      for (const [name, type] of [
        ['c', 0o20000],
        ['b', 0o60000],
        ['p', 0o10000],
        ['s', 0o140000],
      ] as const)
        filesystem.mknod(filesystem.root, name, { mode: type | 0o666, rdev: 0x103, ...own });
      expect(writeBack(tree, filesystem).kept.map(({ path }) => path)).to.have.members(['c', 'b', 'p', 's']);
      expect(readdirSync(share)).to.deep.equal(['a']);
    });

    it('no huge files, and holes as holes', () => {
      const { volume, filesystem, tree } = load();
      const file = (name: string, size: number) => {
        const inode = filesystem.mknod(filesystem.root, name, { mode: 0o100644, ...own });
        filesystem.setattr(inode, { size });
        return inode;
      };
      file('huge', 8 * 2 ** 40);
      file('large', 2 ** 28);
      volume.writeSync(volume.openSync('/large', 'r+'), 'in the middle', 2 ** 27);
      const { kept } = writeBack(tree, filesystem);
      expect(kept).to.deep.equal([
        { path: 'huge', reason: 'its size of 8.0 TiB, holes included, is above the limit of 1.0 TiB for one file' },
      ]);
      const { size, blocks } = statSync(join(share, 'large'));
      expect(size).to.equal(2 ** 28);
      expect(blocks * 512).to.be.below(2 ** 20);
      expect(
        execFileSync('dd', [
          `if=${join(share, 'large')}`,
          'bs=1',
          `skip=${2 ** 27}`,
          'count=13',
          'status=none',
        ]).toString(),
      ).to.equal('in the middle');
      const again = load();
      expect(again.filesystem.getattr(again.filesystem.lookup(again.filesystem.root, 'large')!)).to.include({
        size: 2 ** 28,
        blocks: 8,
      });
    });
  });

  describe('can be called again', () => {
    it('each time for what has changed since', () => {
      writeFileSync(join(share, 'a/x'), '0');
      const { volume, filesystem, tree } = load();
      for (let n = 1; n <= 3; n++) {
        volume.writeFileSync('/a/x', `${n}`);
        volume.mkdirSync(`/new${n}`);
        volume.writeFileSync(`/new${n}/y`, 'y');
        if (n > 1) volume.writeFileSync(`/new${n - 1}/y`, `${n}`);
        const report = writeBack(tree, filesystem);
        expect(report.kept).to.deep.equal([]);
        expect(report.written).to.have.members(['a/x', `new${n}`, `new${n}/y`, ...(n > 1 ? [`new${n - 1}/y`] : [])]);
        expect(readFileSync(join(share, 'a/x'), 'utf8')).to.equal(`${n}`);
        expect(writeBack(tree, filesystem)).to.deep.equal({ written: [], removed: [], kept: [] });
      }
      volume.rmSync('/new2', { recursive: true });
      expect(writeBack(tree, filesystem)).to.deep.equal({ written: [], removed: ['new2/y', 'new2'], kept: [] });
      expect(existsSync(join(share, 'new2'))).to.equal(false);
    });

    it('after the host has changed something: that stays, until the host removes it', () => {
      writeFileSync(join(share, 'x'), 'old');
      const { volume, filesystem, tree } = load();
      volume.writeFileSync('/x', 'guest');
      writeFileSync(join(share, 'x'), 'by the host');
      for (let n = 0; n < 2; n++)
        expect(writeBack(tree, filesystem).kept).to.deep.equal([
          { path: 'x', reason: 'the host has changed it meanwhile' },
        ]);
      unlinkSync(join(share, 'x'));
      expect(writeBack(tree, filesystem).written).to.deep.equal(['x']);
      expect(readFileSync(join(share, 'x'), 'utf8')).to.equal('guest');
    });

    it('within one moment of the clock, so that times alone would say nothing', () => {
      const { now } = Date;
      let calls = 0;
      // A clock that goes on when it is looked at often enough.
      Date.now = () => 1_000_000_000_000 + Math.floor(calls++ / 100);
      try {
        const volume = new Volume();
        const filesystem = filesystemOf(volume, {
          clock: () => ({ sec: Math.floor(Date.now() / 1000), nsec: (Date.now() % 1000) * 1_000_000 }),
        });
        const tree = loadHostTree(share, filesystem);
        for (let n = 100; n < 150; n++) {
          volume.writeFileSync('/x', String(n));
          expect(writeBack(tree, filesystem).written).to.deep.equal(['x']);
          expect(readFileSync(join(share, 'x'), 'utf8')).to.equal(String(n));
        }
      } finally {
        Date.now = now;
      }
    });

    it('while the guest goes on between any two steps: the next one brings all of it', function () {
      this.timeout(60_000);
      const next = randomNumbers(11);
      const { filesystem, tree } = load();
      const guest = new Guest(filesystem, next);
      for (let round = 0; round < 60; round++) {
        for (let n = next(6); n >= 0; n--) guest.step();
        const steps = writingBack(tree, filesystem)(() => true);
        let step = steps.next();
        for (; !step.done; step = steps.next()) {
          // As `inSlices` does it.
          for (const now = Date.now(); Date.now() === now; );
          guest.step();
        }
        for (const now = Date.now(); Date.now() === now; );
        const { kept } = writeBack(tree, filesystem);
        expect(
          kept.filter(({ reason }) => !reason.startsWith('devices')),
          `round ${round}`,
        ).to.deep.equal([]);
        expect(differences(share, filesystem), `round ${round}`).to.deep.equal([]);
      }
    });

    it('a random guest: host and share are the same after each, 300 times', function () {
      this.timeout(60_000);
      const next = randomNumbers(7);
      writeFileSync(join(share, 'a/x'), 'x');
      const { filesystem, tree } = load();
      const guest = new Guest(filesystem, next);
      for (let round = 0; round < 300; round++) {
        for (let n = next(6); n >= 0; n--) guest.step();
        const { kept } = writeBack(tree, filesystem);
        const left = kept.filter(({ reason }) => !reason.startsWith('devices'));
        expect(left, `round ${round}`).to.deep.equal([]);
        expect(differences(share, filesystem), `round ${round}`).to.deep.equal([]);
      }
    });
  });

  it('a crash at any step leaves each file whole, old or new, and what it leaves is removed next time', function () {
    this.timeout(60_000);
    const setUp = () => {
      rmSync(share, { recursive: true, force: true });
      mkdirSync(join(share, 'dir'), { recursive: true });
      for (const name of ['kept', 'dir/changed', 'dir/removed'])
        writeFileSync(join(share, name), `old ${name}`.repeat(1000));
      const loaded = load();
      loaded.volume.writeFileSync('/dir/changed', 'new'.repeat(1000));
      loaded.volume.unlinkSync('/dir/removed');
      loaded.volume.symlinkSync('x', '/link');
      loaded.volume.mkdirSync('/fresh');
      loaded.volume.writeFileSync('/fresh/file', 'fresh'.repeat(1000));
      loaded.volume.linkSync('/fresh/file', '/fresh/twin');
      return loaded;
    };
    class Crash extends Error {}
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    let step = 0;
    let leftovers = 0;
    for (let isOver = false; !isOver; step++) {
      const { filesystem, tree } = setUp();
      let left = step;
      try {
        // From then on nothing can be done any more, cleaning up neither.
        writeBack(tree, filesystem, {
          beforeOperation: () => {
            if (left-- <= 0) throw new Crash();
          },
        });
        isOver = true;
      } catch (error) {
        expect(error).to.be.an.instanceof(Crash);
      }
      const text = (name: string) =>
        existsSync(join(share, name)) ? readFileSync(join(share, name), 'utf8') : undefined;
      expect(text('kept')).to.equal('old kept'.repeat(1000));
      expect(text('dir/changed')).to.be.oneOf(['old dir/changed'.repeat(1000), 'new'.repeat(1000)]);
      expect(text('dir/removed')).to.be.oneOf(['old dir/removed'.repeat(1000), undefined]);
      expect(text('fresh/file')).to.be.oneOf(['fresh'.repeat(1000), undefined]);
      expect(text('fresh/twin')).to.be.oneOf(['fresh'.repeat(1000), undefined]);

      // The next one, in a process of its own; this one is over.
      for (const name of listing(share)) {
        if (!name.includes(`.${process.pid}.`)) continue;
        leftovers++;
        renameSync(join(share, name), join(share, name.replace(`.${process.pid}.`, `.${dead}.`)));
      }
      const again = load();
      expect(Object.keys(again.volume.toJSON()).filter((name) => name.includes('v86-virtiofs'))).to.deep.equal([]);
      writeBack(again.tree, again.filesystem);
      expect(listing(share).filter((name) => name.includes('v86-virtiofs'))).to.deep.equal([]);
    }
    expect(step).to.be.above(30);
    expect(leftovers).to.be.above(5);
  });

  it('times before 1970, and fractions to the microsecond', () => {
    const { volume, filesystem, tree } = load();
    for (const [name, mtime] of [
      ['old', { sec: -5, nsec: 250_000_999 }],
      ['new', { sec: 1_700_000_000, nsec: 999_999_999 }],
      ['early', { sec: -1_000_000_000, nsec: 1000 }],
    ] as const) {
      volume.writeFileSync(`/${name}`, 'x');
      volume.symlinkSync('x', `/${name}-link`);
      volume.mkdirSync(`/${name}-dir`);
      for (const each of [name, `${name}-link`, `${name}-dir`])
        filesystem.setattr(filesystem.lookup(filesystem.root, each)!, { mtime, atime: mtime });
    }
    writeBack(tree, filesystem);
    const time = (name: string) => lstatSync(join(share, name), { bigint: true }).mtimeNs;
    for (const suffix of ['', '-link', '-dir']) {
      expect(time(`old${suffix}`)).to.equal(-4_749_999_999n - 1n);
      expect(time(`new${suffix}`)).to.equal(1_700_000_000_999_999_000n);
      expect(time(`early${suffix}`)).to.equal(-999_999_999_999_999_000n);
    }
    utimesSync(join(share, 'old'), '-1.5', '-1.5');
    const again = load();
    expect(again.filesystem.getattr(again.filesystem.lookup(again.filesystem.root, 'old')!).mtime).to.deep.equal({
      sec: -2,
      nsec: 500_000_000,
    });
  });
});
