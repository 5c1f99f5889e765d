import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BytesSource } from '../../../../device/bytes.ts';
import { filesystemOf } from '../../../../device/filesystems/memfs/volume.ts';
import type { Inode } from '../../../../device/filesystems/memory/inode.ts';
import { dumpJson, dumpTar, loadJson, loadTar, type MemoryFileSystem, Volume } from '../../../../device/index.ts';
import { loadHostTree } from '../../../../harness/node/shares/host-tree.ts';
import { writeBack } from '../../../../harness/node/shares/write-back.ts';

/**
 * Every kind of entry with every attribute, every way out and in again, against the table in docs/directories-and-archives.md: each
 * cell there begins with a word that says what is to be seen here.
 */
type Outcome = 'carried' | 'partly' | 'lost' | 'reported';

/** The rows that an entry stands for, by the beginning of their first cells. */
interface Sample {
  row: string;
  name: string;
  make(filesystem: MemoryFileSystem): void;
  /** How much of it `after` has; 'partly' for a weaker form. `before`: where it came from. */
  compare(after: MemoryFileSystem, before: MemoryFileSystem): boolean | 'partly';
}

const own = { uid: 0, gid: 0 };
const odd = { sec: -123_456_789, nsec: 123_456_789 };
const find = (filesystem: MemoryFileSystem, name: string) => filesystem.lookup(filesystem.root, name) as Inode;
const has = (filesystem: MemoryFileSystem, name: string) => {
  try {
    return find(filesystem, name);
  } catch {
    return undefined;
  }
};
const node =
  (name: string, mode: number, more = {}) =>
  (filesystem: MemoryFileSystem) =>
    filesystem.mknod(filesystem.root, name, { mode, ...own, ...more }) as Inode;
const fill = (filesystem: MemoryFileSystem, inode: Inode, text: string, at = 0) =>
  filesystem.write(inode, at, text.length, new BytesSource(Buffer.from(text)));
const time = (a: { sec: number; nsec: number }, b: { sec: number; nsec: number }) =>
  a.sec === b.sec && a.nsec === b.nsec
    ? true
    : a.sec === b.sec && Math.floor(a.nsec / 1000) === Math.floor(b.nsec / 1000)
      ? 'partly'
      : false;

const SAMPLES: Sample[] = [
  {
    row: 'files, directories',
    name: 'dir',
    make: (filesystem) =>
      fill(filesystem, filesystem.mknod(node('dir', 0o40755)(filesystem), 'file', { mode: 0o100644, ...own }), 'text'),
    compare: (after) => (after.lookup(find(after, 'dir'), 'file') as Inode).size === 4,
  },
  {
    row: 'symbolic links',
    name: 'soft',
    make: (filesystem) => filesystem.symlink(filesystem.root, 'soft', 'some/where', own),
    compare: (after) => find(after, 'soft').target === 'some/where',
  },
  {
    row: 'hard links',
    name: 'twin',
    make: (filesystem) => {
      const one = node('one', 0o100644)(filesystem);
      fill(filesystem, one, 'x');
      filesystem.link(one, filesystem.root, 'twin');
    },
    compare: (after) => find(after, 'twin') === find(after, 'one'),
  },
  {
    row: 'FIFOs',
    name: 'fifo',
    make: node('fifo', 0o10644),
    compare: (after) => (find(after, 'fifo').mode & 0o170000) === 0o10000,
  },
  {
    row: 'devices',
    name: 'device',
    make: node('device', 0o20644, { rdev: 0x103 }),
    compare: (after) => find(after, 'device').rdev === 0x103,
  },
  {
    row: 'sockets',
    name: 'socket',
    make: node('socket', 0o140644),
    compare: (after) => (find(after, 'socket').mode & 0o170000) === 0o140000,
  },
  {
    row: 'holes',
    name: 'sparse',
    make: (filesystem) => fill(filesystem, node('sparse', 0o100644)(filesystem), 'end', 5 << 20),
    compare: (after) => find(after, 'sparse').size === (5 << 20) + 3 && find(after, 'sparse').blocks <= 16,
  },
  {
    row: 'permissions',
    name: 'modes',
    make: node('modes', 0o100777),
    compare: (after) =>
      (find(after, 'modes').mode & 0o777) === 0o777 || ((find(after, 'modes').mode & 0o777) === 0o755 && 'partly'),
  },
  {
    row: 'set-user-ID',
    name: 'special',
    make: (filesystem) => filesystem.setattr(node('special', 0o100755)(filesystem), { mode: 0o6755 }),
    compare: (after) => (find(after, 'special').mode & 0o7777) === 0o6755,
  },
  {
    row: 'owners',
    name: 'owned',
    make: node('owned', 0o100644, { uid: 1234, gid: 567 }),
    compare: (after) => find(after, 'owned').uid === 1234 && find(after, 'owned').gid === 567,
  },
  {
    row: 'modification time',
    name: 'mtime',
    make: (filesystem) => filesystem.setattr(node('mtime', 0o100644)(filesystem), { mtime: odd }),
    compare: (after) => time(find(after, 'mtime').mtime, odd),
  },
  {
    row: 'access time',
    name: 'atime',
    make: (filesystem) =>
      filesystem.setattr(node('atime', 0o100644)(filesystem), { atime: { sec: 1000, nsec: 123_456_789 }, mtime: odd }),
    compare: (after) => time(find(after, 'atime').atime, { sec: 1000, nsec: 123_456_789 }),
  },
  {
    row: 'change and birth time',
    name: 'birth',
    make: node('birth', 0o100644),
    compare: (after, before) =>
      time(find(after, 'birth').btime, find(before, 'birth').btime) === true &&
      time(find(after, 'birth').ctime, find(before, 'birth').ctime),
  },
  {
    row: 'extended attributes',
    name: 'attributes',
    make: (filesystem) =>
      filesystem.setxattr(node('attributes', 0o100644)(filesystem), 'user.any', Uint8Array.of(0, 255, 61, 10), 0),
    compare: (after) =>
      Buffer.from(find(after, 'attributes').xattrs?.get('user.any') ?? []).toString('hex') === '00ff3d0a',
  },
  { row: 'names that are not UTF-8', name: 'n\udcff', make: node('n\udcff', 0o100644), compare: () => true },
  {
    row: 'files above 1 TiB',
    name: 'huge',
    make: (filesystem) => filesystem.setattr(node('huge', 0o100644)(filesystem), { size: 2 ** 41 }),
    compare: (after) => find(after, 'huge').size === 2 ** 41,
  },
];

