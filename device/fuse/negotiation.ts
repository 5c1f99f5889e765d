import { EPROTO, FsError } from '../fs/errno.ts';
import { IN_HEADER_SIZE, MESSAGE_MAX } from './codec.ts';
import * as C from './constants.ts';
import { type fuse_init_in, type fuse_init_out, fuse_write_in } from './layouts.ts';
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

/** Linux's FUSE_DEFAULT_MAX_PAGES_PER_REQ, in bytes: what READ and WRITE carry at most where FUSE_MAX_PAGES was not settled on. */
const DEFAULT_MAX_DATA = 32 * 4096;

/** 7.31 is Linux 5.4, the first with virtio-fs. */
export const MIN_MINOR = 31;
const MAX_BACKGROUND = 64;
const CONGESTION_THRESHOLD = 48;
const UPPER_HALF = 32n;

/** When a flag is taken, if the guest offers it. */
const CONDITIONS = {
  always: () => true,
  never: () => false,
  'locks `shared`': ({ locks }: Policy) => locks === 'shared',
  'cache `always`': ({ cache }: Policy) => cache === 'always',
  'cache `never`': ({ cache }: Policy) => cache === 'never',
  writeback: ({ writeback }: Policy) => writeback,
  posixAcl: ({ posixAcl }: Policy) => posixAcl,
  stateless: ({ stateless }: Policy) => stateless,
  'not `xattr: false`': ({ xattr }: Policy) => xattr,
  notifications: ({ revokes }: Policy) => revokes,
};

export interface InitFlag {
  readonly name: string;
  readonly bit: bigint;
  readonly when: keyof typeof CONDITIONS;
  /** What it does here, or why it is not there. */
  readonly about: string;
}

type FlagName = { [K in keyof typeof C]: (typeof C)[K] extends bigint ? K : never }[keyof typeof C];

function flag(name: FlagName, when: InitFlag['when'], about: string): InitFlag {
  return { name, bit: C[name], when, about };
}

