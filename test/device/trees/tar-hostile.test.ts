import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import { checkState } from '../../../device/filesystems/memory/check-state.ts';
import { partsOf } from '../../../device/filesystems/memory/filesystem.ts';
import type { Inode } from '../../../device/filesystems/memory/inode.ts';
import { dumpTar, loadTar, Volume } from '../../../device/index.ts';
import { randomNumbers } from '../../support/hostile-driver.ts';
import { bytesOf, type RawEntry, rawTar, streamOf } from '../../support/tar.ts';

const own = { uid: 0, gid: 0 };
const load = async (archive: Uint8Array) => {
  const volume = new Volume();
  const filesystem = filesystemOf(volume, { size: 1 << 20 });
  const report = await loadTar(filesystem, streamOf(archive));
  return { volume, filesystem, report };
};
const good: RawEntry = { name: 'good', body: 'good' };
/** 1.0: the list, filled up, and the content. */
const sparse = (list: string, content = '', size = '4096'): RawEntry => ({
  name: 'GNUSparseFile.0/bad',
  records: [
    ['GNU.sparse.major', '1'],
    ['GNU.sparse.minor', '0'],
    ['GNU.sparse.name', 'bad'],
    ['GNU.sparse.realsize', size],
  ],
  body: list.padEnd(Math.ceil(list.length / 512) * 512, '\0') + content,
});

