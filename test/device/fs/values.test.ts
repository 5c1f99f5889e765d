import { expect } from 'chai';
import * as fc from 'fast-check';
import { Volume } from 'memfs';
import { INIT } from '../../../device/conformance/message.ts';
import { filesystemOf, volumeOf } from '../../../device/filesystems/memfs/volume.ts';
import type { Inode } from '../../../device/filesystems/memory/inode.ts';
import { ENOENT, FsError } from '../../../device/fs/errno.ts';
import * as C from '../../../device/fuse/constants.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import { dumpTar, loadJson, loadTar, type MemoryFileSystem } from '../../../device/index.ts';
import { checkTree } from '../../support/check-tree.ts';
import { call } from '../../support/fuse-call.ts';
import { restored } from '../../support/restored.ts';

const root = { uid: 0, gid: 0 };

const numbers = fc.oneof(
  fc.constantFrom(
    NaN,
    Infinity,
    -Infinity,
    -1,
    -0.5,
    0.5,
    1.5,
    1e300,
    -1e300,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 53,
    2 ** 53 - 4096,
    8.64e12,
    8.64e15,
    -8.64e15,
    999_999_999,
    1e9,
    4e9,
  ),
  fc.integer(),
  fc.double(),
  fc.nat(100_000),
);
const modes = fc.oneof(
  numbers,
  fc.constantFrom(0o100644, 0o40755, 0o120777, 0o140755, 0o10600, 0o20600, 0o60600, 0o170000, 0o1000644, 0o777777),
);
const names = fc.oneof(
  fc.constantFrom(
    'a',
    'b',
    'c',
    'd',
    '',
    '.',
    '..',
    'x/y',
    'nul\0',
    'n'.repeat(255),
    'n'.repeat(256),
    'é'.repeat(128),
    '\ud800',
    '\udc80',
    '\udcc3\udca9',
    '\udce2\udc82\udcac',
    'x\udfff',
    '\ufffd',
  ),
  fc.string({ unit: 'binary', maxLength: 8 }),
);
const targets = fc.oneof(names, fc.constantFrom('t'.repeat(4095), 't'.repeat(4096), 'é'.repeat(2047), 'a\0b'));
const acl = (...entries: [tag: number, perm: number, id: number][]) => {
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2);
  entries.forEach(
    ([tag, perm, id], n) => (
      bytes.writeUInt16LE(tag, 4 + 8 * n), bytes.writeUInt16LE(perm, 6 + 8 * n), bytes.writeUInt32LE(id, 8 + 8 * n)
    ),
  );
  return Uint8Array.from(bytes);
};
const values = fc.oneof(
  fc.uint8Array({ maxLength: 100 }),
  fc.constantFrom(new Uint8Array(65536), new Uint8Array(65537)),
  fc.constantFrom(
    acl(),
    acl([1, 6, 0], [4, 4, 0], [32, 4, 0]),
    acl([1, 6, 0], [2, 7, 5], [4, 4, 0], [16, 7, 0], [32, 4, 0]),
    acl([2, 7, 5]),
  ),
);
const attributes = fc.oneof(
  names,
  fc.constantFrom(
    'user.a',
    'user.nul\0',
    'system.posix_acl_access',
    'system.posix_acl_default',
    'security.capability',
    `user.${'n'.repeat(251)}`,
  ),
);
const times = fc.record({ sec: numbers, nsec: fc.oneof(numbers, fc.nat(999_999_999)) });
const runs = (numRuns: number) => ({ numRuns, seed: 12 });
const option = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });

type Way = (filesystem: MemoryFileSystem) => void;

function notThere(): never {
  throw FsError.of(ENOENT);
}

function find(filesystem: MemoryFileSystem, name: string): Inode {
  return filesystem.lookup(filesystem.root, name) ?? notThere();
}

