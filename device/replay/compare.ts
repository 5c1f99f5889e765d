import { viewOf } from '../bytes.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT } from '../fs/constants.ts';
import { decodeName } from '../fs/names.ts';
import * as C from '../fuse/constants.ts';
import {
  fuse_attr_out,
  fuse_create_out,
  fuse_entry_out,
  fuse_getxattr_out,
  fuse_lk_out,
  fuse_lseek_out,
  fuse_statx_out,
  fuse_write_out,
} from '../fuse/layouts.ts';
import type { Layout } from '../fuse/struct.ts';

/** Two answers that should agree and don't: what they are of, and what each says. */
export interface Disagreement {
  what: string;
  recorded: string;
  replayed: string;
}

/** Attributes that have to agree, wherever the files are. */
export interface ComparedAttr {
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  size: number;
  rdev: number | string;
}

/** Compares what two replies to one request say, both without an errno. What is opaque, or may differ, is left out. */
export function compareReplies(
  opcode: number,
  wantedSize: number,
  recorded: Uint8Array,
  replayed: Uint8Array,
): Disagreement[] {
  switch (opcode) {
    // What these say is the session's, or differs wherever files are.
    case C.FUSE_INIT:
    case C.FUSE_STATFS:
    case C.FUSE_OPEN:
    case C.FUSE_OPENDIR:
      return [];
    case C.FUSE_LOOKUP:
    case C.FUSE_MKNOD:
    case C.FUSE_MKDIR:
    case C.FUSE_SYMLINK:
    case C.FUSE_LINK:
      return inBoth(fuse_entry_out, recorded, replayed, (a, b) => compareAttrs(a.attr, b.attr));
    case C.FUSE_CREATE:
    case C.FUSE_TMPFILE:
      return inBoth(fuse_create_out, recorded, replayed, (a, b) => compareAttrs(a.entry.attr, b.entry.attr));
    case C.FUSE_GETATTR:
    case C.FUSE_SETATTR:
      return inBoth(fuse_attr_out, recorded, replayed, (a, b) => compareAttrs(a.attr, b.attr));
    case C.FUSE_STATX:
      return inBoth(fuse_statx_out, recorded, replayed, (a, b) => compareAttrs(ofStatx(a.stat), ofStatx(b.stat)));
    case C.FUSE_WRITE:
    case C.FUSE_COPY_FILE_RANGE:
      return inBoth(fuse_write_out, recorded, replayed, (a, b) => differ('bytes', a.size, b.size));
    case C.FUSE_LSEEK:
      return inBoth(fuse_lseek_out, recorded, replayed, (a, b) => differ('offset', a.offset, b.offset));
    case C.FUSE_GETLK:
      return inBoth(fuse_lk_out, recorded, replayed, ({ lk: a }, { lk: b }) => [
        ...differ('type of the lock', a.type, b.type),
        ...differ('start of the lock', a.start, b.start),
        ...differ('end of the lock', a.end, b.end),
      ]);
    case C.FUSE_GETXATTR:
      return wantedSize === 0 ? compareLengths(recorded, replayed) : compareBytes(recorded, replayed);
    case C.FUSE_LISTXATTR:
      // In whatever order.
      return wantedSize === 0
        ? compareLengths(recorded, replayed)
        : differ('names', sortedNames(recorded), sortedNames(replayed));
    default:
      return compareBytes(recorded, replayed);
  }
}

/** Directories have sizes and link counts of their own everywhere, and only devices have numbers. */
export function compareAttrs(recorded: ComparedAttr, replayed: ComparedAttr): Disagreement[] {
  const type = recorded.mode & S_IFMT;
  const mode = differ('mode', recorded.mode, replayed.mode, (each) => `0${each.toString(8)}`);
  // What else is other then says nothing.
  if (type !== (replayed.mode & S_IFMT)) return mode;
  const isDirectory = type === S_IFDIR;
  const isDevice = type === S_IFCHR || type === S_IFBLK;
  return [
    ...mode,
    ...differ('uid', recorded.uid, replayed.uid),
    ...differ('gid', recorded.gid, replayed.gid),
    ...(isDirectory ? [] : differ('size', recorded.size, replayed.size)),
    ...(isDirectory ? [] : differ('nlink', recorded.nlink, replayed.nlink)),
    ...(isDevice ? differ('rdev', recorded.rdev, replayed.rdev) : []),
  ];
}

export function differ<T>(what: string, recorded: T, replayed: T, show: (value: T) => string = String): Disagreement[] {
  return recorded === replayed ? [] : [{ what, recorded: show(recorded), replayed: show(replayed) }];
}

function inBoth<D extends Layout['fields']>(
  layout: Layout<D>,
  recorded: Uint8Array,
  replayed: Uint8Array,
  compare: (recorded: ReturnType<Layout<D>['at']>, replayed: ReturnType<Layout<D>['at']>) => Disagreement[],
): Disagreement[] {
  if (recorded.length < layout.size || replayed.length < layout.size)
    return differ('length of the reply', recorded.length, replayed.length);
  return compare(layout.at(viewOf(recorded), 0), layout.at(viewOf(replayed), 0));
}

function ofStatx(stat: ReturnType<(typeof fuse_statx_out)['at']>['stat']): ComparedAttr {
  const { mode, nlink, uid, gid, size, rdev_major, rdev_minor } = stat;
  return { mode, nlink, uid, gid, size, rdev: `${rdev_major}:${rdev_minor}` };
}

function compareLengths(recorded: Uint8Array, replayed: Uint8Array): Disagreement[] {
  return inBoth(fuse_getxattr_out, recorded, replayed, (a, b) => differ('length', a.size, b.size));
}

function sortedNames(list: Uint8Array): string {
  return decodeName(list).split('\0').filter(Boolean).sort().join(', ');
}

function compareBytes(recorded: Uint8Array, replayed: Uint8Array): Disagreement[] {
  if (recorded.length !== replayed.length) return differ('bytes of data', recorded.length, replayed.length);
  const at = recorded.findIndex((byte, n) => byte !== replayed[n]);
  return at < 0 ? [] : differ(`byte ${at} of the data`, recorded[at], replayed[at]);
}