describe('round trips', () => {
  let directory: string;
  let table: Map<string, string[]>;
  let columns: string[];
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'trips-'))));
  afterEach(() => rmSync(directory, { recursive: true }));
  before(() => {
    const [, text] = /(\| \| from a directory [\s\S]*?)\n\n/.exec(
      readFileSync(new URL('../../../../docs/directories-and-archives.md', import.meta.url), 'utf8'),
    )!;
    const rows = text!.split('\n').map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
    columns = rows[0]!;
    table = new Map(rows.slice(2).map(([name, ...cells]) => [name!, cells]));
  });

  function original(): MemoryFileSystem {
    const filesystem = filesystemOf(new Volume());
    for (const { make } of SAMPLES) make(filesystem);
    return filesystem;
  }

  function outcomes(
    before: MemoryFileSystem,
    after: MemoryFileSystem,
    skipped: { path: string }[],
  ): Map<string, Outcome> {
    return new Map(
      SAMPLES.map(({ row, name, compare }) => {
        if (skipped.some(({ path }) => path === name)) return [row, 'reported'];
        if (!has(after, name)) return [row, 'lost'];
        const result = compare(after, before);
        return [row, result === true ? 'carried' : result === 'partly' ? 'partly' : 'lost'];
      }),
    );
  }

  /** What a cell promises. */
  function promised(cell: string): Outcome {
    if (/^(yes|nanoseconds)\b/.test(cell)) return 'carried';
    if (/^reported\b/.test(cell)) return 'reported';
    return /^(within the umask|microseconds|texts)\b/.test(cell) ? 'partly' : 'lost';
  }

  function check(column: string, seen: Map<string, Outcome>, except: Record<string, Outcome> = {}): void {
    const index = columns.findIndex((name) => name.startsWith(column)) - 1;
    for (const [row, outcome] of seen) {
      const found = [...table.keys()].find((name) => name.startsWith(row));
      expect(found, `the table has a row for ${row}`).to.be.a('string');
      expect(outcome, `${row}, ${column}: "${table.get(found!)![index]}"`).to.equal(
        except[row] ?? promised(table.get(found!)![index]!),
      );
    }
  }

  it('the table has a row for each sample and no other', () => {
    const rows = [...table.keys()].filter((row) => !row.startsWith('paths of'));
    expect(rows.filter((row) => !SAMPLES.some((sample) => row.startsWith(sample.row)))).to.deep.equal([]);
  });

  it('a snapshot', () => {
    const filesystem = original();
    const again = filesystemOf(new Volume());
    again.restore(again.checkState(filesystem.state()));
    check('snapshot', outcomes(filesystem, again, []));
  });

  for (const gzip of [false, true]) {
    it(`tar${gzip ? '.gz' : ''}`, async () => {
      const filesystem = original();
      const { stream, report } = dumpTar(filesystem, { gzip });
      const again = filesystemOf(new Volume());
      const loaded = await loadTar(again, stream);
      expect(loaded.skipped).to.deep.equal([]);
      check('tar', outcomes(filesystem, again, report.skipped));
    });
  }

  it('JSON', async () => {
    const filesystem = original();
    const { json, report } = await dumpJson(filesystem);
    const again = filesystemOf(new Volume());
    expect(loadJson(again, JSON.parse(JSON.stringify(json)) as typeof json).skipped).to.deep.equal([]);
    // Its file is a text.
    check('JSON', outcomes(filesystem, again, report.skipped), { 'files, directories': 'carried' });
  });

  for (const owners of [false, true]) {
    it(`to a directory${owners ? ', with owners' : ''}`, function () {
      if (owners && process.getuid!() !== 0) this.skip();
      const filesystem = original();
      const tree = loadHostTree(directory, filesystemOf(new Volume()));
      const umask = process.umask(0o022);
      let kept: ReturnType<typeof writeBack>['kept'];
      try {
        ({ kept } = writeBack(tree, filesystem, { owners }));
      } finally {
        process.umask(umask);
      }
      // What it is on the host is seen by loading it, which keeps all of that.
      const again = filesystemOf(new Volume());
      loadHostTree(directory, again);
      check(
        'to a directory',
        outcomes(filesystem, again, kept),
        owners ? { permissions: 'carried', 'set-user-ID': 'carried', owners: 'carried' } : {},
      );
    });
  }

  it('from a directory', async function () {
    const isRoot = process.getuid!() === 0;
    const at = (name: string) => join(directory, name);
    mkdirSync(at('dir'));
    writeFileSync(at('dir/file'), 'text');
    symlinkSync('some/where', at('soft'));
    for (const name of ['one', 'sparse', 'modes', 'special', 'owned', 'mtime', 'atime', 'birth', 'attributes', 'huge'])
      writeFileSync(at(name), 'x');
    linkSync(at('one'), at('twin'));
    writeFileSync(Buffer.concat([Buffer.from(`${directory}/n`), Buffer.of(0xff)]), '');
    execFileSync('mkfifo', [at('fifo')]);
    if (isRoot) execFileSync('mknod', [at('device'), 'c', '1', '3']);
    const server = createServer().listen(at('socket'));
    await once(server, 'listening');
    truncateSync(at('sparse'), 0);
    truncateSync(at('sparse'), (5 << 20) + 3);
    truncateSync(at('huge'), 2 ** 41);
    chmodSync(at('modes'), 0o777);
    if (isRoot) chownSync(at('owned'), 1234, 567);
    chmodSync(at('special'), 0o6755);
    utimesSync(at('mtime'), '-123456788.8765445', '-123456788.8765445');
    lutimesSync(at('atime'), 1000.123456, 2000);
    try {
      const before = original();
      const after = filesystemOf(new Volume());
      // Reading moves access times.
      const stats = {
        mtime: lstatSync(at('mtime'), { bigint: true }).mtimeNs,
        atime: lstatSync(at('atime'), { bigint: true }).atimeNs,
      };
      const { skipped } = loadHostTree(directory, after);
      const seen = outcomes(before, after, skipped);
      // To the nanosecond that the host has, which Node could set to the microsecond only.
      for (const name of ['mtime', 'atime'] as const) {
        const { sec, nsec } = find(after, name)[name];
        expect(BigInt(sec) * 1_000_000_000n + BigInt(nsec), name).to.equal(stats[name]);
      }
      for (const row of ['modification time', 'access time']) expect(seen.get(row), row).to.equal('partly');
      for (const row of ['modification time', 'access time', ...(isRoot ? [] : ['owners', 'devices'])])
        seen.delete(row);
      check('from a directory', seen, { 'files above 1 TiB': 'reported' });
    } finally {
      server.close();
    }
  });
});
