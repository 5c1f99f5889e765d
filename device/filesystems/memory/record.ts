import type { Timespec } from '../../fs/filesystem.ts';
import type { Inode } from './inode.ts';

/** The words of an inode's record: u32 for owners and mode, i32 for the rest. Times as {@link timeIn} says. */
export const INO = 0;
export const MODE = 1;
export const UID = 2;
export const GID = 3;
export const ATIME = 4;
export const MTIME = 6;
export const CTIME = 8;
export const BTIME = 10;
export const HIGH = 12;
export const WORDS = 13;

/**
 * A time as records have it: the low 32 bits of the seconds; the nanoseconds, and two more bits of the seconds, which last until 2446 as
 * in ext4; and in the low byte of `high` the uppermost bits.
 */
export function timeIn(low: number, rest: number, high: number): Timespec {
  return { sec: low + (((high << 24) >> 22) | (rest & 3)) * 2 ** 32, nsec: rest >>> 2 };
}

export function timeAt(words: Int32Array, at: number, word: number, shift: number): Timespec {
  return timeIn(words[at + word]!, words[at + word + 1]!, words[at + HIGH]! >> shift);
}

export function putTime(words: Int32Array, at: number, word: number, shift: number, { sec, nsec }: Timespec): void {
  const upper = (sec - (sec | 0)) / 2 ** 32;
  words[at + word] = sec;
  words[at + word + 1] = (nsec << 2) | (upper & 3);
  words[at + HIGH] = (words[at + HIGH]! & ~(0xff << shift)) | (((upper >> 2) & 0xff) << shift);
}

/** The record of an inode. */
export function recordOf(
  inode: Pick<Inode, 'ino' | 'mode' | 'uid' | 'gid' | 'atime' | 'mtime' | 'ctime' | 'btime'>,
): Int32Array {
  const words = new Int32Array(WORDS);
  words[INO] = inode.ino;
  words[MODE] = inode.mode;
  words[UID] = inode.uid;
  words[GID] = inode.gid;
  putTime(words, 0, ATIME, 0, inode.atime);
  putTime(words, 0, MTIME, 8, inode.mtime);
  putTime(words, 0, CTIME, 16, inode.ctime);
  putTime(words, 0, BTIME, 24, inode.btime);
  return words;
}

/** What the record of an inode that begins at a word says, as far as it is told of snapshots. */
export function attributesAt(words: Int32Array, at: number): { mode: number; mtime: number } {
  return {
    mode: words[at + MODE]!,
    mtime: timeIn(words[at + MTIME]!, words[at + MTIME + 1]!, words[at + HIGH]! >> 8).sec,
  };
}
