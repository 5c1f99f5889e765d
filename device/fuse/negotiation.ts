import { EPROTO, FsError } from '../fs/errno.ts';
import * as C from './constants.ts';
import type { fuse_init_in, fuse_init_out } from './layouts.ts';
import type { Policy } from './policy.ts';
import type { View } from './struct.ts';

/** What INIT settled, by the names of `fuse_init_out`. It holds until the next INIT, through every restore. */
export interface Negotiated {
  major: number;
  /** The smaller of both sides'. */
  minor: number;
  /** FUSE_* INIT flags in use, `flags2` in the upper half. */
  flags: bigint;
  max_readahead: number;
  max_background: number;
  congestion_threshold: number;
  max_write: number;
  time_gran: number;
  max_pages: number;
  map_alignment: number;
}

/** 7.31 is Linux 5.4, the first with virtio-fs. */
export const MIN_MINOR = 31;
const MAX_BACKGROUND = 64;
const CONGESTION_THRESHOLD = 48;
const UPPER_HALF = 32n;

/** What every session takes when it is offered. */
const ALWAYS =
  C.FUSE_INIT_EXT |
  C.FUSE_ASYNC_READ |
  C.FUSE_ATOMIC_O_TRUNC |
  C.FUSE_EXPORT_SUPPORT |
  C.FUSE_BIG_WRITES |
  C.FUSE_AUTO_INVAL_DATA |
  C.FUSE_DO_READDIRPLUS |
  C.FUSE_READDIRPLUS_AUTO |
  C.FUSE_ASYNC_DIO |
  C.FUSE_PARALLEL_DIROPS |
  C.FUSE_MAX_PAGES |
  C.FUSE_HANDLE_KILLPRIV_V2 |
  C.FUSE_SECURITY_CTX |
  C.FUSE_CREATE_SUPP_GROUP;
const LOCKS = C.FUSE_POSIX_LOCKS | C.FUSE_FLOCK_LOCKS;
const ACL = C.FUSE_POSIX_ACL | C.FUSE_DONT_MASK | C.FUSE_SETXATTR_EXT;

/** What a session can go on with, whoever negotiated it. */
export const IMPLEMENTED = ALWAYS | LOCKS | ACL | C.FUSE_WRITEBACK_CACHE | C.FUSE_CACHE_SYMLINKS | C.FUSE_DIRECT_IO_ALLOW_MMAP;

function wanted({ locks, cache, writeback, posixAcl }: Policy): bigint {
  let flags = ALWAYS;
  if (locks === 'shared') flags |= LOCKS;
  if (writeback) flags |= C.FUSE_WRITEBACK_CACHE;
  if (posixAcl) flags |= ACL;
  if (cache === 'always') flags |= C.FUSE_CACHE_SYMLINKS;
  if (cache === 'never') flags |= C.FUSE_DIRECT_IO_ALLOW_MMAP;
  return flags;
}

/**
 * Answers INIT: the smaller minor of both, and of what was offered what is wanted here. Undefined
 * when the kernel's major is newer: it will ask again with ours (fuse.h, "Version negotiation").
 *
 * @throws FsError EPROTO for a version that never had virtio-fs.
 */
export function negotiate(input: View<typeof fuse_init_in>, policy: Policy): Negotiated | undefined {
  const { major, minor } = input;
  if (major > C.FUSE_KERNEL_VERSION) return undefined;
  if (major < C.FUSE_KERNEL_VERSION || minor < MIN_MINOR) throw FsError.of(EPROTO);
  let offered = BigInt(input.flags);
  if (offered & C.FUSE_INIT_EXT) offered |= BigInt(input.flags2) << UPPER_HALF;
  const flags = offered & wanted(policy);
  return {
    major,
    minor: Math.min(minor, C.FUSE_KERNEL_MINOR_VERSION),
    flags,
    max_readahead: Math.min(input.max_readahead, policy.maxWrite),
    max_background: MAX_BACKGROUND,
    congestion_threshold: CONGESTION_THRESHOLD,
    max_write: policy.maxWrite,
    time_gran: 1,
    max_pages: flags & C.FUSE_MAX_PAGES ? policy.maxPages : 0,
    map_alignment: 0,
  };
}

export function writeInit(output: View<typeof fuse_init_out>, negotiated: Negotiated): void {
  const { flags, ...rest } = negotiated;
  Object.assign(output, rest);
  output.flags = Number(flags & 0xffffffffn);
  output.flags2 = Number(flags >> UPPER_HALF);
}