/** Every flag of fuse.h, by its bit. */
export const INIT_FLAGS: readonly InitFlag[] = [
  flag('FUSE_ASYNC_READ', 'always', 'Reads of one file may come side by side.'),
  flag('FUSE_POSIX_LOCKS', 'locks `shared`', 'POSIX and OFD locks are kept here, for all guests.'),
  flag('FUSE_FILE_OPS', 'never', 'Linux never looks at it.'),
  flag(
    'FUSE_ATOMIC_O_TRUNC',
    'never',
    'Linux does not lock the file for such an OPEN, and would cache what others write meanwhile in the wrong place. It sends SETATTR instead.',
  ),
  flag('FUSE_EXPORT_SUPPORT', 'always', '`open_by_handle_at`: LOOKUP of "." and ".." by node id, forgotten ones too.'),
  flag('FUSE_BIG_WRITES', 'always', 'Writes of more than a page.'),
  flag('FUSE_DONT_MASK', 'posixAcl', 'The umask is applied here, unless a default ACL takes its place.'),
  flag('FUSE_SPLICE_WRITE', 'never', 'Of /dev/fuse.'),
  flag('FUSE_SPLICE_MOVE', 'never', 'Of /dev/fuse.'),
  flag('FUSE_SPLICE_READ', 'never', 'Of /dev/fuse.'),
  flag('FUSE_FLOCK_LOCKS', 'locks `shared`', 'flock locks are kept here, for all guests.'),
  flag('FUSE_HAS_IOCTL_DIR', 'never', 'There are no ioctls.'),
  flag(
    'FUSE_AUTO_INVAL_DATA',
    'always',
    'The guest drops cached pages of a file whose size or time of modification has changed.',
  ),
  flag('FUSE_DO_READDIRPLUS', 'always', 'READDIRPLUS.'),
  flag('FUSE_READDIRPLUS_AUTO', 'always', 'READDIRPLUS where it pays.'),
  flag(
    'FUSE_ASYNC_DIO',
    'never',
    'Linux keeps what others have cached of a file when such a write ends. It waits for each direct write instead.',
  ),
  flag('FUSE_WRITEBACK_CACHE', 'writeback', 'The guest gathers writes.'),
  flag('FUSE_NO_OPEN_SUPPORT', 'stateless', 'OPEN is answered ENOSYS: the guest opens files by itself.'),
  flag('FUSE_PARALLEL_DIROPS', 'always', 'Lookups and lists of one directory side by side.'),
  flag('FUSE_HANDLE_KILLPRIV', 'never', 'HANDLE_KILLPRIV_V2 is there.'),
  flag('FUSE_POSIX_ACL', 'posixAcl', 'Access and default ACLs.'),
  flag('FUSE_ABORT_ERROR', 'never', 'Of /dev/fuse.'),
  flag('FUSE_MAX_PAGES', 'always', 'Requests of up to `maxWrite` bytes.'),
  flag('FUSE_CACHE_SYMLINKS', 'cache `always`', 'Targets of symbolic links are remembered.'),
  flag('FUSE_NO_OPENDIR_SUPPORT', 'stateless', 'OPENDIR is answered ENOSYS: the guest opens directories by itself.'),
  flag('FUSE_EXPLICIT_INVAL_DATA', 'never', 'AUTO_INVAL_DATA is there.'),
  flag('FUSE_MAP_ALIGNMENT', 'never', 'There is no DAX window.'),
  flag('FUSE_SUBMOUNTS', 'never', 'Nothing is mounted within a share.'),
  flag('FUSE_HANDLE_KILLPRIV_V2', 'always', 'Set-id bits and `security.capability` go here, when the kernel says so.'),
  flag('FUSE_SETXATTR_EXT', 'posixAcl', 'SETXATTR of an ACL may take the set-gid bit.'),
  flag('FUSE_INIT_EXT', 'always', 'INIT has 64 flags.'),
  flag('FUSE_SECURITY_CTX', 'not `xattr: false`', 'What is made gets its security label with it, as an attribute.'),
  flag('FUSE_HAS_INODE_DAX', 'never', 'There is no DAX window.'),
  flag('FUSE_CREATE_SUPP_GROUP', 'never', 'The kernel applies the rules of set-gid directories that need it.'),
  flag('FUSE_HAS_EXPIRE_ONLY', 'notifications', 'Names that others change are looked up again, and nothing more.'),
  flag('FUSE_DIRECT_IO_ALLOW_MMAP', 'cache `never`', 'Shared mappings all the same, from Linux 6.6.'),
  flag('FUSE_PASSTHROUGH', 'never', 'Of /dev/fuse.'),
  flag('FUSE_NO_EXPORT_SUPPORT', 'never', 'EXPORT_SUPPORT is there.'),
  flag('FUSE_HAS_RESEND', 'never', 'Restored queues have all that was under way.'),
  flag('FUSE_ALLOW_IDMAP', 'never', 'Linux has it for other file systems than virtio-fs only.'),
];

/** What a session can go on with, whoever negotiated it. ASYNC_DIO, ATOMIC_O_TRUNC and CREATE_SUPP_GROUP were taken once; the latter brings nothing that has to be done. */
export const IMPLEMENTED = INIT_FLAGS.reduce(
  (all, { bit, when }) => (when === 'never' ? all : all | bit),
  C.FUSE_ASYNC_DIO | C.FUSE_ATOMIC_O_TRUNC | C.FUSE_CREATE_SUPP_GROUP,
);

function wanted(policy: Policy): bigint {
  return INIT_FLAGS.reduce((all, { bit, when }) => (CONDITIONS[when](policy) ? all | bit : all), 0n);
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

/** Bytes that one READ may ask for, or one WRITE bring: no kernel goes beyond what INIT has settled. */
export function maxData({ max_write }: Negotiated): number {
  return Math.max(max_write, DEFAULT_MAX_DATA);
}

/** Bytes that one message may have, whatever the buffers are that it lies in. Before INIT: what every server takes. */
export function maxMessage(negotiated: Negotiated | undefined): number {
  return negotiated
    ? Math.max(MESSAGE_MAX, IN_HEADER_SIZE + fuse_write_in.size + maxData(negotiated))
    : C.FUSE_MIN_READ_BUFFER;
}

export function writeInit(output: View<typeof fuse_init_out>, negotiated: Negotiated): void {
  const { flags, ...rest } = negotiated;
  Object.assign(output, rest);
  output.flags = Number(flags & 0xffffffffn);
  output.flags2 = Number(flags >> UPPER_HALF);
}
