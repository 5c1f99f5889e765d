import type { Inode } from '../../fs/backend.ts';
import { F_UNLCK, S_IALLUGO, S_IFDIR, S_IFMT, S_IFREG } from '../../fs/constants.ts';
import { EAGAIN, EEXIST, EINVAL, EISDIR, ENOENT, ENOSYS, EROFS, FsError } from '../../fs/errno.ts';
import type { Lock } from '../../fs/locks.ts';
import type { Call } from '../call.ts';
import { OUT_HEADER_SIZE } from '../codec.ts';
import * as C from '../constants.ts';
import { securityContexts } from '../extensions.ts';
import {
  fuse_copy_file_range_in,
  fuse_create_in,
  fuse_create_out,
  fuse_fallocate_in,
  fuse_flush_in,
  fuse_fsync_in,
  fuse_lk_in,
  fuse_lk_out,
  fuse_lseek_in,
  fuse_lseek_out,
  fuse_open_in,
  fuse_open_out,
  fuse_read_in,
  fuse_release_in,
  fuse_write_in,
  fuse_write_out,
} from '../layouts.ts';
import { maxData } from '../negotiation.ts';
import { operation } from '../operation.ts';
import { writeEntry } from '../replies.ts';
import type { View } from '../struct.ts';
import { makeNode, newNode } from './nodes.ts';

/** fcntl.h of x86. */
const O_EXCL = 0o200;
/** Bytes that one COPY_FILE_RANGE copies, where the caller goes on from there: what lies across chunks has to be copied by hand. */
const MAX_COPY = 64 << 20;

/** Answers who opens `inode`; without a handle where the guest opens files by itself, as what it has open it has looked up. */
function open(call: Call, inode: Inode, flags: number, openFlags: number, output: View<typeof fuse_open_out>): void {
  const type = call.backend.getattr(inode).mode & S_IFMT;
  if (type === S_IFDIR) throw FsError.of(EISDIR);
  const writes = (flags & C.O_ACCMODE) !== C.O_RDONLY || (flags & C.O_TRUNC) !== 0;
  if (writes && call.policy.readOnly) throw FsError.of(EROFS);
  const handle = call.uses(C.FUSE_NO_OPEN_SUPPORT) ? undefined : call.handles.openFile(inode, flags);
  try {
    if (flags & C.O_TRUNC)
      call.backend.setattr(inode, { size: 0, killSuidgid: (openFlags & C.FUSE_OPEN_KILL_SUIDGID) !== 0 });
  } catch (error) {
    if (handle) call.handles.close(handle);
    throw error;
  }
  if (handle) output.fh = handle.fh;
  output.open_flags =
    call.policy.cache === 'never' ? C.FOPEN_DIRECT_IO | C.FOPEN_PARALLEL_DIRECT_WRITES : C.FOPEN_KEEP_CACHE;
}

/** The inode of an open file whose locks are kept here, as INIT has settled: also where this device would have them in the guest. */
function lockable(call: Call, { fh, lk_flags }: View<typeof fuse_lk_in>): Inode {
  if (!call.uses(lk_flags & C.FUSE_LK_FLOCK ? C.FUSE_FLOCK_LOCKS : C.FUSE_POSIX_LOCKS)) throw FsError.of(ENOSYS);
  return call.handles.file(fh, call.header.nodeid).inode;
}

function lockOf(call: Call, { ino }: Inode, { fh, owner, lk, lk_flags }: View<typeof fuse_lk_in>): Lock {
  const space = lk_flags & C.FUSE_LK_FLOCK ? 'flock' : 'posix';
  return {
    space,
    ino,
    session: call.locks.session,
    owner,
    fh: BigInt(fh),
    pid: lk.pid,
    type: lk.type,
    start: lk.start,
    end: lk.end,
  };
}

