import { expect } from 'chai';
import { conformance, FEATURES, type Features } from '../../../device/conformance/index.ts';
import { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import type { DirectoryEntry, FileSystem } from '../../../device/fs/filesystem.ts';
import { PlainFileSystem } from '../../support/plain-filesystem.ts';

type Methods = { -readonly [K in keyof FileSystem]?: unknown };

const ALL: Features = Object.fromEntries(FEATURES.map((feature) => [feature, true]));
const without = (...features: (keyof Features)[]): Features => ({
  ...ALL,
  ...Object.fromEntries(features.map((feature) => [feature, false])),
});

/** A filesystem in memory of which some methods are otherwise. */
function spoilt(spoil: (files: MemoryFileSystem) => Methods): () => FileSystem {
  return () => {
    const files = new MemoryFileSystem({ size: 16 << 20 });
    const other = spoil(files);
    return new Proxy(files, {
      get(target, name) {
        if (name in other) return other[name as keyof FileSystem];
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    }) as FileSystem;
  };
}

/** A directory whose entries are otherwise. */
const listing = (change: (entry: DirectoryEntry, n: number) => DirectoryEntry) =>
  spoilt((files) => ({
    opendir: (...args: Parameters<MemoryFileSystem['opendir']>) => {
      const directory = files.opendir(...args);
      return {
        end: directory.end,
        read: (...rest: Parameters<typeof directory.read>) => [...directory.read(...rest)].map(change),
      };
    },
  }));

/** Of each defect, a scenario that finds it, and what that says. */
const DEFECTS: [what: string, features: Features, make: () => FileSystem, scenario: string, says: RegExp][] = [
  [
    'renames over what is there',
    ALL,
    spoilt((files) => ({
      rename: (...[a, b, c, d, , f]: Parameters<typeof files.rename>) => files.rename(a, b, c, d, 0, f),
    })),
    'a file and noreplace',
    /rename a b noreplace: expected EEXIST, found ok, after\n {2}create a\n {2}create b/,
  ],
  [
    'links what it does not declare',
    without('hardLinks'),
    () => new MemoryFileSystem(),
    'hardLinks',
    /hardLinks works, and is not declared/,
  ],
  ['declares what it lacks', ALL, spoilt(() => ({ symlink: undefined })), 'symbolic links', /found EROFS/],
  [
    'forgets files that are open',
    ALL,
    spoilt(() => ({ retain: () => {}, release: () => {} })),
    'the handle of an open file that has no name any more',
    /expected ok, found ESTALE/,
  ],
  [
    'throws a TypeError',
    ALL,
    spoilt(() => ({ unlink: () => (undefined as unknown as { names: object }).names })),
    'unlink',
    /unlink f: expected ok, found EIO.*The filesystem threw TypeError: Cannot read/s,
  ],
  [
    'lists entries that are others',
    ALL,
    listing((entry, n) => (n ? entry : { ...entry, mode: 0o100000 })),
    'what a list names can be looked up, and is what the list says',
    /./,
  ],
  [
    'counts its cookies wrong',
    ALL,
    listing((entry) => ({ ...entry, cookie: entry.cookie + 1 })),
    'a listing resumes at each of its cookies, in another open directory too',
    /the entry after cookie \d+: expected/,
  ],
  [
    'reads past the end',
    ALL,
    spoilt((files) => ({
      read: (...[inode, offset, length, ...rest]: Parameters<typeof files.read>) =>
        files.read(inode, offset, length, ...rest) || Math.min(length, 1),
    })),
    'nothing is past the end of a file',
    /bytes at the end: expected 0, found 1/,
  ],
  [
    'has one number for all its files',
    ALL,
    spoilt((files) => ({
      lookup: (...args: Parameters<typeof files.lookup>) => {
        const inode = files.lookup(...args);
        return inode && { inode, attr: { ...attrOf(inode), ino: 77 } };
      },
    })),
    'what a list names can be looked up, and is what the list says',
    /inode number of LOOKUP and of the list: expected \d+, found 77/,
  ],
  [
    'can be changed, and is said not to be',
    { readOnly: true },
    () => new MemoryFileSystem(),
    'nothing can be changed',
    /chmod comes to ok, not EROFS/,
  ],
  [
    'is not as synchronous as it says',
    ALL,
    spoilt((files) => ({ mkdir: async (...args: Parameters<typeof files.mkdir>) => files.mkdir(...args) })),
    'mkdir',
    /isSynchronous is true, but mkdir returned a promise/,
  ],
  [
    'looks first, and makes a file later',
    ALL,
    spoilt((files) => ({
      isSynchronous: false,
      async create(...[dir, name, node, flags, options]: Parameters<typeof files.create>) {
        if (files.lookup(dir, name)) return files.create(dir, name, node, flags, options);
        await Promise.resolve();
        return files.create(dir, name, node, 0, options);
      },
    })),
    'of several who make a name one does',
    /CREATE with O_EXCL: expected ok EEXIST .*, found ok ok ok/,
  ],
  [
    'finds where the end is, and appends later',
    ALL,
    spoilt((files) => ({
      isSynchronous: false,
      async write(...[inode, offset, ...rest]: Parameters<typeof files.write>) {
        const at = offset === 'end' ? inode.size : offset;
        await Promise.resolve();
        return files.write(inode, at, ...rest);
      },
    })),
    'appends come one after the other, each whole',
    /bytes: expected 8000, found 1000/,
  ],
  [
    'can not find its inodes by their numbers',
    ALL,
    spoilt((files) => ({ inode: (ino: number) => (ino === 1 ? files.root : undefined) })),
    'open files and half-read directories go on in a restored session',
    /inodes that can not be found again: expected , found \d/,
  ],
  [
    'is never full',
    ALL,
    spoilt((files) => ({ write: (...[, , length]: Parameters<typeof files.write>) => length })),
    'what is full says ENOSPC, and what is deleted is free again',
    /bytes were written where \d+ bytes were free/,
  ],
];

/** Its accessors, which are not its own properties. */
function attrOf(inode: ReturnType<MemoryFileSystem['getattr']>): object {
  const names = [
    'size',
    'blocks',
    'atime',
    'mtime',
    'ctime',
    'btime',
    'mode',
    'nlink',
    'uid',
    'gid',
    'rdev',
    'blksize',
  ];
  return Object.fromEntries(names.map((name) => [name, inode[name as keyof typeof inode]]));
}

describe('the conformance suite', () => {
  for (const [what, features, make, name, says] of DEFECTS)
    it(`finds a filesystem that ${what}`, async () => {
      const scenario = conformance(features).scenarios.find((one) => one.name === name)!;
      let message = 'nothing';
      await scenario.run(make).catch((error: Error) => (message = error.message));
      expect(message).to.match(says);
    });

  it('leaves nothing out for what has all, and else says what', () => {
    expect(conformance(ALL).leftOut.map(({ needs }) => needs)).to.deep.equal([['readOnly']]);
    const { scenarios, leftOut } = conformance(without('symlinks', 'owners'));
    const named = leftOut.filter(({ subject }) => subject !== 'what is there');
    expect(named).to.deep.include({ subject: 'names', name: 'symbolic links', needs: ['symlinks'] });
    expect(named).to.deep.include({ subject: 'names', name: 'mkdir', needs: ['owners'], fields: ['uid', 'gid'] });
    expect(new Set(named.flatMap(({ needs }) => needs))).to.deep.equal(new Set(['symlinks', 'owners']));
    expect(scenarios.map(({ subject, name }) => `${subject}: ${name}`)).to.include.members([
      'names: mkdir',
      'what is not declared: symlinks',
    ]);
  });

  it('has a sample of each feature that can be tried, so that none is there and not declared', () => {
    const { scenarios } = conformance({});
    const tried = scenarios.filter(({ subject }) => subject === 'what is not declared').map(({ name }) => name);
    expect([...tried, 'directoryCookies', 'largeFiles', 'quotas']).to.have.members(FEATURES);
  });

  it('runs on a filesystem that has nothing but files and directories, and on one that is read-only', async () => {
    for (const [features, make] of [
      [{}, () => new PlainFileSystem()],
      [{ readOnly: true, fileHandles: true }, readOnly],
    ] as const)
      for (const { subject, name, run } of conformance(features).scenarios)
        await run(make).catch((error: Error) => {
          throw new Error(`${subject}: ${name}: ${error.message}`);
        });
  });
});

const CHANGES = [
  ...['setattr', 'mknod', 'mkdir', 'symlink', 'link', 'unlink', 'rmdir', 'rename', 'create', 'tmpfile', 'write'],
  ...['fallocate', 'copyFileRange', 'setxattr', 'removexattr'],
];

/** One that can't be changed any more. */
const readOnly = spoilt((files) => {
  const root = { uid: 0, gid: 0 };
  const dir = files.mkdir(files.root, 'd', { mode: 0o755, ...root });
  files.mknod(dir, 'empty', { mode: 0o100644, ...root });
  files.setattr(files.mknod(dir, 'f', { mode: 0o100644, ...root }), { size: 5000 });
  return Object.fromEntries(CHANGES.map((name) => [name, undefined]));
});
