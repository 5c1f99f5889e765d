import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { packTar } from 'modern-tar';
import { BytesSink, BytesSource } from '../../../device/bytes.ts';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import type { Inode } from '../../../device/filesystems/memory/inode.ts';
import { dumpJson, dumpTar, loadJson, loadTar, type MemoryFileSystem, Volume } from '../../../device/index.ts';
import { walk } from '../../../device/trees/tree-writer.ts';
import { bytesOf, streamOf } from '../../support/tar.ts';

const root = { uid: 0, gid: 0 };

function trickyTree(): MemoryFileSystem {
  const filesystem = filesystemOf(new Volume());
  const dir = filesystem.mknod(filesystem.root, 'dir', { mode: 0o42750, uid: 12, gid: 34 });
  const write = (parent: Inode, name: string, bytes: Uint8Array, mode = 0o100644) => {
    const inode = filesystem.mknod(parent, name, { mode, uid: 1, gid: 2 });
    filesystem.write(inode, 0, bytes.length, new BytesSource(bytes));
    return inode;
  };
  const all = Uint8Array.from({ length: 70_000 }, (_, n) => n * 7);
  const file = write(dir, 'all-bytes', all, 0o104755);
  filesystem.link(file, filesystem.root, 'another name of it');
  filesystem.setxattr(file, 'user.colour', new TextEncoder().encode('grün'), 0);
  write(filesystem.root, 'empty', new Uint8Array(0));
  write(filesystem.root, 'ä-ß-日本', new TextEncoder().encode('text\n'), 0o100600);
  let deep: Inode = dir;
  for (let n = 0; n < 12; n++)
    deep = filesystem.mknod(deep, `a rather long name of a directory ${n}`, { mode: 0o40755, ...root });
  write(deep, 'l'.repeat(250), new TextEncoder().encode('deep'));
  filesystem.symlink(filesystem.root, 'link', 'dir/all-bytes', root);
  filesystem.symlink(filesystem.root, 'long link', '../'.repeat(100) + 'x'.repeat(200), { uid: 7, gid: 8 });
  filesystem.mknod(dir, 'pipe', { mode: 0o10622, ...root });
  filesystem.mknod(filesystem.root, 'empty directory', { mode: 0o41777, ...root });
  filesystem.setattr(file, { mtime: { sec: 1_000_000_000, nsec: 123_456_789 } });
  filesystem.setattr(dir, { mtime: { sec: -5, nsec: 250_000_000 } });
  filesystem.setattr(filesystem.lookup(filesystem.root, 'empty')!, { mtime: { sec: 5_000_000_000, nsec: 0 } });
  return filesystem;
}

/** Everything about a tree that a tar archive keeps. */
function describeTree(filesystem: MemoryFileSystem): string[] {
  const numbers = new Map<number, number>();
  return [...walk(filesystem, filesystem.root)]
    .map(({ path, inode: { ino: number } }) => {
      const inode = filesystem.inode(number)!;
      const { ino, mode, uid, gid, size, nlink, mtime } = filesystem.getattr(inode);
      if (!numbers.has(ino)) numbers.set(ino, numbers.size);
      const isFile = (mode & 0o170000) === 0o100000;
      const bytes = new Uint8Array(isFile ? size : 0);
      if (isFile) filesystem.read(inode, 0, size, new BytesSink(bytes), 0);
      const target = (mode & 0o170000) === 0o120000 ? filesystem.readlink(inode) : '';
      const attributes = filesystem
        .listxattr(inode)
        .map((name) => `${name}=${Buffer.from(filesystem.getxattr(inode, name)!).toString()}`);
      return [
        path,
        numbers.get(ino),
        mode.toString(8),
        uid,
        gid,
        isFile ? size : '',
        nlink,
        `${mtime.sec}.${mtime.nsec}`,
        Buffer.from(bytes).toString('base64').slice(0, 200),
        target,
        ...attributes,
      ].join(' ');
    })
    .map((line) => line.replace(/^(\S+) \d+/, '$1'))
    .sort();
}

