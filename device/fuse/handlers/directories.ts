import { O_NOATIME, S_IFMT } from '../../fs/constants.ts';
import { EIO, ENOSYS, FsError } from '../../fs/errno.ts';
import type { Answer, DirectoryEntry, Entry, OpenDirectory } from '../../fs/filesystem.ts';
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
import { fsync } from './files.ts';

/** fuse.h, FUSE_DIRENT_ALIGN. */
const DIRENT_ALIGN = 8;
/** File type bits as `d_type` has them. */
const MODE_TO_DT = 12;

/** The entries after `offset`. A directory that was opened before a restore, or by the guest itself, is opened here. */
function readdir(
  call: Call,
  { fh, offset, flags }: View<typeof fuse_read_in>,
  isPlus: boolean,
): Answer<Iterable<DirectoryEntry>> {
  const handle = call.openDirectory(fh);
  const read = (reader: OpenDirectory) => {
    handle.reader = reader;
    handle.position = offset;
    return reader.read(offset, isPlus, (flags & O_NOATIME) !== 0);
  };
  const reader = handle.reader ?? call.filesystem.opendir(handle.inode, handle.end);
  return reader instanceof Promise ? reader.then(read) : read(reader);
}

/** Fills the reply with `entries`; returns its bytes. */
function writeEntries(
  call: Call,
  entries: Iterable<DirectoryEntry>,
  { fh, size }: View<typeof fuse_read_in>,
  isPlus: boolean,
): number {
  const { replies } = call;
  const handle = call.openDirectory(fh);
  const limit = Math.min(size, call.room, REPLY_MAX);
  const header = isPlus ? fuse_direntplus.size : fuse_dirent.size;
  let end = 0;
  for (const entry of entries) {
    const { name, inode, mode, cookie } = entry;
    const bytes = encodeName(name);
    const length = Math.ceil((header + bytes.length) / DIRENT_ALIGN) * DIRENT_ALIGN;
    if (end + length > limit) break;
    const at = OUT_HEADER_SIZE + end;
    replies.bytes.fill(0, at, at + length);
    const dirent = isPlus ? writePlus(call, at, entry) : fuse_dirent.at(replies.view, at);
    dirent.ino = inode.ino;
    dirent.off = cookie;
    dirent.namelen = bytes.length;
    dirent.type = (mode & S_IFMT) >> MODE_TO_DT;
    replies.bytes.set(bytes, at + header);
    end += length;
    handle.position = cookie;
  }
  if (call.request.sink.writeAt(OUT_HEADER_SIZE, replies.bytes, OUT_HEADER_SIZE, end) < end) throw FsError.of(EIO);
  return end;
}

/** "." and ".." are not lookups: their node id is 0. */
function writePlus(call: Call, at: number, entry: DirectoryEntry): View<typeof fuse_dirent> {
  const { name, attr } = entry;
  const { entry_out, dirent } = fuse_direntplus.at(call.replies.view, at);
  if (attr && name !== '.' && name !== '..' && call.has(entry.inode)) writeEntry(call, entry_out, entry as Entry);
  return dirent;
}

export const DIRECTORY_OPERATIONS = [
  operation(C.FUSE_OPENDIR, 'OPENDIR', {
    about: 'Opens a directory. Stateless shares: ENOSYS, and the guest opens directories by itself.',
    input: fuse_open_in,
    output: fuse_open_out,
    handle(call) {
      if (call.session.uses(C.FUSE_NO_OPENDIR_SUPPORT)) throw FsError.of(ENOSYS);
      return call.filesystem.opendir(call.inode);
    },
    reply(call, reader, output, { flags }) {
      const { handles, policy } = call.session;
      output.fh = handles.openDirectory(call.target!, flags, reader).fh;
      if (policy.cache === 'always') output.open_flags = C.FOPEN_CACHE_DIR | C.FOPEN_KEEP_CACHE;
    },
  }),
  operation(C.FUSE_READDIR, 'READDIR', {
    about:
      'Names of a directory, those that were there at OPENDIR or the last time from offset 0; cookies stay good whatever changes.',
    input: fuse_read_in,
    handle: (call, input) => readdir(call, input, false),
    reply: (call, entries, _output, input) => writeEntries(call, entries, input, false),
  }),
  operation(C.FUSE_READDIRPLUS, 'READDIRPLUS', {
    about: 'Names with metadata; each counts as a lookup.',
    input: fuse_read_in,
    handle: (call, input) => readdir(call, input, true),
    reply: (call, entries, _output, input) => writeEntries(call, entries, input, true),
  }),
  operation(C.FUSE_RELEASEDIR, 'RELEASEDIR', {
    about: 'The last close of a directory.',
    input: fuse_release_in,
    handle(call, { fh }) {
      const { handles } = call.session;
      handles.close(handles.directory(fh, call.header.nodeid));
    },
  }),
  operation(C.FUSE_FSYNCDIR, 'FSYNCDIR', {
    about: 'As FSYNC.',
    input: fuse_fsync_in,
    handle: (call, { fsync_flags }) => fsync(call, call.inode, fsync_flags),
  }),
];
