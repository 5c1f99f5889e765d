import { concat } from '../bytes.ts';
import { encodeName } from '../fs/names.ts';
import { encodeFields } from '../snapshot/fields.ts';
import { packU32, packU53 } from './columns.ts';

/**
 * The tree of an image as rows, in the order of {@link ../image/survey.ts}: row n is inode n + 1. What an inode is has one time: of images the
 * times of last change are kept, and nothing else that tells when and where they were made.
 */
export interface TreeRows {
  inodes: { mode: number[]; uid: number[]; gid: number[]; sec: number[]; nsec: number[] };
  /** One of each inode but the root, in order of the inodes. */
  entries: { dir: number[]; cookie: number[]; names: string[] };
  /** The further names of those that have several. */
  links: { ino: number[]; dir: number[]; cookie: number[]; names: string[] };
  /** Those that are not empty. `chunks`: how many follow in `chunks`. */
  files: { ino: number[]; size: number[]; chunks: number[] };
  /** `index`: of 64 KiB in the file. `map`: as in {@link RangeState}. `chunk`: which one of the image's, numbered as they come first. */
  chunks: { index: number[]; map: number[]; chunk: number[] };
  symlinks: { ino: number[]; targets: string[] };
  xattrs: { ino: number[]; names: string[]; values: Uint8Array[] };
  devices: { ino: number[]; rdev: number[] };
}

export function emptyRows(): TreeRows {
  return {
    inodes: { mode: [], uid: [], gid: [], sec: [], nsec: [] },
    entries: { dir: [], cookie: [], names: [] },
    links: { ino: [], dir: [], cookie: [], names: [] },
    files: { ino: [], size: [], chunks: [] },
    chunks: { index: [], map: [], chunk: [] },
    symlinks: { ino: [], targets: [] },
    xattrs: { ino: [], names: [], values: [] },
    devices: { ino: [], rdev: [] },
  };
}

/** As {@link decodeTree} reads it: the same rows are the same bytes. */
export function encodeTree({ inodes, entries, links, files, chunks, symlinks, xattrs, devices }: TreeRows): Uint8Array {
  return encodeFields({
    inodes: {
      mode: packU32(inodes.mode),
      uid: packU32(inodes.uid),
      gid: packU32(inodes.gid),
      sec: packU32(inodes.sec.map((sec) => sec >>> 0)),
      era: packU32(inodes.sec.map((sec) => Math.floor(sec / 2 ** 32) >>> 0)),
      nsec: packU32(inodes.nsec),
    },
    entries: { dir: packU32(entries.dir), cookie: packU32(entries.cookie), names: joined(entries.names) },
    links: {
      ino: packU32(links.ino),
      dir: packU32(links.dir),
      cookie: packU32(links.cookie),
      names: joined(links.names),
    },
    files: { ino: packU32(files.ino), size: packU53(files.size), chunks: packU32(files.chunks) },
    chunks: { index: packU53(chunks.index), map: packU32(chunks.map), chunk: packU32(chunks.chunk) },
    symlinks: { ino: packU32(symlinks.ino), targets: joined(symlinks.targets) },
    xattrs: {
      ino: packU32(xattrs.ino),
      names: joined(xattrs.names),
      length: packU32(xattrs.values.map(({ length }) => length)),
      values: concat(xattrs.values),
    },
    devices: { ino: packU32(devices.ino), rdev: packU32(devices.rdev) },
  });
}

/** Each with a NUL after it. */
function joined(texts: readonly string[]): Uint8Array {
  return texts.length ? encodeName(`${texts.join('\0')}\0`) : new Uint8Array(0);
}
