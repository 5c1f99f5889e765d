import { S_IALLUGO, S_IFDIR, S_IFMT } from '../../fs/constants.ts';
import { EINVAL, ENOENT, EROFS, ESTALE, FsError } from '../../fs/errno.ts';
import type { Answer, Entry, Inode, NewNode, SetAttr } from '../../fs/filesystem.ts';
import { encodeName } from '../../fs/names.ts';
import type { Call } from '../call.ts';
import * as C from '../constants.ts';
import { securityContexts } from '../extensions.ts';
import {
  fuse_attr_out,
  fuse_entry_out,
  fuse_getattr_in,
  fuse_link_in,
  fuse_mkdir_in,
  fuse_mknod_in,
  fuse_rename_in,
  fuse_rename2_in,
  fuse_setattr_in,
  fuse_statx_in,
  fuse_statx_out,
} from '../layouts.ts';
import { operation } from '../operation.ts';
import { writeAttrOut, writeEntry, writeStatxOut } from '../replies.ts';
import type { View } from '../struct.ts';

/** The caller's user and group, as the filesystem numbers them. */
function owner(call: Call): { uid: number; gid: number } {
  return call.session.policy.hostOwner(call.header);
}

/** A new node with the caller as its owner, and the labels of the message. The kernel has applied the umask, unless it was asked not to. */
export function newNode(call: Call, mode: number, umask: number, rdev = 0): NewNode {
  return {
    mode: mode & (S_IFMT | S_IALLUGO),
    umask: call.session.uses(C.FUSE_DONT_MASK) ? umask & 0o777 : 0,
    rdev,
    ...owner(call),
    xattrs: securityContexts(call),
  };
}

/** "." and ".." by node id, which a file handle may bring after the guest has forgotten it (FUSE_EXPORT_SUPPORT). */
function lookup(call: Call, name: string): Answer<Entry | undefined> {
  const { filesystem, header } = call;
  if (name !== '.' && name !== '..') return filesystem.lookup(call.inode, name);
  const inode = header.nodeid === C.FUSE_ROOT_ID ? filesystem.root : filesystem.inode?.(header.nodeid);
  if (!inode) throw FsError.of(ESTALE);
  call.uses(inode);
  if (name === '..') return filesystem.lookup(inode, name);
  const attr = filesystem.getattr(inode);
  return attr instanceof Promise ? attr.then((later) => ({ inode, attr: later })) : { inode, attr };
}