/** The interface that FUSE and the loaders of trees use. */
const ofFileSystem: fc.Arbitrary<Way> = fc.oneof(
  fc.tuple(names, modes, numbers, numbers, numbers).map(
    ([name, mode, uid, gid, rdev]): Way =>
      (b) =>
        b.mknod(b.root, name, { mode, uid, gid, rdev }),
  ),
  fc.tuple(names, targets, numbers).map(
    ([name, target, uid]): Way =>
      (b) =>
        b.symlink(b.root, name, target, { uid, gid: 0 }),
  ),
  fc.tuple(names, names).map(
    ([from, to]): Way =>
      (b) =>
        b.link(find(b, from), b.root, to),
  ),
  fc.tuple(names, names, fc.constantFrom(0, 1, 2, 4)).map(
    ([from, to, flags]): Way =>
      (b) =>
        b.rename(b.root, from, b.root, to, flags, root),
  ),
  fc
    .tuple(
      names,
      option(modes),
      option(numbers),
      option(numbers),
      option(numbers),
      option(times),
      option(times),
      option(times),
    )
    .map(
      ([name, mode, uid, gid, size, atime, mtime, ctime]): Way =>
        (b) =>
          b.setattr(name === '' ? b.root : find(b, name), { mode, uid, gid, size, atime, mtime, ctime }),
    ),
  fc.tuple(names, attributes, values).map(
    ([name, attribute, value]): Way =>
      (b) =>
        b.setxattr(name === '' ? b.root : find(b, name), attribute, value, 0),
  ),
  fc.tuple(names, numbers, fc.nat(100)).map(
    ([name, offset, length]): Way =>
      (b) =>
        b.write(find(b, name), offset, length, { remaining: length, read: (_dst, _at, count) => count }),
  ),
  fc.tuple(names, numbers, numbers, fc.constantFrom(0, 1, 3, 8, 16, 32)).map(
    ([name, offset, length, mode]): Way =>
      (b) =>
        b.fallocate(find(b, name), offset, length > 1e8 ? length : Math.min(length, 1e6), mode),
  ),
  fc.tuple(names, names, numbers, numbers, fc.nat(100_000)).map(
    ([from, to, at, toOffset, length]): Way =>
      (b) =>
        b.copyFileRange(find(b, from), at, find(b, to), toOffset, length),
  ),
);

/** memfs's `fs` API. */
type HostWay = (volume: Volume) => void;

const ofHost: fc.Arbitrary<HostWay> = fc.oneof(
  fc.tuple(names, modes).map(
    ([name, mode]): HostWay =>
      (volume) =>
        volume.writeFileSync(`/${name}`, 'text', { mode }),
  ),
  fc.tuple(names, modes, fc.boolean()).map(
    ([name, mode, recursive]): HostWay =>
      (volume) =>
        volume.mkdirSync(`/${name}`, { mode, recursive }),
  ),
  fc.tuple(names, targets).map(
    ([name, target]): HostWay =>
      (volume) =>
        volume.symlinkSync(target, `/${name}`),
  ),
  fc.tuple(names, names).map(
    ([from, to]): HostWay =>
      (volume) =>
        volume.linkSync(`/${from}`, `/${to}`),
  ),
  fc.tuple(names, names).map(
    ([from, to]): HostWay =>
      (volume) =>
        volume.renameSync(`/${from}`, `/${to}`),
  ),
  fc.tuple(names, modes).map(
    ([name, mode]): HostWay =>
      (volume) =>
        volume.chmodSync(`/${name}`, mode),
  ),
  fc.tuple(names, numbers, numbers).map(
    ([name, uid, gid]): HostWay =>
      (volume) =>
        volume.lchownSync(`/${name}`, uid, gid),
  ),
  fc.tuple(names, numbers, numbers, fc.boolean()).map(
    ([name, atime, mtime, asDates]): HostWay =>
      (volume) =>
        asDates
          ? volume.lutimesSync(`/${name}`, new Date(atime), new Date(mtime))
          : volume.utimesSync(`/${name}`, atime, mtime),
  ),
  fc.tuple(names, numbers).map(
    ([name, size]): HostWay =>
      (volume) =>
        volume.truncateSync(`/${name}`, size),
  ),
  fc.tuple(names, numbers).map(
    ([name, position]): HostWay =>
      (volume) => {
        const fd = volume.openSync(`/${name}`, 'r+');
        try {
          volume.writeSync(fd, Buffer.from('text'), 0, 4, position);
        } finally {
          volume.closeSync(fd);
        }
      },
  ),
);

