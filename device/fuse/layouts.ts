/**
 * The structs of Linux's `include/uapi/linux/fuse.h`, protocol 7.41, field by field in its order and
 * with its names. `n64` and `s64` where the header has uint64_t and a number will do; see struct.ts.
 */
import { i32, n64, s64, spare, struct, u16, u32, u64 } from './struct.ts';

export const fuse_in_header = struct('fuse_in_header', {
  len: u32,
  opcode: u32,
  unique: u64,
  nodeid: n64,
  uid: u32,
  gid: u32,
  pid: u32,
  total_extlen: u16,
  padding: u16,
});

export const fuse_out_header = struct('fuse_out_header', { len: u32, error: i32, unique: u64 });

export const fuse_attr = struct('fuse_attr', {
  ino: n64,
  size: n64,
  blocks: n64,
  atime: s64,
  mtime: s64,
  ctime: s64,
  atimensec: u32,
  mtimensec: u32,
  ctimensec: u32,
  mode: u32,
  nlink: u32,
  uid: u32,
  gid: u32,
  rdev: u32,
  blksize: u32,
  flags: u32,
});

export const fuse_sx_time = struct('fuse_sx_time', { tv_sec: s64, tv_nsec: u32, __reserved: i32 });

export const fuse_statx = struct('fuse_statx', {
  mask: u32,
  blksize: u32,
  attributes: u64,
  nlink: u32,
  uid: u32,
  gid: u32,
  mode: u16,
  __spare0: spare(u16, 1),
  ino: n64,
  size: n64,
  blocks: n64,
  attributes_mask: u64,
  atime: fuse_sx_time,
  btime: fuse_sx_time,
  ctime: fuse_sx_time,
  mtime: fuse_sx_time,
  rdev_major: u32,
  rdev_minor: u32,
  dev_major: u32,
  dev_minor: u32,
  __spare2: spare(u64, 14),
});

export const fuse_kstatfs = struct('fuse_kstatfs', {
  blocks: n64,
  bfree: n64,
  bavail: n64,
  files: n64,
  ffree: n64,
  bsize: u32,
  namelen: u32,
  frsize: u32,
  padding: u32,
  spare: spare(u32, 6),
});

export const fuse_file_lock = struct('fuse_file_lock', { start: u64, end: u64, type: u32, pid: u32 });

export const fuse_init_in = struct('fuse_init_in', {
  major: u32,
  minor: u32,
  max_readahead: u32,
  flags: u32,
  flags2: u32,
  unused: spare(u32, 11),
});

export const fuse_init_out = struct('fuse_init_out', {
  major: u32,
  minor: u32,
  max_readahead: u32,
  flags: u32,
  max_background: u16,
  congestion_threshold: u16,
  max_write: u32,
  time_gran: u32,
  max_pages: u16,
  map_alignment: u16,
  flags2: u32,
  max_stack_depth: u32,
  unused: spare(u32, 6),
});

export const fuse_entry_out = struct('fuse_entry_out', {
  nodeid: n64,
  generation: n64,
  entry_valid: n64,
  attr_valid: n64,
  entry_valid_nsec: u32,
  attr_valid_nsec: u32,
  attr: fuse_attr,
});

export const fuse_forget_in = struct('fuse_forget_in', { nlookup: n64 });
export const fuse_forget_one = struct('fuse_forget_one', { nodeid: n64, nlookup: n64 });
export const fuse_batch_forget_in = struct('fuse_batch_forget_in', { count: u32, dummy: u32 });

export const fuse_getattr_in = struct('fuse_getattr_in', { getattr_flags: u32, dummy: u32, fh: n64 });
export const fuse_attr_out = struct('fuse_attr_out', {
  attr_valid: n64,
  attr_valid_nsec: u32,
  dummy: u32,
  attr: fuse_attr,
});

export const fuse_statx_in = struct('fuse_statx_in', {
  getattr_flags: u32,
  reserved: u32,
  fh: n64,
  sx_flags: u32,
  sx_mask: u32,
});
export const fuse_statx_out = struct('fuse_statx_out', {
  attr_valid: n64,
  attr_valid_nsec: u32,
  flags: u32,
  spare: spare(u64, 2),
  stat: fuse_statx,
});

export const fuse_setattr_in = struct('fuse_setattr_in', {
  valid: u32,
  padding: u32,
  fh: n64,
  size: n64,
  lock_owner: u64,
  atime: s64,
  mtime: s64,
  ctime: s64,
  atimensec: u32,
  mtimensec: u32,
  ctimensec: u32,
  mode: u32,
  unused4: u32,
  uid: u32,
  gid: u32,
  unused5: u32,
});