describe('hostile archives', () => {
  for (const [what, entry] of Object.entries<RawEntry>({
    'more parts than are listed': sparse('3\n0\n4\n'),
    'a list without an end': sparse('9'.repeat(512), 'xxxx'),
    'a number that is none': sparse('1\n-1\n4\n', 'xxxx'),
    'a part beyond the end': sparse('1\n4095\n4\n', 'xxxx'),
    'parts that overlap': sparse('2\n0\n4\n2\n4\n', 'xxxxxxxx'),
    'parts in no order': sparse('2\n1024\n4\n0\n4\n', 'xxxxxxxx'),
    'less content than parts': sparse('1\n0\n4000\n', 'xxxx'),
    'more content than parts': sparse('1\n0\n1\n', 'xxxx'),
    'a million parts': sparse(`1048577\n${'0\n0\n'.repeat(100)}`),
    'a size that no file has': sparse('0\n', '', '9007199254740991'),
    'a size that is no number': sparse('0\n', '', '-1'),
    'a size above the limit': sparse('0\n', '', String(8 * 2 ** 40)),
    'another version of the list': {
      ...sparse('0\n'),
      records: [
        ['GNU.sparse.major', '2'],
        ['GNU.sparse.realsize', '1'],
        ['GNU.sparse.name', 'bad'],
      ],
    },
    'an odd list': {
      name: 'bad',
      records: [
        ['GNU.sparse.map', '0,1,2'],
        ['GNU.sparse.size', '10'],
      ],
      body: 'x',
    },
    'an old list with parts beyond': {
      name: 'bad',
      type: 'S',
      body: 'x',
      spoil: (block) => block.write('00000000100\x0000000000001\x00', 386, 'latin1'),
    },
    'a type that nobody knows': { name: 'bad', type: 'Z', body: 'x' },
    'a device': { name: 'bad', type: '3' },
    'a name that is too long': { name: 'bad'.repeat(100) },
    'a path that is too long': { name: 'bad/'.repeat(1100) },
    'a NUL in its name': { name: 'x', records: [['path', 'bad\0bad']] },
    'an owner that nobody can be': { name: 'bad', records: [['uid', '99999999999']] },
    'a link to itself that is not there': { name: 'bad', type: '1', linkname: 'bad' },
    'a link to a directory': { name: 'bad', type: '1', linkname: '.' },
    'a symbolic link that leads nowhere': { name: 'bad', type: '2', linkname: '' },
  })) {
    it(`${what}: it is left out, and the next one is read`, async () => {
      const { volume, report } = await load(rawTar([entry, good]));
      expect(report.skipped).to.have.length(1);
      expect(Object.keys(volume.toJSON()).filter((path) => !path.startsWith('/bad/'))).to.deep.equal(['/good']);
      expect(volume.readFileSync('/good', 'utf8')).to.equal('good');
    });
  }

  for (const [what, archive] of Object.entries({
    'nothing at all': new Uint8Array(0),
    'no end': rawTar([good], false),
    'a PAX header of 8 GiB': rawTar([{ name: 'x', type: 'x', size: 0o77777777777 }]),
    'endless PAX headers': rawTar([
      ...Array.from({ length: 20 }, (): RawEntry => ({ name: 'x', type: 'x', body: new Uint8Array(1 << 19) })),
      good,
    ]),
    'a malformed PAX header': rawTar([{ name: 'x', type: 'x', body: '99 path=x\n' }, good]),
    'a size that is no number': rawTar([{ ...good, spoil: (block) => block.write('nonsense', 124) }]),
    'a negative size': rawTar([{ ...good, spoil: (block) => block.fill(0xff, 124, 136) }]),
    'a size of 2^80': rawTar([{ ...good, spoil: (block) => block.fill(0x80, 124, 136) }]),
    'more than there is': rawTar([{ ...good, size: 10_000 }]),
  })) {
    it(`${what}: the archive is refused`, async () => {
      const error = await load(archive).catch((thrown: unknown) => thrown);
      expect(error)
        .to.be.an('error')
        .with.property('message')
        .that.matches(/^the tar archive could not be unpacked: /);
    });
  }

  it('a directory that a later entry replaces costs nothing any more', async () => {
    const { filesystem } = await load(
      rawTar([
        { name: 'd', type: '5', records: [['SCHILY.xattr.user.x', 'y']] },
        { name: 'd', body: 'x', records: [['SCHILY.xattr.user.x', 'y']] },
      ]),
    );
    filesystem.unlink(filesystem.root, 'd');
    const { pages, metadata } = partsOf(filesystemOf(new Volume())).table.space;
    expect(partsOf(filesystem).table.space).to.include({ pages, metadata });
  });

  it('links in circles end', async () => {
    const { report, filesystem } = await load(
      rawTar([
        { name: 'a', type: '2', linkname: 'b' },
        { name: 'b', type: '2', linkname: 'a' },
        { name: 'a/x', body: 'x' },
        { name: 'c', body: 'c' },
        { name: 'd', type: '1', linkname: 'c' },
        { name: 'c', type: '1', linkname: 'd' },
        { name: 'd', type: '1', linkname: 'd' },
      ]),
    );
    expect(report.skipped.map(({ path }) => path)).to.deep.equal(['a/x']);
    expect(filesystem.getattr(filesystem.lookup(filesystem.root, 'c') as Inode).nlink).to.equal(2);
  });

  it('attributes in forms that are not read are reported, and what bsdtar says twice is read', async () => {
    const acl = 'user::rw-,user:1000:r--,group::r--,mask::r--,other::---';
    const { filesystem, report } = await load(
      rawTar([
        { name: 'acl', body: 'x', records: [['SCHILY.acl.access', acl]] },
        {
          name: 'd',
          type: '5',
          records: [
            ['SCHILY.acl.default', acl],
            ['RHT.security.selinux', 'a'],
          ],
        },
        {
          name: 'twice',
          body: 'x',
          records: [
            ['LIBARCHIVE.xattr.user.x', 'eQ'],
            ['SCHILY.xattr.user.x', 'y'],
          ],
        },
        { name: 'once', body: 'x', records: [['LIBARCHIVE.xattr.user.x', 'eQ']] },
        { name: 'long', body: 'x', records: [[`SCHILY.acl.${'x'.repeat(100_000)}`, 'y']] },
      ]),
    );
    const reasons = Object.fromEntries(report.skipped.map(({ path, reason }) => [path, reason]));
    expect(reasons['acl']).to.equal('it is there, but without SCHILY.acl.access: set that in the guest');
    expect(reasons['d']).to.contain('SCHILY.acl.default, RHT.security.selinux');
    expect(reasons['once']).to.contain('LIBARCHIVE.xattr.user.x');
    expect(reasons['long']!.length).to.be.below(300);
    expect(Object.keys(reasons)).to.have.members(['acl', 'd', 'once', 'long']);
    const inode = filesystem.lookup(filesystem.root, 'twice') as Inode;
    expect(new TextDecoder().decode(filesystem.getxattr(inode, 'user.x'))).to.equal('y');
  });

  it('of what is said twice the last counts, and what is said for all is for those that say nothing', async () => {
    const { volume, filesystem, report } = await load(
      rawTar([
        {
          name: 'x',
          records: [
            ['path', 'one'],
            ['path', 'two'],
            ['mtime', '1'],
            ['mtime', '2.5'],
          ],
          body: 'x',
        },
        { name: 'pax_global_header', type: 'g', body: '11 mtime=7\n' },
        { name: 'three', body: 'x' },
        {
          name: 'x',
          records: [
            ['path', ''],
            ['mtime', ''],
          ],
          body: 'x',
        },
      ]),
    );
    expect(report.skipped).to.deep.equal([]);
    expect(Object.keys(volume.toJSON())).to.have.members(['/two', '/three', '/x']);
    const mtime = (name: string) => filesystem.getattr(filesystem.lookup(filesystem.root, name) as Inode).mtime;
    expect(mtime('two')).to.deep.equal({ sec: 2, nsec: 500_000_000 });
    expect(mtime('three')).to.deep.equal({ sec: 7, nsec: 0 });
  });

  it('names and attributes of any bytes go in and out, through GNU tar too', async () => {
    const filesystem = filesystemOf(new Volume());
    const name = 'n\udcff\udc80=%';
    const inode = filesystem.mknod(filesystem.root, name, { mode: 0o100644, ...own });
    const value = Uint8Array.from({ length: 300 }, (_, n) => n);
    filesystem.setxattr(inode, 'user.a=b%3D', value, 0);
    filesystem.symlink(filesystem.root, 'link', `${'long/'.repeat(30)}${name}`, own);
    const deep = `${'d'.repeat(120)}\udcfe`;
    filesystem.mknod(filesystem.mknod(filesystem.root, deep, { mode: 0o40755, ...own }), name, {
      mode: 0o100644,
      ...own,
    });
    const { stream, report } = dumpTar(filesystem);
    const archive = await bytesOf(stream);
    expect(report.skipped).to.deep.equal([]);
    const again = await load(archive);
    expect(again.report.skipped).to.deep.equal([]);
    const found = again.filesystem.lookup(again.filesystem.root, name) as Inode;
    expect(again.filesystem.getxattr(found, 'user.a=b%3D')).to.deep.equal(value);
    expect(again.filesystem.readlink(again.filesystem.lookup(again.filesystem.root, 'link') as Inode)).to.equal(
      `${'long/'.repeat(30)}${name}`,
    );
    again.filesystem.lookup(again.filesystem.lookup(again.filesystem.root, deep) as Inode, name);
    const listed = execFileSync('tar', ['tf', '-', '--quoting-style=literal'], { input: archive });
    expect(listed.includes(Buffer.from([0x6e, 0xff, 0x80, 0x3d, 0x25, 0x0a]))).to.equal(true);
  });

  it('times before 1970 of GNU tar in both of its formats', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'times-'));
    try {
      writeFileSync(join(directory, 'old'), 'x');
      utimesSync(join(directory, 'old'), '-1000.25', '-1000.25');
      for (const [format, mtime] of [
        ['gnu', { sec: -1001, nsec: 0 }],
        ['posix', { sec: -1001, nsec: 750_000_000 }],
      ] as const) {
        const { filesystem } = await load(execFileSync('tar', ['-c', `--format=${format}`, '-C', directory, 'old']));
        expect(filesystem.getattr(filesystem.lookup(filesystem.root, 'old') as Inode).mtime, format).to.deep.equal(
          mtime,
        );
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('1,500 archives with bytes changed at random end with a report or an error, within the quota', async function () {
    this.timeout(60_000);
    const next = randomNumbers(5);
    const sound = rawTar([
      { name: 'dir/', type: '5' },
      { name: 'dir/file', body: 'x'.repeat(1000) },
      { name: 'dir/link', type: '1', linkname: 'dir/file' },
      { ...sparse('2\n512\n4\n4096\n0\n', 'abcd'), name: 'dir/GNUSparseFile.0/s' },
      {
        name: 'p'.repeat(150),
        records: [
          ['SCHILY.xattr.user.x', 'y'],
          ['mtime', '1.5'],
        ],
      },
      { name: 'soft', type: '2', linkname: 'dir' },
      { name: 'pipe', type: '6' },
    ]);
    let refused = 0;
    for (let round = 0; round < 1500; round++) {
      const bytes = Buffer.from(sound);
      for (let n = next(4); n >= 0; n--) {
        const at = next(bytes.length);
        bytes[at] = next(256);
        // Where the checksum is right, what it protects is read.
        const block = Math.floor(at / 512) * 512;
        if (bytes.toString('latin1', block + 257, block + 262) !== 'ustar') continue;
        bytes.fill(' ', block + 148, block + 156);
        bytes.write(
          `${bytes
            .subarray(block, block + 512)
            .reduce((sum, byte) => sum + byte, 0)
            .toString(8)
            .padStart(6, '0')}\0 `,
          block + 148,
          'latin1',
        );
      }
      try {
        const { filesystem } = await load(bytes);
        expect(partsOf(filesystem).table.space.pages * 4096).to.be.at.most(1 << 20);
        checkState(filesystem.state());
      } catch (error) {
        expect((error as Error).message).to.match(/^the tar archive could not be unpacked: /);
        refused++;
      }
    }
    expect(refused).to.be.within(150, 1450);
  });
});
