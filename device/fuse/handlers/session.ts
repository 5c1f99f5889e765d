import { NAME_MAX } from '../../fs/constants.ts';
import { ENOTTY, FsError } from '../../fs/errno.ts';
import type { StatFs } from '../../fs/filesystem.ts';
import * as C from '../constants.ts';
import {
  fuse_batch_forget_in,
  fuse_forget_in,
  fuse_forget_one,
  fuse_init_in,
  fuse_init_out,
  fuse_interrupt_in,
  fuse_ioctl_in,
  fuse_statfs_out,
  fuse_syncfs_in,
} from '../layouts.ts';
import { negotiate, writeInit } from '../negotiation.ts';
import { operation } from '../operation.ts';
import { writeStatfs } from '../replies.ts';

/** What `df` shows of a filesystem that does not tell: linux's simple_statfs. */
const EMPTY: StatFs = {
  blocks: 0,
  bfree: 0,
  bavail: 0,
  files: 0,
  ffree: 0,
  bsize: 4096,
  frsize: 4096,
  namelen: NAME_MAX,
};

export const SESSION_OPERATIONS = [
  operation(C.FUSE_INIT, 'INIT', {
    about: 'Ends the session before, if there was one, and settles version, flags and limits.',
    input: fuse_init_in,
    inputSize: ({ message }) => (message.unread >= fuse_init_in.size ? fuse_init_in.size : C.FUSE_COMPAT_INIT_IN_SIZE),
    output: fuse_init_out,
    handle({ session }, input) {
      const negotiated = negotiate(input, session.policy);
      session.end();
      session.negotiated = negotiated;
      if (!negotiated) return undefined;
      session.outlivesReset = session.nextOutlivesReset;
      session.notices.expires = session.uses(C.FUSE_HAS_EXPIRE_ONLY);
      session.notices.begin();
      session.number = crypto.getRandomValues(new Uint32Array(1))[0]! || 1;
      return negotiated;
    },
    reply(_call, negotiated, output) {
      if (negotiated) writeInit(output, negotiated);
      else Object.assign(output, { major: C.FUSE_KERNEL_VERSION, minor: C.FUSE_KERNEL_MINOR_VERSION });
    },
  }),
  operation(C.FUSE_DESTROY, 'DESTROY', {
    about: 'Ends the session: every lookup, handle and lock is given up.',
    handle: ({ session }) => session.end(),
  }),
  operation(C.FUSE_INTERRUPT, 'INTERRUPT', {
    about: 'A SETLKW that waits is answered EINTR, and so is what waits for the filesystem and changes nothing.',
    input: fuse_interrupt_in,
    noReply: true,
    handle({ session }, { unique }) {
      session.locks.interrupt(unique);
      session.waiting.interrupt(unique);
    },
  }),
  operation(C.FUSE_FORGET, 'FORGET', {
    about: 'Takes lookups of one inode back.',
    input: fuse_forget_in,
    noReply: true,
    handle: ({ session, header }, { nlookup }) => session.nodes.forget(header.nodeid, nlookup),
  }),
  operation(C.FUSE_BATCH_FORGET, 'BATCH_FORGET', {
    about: 'FORGET of up to 8,000 inodes; a longer message is ignored.',
    input: fuse_batch_forget_in,
    tail: 'kept',
    noReply: true,
    handle({ session, message }, { count }) {
      const list = message.rest();
      const view = new DataView(list.buffer, list.byteOffset, list.length);
      const held = Math.min(count, Math.floor(list.length / fuse_forget_one.size));
      for (let n = 0; n < held; n++) {
        const { nodeid, nlookup } = fuse_forget_one.at(view, n * fuse_forget_one.size);
        session.nodes.forget(nodeid, nlookup);
      }
    },
  }),
  operation(C.FUSE_STATFS, 'STATFS', {
    about: 'Sizes and limits, quotas included, as `df` shows them.',
    output: fuse_statfs_out,
    handle: ({ filesystem }) => filesystem.statfs?.() ?? EMPTY,
    reply: (_call, stat, { st }) => writeStatfs(st, stat),
  }),
  operation(C.FUSE_SYNCFS, 'SYNCFS', {
    about: 'Everything is where it belongs already.',
    input: fuse_syncfs_in,
    handle: () => {},
  }),
  operation(C.FUSE_IOCTL, 'IOCTL', {
    about: 'ENOTTY: files here have no ioctls.',
    input: fuse_ioctl_in,
    tail: 'source',
    handle: () => {
      throw FsError.of(ENOTTY);
    },
  }),
];
