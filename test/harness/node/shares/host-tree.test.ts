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
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Volume } from 'memfs';
import { filesystemOf } from '../../../../device/filesystems/memfs/volume.ts';
import type { MemoryFileSystem } from '../../../../device/filesystems/memory/filesystem.ts';
import { VmError } from '../../../../harness/machine/errors.ts';
import { type LoadedTree, loadHostTree } from '../../../../harness/node/shares/host-tree.ts';
import { writeBack } from '../../../../harness/node/shares/write-back.ts';

describe('host directories', () => {
  let root: string;
  let volume: Volume;
  let filesystem: MemoryFileSystem;
  const host = (path: string) => join(root, path);
  const load = (): LoadedTree => loadHostTree(root, filesystem);

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'tree-'));
    volume = new Volume();
    filesystem = filesystemOf(volume);
    mkdirSync(host('sub/deep'), { recursive: true });
    writeFileSync(host('file'), 'content');
    writeFileSync(host('sub/other'), Buffer.alloc(3_000_000, 'ab'));
    chmodSync(host('sub/other'), 0o4751);
    symlinkSync('sub/other', host('link'));
    linkSync(host('file'), host('sub/deep/hard'));
    utimesSync(host('file'), 1e9, 1e9 + 0.25);
    utimesSync(host('sub'), 1e9, 1e9);
  });
  afterEach(() => rmSync(root, { recursive: true }));

  describe('load', () => {
    it('brings contents, modes, times and links', () => {
      const tree = load();
      expect(volume.readFileSync('/file', 'utf8')).to.equal('content');
      expect(Buffer.compare(volume.readFileSync('/sub/other') as Buffer, readFileSync(host('sub/other')))).to.equal(0);
      expect(volume.statSync('/sub/other').mode & 0o7777).to.equal(0o4751);
      expect(volume.readlinkSync('/link')).to.equal('sub/other');
      expect(volume.statSync('/file').ino).to.equal(volume.statSync('/sub/deep/hard').ino);
      expect(volume.statSync('/file').mtimeMs).to.equal(1e12 + 250);
      expect(volume.statSync('/sub').mtimeMs).to.equal(1e12);
      expect(tree).to.include({ files: 6, bytes: 3_000_007 }).and.to.have.property('skipped').that.deep.equals([]);
    });

    it('keeps times to the nanosecond, and owners', () => {
      load();
      const stats = statSync(host('sub/other'), { bigint: true });
      const { mtime, uid, gid } = filesystem.getattr(
        filesystem.lookup(filesystem.lookup(filesystem.root, 'sub')!, 'other')!,
      );
      expect(BigInt(mtime.sec) * 1_000_000_000n + BigInt(mtime.nsec)).to.equal(stats.mtimeNs);
      expect({ uid, gid }).to.deep.equal({ uid: Number(stats.uid), gid: Number(stats.gid) });
    });

    it('keeps names that are not UTF-8', () => {
      writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.of(0xff, 0x41)]), 'odd');
      load();
      expect(volume.readdirSync('/')).to.include('\udcffA');
    });

    it('says what it left out', async () => {
      const server = createServer().listen(host('socket'));
      await new Promise((resolve) => server.once('listening', resolve));
      try {
        expect(load().skipped).to.have.deep.members([
          { path: 'socket', reason: 'a socket belongs to the program that listens on it' },
        ]);
      } finally {
        server.close();
      }
    });

    it('refuses what is no directory', () => {
      expect(() => loadHostTree(host('none'), filesystem)).to.throw(VmError, /none does not exist/);
      expect(() => loadHostTree(host('file'), filesystem)).to.throw(VmError, /file is not a directory/);
    });
  });

  describe('write back', () => {
    it('changes nothing when nothing has changed', () => {
      const before = lstatSync(host('file'), { bigint: true });
      expect(writeBack(load(), filesystem)).to.deep.equal({ written: [], removed: [], kept: [] });
      expect(lstatSync(host('file'), { bigint: true }).ino).to.equal(before.ino);
    });

    it('carries new, changed, renamed and removed entries back', () => {
      const tree = load();
      volume.mkdirSync('/new/dir', { recursive: true });
      volume.writeFileSync('/new/dir/file', 'fresh', { mode: 0o600 });
      volume.symlinkSync('../file', '/new/link');
      volume.writeFileSync('/sub/other', 'changed');
      volume.renameSync('/link', '/renamed');
      volume.utimesSync('/new/dir/file', 5, 7);
      const report = writeBack(tree, filesystem);
      expect(report.kept).to.deep.equal([]);
      expect(report.removed).to.deep.equal(['link']);
      expect(readFileSync(host('new/dir/file'), 'utf8')).to.equal('fresh');
      expect(statSync(host('new/dir/file')).mode & 0o777).to.equal(0o600);
      expect(statSync(host('new/dir/file')).mtimeMs).to.equal(7000);
      expect(readlinkSync(host('new/link'))).to.equal('../file');
      expect(readFileSync(host('sub/other'), 'utf8')).to.equal('changed');
      expect(readlinkSync(host('renamed'))).to.equal('sub/other');
      expect(existsSync(host('link'))).to.equal(false);
      expect(readdirSync(root).sort()).to.deep.equal(['file', 'new', 'renamed', 'sub']);
    });

    it('keeps hard links together', () => {
      const tree = load();
      volume.writeFileSync('/file', 'both change');
      writeBack(tree, filesystem);
      expect(readFileSync(host('sub/deep/hard'), 'utf8')).to.equal('both change');
      expect(statSync(host('file')).ino).to.equal(statSync(host('sub/deep/hard')).ino);
    });

    it('removes trees, and turns one kind of entry into another', () => {
      const tree = load();
      volume.rmSync('/sub', { recursive: true });
      volume.writeFileSync('/sub', 'now a file');
      volume.unlinkSync('/file');
      volume.mkdirSync('/file');
      const { kept } = writeBack(tree, filesystem);
      expect(kept).to.deep.equal([]);
      expect(readFileSync(host('sub'), 'utf8')).to.equal('now a file');
      expect(statSync(host('file')).isDirectory()).to.equal(true);
    });

    it('follows no link that the guest has put in the way', () => {
      const outside = mkdtempSync(join(tmpdir(), 'outside-'));
      try {
        const tree = load();
        volume.rmSync('/sub', { recursive: true });
        volume.symlinkSync(outside, '/sub');
        writeBack(tree, filesystem);
        expect(readlinkSync(host('sub'))).to.equal(outside);
        expect(readdirSync(outside)).to.deep.equal([]);
      } finally {
        rmSync(outside, { recursive: true });
      }
    });

    it('leaves alone what the host has changed meanwhile, and says so', () => {
      const tree = load();
      writeFileSync(host('sub/other'), 'the host was here');
      writeFileSync(host('both'), 'by the host');
      writeFileSync(host('sub/deep/added'), 'by the host');
      volume.writeFileSync('/sub/other', 'the guest was here');
      volume.writeFileSync('/both', 'by the guest');
      volume.rmSync('/sub/deep', { recursive: true });
      const { kept } = writeBack(tree, filesystem);
      expect(kept.map(({ path }) => path)).to.have.members(['sub/other', 'both', 'sub/deep']);
      expect(readFileSync(host('sub/other'), 'utf8')).to.equal('the host was here');
      expect(readFileSync(host('both'), 'utf8')).to.equal('by the host');
      expect(readdirSync(host('sub/deep'))).to.deep.equal(['added']);
    });
  });
});
