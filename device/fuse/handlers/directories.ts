import { S_IFMT } from '../../fs/constants.ts';
import { EIO, ENOSYS, FsError } from '../../fs/errno.ts';
import { encodeName } from '../../fs/names.ts';
import type { Call } from '../call.ts';
import { OUT_HEADER_SIZE, REPLY_MAX } from '../codec.ts';
import * as C from '../constants.ts';
import {
  fuse_dirent,
  fuse_direntplus,
  fuse_fsync_in,
  fuse_open_in,
  fuse_open_out,
  fuse_read_in,
  fuse_release_in,
} from '../layouts.ts';
import { operation } from '../operation.ts';
import { writeEntry } from '../replies.ts';
import type { View } from '../struct.ts';

/** fuse.h, FUSE_DIRENT_ALIGN. */
const DIRENT_ALIGN = 8;
/** File type bits as `d_type` has them. */
const MODE_TO_DT = 12;

/** Fills the reply with the entries after `offset`; returns its bytes. */
function readdir(call: Call, { fh, offset, size, flags }: View<typeof fuse_read_in>, isPlus: boolean): number {
  const { backend, reply } = call;
  const handle = call.openDirectory(fh);
  const reader = (handle.reader ??= backend.openDirectory(handle.inode, handle.end));
  if ((flags & C.O_NOATIME) === 0) backend.accessed(handle.inode);
  reader.seek(offset);
  handle.position = offset;
  const limit = Math.min(size, call.room, REPLY_MAX);
  const header = isPlus ? fuse_direntplus.size : fuse_dirent.size;
  let end = 0;
  for (let entry = reader.peek(); entry; entry = reader.peek()) {
    const { name, inode, mode, cookie } = entry;
    const bytes = encodeName(name);
    const length = Math.ceil((header + bytes.length) / DIRENT_ALIGN) * DIRENT_ALIGN;
    if (end + length > limit) break;
    const at = OUT_HEADER_SIZE + end;
    reply.bytes.fill(0, at, at + length);
    const dirent = isPlus ? writePlus(call, at, name, entry) : fuse_dirent.at(reply.view, at);
    dirent.ino = inode.ino;
    dirent.off = cookie;
    dirent.namelen = bytes.length;
    dirent.type = (mode & S_IFMT) >> MODE_TO_DT;
    reply.bytes.set(bytes, at + header);
    end += length;
    handle.position = cookie;
    reader.advance();
  }
  if (call.sink.writeAt(OUT_HEADER_SIZE, reply.bytes, OUT_HEADER_SIZE, end) < end) throw FsError.of(EIO);
  return end;
}

/** "." and ".." are not lookups: their node id is 0. */
function writePlus(
  call: Call,
  at: number,
  name: string,
  { inode }: { inode: Parameters<typeof writeEntry>[2] },
): View<typeof fuse_dirent> {
  const { entry_out, dirent } = fuse_direntplus.at(call.reply.view, at);
  if (name !== '.' && name !== '..') writeEntry(call, entry_out, inode);
  return dirent;
}

export const DIRECTORY_OPERATIONS = [
  operation(C.FUSE_OPENDIR, 'OPENDIR', {
    about: 'Opens a directory. Stateless shares: ENOSYS, and the guest opens directories by itself.',
    input: fuse_open_in,
    output: fuse_open_out,
    handle(call, { flags }, output) {
      if (call.uses(C.FUSE_NO_OPENDIR_SUPPORT)) throw FsError.of(ENOSYS);
      const { inode } = call;
      call.backend.parent(inode);
      output.fh = call.handles.openDirectory(inode, flags).fh;
      if (call.policy.cache === 'always') output.open_flags = C.FOPEN_CACHE_DIR | C.FOPEN_KEEP_CACHE;
    },
  }),
  operation(C.FUSE_READDIR, 'READDIR', {
    about:
      'Names of a directory, those that were there at OPENDIR or the last time from offset 0; cookies stay good whatever changes.',
    input: fuse_read_in,
    handle: (call, input) => readdir(call, input, false),
  }),
  operation(C.FUSE_READDIRPLUS, 'READDIRPLUS', {
    about: 'Names with metadata; each counts as a lookup.',
    input: fuse_read_in,
    handle: (call, input) => readdir(call, input, true),
  }),
  operation(C.FUSE_RELEASEDIR, 'RELEASEDIR', {
    about: 'The last close of a directory.',
    input: fuse_release_in,
    handle(call, { fh }) {
      call.handles.close(call.handles.directory(fh, call.header.nodeid));
      return 0;
    },
  }),
  operation(C.FUSE_FSYNCDIR, 'FSYNCDIR', {
    about: 'ENOSYS, as FSYNC.',
    input: fuse_fsync_in,
    handle: () => {
      throw FsError.of(ENOSYS);
    },
  }),
];
