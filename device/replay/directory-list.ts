import { viewOf } from '../bytes.ts';
import { decodeName } from '../fs/names.ts';
import { fuse_dirent, fuse_direntplus } from '../fuse/layouts.ts';
import type { ComparedAttr } from './compare.ts';

/** fuse.h, FUSE_DIRENT_ALIGN. */
const DIRENT_ALIGN = 8;

/** An entry as READDIR or READDIRPLUS has it. */
export interface ListedEntry {
  name: string;
  /** `d_type`; 0 where it is not known. */
  type: number;
  cookie: bigint;
  /** 0 of READDIR, and of "." and "..". */
  nodeid: bigint;
  attr: ComparedAttr | undefined;
}

/** The entries of a reply's payload, until something is wrong with it. */
export function readEntries(payload: Uint8Array, isPlus: boolean): ListedEntry[] {
  const view = viewOf(payload);
  const layout = isPlus ? fuse_direntplus : fuse_dirent;
  const entries: ListedEntry[] = [];
  for (let at = 0; at + layout.size <= payload.length; ) {
    const { entry_out, dirent } = isPlus
      ? fuse_direntplus.at(view, at)
      : { entry_out: undefined, dirent: fuse_dirent.at(view, at) };
    const end = at + layout.size + dirent.namelen;
    if (end > payload.length) break;
    const { mode, nlink, uid, gid, size, rdev } = entry_out?.attr ?? {};
    entries.push({
      name: decodeName(payload.subarray(at + layout.size, end)),
      type: dirent.type,
      cookie: BigInt(dirent.off),
      nodeid: BigInt(entry_out?.nodeid ?? 0),
      attr: entry_out?.nodeid
        ? { mode: mode!, nlink: nlink!, uid: uid!, gid: gid!, size: size!, rdev: rdev! }
        : undefined,
    });
    at = Math.ceil(end / DIRENT_ALIGN) * DIRENT_ALIGN;
  }
  return entries;
}

/** Whether a name is one that every directory has, in lists or not. */
export function isDots(name: string): boolean {
  return name === '.' || name === '..';
}
