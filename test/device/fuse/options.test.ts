import { expect } from 'chai';
import { INIT_NEWEST } from '../../../device/conformance/message.ts';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import { MemoryFileSystem, partsOf } from '../../../device/filesystems/memory/filesystem.ts';
import type { Entry, Inode } from '../../../device/fs/filesystem.ts';
import * as C from '../../../device/fuse/constants.ts';
import { fuse_entry_out } from '../../../device/fuse/layouts.ts';
import type { PolicyOptions } from '../../../device/fuse/policy.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import { Volume } from '../../../device/index.ts';
import { call } from '../../support/fuse-call.ts';

const ENOSYS = -38,
  EINVAL = -22,
  EOPNOTSUPP = -95;

function start(options: PolicyOptions = {}) {
  const filesystem = filesystemOf(new Volume());
  const session = new FuseSession({ filesystem, ...options });
  call(session, 'INIT', 0, INIT_NEWEST);
  return { filesystem, session };
}

const padded = (...parts: Uint8Array[]) => {
  const bytes = Buffer.concat(parts);
  return Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
};
const u32 = (...values: number[]) => new Uint8Array(Uint32Array.from(values).buffer);
const label = (name: string, value: string) => padded(u32(value.length, 0), Buffer.from(`${name}\0${value}`));
const labels = (...list: Uint8Array[]) => {
  const body = Buffer.concat(list);
  return Buffer.concat([u32(8 + body.length, list.length), body]);
};

describe('security labels of what is made (SECURITY_CTX)', () => {
  const made: [string, (session: FuseSession, extension: Uint8Array) => { error: number | undefined }][] = [
    ['MKDIR', (session, extension) => call(session, 'MKDIR', 1, { mode: 0o755 }, 'new', extension)],
    ['MKNOD', (session, extension) => call(session, 'MKNOD', 1, { mode: 0o10644 }, 'new', extension)],
    ['SYMLINK', (session, extension) => call(session, 'SYMLINK', 1, 'new', 'target', extension)],
    ['CREATE', (session, extension) => call(session, 'CREATE', 1, { flags: 2, mode: 0o100644 }, 'new', extension)],
  ];
  for (const [name, make] of made) {
    it(`${name} keeps them as attributes`, () => {
      const { filesystem, session } = start();
      expect(
        make(session, labels(label('security.selinux', 'system_u:object_r\0'), label('security.other', 'x'))).error,
      ).to.equal(0);
      const inode = filesystem.lookup(filesystem.root, 'new')!;
      expect(filesystem.listxattr(inode)).to.have.members(['security.selinux', 'security.other']);
      expect(Buffer.from(filesystem.getxattr(inode, 'security.selinux')!).toString()).to.equal('system_u:object_r\0');
    });

    for (const [what, extension] of [
      ['cut off', labels(label('security.selinux', 'value')).subarray(0, 20)],
      ['of another namespace', labels(label('trusted.x', 'value'))],
      ['without an end of its name', Buffer.concat([u32(24, 1), u32(4, 0), Buffer.from('security')])],
      ['smaller than its header', u32(4, 1)],
      ['more than there are', Buffer.concat([u32(8, 5)])],
    ] as const) {
      it(`${name} with one ${what} makes nothing`, () => {
        const { filesystem, session } = start();
        expect(make(session, extension).error).to.equal(EINVAL);
        expect([...filesystem.root.directory!.entries()]).to.deep.equal([]);
      });
    }
  }

  it('MKDIR with one that there is no room for makes nothing', () => {
    const filesystem = filesystemOf(new Volume(), { size: 4096 });
    const session = new FuseSession({ filesystem });
    call(session, 'INIT', 0, INIT_NEWEST);
    expect(
      call(session, 'MKDIR', 1, { mode: 0o755 }, 'new', labels(label('security.selinux', 'x'.repeat(3500)))).error,
    ).to.equal(-28);
    expect(partsOf(filesystem).table.space.inodes).to.equal(1);
  });

  it('TMPFILE keeps them too', () => {
    const { filesystem, session } = start();
    const { payload } = call(
      session,
      'TMPFILE',
      1,
      { flags: 2, mode: 0o100644 },
      '/',
      labels(label('security.selinux', 'x')),
    );
    expect(filesystem.listxattr(filesystem.inode(Number(payload.getBigUint64(0, true)))!)).to.deep.equal([
      'security.selinux',
    ]);
  });
});

