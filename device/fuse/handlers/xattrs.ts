import { EINVAL, ENODATA, ENOSYS, EOPNOTSUPP, FsError } from '../../fs/errno.ts';
import { encodeName } from '../../fs/names.ts';
import type { Call } from '../call.ts';
import * as C from '../constants.ts';
import { fuse_getxattr_in, fuse_getxattr_out, fuse_setxattr_in } from '../layouts.ts';
import { operation } from '../operation.ts';
import { refuse } from './nodes.ts';

const answered = new Uint8Array(fuse_getxattr_out.size);
const size = fuse_getxattr_out.at(new DataView(answered.buffer), 0);

const TRUSTED = 'trusted.';

/** @throws FsError ENOSYS, after which Linux asks no more, on a share without them. */
function checkAttributes(call: Call): void {
  if (!call.session.policy.xattr) throw FsError.of(ENOSYS);
}

/** The attribute that a request is about. @throws FsError as {@link checkAttributes}; EOPNOTSUPP for other namespaces than xattr(7) has, and for ACLs unless the share has them. */
function attributeName(call: Call): string {
  checkAttributes(call);
  const name = call.strings[0]!;
  const isKnown =
    /^(user|trusted|security)\../s.test(name) ||
    (call.session.uses(C.FUSE_POSIX_ACL) && /^system\.posix_acl_(access|default)$/.test(name));
  if (!isKnown) throw FsError.of(EOPNOTSUPP);
  return name;
}

/** A value, or only its length where the caller asks with a size of 0. @throws FsError ERANGE when it is longer than asked for. */
function sendValue(call: Call, wanted: number, value: Uint8Array): number {
  if (wanted === 0) {
    size.size = value.length;
    return call.send(answered);
  }
  return call.send(value, value.length, wanted);
}

export const XATTR_OPERATIONS = [
  operation(C.FUSE_GETXATTR, 'GETXATTR', {
    about:
      'The value of an extended attribute, or its length. Without `xattr`: ENOSYS, as for the three others, and the guest asks no more.',
    input: fuse_getxattr_in,
    strings: ['xattr'],
    handle(call) {
      const name = attributeName(call);
      if (!call.filesystem.getxattr) throw FsError.of(EOPNOTSUPP);
      return call.filesystem.getxattr(call.inode, name);
    },
    reply: (call, value, _output, { size }) => sendValue(call, size, value ?? refuse(ENODATA)),
  }),
  operation(C.FUSE_SETXATTR, 'SETXATTR', {
    about: 'Sets an extended attribute of up to 64 KiB, with CREATE and REPLACE.',
    input: fuse_setxattr_in,
    inputSize: (call) => (call.uses(C.FUSE_SETXATTR_EXT) ? fuse_setxattr_in.size : C.FUSE_COMPAT_SETXATTR_IN_SIZE),
    strings: ['xattr'],
    tail: 'kept',
    changes: true,
    handle(call, { size, flags, setxattr_flags }) {
      const inode = call.namedInode;
      const value = call.message.rest();
      if (value.length < size) throw FsError.of(EINVAL);
      const name = attributeName(call);
      const killSgid = (setxattr_flags & C.FUSE_SETXATTR_ACL_KILL_SGID) !== 0;
      if (!call.filesystem.setxattr) throw FsError.of(EOPNOTSUPP);
      return call.filesystem.setxattr(inode, name, value.slice(0, size), flags, killSgid);
    },
  }),
  operation(C.FUSE_LISTXATTR, 'LISTXATTR', {
    about: 'The names of all extended attributes, or their length; `trusted.` for root alone.',
    input: fuse_getxattr_in,
    handle(call) {
      checkAttributes(call);
      return call.filesystem.listxattr?.(call.inode) ?? refuse(EOPNOTSUPP);
    },
    reply(call, all, _output, { size }) {
      const shown = all.filter((name) => call.header.uid === 0 || !name.startsWith(TRUSTED));
      const names = shown.map((name) => encodeName(`${name}\0`));
      const list = new Uint8Array(names.reduce((sum, { length }) => sum + length, 0));
      names.reduce((at, name) => (list.set(name, at), at + name.length), 0);
      return sendValue(call, size, list);
    },
  }),
  operation(C.FUSE_REMOVEXATTR, 'REMOVEXATTR', {
    about: 'Removes an extended attribute.',
    strings: ['xattr'],
    changes: true,
    handle(call) {
      const inode = call.namedInode;
      const name = attributeName(call);
      if (!call.filesystem.removexattr) throw FsError.of(EOPNOTSUPP);
      return call.filesystem.removexattr(inode, name);
    },
  }),
];
