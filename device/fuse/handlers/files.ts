import { F_UNLCK, O_ACCMODE, O_APPEND, O_NOATIME, O_RDONLY, O_TRUNC, S_IALLUGO, S_IFREG } from '../../fs/constants.ts';
import { EAGAIN, EINVAL, ENOSYS, EOPNOTSUPP, EROFS, ESTALE, FsError } from '../../fs/errno.ts';
import type { Answer, Entry, Inode } from '../../fs/filesystem.ts';
import type { Lock } from '../../fs/locks.ts';
import type { Call } from '../call.ts';
import { OUT_HEADER_SIZE } from '../codec.ts';
import * as C from '../constants.ts';
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
import { newNode, refuse } from './nodes.ts';

/** Bytes that one COPY_FILE_RANGE copies, where the caller goes on from there: what lies across chunks has to be copied by hand. */
const MAX_COPY = 64 << 20;

/** Refuses to open for writing what can't be written. */
function checkOpen(call: Call, flags: number): void {
  const writes = (flags & O_ACCMODE) !== O_RDONLY || (flags & O_TRUNC) !== 0;
  if (writes && call.session.policy.readOnly) throw FsError.of(EROFS);
}

/** Answers who has opened `inode`; without a handle where the guest opens files by itself, as what it has open it has looked up. */
function writeOpen(call: Call, inode: Inode, flags: number, output: View<typeof fuse_open_out>): void {
  const { session } = call;
  if (!session.uses(C.FUSE_NO_OPEN_SUPPORT)) output.fh = session.handles.openFile(inode, flags).fh;
  output.open_flags =
    session.policy.cache === 'never' ? C.FOPEN_DIRECT_IO | C.FOPEN_PARALLEL_DIRECT_WRITES : C.FOPEN_KEEP_CACHE;
}

/** Answers who has made `entry` and opened it with that. */
function writeCreated(call: Call, entry: Entry, flags: number, output: View<typeof fuse_create_out>): void {
  writeOpen(call, entry.inode, flags, output.open);
  writeEntry(call, output.entry, entry);
  // No RELEASE will come.
  if (call.session.uses(C.FUSE_NO_OPEN_SUPPORT)) call.filesystem.close?.(entry.inode, flags);
}

function openOptions(openFlags: number): { killSuidgid: boolean } {
  return { killSuidgid: (openFlags & C.FUSE_OPEN_KILL_SUIDGID) !== 0 };
}

/** The inode of an open file whose locks are kept here, as INIT has settled: also where this device would have them in the guest. */
function lockable(call: Call, { fh, lk_flags }: View<typeof fuse_lk_in>): Inode {
  const { session, header } = call;
  if (!session.uses(lk_flags & C.FUSE_LK_FLOCK ? C.FUSE_FLOCK_LOCKS : C.FUSE_POSIX_LOCKS)) throw FsError.of(ENOSYS);
  return session.handles.file(fh, header.nodeid).inode;
}

function lockOf(call: Call, { ino }: Inode, { fh, owner, lk, lk_flags }: View<typeof fuse_lk_in>): Lock {
  const space = lk_flags & C.FUSE_LK_FLOCK ? 'flock' : 'posix';
  const { pid, type, start, end } = lk;
  return { space, ino, session: call.session.locks.id, owner, fh: BigInt(fh), pid, type, start, end };
}

/** @throws FsError ENOSYS, which Linux takes for success and does not ask again. */
export function fsync(call: Call, inode: Inode, flags: number): Answer<void> {
  if (!call.filesystem.fsync) throw FsError.of(ENOSYS);
  return call.filesystem.fsync(inode, (flags & C.FUSE_FSYNC_FDATASYNC) !== 0);
}