export const NODE_OPERATIONS = [
  operation(C.FUSE_LOOKUP, 'LOOKUP', {
    about: 'Finds a name; "." and ".." by node id too, for `open_by_handle_at`.',
    strings: ['lookup'],
    output: fuse_entry_out,
    handle: (call) => lookup(call, call.strings[0]!),
    reply(call, entry, output) {
      if (entry) writeEntry(call, output, entry);
      // A node id of 0 is an ENOENT that may be remembered (fuse.h): what the host adds would not be seen meanwhile.
      else if (call.session.policy.cache === 'always') output.entry_valid = call.timeout;
      else throw FsError.of(ENOENT);
    },
  }),
  operation(C.FUSE_GETATTR, 'GETATTR', {
    about: 'Metadata of an inode.',
    input: fuse_getattr_in,
    output: fuse_attr_out,
    handle: (call) => call.filesystem.getattr(call.inode),
    reply: (call, attr, output) => writeAttrOut(call, output, attr),
  }),
  operation(C.FUSE_STATX, 'STATX', {
    about: 'Metadata with the time of birth.',
    input: fuse_statx_in,
    output: fuse_statx_out,
    handle: (call) => call.filesystem.getattr(call.inode),
    reply: (call, attr, output) => writeStatxOut(call, output, attr),
  }),
  operation(C.FUSE_SETATTR, 'SETATTR', {
    about: 'chmod, chown, truncate and utimensat; set-id bits go as the kernel says (HANDLE_KILLPRIV_V2).',
    input: fuse_setattr_in,
    output: fuse_attr_out,
    changes: true,
    handle(call, input) {
      const inode = call.namedInode;
      return call.filesystem.setattr?.(inode, changesOf(call, input, inode)) ?? refuse(EROFS);
    },
    reply: (call, attr, output) => writeAttrOut(call, output, attr),
  }),
  operation(C.FUSE_READLINK, 'READLINK', {
    about: 'The target of a symbolic link.',
    handle: (call) => call.filesystem.readlink?.(call.inode) ?? refuse(EINVAL),
    reply: (call, target) => call.send(encodeName(target)),
  }),
  operation(C.FUSE_SYMLINK, 'SYMLINK', {
    about: 'Makes a symbolic link; a target of up to 4095 bytes.',
    strings: ['name', 'target'],
    output: fuse_entry_out,
    changes: true,
    handle(call) {
      const [name, target] = call.strings as [string, string];
      return call.filesystem.symlink?.(call.inode, name, target, newNode(call, 0o777, 0)) ?? refuse(EROFS);
    },
    reply: (call, entry, output) => writeEntry(call, output, entry),
  }),
  operation(C.FUSE_MKNOD, 'MKNOD', {
    about: 'Makes a file, FIFO, socket or device.',
    input: fuse_mknod_in,
    strings: ['name'],
    tail: 'kept',
    output: fuse_entry_out,
    changes: true,
    handle(call, { mode, rdev, umask }) {
      if ((mode & S_IFMT) === S_IFDIR) throw FsError.of(EINVAL);
      const node = newNode(call, mode, umask, rdev);
      return call.filesystem.mknod?.(call.inode, call.strings[0]!, node) ?? refuse(EROFS);
    },
    reply: (call, entry, output) => writeEntry(call, output, entry),
  }),
  operation(C.FUSE_MKDIR, 'MKDIR', {
    about: 'Makes a directory.',
    input: fuse_mkdir_in,
    strings: ['name'],
    tail: 'kept',
    output: fuse_entry_out,
    changes: true,
    handle(call, { mode, umask }) {
      const node = newNode(call, S_IFDIR | (mode & S_IALLUGO), umask);
      return call.filesystem.mkdir?.(call.inode, call.strings[0]!, node) ?? refuse(EROFS);
    },
    reply: (call, entry, output) => writeEntry(call, output, entry),
  }),
  operation(C.FUSE_UNLINK, 'UNLINK', {
    about: 'Removes a name; the file lives on while it is open or looked up.',
    strings: ['name'],
    changes: true,
    handle: (call) => (call.filesystem.unlink ? call.filesystem.unlink(call.inode, call.strings[0]!) : refuse(EROFS)),
  }),
  operation(C.FUSE_RMDIR, 'RMDIR', {
    about: 'Removes an empty directory.',
    strings: ['name'],
    changes: true,
    handle: (call) => (call.filesystem.rmdir ? call.filesystem.rmdir(call.inode, call.strings[0]!) : refuse(EROFS)),
  }),
  operation(C.FUSE_RENAME, 'RENAME', {
    about: 'Renames, over what is there.',
    input: fuse_rename_in,
    strings: ['name', 'name'],
    changes: true,
    handle: (call, { newdir }) => rename(call, newdir, 0),
  }),
  operation(C.FUSE_RENAME2, 'RENAME2', {
    about: 'Renames with NOREPLACE, EXCHANGE or WHITEOUT.',
    input: fuse_rename2_in,
    strings: ['name', 'name'],
    changes: true,
    handle: (call, { newdir, flags }) => rename(call, newdir, flags),
  }),
  operation(C.FUSE_LINK, 'LINK', {
    about: 'Makes a hard link; names a file of TMPFILE too.',
    input: fuse_link_in,
    strings: ['name'],
    output: fuse_entry_out,
    changes: true,
    handle: (call, { oldnodeid }) =>
      call.filesystem.link?.(call.node(oldnodeid), call.inode, call.strings[0]!) ?? refuse(EROFS),
    reply: (call, entry, output) => writeEntry(call, output, entry),
  }),
];

/** What a filesystem leaves out. */
export function refuse(errno: number): never {
  throw FsError.of(errno);
}

function rename(call: Call, newdir: number, flags: number): Answer<void> {
  const [name, newName] = call.strings as [string, string];
  const { filesystem } = call;
  if (!filesystem.rename) throw FsError.of(EROFS);
  return filesystem.rename(call.inode, name, call.node(newdir), newName, flags, owner(call));
}

function changesOf(call: Call, input: View<typeof fuse_setattr_in>, inode: Inode): SetAttr {
  const { valid } = input;
  const { policy } = call.session;
  const changes: SetAttr = {};
  if (valid & C.FATTR_MODE) changes.mode = input.mode & S_IALLUGO;
  if (valid & C.FATTR_UID) changes.uid = policy.hostUid(input.uid);
  if (valid & C.FATTR_GID) changes.gid = policy.hostGid(input.gid);
  if (valid & C.FATTR_SIZE) {
    if (valid & C.FATTR_FH) call.openFile(input.fh, inode.ino);
    changes.size = input.size;
  }
  if (valid & C.FATTR_ATIME)
    changes.atime = valid & C.FATTR_ATIME_NOW ? 'now' : { sec: input.atime, nsec: input.atimensec };
  if (valid & C.FATTR_MTIME)
    changes.mtime = valid & C.FATTR_MTIME_NOW ? 'now' : { sec: input.mtime, nsec: input.mtimensec };
  if (valid & C.FATTR_CTIME) changes.ctime = { sec: input.ctime, nsec: input.ctimensec };
  // fuse.h, FUSE_HANDLE_KILLPRIV_V2: on chown always, on truncate when the kernel says so.
  const isChown = (valid & (C.FATTR_UID | C.FATTR_GID)) !== 0 && !(valid & C.FATTR_MODE);
  if (isChown || valid & C.FATTR_KILL_SUIDGID) changes.killSuidgid = true;
  return changes;
}