export const FILE_OPERATIONS = [
  operation(C.FUSE_OPEN, 'OPEN', {
    about:
      'Opens a file, and truncates it for O_TRUNC, which a guest that negotiates anew leaves out (ATOMIC_O_TRUNC). Stateless shares: ENOSYS, and the guest opens files by itself.',
    input: fuse_open_in,
    output: fuse_open_out,
    handle(call, { flags, open_flags }, output) {
      // Linux opens files by itself from then on.
      if (call.uses(C.FUSE_NO_OPEN_SUPPORT)) throw FsError.of(ENOSYS);
      call.checkNamed();
      open(call, call.inode, flags, open_flags, output);
    },
  }),
  operation(C.FUSE_CREATE, 'CREATE', {
    about: 'Makes and opens a file; opens the one that somebody else made meanwhile, unless O_EXCL.',
    input: fuse_create_in,
    strings: ['name'],
    tail: 'kept',
    output: fuse_create_out,
    changes: true,
    handle(call, { flags, mode, umask, open_flags }, output) {
      const { backend, inode: dir } = call;
      const name = call.strings[0]!;
      let inode: Inode;
      try {
        inode = backend.lookup(dir, name);
        if (flags & O_EXCL) throw FsError.of(EEXIST);
      } catch (error) {
        if (error !== FsError.of(ENOENT)) throw error;
        inode = makeNode(call, newNode(call, S_IFREG | (mode & S_IALLUGO), umask));
        flags &= ~C.O_TRUNC;
      }
      open(call, inode, flags, open_flags, output.open);
      writeEntry(call, output.entry, inode);
    },
  }),
  operation(C.FUSE_TMPFILE, 'TMPFILE', {
    about: 'Makes and opens a file without a name (O_TMPFILE).',
    input: fuse_create_in,
    strings: ['ignored'],
    tail: 'kept',
    output: fuse_create_out,
    changes: true,
    handle(call, { flags, mode, umask, open_flags }, output) {
      const { backend } = call;
      const contexts = securityContexts(call);
      const inode = backend.tmpfile(call.inode, newNode(call, S_IFREG | (mode & S_IALLUGO), umask));
      // It has no name: what does not get a handle has to go.
      backend.retain(inode);
      try {
        for (const { name, value } of contexts) backend.setxattr(inode, name, value, 0);
        open(call, inode, flags & ~C.O_TRUNC, open_flags, output.open);
        writeEntry(call, output.entry, inode);
      } finally {
        backend.release(inode);
      }
    },
  }),
  operation(C.FUSE_READ, 'READ', {
    about: 'File data, copied once from its storage into guest RAM; EINVAL for more than INIT has settled.',
    input: fuse_read_in,
    handle(call, { fh, offset, size, flags }) {
      // A short answer would be the end of the file.
      if (size > maxData(call.negotiated!)) throw FsError.of(EINVAL);
      const inode = call.openFile(fh);
      const count = call.backend.read(inode, offset, Math.min(size, call.room), call.sink, OUT_HEADER_SIZE);
      if ((flags & C.O_NOATIME) === 0) call.backend.accessed(inode);
      return count;
    },
  }),
  operation(C.FUSE_WRITE, 'WRITE', {
    about: 'File data, copied once from guest RAM into its storage; O_APPEND writes at the end that the file has here.',
    input: fuse_write_in,
    tail: 'source',
    output: fuse_write_out,
    changes: true,
    handle(call, { fh, offset, size, write_flags, flags }, output) {
      const { backend } = call;
      if (size > call.message.unread) throw FsError.of(EINVAL);
      const inode = call.openFile(fh);
      const appends = (flags & C.O_APPEND) !== 0 && !(write_flags & C.FUSE_WRITE_CACHE);
      const at = appends ? backend.getattr(inode).size : offset;
      output.size = backend.write(inode, at, size, call.request.source);
      if (write_flags & C.FUSE_WRITE_KILL_SUIDGID) backend.setattr(inode, { killSuidgid: true });
    },
  }),
  operation(C.FUSE_FLUSH, 'FLUSH', {
    about:
      'close(2): the POSIX locks of the process go. Locks `guest`: ENOSYS, which saves the guest a request each time.',
    input: fuse_flush_in,
    handle(call, { fh, lock_owner }) {
      if (!call.uses(C.FUSE_POSIX_LOCKS)) throw FsError.of(ENOSYS);
      const { inode } = call.handles.file(fh, call.header.nodeid);
      call.locks.table.releaseOwner('posix', inode.ino, call.locks.session, lock_owner);
      return 0;
    },
  }),
  operation(C.FUSE_RELEASE, 'RELEASE', {
    about: 'The last close: the handle goes, and the flock and OFD locks with it.',
    input: fuse_release_in,
    handle(call, { fh, release_flags, lock_owner }) {
      const handle = call.handles.file(fh, call.header.nodeid);
      const { table, session } = call.locks;
      const { ino } = handle.inode;
      if (release_flags & C.FUSE_RELEASE_FLOCK_UNLOCK) table.releaseOwner('flock', ino, session, lock_owner);
      table.releaseHandle(ino, session, BigInt(fh));
      call.handles.close(handle);
      return 0;
    },
  }),
  operation(C.FUSE_FSYNC, 'FSYNC', {
    about: 'ENOSYS, which Linux takes for success and does not ask again: everything is where it belongs already.',
    input: fuse_fsync_in,
    handle: () => {
      throw FsError.of(ENOSYS);
    },
  }),
  operation(C.FUSE_FALLOCATE, 'FALLOCATE', {
    about: 'Allocates, punches, zeroes, collapses and inserts ranges.',
    input: fuse_fallocate_in,
    changes: true,
    handle(call, { fh, offset, length, mode }) {
      call.backend.fallocate(call.openFile(fh), offset, length, mode);
      return 0;
    },
  }),
  operation(C.FUSE_LSEEK, 'LSEEK', {
    about: 'SEEK_DATA and SEEK_HOLE.',
    input: fuse_lseek_in,
    output: fuse_lseek_out,
    handle(call, { fh, offset, whence }, output) {
      output.offset = call.backend.lseek(call.openFile(fh), offset, whence);
    },
  }),
  operation(C.FUSE_COPY_FILE_RANGE, 'COPY_FILE_RANGE', {
    about: 'Copies without the bytes passing through the guest, up to 64 MiB at once.',
    input: fuse_copy_file_range_in,
    output: fuse_write_out,
    changes: true,
    handle(call, { fh_in, off_in, nodeid_out, fh_out, off_out, len, flags }, output) {
      if (flags !== 0n) throw FsError.of(EINVAL);
      const from = call.openFile(fh_in);
      const to = call.openFile(fh_out, nodeid_out);
      output.size = call.backend.copyFileRange(from, off_in, to, off_out, Math.min(len, MAX_COPY));
    },
  }),
  operation(C.FUSE_GETLK, 'GETLK', {
    about: 'The lock in the way, with its owner’s pid. Locks `guest`: ENOSYS.',
    input: fuse_lk_in,
    output: fuse_lk_out,
    handle(call, input, output) {
      const inode = lockable(call, input);
      const lock = call.locks.table.getlk(lockOf(call, inode, input));
      output.lk.type = lock?.type ?? F_UNLCK;
      if (!lock) return;
      output.lk.start = lock.start;
      output.lk.end = lock.end;
      output.lk.pid = lock.session === call.locks.session ? lock.pid : 0;
    },
  }),
  operation(C.FUSE_SETLK, 'SETLK', {
    about: 'Takes or gives up a lock: POSIX, OFD or flock. Locks `guest`: ENOSYS.',
    input: fuse_lk_in,
    handle(call, input) {
      if (!call.locks.table.setlk(lockOf(call, lockable(call, input), input))) throw FsError.of(EAGAIN);
      return 0;
    },
  }),
  operation(C.FUSE_SETLKW, 'SETLKW', {
    about: 'Waits for a lock, first come, first served; EDEADLK for a wait that can’t end. Locks `guest`: ENOSYS.',
    input: fuse_lk_in,
    handle: (call, input) =>
      call.locks.wait(lockOf(call, lockable(call, input), input), call.header.unique, call.request),
  }),
];