export const FILE_OPERATIONS = [
  operation(C.FUSE_OPEN, 'OPEN', {
    about:
      'Opens a file, and truncates it for O_TRUNC, which a guest that negotiates again leaves out (ATOMIC_O_TRUNC). Stateless shares: ENOSYS, and the guest opens files by itself.',
    input: fuse_open_in,
    output: fuse_open_out,
    handle(call, { flags, open_flags }) {
      // Linux opens files by itself from then on.
      if (call.session.uses(C.FUSE_NO_OPEN_SUPPORT)) throw FsError.of(ENOSYS);
      const inode = call.namedInode;
      checkOpen(call, flags);
      return call.filesystem.open?.(inode, flags, openOptions(open_flags));
    },
    reply: (call, _answer, output, { flags }) => writeOpen(call, call.target!, flags, output),
    drop: (call, _answer, { flags }) => call.filesystem.close?.(call.target!, flags),
  }),
  operation(C.FUSE_CREATE, 'CREATE', {
    about: 'Makes and opens a file; opens the one that somebody else made meanwhile, unless O_EXCL.',
    input: fuse_create_in,
    strings: ['name'],
    tail: 'kept',
    output: fuse_create_out,
    changes: true,
    handle(call, { flags, mode, umask, open_flags }) {
      const node = newNode(call, S_IFREG | (mode & S_IALLUGO), umask);
      const { filesystem, inode } = call;
      return filesystem.create?.(inode, call.strings[0]!, node, flags, openOptions(open_flags)) ?? refuse(EROFS);
    },
    reply(call, entry, output, { flags }) {
      if (!call.has(entry.inode)) throw FsError.of(ESTALE);
      writeCreated(call, entry, flags, output);
    },
    drop: (call, { inode }, { flags }) => call.filesystem.close?.(inode, flags),
  }),
  operation(C.FUSE_TMPFILE, 'TMPFILE', {
    about: 'Makes and opens a file without a name (O_TMPFILE).',
    input: fuse_create_in,
    strings: ['ignored'],
    tail: 'kept',
    output: fuse_create_out,
    changes: true,
    handle(call, { flags, mode, umask }) {
      const node = newNode(call, S_IFREG | (mode & S_IALLUGO), umask);
      return call.filesystem.tmpfile?.(call.inode, node, flags) ?? refuse(EOPNOTSUPP);
    },
    reply(call, entry, output, { flags }) {
      const { filesystem } = call;
      const { inode } = entry;
      if (!call.has(inode)) throw FsError.of(ESTALE);
      // It has no name: what does not get a handle has to go.
      filesystem.retain?.(inode);
      try {
        writeCreated(call, entry, flags, output);
      } finally {
        filesystem.release?.(inode);
      }
    },
    drop(call, { inode }, { flags }) {
      const { filesystem } = call;
      filesystem.retain?.(inode);
      filesystem.close?.(inode, flags);
      filesystem.release?.(inode);
    },
  }),
  operation(C.FUSE_READ, 'READ', {
    about: 'File data, copied once from its storage into guest RAM; EINVAL for more than INIT has settled.',
    input: fuse_read_in,
    handle(call, { fh, offset, size, flags }) {
      // A short answer would be the end of the file.
      if (size > maxData(call.session.negotiated!)) throw FsError.of(EINVAL);
      const length = Math.min(size, call.room);
      const noatime = (flags & O_NOATIME) !== 0;
      return call.filesystem.read(call.openFile(fh), offset, length, call.sink, OUT_HEADER_SIZE, noatime);
    },
  }),
  operation(C.FUSE_WRITE, 'WRITE', {
    about: 'File data, copied once from guest RAM into its storage; O_APPEND writes at the end that the file has here.',
    input: fuse_write_in,
    tail: 'source',
    output: fuse_write_out,
    changes: true,
    handle(call, { fh, offset, size, write_flags, flags }) {
      if (size > call.message.unread) throw FsError.of(EINVAL);
      const appends = (flags & O_APPEND) !== 0 && !(write_flags & C.FUSE_WRITE_CACHE);
      const killSuidgid = (write_flags & C.FUSE_WRITE_KILL_SUIDGID) !== 0;
      const { filesystem } = call;
      const inode = call.openFile(fh);
      return filesystem.write?.(inode, appends ? 'end' : offset, size, call.source, killSuidgid) ?? refuse(EROFS);
    },
    reply: (_call, count, output) => void (output.size = count),
  }),
  operation(C.FUSE_FLUSH, 'FLUSH', {
    about:
      'close(2): the POSIX locks of the process go. Locks `guest`: ENOSYS, which saves the guest a request each time.',
    input: fuse_flush_in,
    handle({ session, header }, { fh, lock_owner }) {
      if (!session.uses(C.FUSE_POSIX_LOCKS)) throw FsError.of(ENOSYS);
      const { inode } = session.handles.file(fh, header.nodeid);
      session.locks.table.releaseOwner('posix', inode.ino, session.locks.id, lock_owner);
    },
  }),
  operation(C.FUSE_RELEASE, 'RELEASE', {
    about: 'The last close: the handle goes, and the flock and OFD locks with it.',
    input: fuse_release_in,
    handle({ session: { handles, locks }, header }, { fh, release_flags, lock_owner }) {
      const handle = handles.file(fh, header.nodeid);
      const { table, id } = locks;
      const { ino } = handle.inode;
      if (release_flags & C.FUSE_RELEASE_FLOCK_UNLOCK) table.releaseOwner('flock', ino, id, lock_owner);
      table.releaseHandle(ino, id, BigInt(fh));
      handles.close(handle);
    },
  }),
  operation(C.FUSE_FSYNC, 'FSYNC', {
    about:
      'ENOSYS where everything is where it belongs already, which Linux takes for success and does not ask again: in memory.',
    input: fuse_fsync_in,
    handle: (call, { fh, fsync_flags }) => fsync(call, call.openFile(fh), fsync_flags),
  }),
  operation(C.FUSE_FALLOCATE, 'FALLOCATE', {
    about: 'Allocates, punches, zeroes, collapses and inserts ranges.',
    input: fuse_fallocate_in,
    changes: true,
    handle(call, { fh, offset, length, mode }) {
      if (!call.filesystem.fallocate) throw FsError.of(EOPNOTSUPP);
      return call.filesystem.fallocate(call.openFile(fh), offset, length, mode);
    },
  }),
  operation(C.FUSE_LSEEK, 'LSEEK', {
    about: 'SEEK_DATA and SEEK_HOLE.',
    input: fuse_lseek_in,
    output: fuse_lseek_out,
    handle: (call, { fh, offset, whence }) =>
      call.filesystem.lseek?.(call.openFile(fh), offset, whence) ?? refuse(ENOSYS),
    reply: (_call, offset, output) => void (output.offset = offset),
  }),
  operation(C.FUSE_COPY_FILE_RANGE, 'COPY_FILE_RANGE', {
    about: 'Copies without the bytes passing through the guest, up to 64 MiB at once.',
    input: fuse_copy_file_range_in,
    output: fuse_write_out,
    changes: true,
    handle(call, { fh_in, off_in, nodeid_out, fh_out, off_out, len, flags }) {
      if (flags !== 0n) throw FsError.of(EINVAL);
      const from = call.openFile(fh_in);
      const to = call.openFile(fh_out, nodeid_out);
      const length = Math.min(len, MAX_COPY);
      return call.filesystem.copyFileRange?.(from, off_in, to, off_out, length) ?? refuse(ENOSYS);
    },
    reply: (_call, count, output) => void (output.size = count),
  }),
  operation(C.FUSE_GETLK, 'GETLK', {
    about: 'The lock in the way, with its owner’s pid. Locks `guest`: ENOSYS.',
    input: fuse_lk_in,
    output: fuse_lk_out,
    handle: (call, input) => call.session.locks.table.getlk(lockOf(call, lockable(call, input), input)),
    reply(call, lock, output) {
      output.lk.type = lock?.type ?? F_UNLCK;
      if (!lock) return;
      output.lk.start = lock.start;
      output.lk.end = lock.end;
      output.lk.pid = lock.session === call.session.locks.id ? lock.pid : 0;
    },
  }),
  operation(C.FUSE_SETLK, 'SETLK', {
    about: 'Takes or gives up a lock: POSIX, OFD or flock. Locks `guest`: ENOSYS.',
    input: fuse_lk_in,
    handle(call, input) {
      if (!call.session.locks.table.setlk(lockOf(call, lockable(call, input), input))) throw FsError.of(EAGAIN);
    },
  }),
  operation(C.FUSE_SETLKW, 'SETLKW', {
    about: 'Waits for a lock, first come, first served; EDEADLK for a wait that can’t end. Locks `guest`: ENOSYS.',
    input: fuse_lk_in,
    handle: (call, input) =>
      call.session.locks.wait(lockOf(call, lockable(call, input), input), call.header.unique, call.request),
  }),
];