export const fuse_mknod_in = struct('fuse_mknod_in', { mode: u32, rdev: u32, umask: u32, padding: u32 });
export const fuse_mkdir_in = struct('fuse_mkdir_in', { mode: u32, umask: u32 });
export const fuse_rename_in = struct('fuse_rename_in', { newdir: n64 });
export const fuse_rename2_in = struct('fuse_rename2_in', { newdir: n64, flags: u32, padding: u32 });
export const fuse_link_in = struct('fuse_link_in', { oldnodeid: n64 });

export const fuse_open_in = struct('fuse_open_in', { flags: u32, open_flags: u32 });
export const fuse_create_in = struct('fuse_create_in', { flags: u32, mode: u32, umask: u32, open_flags: u32 });
export const fuse_open_out = struct('fuse_open_out', { fh: n64, open_flags: u32, backing_id: i32 });
/** CREATE and TMPFILE answer with both; the header has no name for the pair. */
export const fuse_create_out = struct('fuse_create_out', { entry: fuse_entry_out, open: fuse_open_out });
export const fuse_release_in = struct('fuse_release_in', { fh: n64, flags: u32, release_flags: u32, lock_owner: u64 });
export const fuse_flush_in = struct('fuse_flush_in', { fh: n64, unused: u32, padding: u32, lock_owner: u64 });
export const fuse_fsync_in = struct('fuse_fsync_in', { fh: n64, fsync_flags: u32, padding: u32 });
export const fuse_syncfs_in = struct('fuse_syncfs_in', { padding: u64 });

export const fuse_read_in = struct('fuse_read_in', {
  fh: n64,
  offset: n64,
  size: u32,
  read_flags: u32,
  lock_owner: u64,
  flags: u32,
  padding: u32,
});

export const fuse_write_in = struct('fuse_write_in', {
  fh: n64,
  offset: n64,
  size: u32,
  write_flags: u32,
  lock_owner: u64,
  flags: u32,
  padding: u32,
});

export const fuse_write_out = struct('fuse_write_out', { size: u32, padding: u32 });

export const fuse_fallocate_in = struct('fuse_fallocate_in', {
  fh: n64,
  offset: n64,
  length: n64,
  mode: u32,
  padding: u32,
});
export const fuse_lseek_in = struct('fuse_lseek_in', { fh: n64, offset: n64, whence: u32, padding: u32 });
export const fuse_lseek_out = struct('fuse_lseek_out', { offset: n64 });

export const fuse_copy_file_range_in = struct('fuse_copy_file_range_in', {
  fh_in: n64,
  off_in: n64,
  nodeid_out: n64,
  fh_out: n64,
  off_out: n64,
  len: n64,
  flags: u64,
});

export const fuse_statfs_out = struct('fuse_statfs_out', { st: fuse_kstatfs });

/** Followed by `namelen` bytes of name and padding to a multiple of 8. */
export const fuse_dirent = struct('fuse_dirent', { ino: n64, off: n64, namelen: u32, type: u32 });
export const fuse_direntplus = struct('fuse_direntplus', { entry_out: fuse_entry_out, dirent: fuse_dirent });

export const fuse_setxattr_in = struct('fuse_setxattr_in', {
  size: u32,
  flags: u32,
  setxattr_flags: u32,
  padding: u32,
});
export const fuse_getxattr_in = struct('fuse_getxattr_in', { size: u32, padding: u32 });
export const fuse_getxattr_out = struct('fuse_getxattr_out', { size: u32, padding: u32 });

export const fuse_lk_in = struct('fuse_lk_in', {
  fh: n64,
  owner: u64,
  lk: fuse_file_lock,
  lk_flags: u32,
  padding: u32,
});
export const fuse_lk_out = struct('fuse_lk_out', { lk: fuse_file_lock });
export const fuse_interrupt_in = struct('fuse_interrupt_in', { unique: u64 });

export const fuse_notify_inval_inode_out = struct('fuse_notify_inval_inode_out', { ino: n64, off: s64, len: s64 });
/** Followed by the name and a NUL. */
export const fuse_notify_inval_entry_out = struct('fuse_notify_inval_entry_out', {
  parent: n64,
  namelen: u32,
  flags: u32,
});

export const fuse_ioctl_in = struct('fuse_ioctl_in', {
  fh: n64,
  flags: u32,
  cmd: u32,
  arg: u64,
  in_size: u32,
  out_size: u32,
});

/** Each followed by a NUL-terminated name, `size` bytes of context, and padding to a multiple of 8. */
export const fuse_secctx = struct('fuse_secctx', { size: u32, padding: u32 });
export const fuse_secctx_header = struct('fuse_secctx_header', { size: u32, nr_secctx: u32 });
export const fuse_ext_header = struct('fuse_ext_header', { size: u32, type: u32 });
/** Followed by `nr_groups` u32. */
export const fuse_supp_groups = struct('fuse_supp_groups', { nr_groups: u32 });
