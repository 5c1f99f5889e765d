import { execFileSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BytesSink, BytesSource } from '../../../device/bytes.ts';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import type { Inode } from '../../../device/filesystems/memory/inode.ts';
import { dumpJson, dumpTar, loadTar, type MemoryFileSystem, Volume } from '../../../device/index.ts';
import { dataSegments } from '../../../device/trees/sparse.ts';
import { bytesOf, streamOf } from '../../support/tar.ts';

const own = { uid: 0, gid: 0 };
const MIB = 1 << 20;
type Parts = readonly (readonly [offset: number, text: string])[];
const FILES: Record<string, { size: number; parts: Parts }> = {
  nothing: { size: 3 * MIB, parts: [] },
  start: { size: 3 * MIB, parts: [[0, 'start']] },
  end: { size: 3 * MIB, parts: [[3 * MIB - 3, 'end']] },
  middle: {
    size: 3 * MIB + 1,
    parts: [
      [MIB, 'one'],
      [2 * MIB, 'two'],
    ],
  },
  many: { size: 40 * MIB, parts: Array.from({ length: 200 }, (_, n) => [n * 200_000, `part ${n}`] as const) },
  dense: { size: 5, parts: [[0, 'dense']] },
};

describe('files with holes', () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'sparse-'))));
  afterEach(() => rmSync(directory, { recursive: true }));

  function make(): MemoryFileSystem {
    const filesystem = filesystemOf(new Volume());
    const dir = filesystem.mknod(filesystem.root, 'dir', { mode: 0o40755, ...own });
    for (const [name, { size, parts }] of Object.entries(FILES)) {
      const inode = filesystem.mknod(name === 'middle' ? dir : filesystem.root, name, { mode: 0o100640, ...own });
      for (const [offset, text] of parts)
        filesystem.write(inode, offset, text.length, new BytesSource(Buffer.from(text)));
      filesystem.setattr(inode, { size });
    }
    return filesystem;
  }

  const find = (filesystem: MemoryFileSystem, name: string) =>
    filesystem.lookup(
      name === 'middle' ? (filesystem.lookup(filesystem.root, 'dir') as Inode) : filesystem.root,
      name,
    ) as Inode;

  function check(filesystem: MemoryFileSystem): void {
    const original = make();
    for (const [name, { size, parts }] of Object.entries(FILES)) {
      const inode = find(filesystem, name);
      expect(inode.size, name).to.equal(size);
      expect([...dataSegments(filesystem, inode, size)], name).to.deep.equal([
        ...dataSegments(original, find(original, name), size),
      ]);
      for (const [offset, text] of parts) {
        const bytes = new Uint8Array(text.length);
        filesystem.read(inode, offset, text.length, new BytesSink(bytes), 0);
        expect(Buffer.from(bytes).toString(), name).to.equal(text);
      }
    }
  }

  it('come out of an archive as they went in', async () => {
    const archive = await bytesOf(dumpTar(make()).stream);
    expect(archive.length).to.be.below(2 * MIB);
    const again = filesystemOf(new Volume());
    expect((await loadTar(again, streamOf(archive, 999))).skipped).to.deep.equal([]);
    check(again);
  });

  it('GNU tar makes the same files of them', async () => {
    writeFileSync(join(directory, 'a.tar'), await bytesOf(dumpTar(make()).stream));
    const said = execFileSync('tar', ['xf', 'a.tar'], { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] }).toString();
    expect(said).to.equal('');
    for (const [name, { size, parts }] of Object.entries(FILES)) {
      const path = join(directory, name === 'middle' ? 'dir/middle' : name);
      const stats = statSync(path);
      expect(stats.size, name).to.equal(size);
      if (name !== 'dense') expect(stats.blocks * 512, name).to.be.below(size / 2);
      const bytes = readFileSync(path);
      const expected = Buffer.alloc(size);
      for (const [offset, text] of parts) expected.write(text, offset);
      expect(bytes.equals(expected), name).to.equal(true);
    }
    expect(execFileSync('tar', ['tf', 'a.tar'], { cwd: directory, encoding: 'utf8' }))
      .to.contain('dir/middle\n')
      .and.not.to.contain('GNUSparse');
  });

  for (const options of [
    ['--format=gnu'],
    ['--format=posix', '--sparse-version=1.0'],
    ['--format=posix', '--sparse-version=0.1'],
    ['--format=posix', '--sparse-version=0.0'],
  ]) {
    it(`what GNU tar makes with ${options.join(' ')} is read with its holes`, async () => {
      mkdirSync(join(directory, 'dir'));
      for (const [name, { size, parts }] of Object.entries(FILES)) {
        const fd = openSync(join(directory, name === 'middle' ? 'dir/middle' : name), 'w');
        for (const [offset, text] of parts) writeSync(fd, text, offset);
        ftruncateSync(fd, size);
        closeSync(fd);
      }
      const archive = execFileSync('tar', ['-S', '-c', ...options, '-C', directory, '.'], { maxBuffer: 1 << 30 });
      const filesystem = filesystemOf(new Volume());
      expect((await loadTar(filesystem, streamOf(archive, 3000))).skipped).to.deep.equal([]);
      check(filesystem);
    });
  }

  it('8 TiB of hole in a share of 1 MiB: the archive and the JSON have the rest', async () => {
    const filesystem = filesystemOf(new Volume(), { size: MIB });
    filesystem.setattr(filesystem.mknod(filesystem.root, 'huge', { mode: 0o100644, ...own }), { size: 8 * 2 ** 40 });
    filesystem.setattr(filesystem.mknod(filesystem.root, 'half', { mode: 0o100644, ...own }), { size: 2 ** 39 });
    filesystem.mknod(filesystem.root, 'small', { mode: 0o100644, ...own });
    const { stream, report } = dumpTar(filesystem);
    const archive = await bytesOf(stream);
    expect(archive.length).to.be.below(20_000);
    expect(report.skipped).to.deep.equal([
      { path: 'huge', reason: 'its size of 8.0 TiB, holes included, is above the limit of 1.0 TiB for one file' },
    ]);
    const again = filesystemOf(new Volume(), { size: MIB });
    expect((await loadTar(again, streamOf(archive))).skipped).to.deep.equal([]);
    expect(find(again, 'half')).to.include({ size: 2 ** 39, blocks: 0 });
    const json = await dumpJson(filesystem);
    expect(json.json).to.deep.equal({ '/small': '' });
    expect(json.report.skipped.map(({ path }) => path)).to.have.members(['huge', 'half']);
  });
});