describe('truncation by opening (ATOMIC_O_TRUNC)', () => {
  it('is left to SETATTR', () => {
    expect(start().session.negotiated!.flags & C.FUSE_ATOMIC_O_TRUNC).to.equal(0n);
  });

  it('is done for a session that was negotiated with it, and comes out of a snapshot', () => {
    const { filesystem, session } = start();
    const nodeid = call(session, 'CREATE', 1, { flags: 2, mode: 0o100644 }, 'f').out.entry.nodeid;
    call(session, 'WRITE', nodeid, { fh: 1n, size: 5, flags: 2 }, Buffer.from('hello'));
    const state = session.state();
    state.negotiated!.flags |= C.FUSE_ATOMIC_O_TRUNC;
    session.restore(FuseSession.checkState(state, filesystem), () => undefined);
    expect(session.negotiated!.flags & C.FUSE_ATOMIC_O_TRUNC).to.equal(C.FUSE_ATOMIC_O_TRUNC);
    expect(call(session, 'OPEN', nodeid, { flags: 0o1001 }).error).to.equal(0);
    expect(filesystem.getattr(filesystem.inode(nodeid)!).size).to.equal(0);
  });
});

describe('a stateless share', () => {
  it('answers OPEN and OPENDIR with ENOSYS, and makes, reads and writes files without handles', () => {
    const { filesystem, session } = start({ stateless: true });
    expect(session.negotiated!.flags & C.FUSE_NO_OPEN_SUPPORT).to.equal(C.FUSE_NO_OPEN_SUPPORT);
    expect(call(session, 'OPENDIR', 1).error).to.equal(ENOSYS);
    const nodeid = call(session, 'CREATE', 1, { flags: 2, mode: 0o100644 }, 'f').out.entry.nodeid;
    const unnamed = Number(
      call(session, 'TMPFILE', 1, { flags: 2, mode: 0o100644 }, '/').payload.getBigUint64(0, true),
    );
    expect(session.state().handles.handles).to.deep.equal([]);
    expect(filesystem.inode(unnamed)!.nlink).to.equal(0);
    call(session, 'FORGET', unnamed, { nlookup: 1n });
    expect(filesystem.inode(unnamed)).to.equal(undefined);
    expect(call(session, 'OPEN', nodeid, { flags: 2 }).error).to.equal(ENOSYS);
    expect(call(session, 'WRITE', nodeid, { size: 5, flags: 2 }, Buffer.from('hello')).error).to.equal(0);
    expect(call(session, 'READ', nodeid, { size: 100 }).text).to.equal('hello');
    expect(call(session, 'READDIR', 1, { size: 4096 }).text).to.contain('f');
    call(session, 'UNLINK', 1, 'f');
    expect(call(session, 'READ', nodeid, { size: 100 }).text, 'unlinked, and looked up still').to.equal('hello');
    call(session, 'FORGET', nodeid, { nlookup: 2n });
    expect(filesystem.inode(nodeid)).to.equal(undefined);
  });

  it('closes what it makes, as the guest never will', () => {
    const filesystem = new MemoryFileSystem();
    const open: Inode[] = [];
    for (const method of ['create', 'tmpfile'] as const) {
      const made = filesystem[method].bind(filesystem) as (...args: unknown[]) => Entry;
      Object.assign(filesystem, {
        [method]: (...args: unknown[]) => {
          const entry = made(...args);
          open.push(entry.inode);
          return entry;
        },
      });
    }
    Object.assign(filesystem, { close: (inode: Inode) => open.splice(open.indexOf(inode), 1) });
    for (const stateless of [false, true]) {
      const session = new FuseSession({ filesystem, stateless });
      call(session, 'INIT', 0, INIT_NEWEST);
      call(session, 'CREATE', 1, { flags: 2, mode: 0o100644 }, `f-${stateless}`);
      call(session, 'TMPFILE', 1, { flags: 2, mode: 0o100644 }, '/');
      expect(open, `stateless: ${stateless}`).to.have.length(stateless ? 0 : 2);
      open.length = 0;
    }
  });

  it('has no locks `shared`, and a cache', () => {
    expect(() => start({ stateless: true, cache: 'never' })).to.throw(RangeError, /stateless/);
    expect(() => start({ stateless: true, locks: 'shared' })).to.throw(RangeError, /stateless/);
  });
});