describe('trees in and out', () => {
  for (const gzip of [false, true]) {
    it(`tar${gzip ? '.gz' : ''}: what is packed is unpacked the same`, async () => {
      const filesystem = trickyTree();
      const { stream, report } = dumpTar(filesystem, { gzip });
      const archive = await bytesOf(stream);
      expect(report.skipped).to.deep.equal([]);
      const again = filesystemOf(new Volume());
      const loaded = await loadTar(again, streamOf(archive, 1000));
      expect(loaded.skipped).to.deep.equal([]);
      expect(loaded.files).to.equal(report.files);
      expect(describeTree(again)).to.deep.equal(describeTree(filesystem));
      expect(again.lookup(again.root, 'another name of it')).to.equal(
        again.lookup(again.lookup(again.root, 'dir')!, 'all-bytes'),
      );
    });
  }

  it('GNU tar reads what is packed, and is read', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'trees-'));
    try {
      const { stream } = dumpTar(trickyTree(), { gzip: true });
      writeFileSync(join(directory, 'a.tar.gz'), await bytesOf(stream));
      execFileSync(
        'tar',
        ['xzf', 'a.tar.gz', '--delay-directory-restore', '--no-same-owner', '--warning=no-timestamp'],
        { cwd: directory },
      );
      expect(readFileSync(join(directory, 'ä-ß-日本'), 'utf8')).to.equal('text\n');
      expect(readFileSync(join(directory, 'another name of it'))).to.have.length(70_000);
      execFileSync(
        'tar',
        [
          'cf',
          'b.tar',
          '--mtime=2020-01-01',
          '--exclude=*.tar*',
          '--exclude=pipe',
          'dir',
          'link',
          'another name of it',
        ],
        { cwd: directory },
      );
      const again = filesystemOf(new Volume());
      const { skipped } = await loadTar(again, streamOf(readFileSync(join(directory, 'b.tar'))));
      expect(skipped).to.deep.equal([]);
      expect(again.readlink(again.lookup(again.root, 'link')!)).to.equal('dir/all-bytes');
      expect(again.getattr(again.lookup(again.root, 'another name of it')!)).to.include({ nlink: 2, size: 70_000 });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('into a directory that has something: files are replaced, directories joined', async () => {
    const volume = Volume.fromJSON({ '/sub/old': 'old', '/sub/dir/kept': 'kept', '/outside': 'x' });
    const filesystem = filesystemOf(volume);
    const archive = await packTar([
      { header: { name: 'old', size: 3 }, body: 'new' },
      { header: { name: './dir/', type: 'directory', size: 0, mode: 0o700 } },
      { header: { name: '/dir/more', size: 1 }, body: '1' },
    ]);
    const progress: number[] = [];
    await loadTar(filesystem, streamOf(archive), { directory: '/sub', onProgress: (files) => progress.push(files) });
    expect(volume.toJSON()).to.deep.equal({
      '/sub/old': 'new',
      '/sub/dir/kept': 'kept',
      '/sub/dir/more': '1',
      '/outside': 'x',
    });
    expect(progress).to.deep.equal([1, 2, 3]);
  });

  it('what leads out, or through links, is left out and said', async () => {
    const volume = new Volume();
    const archive = await packTar([
      { header: { name: '../evil', size: 1 }, body: 'x' },
      { header: { name: 'a/../../evil', size: 1 }, body: 'x' },
      { header: { name: 'out', type: 'symlink', linkname: '/', size: 0 } },
      { header: { name: 'out/evil', size: 1 }, body: 'x' },
      { header: { name: 'hard', type: 'link', linkname: '../../etc/passwd', size: 0 } },
      { header: { name: 'missing', type: 'link', linkname: 'nowhere', size: 0 } },
      { header: { name: 'tty', type: 'character-device', size: 0 } },
      { header: { name: 'good', size: 4 }, body: 'good' },
    ]);
    const { skipped, files } = await loadTar(filesystemOf(volume), streamOf(archive));
    expect(skipped.map(({ path }) => path)).to.deep.equal([
      '../evil',
      'a/../../evil',
      'out/evil',
      'hard',
      'missing',
      'tty',
    ]);
    expect(files).to.equal(2);
    expect(Object.keys(volume.toJSON()).filter((path) => path !== '/out')).to.deep.equal(['/good']);
  });

  it('sockets and devices are left out of an archive, and said', async () => {
    const filesystem = filesystemOf(new Volume());
    filesystem.mknod(filesystem.root, 'socket', { mode: 0o140644, ...root });
    filesystem.mknod(filesystem.root, 'null', { mode: 0o20666, rdev: 0x103, ...root });
    const { stream, report } = dumpTar(filesystem);
    await bytesOf(stream);
    expect(report.skipped.map(({ path }) => path)).to.have.members(['socket', 'null']);
  });

  for (const [what, spoil] of [
    ['that breaks off', (archive: Uint8Array) => archive.subarray(0, 1300)],
    [
      'with a wrong checksum',
      (archive: Uint8Array) => Uint8Array.from(archive, (byte, n) => (n === 3 ? byte ^ 1 : byte)),
    ],
    ['that is none', () => new TextEncoder().encode('This is no tar archive at all. '.repeat(40))],
    [
      'that is zipped and breaks off',
      (archive: Uint8Array) => new Uint8Array(execFileSync('gzip', { input: archive })).subarray(0, 60),
    ],
  ] as const) {
    it(`an archive ${what} is told`, async () => {
      const archive = await packTar([
        { header: { name: 'first', size: 900 }, body: 'x'.repeat(900) },
        { header: { name: 'second', size: 9000 }, body: 'y'.repeat(9000) },
      ]);
      const error = await loadTar(filesystemOf(new Volume()), streamOf(spoil(archive))).catch(
        (thrown: unknown) => thrown,
      );
      expect(error)
        .to.be.an('error')
        .with.property('message')
        .that.matches(/tar archive could not be unpacked/);
    });
  }

  it('a share that is too small is told', async () => {
    const archive = await packTar([{ header: { name: 'big', size: 100_000 }, body: new Uint8Array(100_000) }]);
    const error = await loadTar(filesystemOf(new Volume(), { size: 65_536 }), streamOf(archive)).catch(
      (thrown: unknown) => thrown,
    );
    expect(error)
      .to.be.an('error')
      .with.property('message')
      .that.matches(/ENOSPC|no space/i);
  });

  it('20,000 files go in and out', async function () {
    this.timeout(60_000);
    const filesystem = filesystemOf(new Volume());
    for (let d = 0; d < 100; d++) {
      const dir = filesystem.mknod(filesystem.root, `d${d}`, { mode: 0o40755, ...root });
      for (let n = 0; n < 200; n++)
        filesystem.write(
          filesystem.mknod(dir, `f${n}`, { mode: 0o100644, ...root }),
          0,
          10,
          new BytesSource(new Uint8Array(10)),
        );
    }
    const { stream } = dumpTar(filesystem);
    const again = filesystemOf(new Volume());
    expect((await loadTar(again, stream)).files).to.equal(20_100);
  });

  it('JSON: texts and empty directories, and what it can’t hold is said', async () => {
    const filesystem = trickyTree();
    const { json, report } = await dumpJson(filesystem);
    expect(report.skipped.map(({ path }) => path)).to.have.members([
      'another name of it',
      'dir/all-bytes',
      'link',
      'long link',
      'dir/pipe',
    ]);
    expect(json['/ä-ß-日本']).to.equal('text\n');
    expect(json['/empty directory']).to.equal(null);
    const volume = new Volume();
    loadJson(filesystemOf(volume), json);
    expect((await dumpJson(filesystemOf(volume))).json).to.deep.equal(json);
    expect(Volume.fromJSON(json).toJSON()).to.deep.equal(json);
    expect(() => loadJson(filesystem, { '/x': 1 } as never)).to.throw(TypeError, /\/x is 1/);
    expect(loadJson(filesystem, { '/../x': 'y' }).skipped).to.have.length(1);
  });
});