/** What is refused is an error of its kind: of the filesystem, or of memfs. */
function attempt(way: Way, filesystem: MemoryFileSystem): void {
  try {
    way(filesystem);
  } catch (error) {
    const { code, name, message } = error as NodeJS.ErrnoException;
    if (
      error instanceof FsError ||
      code !== undefined ||
      /^(TypeError: (uid|gid|mode)|Error: Cannot parse time)/.test(`${name}: ${message}`)
    )
      return;
    throw error;
  }
}

/** {@link ofHost} on a filesystem's volume. */
const byHost = ofHost.map(
  (way): Way =>
    (filesystem) =>
      way(volumeOf(filesystem)),
);

function check(ways: readonly Way[], filesystem = filesystemOf(new Volume(), { size: 16 << 20, inodes: 1000 })): void {
  for (const way of ways) attempt(way, filesystem);
  checkTree(filesystem, []);
  restored(filesystem);
}

describe('whatever values come in, a snapshot of what was accepted can be restored', function () {
  this.timeout(60_000);

  it('by the interface of the filesystem', () =>
    fc.assert(
      fc.property(fc.array(ofFileSystem, { maxLength: 40, size: 'max' }), (ways) => check(ways)),
      runs(400),
    ));
  it('by the host’s fs API', () =>
    fc.assert(
      fc.property(fc.array(byHost, { maxLength: 40, size: 'max' }), (ways) => check(ways)),
      runs(400),
    ));
  it('by both', () =>
    fc.assert(
      fc.property(fc.array(fc.oneof(ofFileSystem, byHost), { maxLength: 40, size: 'max' }), (ways) => check(ways)),
      runs(200),
    ));

  it('in a volume that became a share', () =>
    fc.assert(
      fc.property(fc.array(ofHost, { maxLength: 20, size: 'max' }), (ways) => {
        const volume = new Volume();
        for (const way of ways) {
          try {
            way(volume);
          } catch {
            // memfs alone refuses in its own way.
          }
        }
        try {
          check([], filesystemOf(volume));
        } catch (error) {
          if (!/^the volume has /.test((error as Error).message)) throw error;
        }
      }),
      runs(200),
    ));

  it('by SETATTR', () =>
    fc.assert(
      fc.property(
        fc.nat(0x7ff),
        ...Array<fc.Arbitrary<bigint>>(4).fill(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
        ...Array<fc.Arbitrary<number>>(6).fill(fc.nat(2 ** 32 - 1)),
        (valid, ...rest) => {
          const [size, atime, mtime, ctime, ...small] = rest as [bigint, bigint, bigint, bigint, ...number[]];
          const filesystem = filesystemOf(Volume.fromJSON({ '/f': '' }));
          const session = new FuseSession({ filesystem });
          call(session, 'INIT', 0, INIT);
          const [atimensec, mtimensec, ctimensec, mode, uid, gid] = small as [
            number,
            number,
            number,
            number,
            number,
            number,
          ];
          const { ino } = filesystem.lookup(filesystem.root, 'f')!;
          call(session, 'LOOKUP', 1, 'f');
          call(session, 'SETATTR', ino, {
            valid: valid & ~C.FATTR_FH,
            size,
            atime,
            mtime,
            ctime,
            atimensec,
            mtimensec,
            ctimensec,
            mode,
            uid,
            gid,
          });
          restored(filesystem, [session]);
        },
      ),
      runs(300),
    ));

  it('by memfs JSON', () =>
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.oneof(
            names,
            fc.tuple(names, names).map((parts) => parts.join('/')),
          ),
          fc.option(targets),
          { maxKeys: 20 },
        ),
        (json) => {
          const filesystem = filesystemOf(new Volume());
          loadJson(filesystem, json);
          checkTree(filesystem, []);
          restored(filesystem);
        },
      ),
      runs(200),
    ));

  it('by a tar archive', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            name: fc.oneof(
              fc.constantFrom('a', 'b', 'c/d', 'e/../f'),
              fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }),
            ),
            type: fc.constantFrom('file', 'directory', 'symlink', 'link', 'fifo'),
            uid: fc.oneof(
              fc.nat(2 ** 21 - 1),
              fc.constantFrom('', '-1', '1.5', '4294967296', '99999999999999999999', 'x'),
            ),
            mtime: fc.oneof(
              fc.constantFrom('9'.repeat(30), `-${'9'.repeat(30)}`, '0.9999999999', '-0.5', 'NaN', '1e99', ''),
              fc.nat().map(String),
            ),
            xattr: fc.tuple(attributes, targets),
          }),
          { maxLength: 10 },
        ),
        async (entries) => {
          const filesystem = filesystemOf(new Volume(), { size: 16 << 20 });
          await loadTar(filesystem, archiveOf(entries)).catch((error: Error) =>
            expect(error.message).to.match(/^the tar archive could not be unpacked/),
          );
          checkTree(filesystem, []);
          const { filesystem: twin } = restored(filesystem);
          await new Response(dumpTar(twin).stream).arrayBuffer();
        },
      ),
      runs(200),
    ));
});