describe('a share without extended attributes', () => {
  const ask: [string, (session: FuseSession, nodeid: number) => { error: number | undefined }][] = [
    ['GETXATTR', (session, nodeid) => call(session, 'GETXATTR', nodeid, { size: 0 }, 'security.capability')],
    ['SETXATTR', (session, nodeid) => call(session, 'SETXATTR', nodeid, { size: 1 }, 'user.a', u32(1).subarray(0, 1))],
    ['LISTXATTR', (session, nodeid) => call(session, 'LISTXATTR', nodeid, { size: 0 })],
    ['REMOVEXATTR', (session, nodeid) => call(session, 'REMOVEXATTR', nodeid, 'user.a')],
  ];
  for (const [name, send] of ask) {
    it(`answers ${name} with ENOSYS, after which Linux asks no more, whatever is there`, () => {
      const { filesystem, session } = start({ xattr: false });
      const nodeid = call(session, 'CREATE', 1, { flags: 2, mode: 0o100644 }, 'f').out.entry.nodeid;
      filesystem.setxattr(filesystem.inode(nodeid)!, 'user.a', Buffer.from('kept'), 0);
      expect(send(session, nodeid).error).to.equal(ENOSYS);
      expect(Buffer.from(filesystem.getxattr(filesystem.inode(nodeid)!, 'user.a')!).toString()).to.equal('kept');
    });
  }

  it('takes no security labels for what is made, and has no ACLs', () => {
    const { filesystem, session } = start({ xattr: false });
    expect(session.negotiated!.flags & C.FUSE_SECURITY_CTX).to.equal(0n);
    expect(call(session, 'MKDIR', 1, { mode: 0o755 }, 'd').error).to.equal(0);
    expect(filesystem.listxattr(filesystem.lookup(filesystem.root, 'd')!)).to.deep.equal([]);
    expect(() => start({ xattr: false, posixAcl: true })).to.throw(RangeError, /ACLs are extended attributes/);
  });

  it('refuses them to a session that had them, and gives them back to one that goes on with them', () => {
    const { filesystem, session } = start();
    const nodeid = call(session, 'CREATE', 1, { flags: 2, mode: 0o100644 }, 'f').out.entry.nodeid;
    const other = new FuseSession({ filesystem, xattr: false });
    other.restore(FuseSession.checkState(session.state(), filesystem), () => undefined);
    expect(call(other, 'GETXATTR', nodeid, { size: 0 }, 'user.a').error).to.equal(ENOSYS);
    expect(call(other, 'MKDIR', 1, { mode: 0o755 }, 'd', labels(label('security.selinux', 'x'))).error).to.equal(0);
    expect(filesystem.listxattr(filesystem.lookup(filesystem.root, 'd')!), 'a label').to.deep.equal([]);
    session.restore(FuseSession.checkState(other.state(), filesystem), () => undefined);
    expect(call(session, 'GETXATTR', nodeid, { size: 0 }, 'user.a').error).to.equal(-61);
  });
});

describe('how long the guest may believe an answer', () => {
  for (const [cache, entry, attr, ofDirectory] of [
    ['never', 0, 0, 1],
    ['auto', 1e9, 1e9, 1e9],
    ['always', 864e11, 864e11, 864e11],
  ] as const) {
    it(`cache ${cache}`, () => {
      const { session } = start({ cache });
      const times = ({ payload }: ReturnType<typeof call>) => {
        const { entry_valid, entry_valid_nsec, attr_valid, attr_valid_nsec } = fuse_entry_out.at(payload, 0);
        return [entry_valid * 1e9 + entry_valid_nsec, attr_valid * 1e9 + attr_valid_nsec];
      };
      expect(times(call(session, 'MKNOD', 1, { mode: 0o100644 }, 'f'))).to.deep.equal([entry, attr]);
      expect(times(call(session, 'LOOKUP', 1, 'f'))).to.deep.equal([entry, attr]);
      expect(times(call(session, 'MKDIR', 1, { mode: 0o755 }, 'd'))).to.deep.equal([entry, ofDirectory]);
      for (const { attr_valid, attr_valid_nsec } of [call(session, 'GETATTR', 1).out, call(session, 'STATX', 1).out])
        expect(attr_valid * 1e9 + attr_valid_nsec).to.equal(ofDirectory);
    });
  }
});

describe('attributes of other namespaces', () => {
  for (const name of ['plain', 'system.other', 'user.', '.x']) {
    it(`${JSON.stringify(name)} is refused`, () => {
      const { session } = start();
      expect(call(session, 'SETXATTR', 1, { size: 1 }, `${name}`, Buffer.from('x')).error).to.equal(EOPNOTSUPP);
    });
  }
});
