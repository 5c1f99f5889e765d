import { ENOTTY, FsError } from '../../fs/errno.ts';
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

export const SESSION_OPERATIONS = [
  operation(C.FUSE_INIT, 'INIT', {
    about: 'Ends the session before, if there was one, and settles version, flags and limits.',
    input: fuse_init_in,
    inputSize: ({ message }) => (message.unread >= fuse_init_in.size ? fuse_init_in.size : C.FUSE_COMPAT_INIT_IN_SIZE),
    output: fuse_init_out,
    handle(call, input, output) {
      const negotiated = negotiate(input, call.policy);
      call.end();
      call.negotiated = negotiated;
      if (negotiated) {
        writeInit(output, negotiated);
        call.outlivesReset = call.keepNext;
        call.number = crypto.getRandomValues(new Uint32Array(1))[0]! || 1;
      } else Object.assign(output, { major: C.FUSE_KERNEL_VERSION, minor: C.FUSE_KERNEL_MINOR_VERSION });
    },
  }),
  operation(C.FUSE_DESTROY, 'DESTROY', {
    about: 'Ends the session: every lookup, handle and lock is given up.',
    handle: (call) => {
      call.end();
      return 0;
    },
  }),
  operation(C.FUSE_INTERRUPT, 'INTERRUPT', {
    about: 'A SETLKW that waits is answered EINTR; other requests are never under way.',
    input: fuse_interrupt_in,
    noReply: true,
    handle: (call, { unique }) => call.locks.interrupt(unique),
  }),
  operation(C.FUSE_FORGET, 'FORGET', {
    about: 'Takes lookups of one inode back.',
    input: fuse_forget_in,
    noReply: true,
    handle: (call, { nlookup }) => call.nodes.forget(call.header.nodeid, nlookup),
  }),
  operation(C.FUSE_BATCH_FORGET, 'BATCH_FORGET', {
    about: 'FORGET of up to 8,000 inodes; a longer message is ignored.',
    input: fuse_batch_forget_in,
    tail: 'kept',
    noReply: true,
    handle(call, { count }) {
      const list = call.message.rest();
      const view = new DataView(list.buffer, list.byteOffset, list.length);
      const held = Math.min(count, Math.floor(list.length / fuse_forget_one.size));
      for (let n = 0; n < held; n++) {
        const { nodeid, nlookup } = fuse_forget_one.at(view, n * fuse_forget_one.size);
        call.nodes.forget(nodeid, nlookup);
      }
    },
  }),
  operation(C.FUSE_STATFS, 'STATFS', {
    about: 'Sizes and limits, quotas included, as `df` shows them.',
    output: fuse_statfs_out,
    handle: (call, _input, { st }) => writeStatfs(call, st),
  }),
  operation(C.FUSE_SYNCFS, 'SYNCFS', {
    about: 'Everything is where it belongs already.',
    input: fuse_syncfs_in,
    handle: () => 0,
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
