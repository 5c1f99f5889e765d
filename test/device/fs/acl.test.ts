import { expect } from 'chai';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import { type MemoryFileSystem, Volume } from '../../../device/index.ts';

const ACCESS = 'system.posix_acl_access';
const DEFAULT = 'system.posix_acl_default';
const NOBODY = 0xffffffff;

/** [tag, permissions, id]… as acl_ea of Linux. */
function acl(...entries: [number, number, number?][]): Uint8Array {
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2, 0);
  entries.forEach(([tag, perm, id = NOBODY], n) => {
    bytes.writeUInt16LE(tag, 4 + 8 * n);
    bytes.writeUInt16LE(perm, 6 + 8 * n);
    bytes.writeUInt32LE(id, 8 + 8 * n);
  });
  return new Uint8Array(bytes);
}
const FULL = acl([1, 6], [2, 4, 1000], [4, 4], [0x10, 6], [0x20, 0]);

describe('POSIX ACLs', () => {
  let filesystem: MemoryFileSystem;
  const root = { uid: 0, gid: 0 };
  const make = (mode: number, umask = 0, dir = filesystem.root, name = 'f') =>
    filesystem.mknod(dir, name, { mode, umask, ...root });
  const bits = (inode: { ino: number }) => (filesystem.inode(inode.ino)!.mode & 0o7777).toString(8);

  beforeEach(() => {
    filesystem = filesystemOf(new Volume());
  });

  it('an access ACL shows in the mode, and chmod in the ACL', () => {
    const file = make(0o104755);
    filesystem.setxattr(file, ACCESS, FULL, 0);
    expect(bits(file)).to.equal('4660');
    filesystem.setattr(file, { mode: 0o640 });
    expect(filesystem.getxattr(file, ACCESS)).to.deep.equal(acl([1, 6], [2, 4, 1000], [4, 4], [0x10, 4], [0x20, 0]));
  });

  it('one that says no more than a mode becomes that', () => {
    const file = make(0o100600);
    filesystem.setxattr(file, ACCESS, FULL, 0);
    filesystem.setxattr(file, ACCESS, acl([1, 7], [4, 5], [0x20, 1]), 0);
    expect(bits(file)).to.equal('751');
    expect(filesystem.listxattr(file)).to.deep.equal([]);
  });

  it('an empty one takes it away', () => {
    const dir = make(0o40755);
    filesystem.setxattr(dir, DEFAULT, FULL, 0);
    filesystem.setxattr(dir, DEFAULT, acl(), 0);
    expect(filesystem.listxattr(dir)).to.deep.equal([]);
  });

  it('a default ACL is handed down in place of the umask', () => {
    const dir = make(0o40755);
    filesystem.setxattr(dir, DEFAULT, FULL, 0);
    const file = make(0o100644, 0o077, dir);
    expect(bits(file)).to.equal('640');
    expect(filesystem.getxattr(file, ACCESS)).to.deep.equal(acl([1, 6], [2, 4, 1000], [4, 4], [0x10, 4], [0x20, 0]));
    expect(filesystem.listxattr(file)).to.deep.equal([ACCESS]);
    const below = make(0o40777, 0o077, dir, 'd');
    expect(filesystem.getxattr(below, DEFAULT)).to.deep.equal(FULL);
    expect(bits(make(0o100666, 0o027, filesystem.root, 'plain')), 'elsewhere the umask counts').to.equal('640');
  });

  it('a default ACL is for directories, and none is for links', () => {
    expect(() => filesystem.setxattr(make(0o100644), DEFAULT, FULL, 0))
      .to.throw()
      .with.property('code', 13);
    expect(() => filesystem.setxattr(filesystem.symlink(filesystem.root, 'l', 'x', root), ACCESS, FULL, 0))
      .to.throw()
      .with.property('code', 95);
  });

  for (const [what, bytes] of [
    ['another version', Uint8Array.of(1, 0, 0, 0)],
    ['half an entry', FULL.subarray(0, 10)],
    ['no owner', acl([4, 4], [0x20, 0])],
    ['two owners', acl([1, 6], [1, 6], [4, 4], [0x20, 0])],
    ['names without a mask', acl([1, 6], [2, 4, 1000], [4, 4], [0x20, 0])],
    ['one name twice', acl([1, 6], [2, 4, 7], [2, 4, 7], [4, 4], [0x10, 6], [0x20, 0])],
    ['another order', acl([4, 4], [1, 6], [0x20, 0])],
    ['permissions that there are not', acl([1, 8], [4, 4], [0x20, 0])],
    ['a tag that there is not', acl([1, 6], [4, 4], [0x20, 0], [0x40, 0])],
  ] as const) {
    it(`with ${what} is refused`, () => {
      const file = make(0o100644);
      expect(() => filesystem.setxattr(file, ACCESS, bytes, 0))
        .to.throw()
        .with.property('code', 22);
      expect(bits(file)).to.equal('644');
    });
  }
});