/** A PAX archive with these values in its headers. */
function archiveOf(
  entries: readonly {
    name: string;
    type: string;
    uid: number | string;
    mtime: string;
    xattr: readonly [string, string];
  }[],
): ReadableStream<Uint8Array> {
  const typeflags: Record<string, string> = { file: '0', link: '1', symlink: '2', directory: '5', fifo: '6', pax: 'x' };
  const block = (name: string, size: number, type: string, uid: number) => {
    const header = Buffer.alloc(512);
    const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`;
    header.write(name.slice(0, 30), 0);
    header.write(
      [
        octal(0o644, 8),
        octal(uid, 8),
        octal(0, 8),
        octal(size, 12),
        octal(0, 12),
        ' '.repeat(8),
        typeflags[type]!,
      ].join(''),
      100,
    );
    header.write('a', 157);
    header.write('ustar\x0000', 257);
    header.write(
      octal(
        header.reduce((sum, byte) => sum + byte, 0),
        7,
      ),
      148,
    );
    return header;
  };
  const record = (key: string, value: string) => {
    const rest = ` ${key}=${value}\n`;
    let length = Buffer.byteLength(rest) + 1;
    while (String(length).length + Buffer.byteLength(rest) !== length)
      length = String(length).length + Buffer.byteLength(rest);
    return length + rest;
  };
  const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
  const parts = entries.flatMap(({ name, type, uid, mtime, xattr: [key, value] }) => {
    const pax = Buffer.from(
      record('mtime', mtime) +
        (typeof uid === 'string' ? record('uid', uid) : '') +
        (/[=\n]/.test(key) ? '' : record(`SCHILY.xattr.${key}`, value)),
    );
    return [
      block('pax', pax.length, 'pax', 0),
      padded(pax),
      block(name, type === 'file' ? 1 : 0, type, typeof uid === 'number' ? uid : 0),
      type === 'file' ? padded(Buffer.from('x')) : Buffer.alloc(0),
    ];
  });
  return new Blob([...parts, Buffer.alloc(1024)]).stream() as ReadableStream<Uint8Array>;
}
