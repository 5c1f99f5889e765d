/** The words of POSIX scenarios, and what they say of files, as guest-images/src/posix.c has them. */

export const OPEN_FLAGS: Record<string, number> = {
  O_RDONLY: 0,
  O_WRONLY: 1,
  O_RDWR: 2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  O_TMPFILE: 0o20200000,
  O_DIRECT: 0o40000,
  O_NOATIME: 0o1000000,
};
export const FALLOCATE: Record<string, number> = {
  0: 0,
  keep: 1,
  punch: 3,
  collapse: 8,
  zero: 16,
  'zero-keep': 17,
  insert: 32,
};
export const TYPES: Record<string, number> = {
  fifo: 0o010000,
  char: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
};
export const RENAME: Record<string, number> = { noreplace: 1, exchange: 2, 'noreplace-exchange': 3, whiteout: 4 };
export const XATTR: Record<string, number> = { create: 1, replace: 2 };
export const SEEK: Record<string, number> = { data: 3, hole: 4 };
export const TIME_NAMES = ['atime', 'mtime', 'ctime'] as const;

export interface Attr {
  ino: number;
  size: number;
  blocks: number;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  rdev: number;
  atime: number;
  mtime: number;
  ctime: number;
  atimensec: number;
  mtimensec: number;
  ctimensec: number;
}

/** With its NUL. */
export function bytesOf(word: string): Uint8Array {
  return terminated(latin1(word.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))));
}

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

export function terminated(name: Uint8Array): Uint8Array {
  return Uint8Array.from([...name, 0]);
}

export function leaf(path: string): Uint8Array {
  return bytesOf(path.slice(path.lastIndexOf('/') + 1));
}

/** What each NUL ends. */
export function split(bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let from = 0, to = bytes.indexOf(0); to >= 0; from = to + 1, to = bytes.indexOf(0, from))
    parts.push(bytes.subarray(from, to));
  return parts;
}

function escaped(bytes: Uint8Array, plain: RegExp): string {
  return [...bytes]
    .map((byte) =>
      plain.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, '0')}`,
    )
    .join('');
}

export function quote(bytes: Uint8Array): string {
  return `"${escaped(bytes, /[!-$&-~]/)}"`;
}

export function list(names: Uint8Array[]): string {
  return `[${names
    .sort(compare)
    .map((name) => escaped(name, /[!-$&-+\-.-~]/))
    .join(',')}]`;
}

function compare(a: Uint8Array, b: Uint8Array): number {
  const at = a.findIndex((byte, n) => byte !== b[n]);
  return at < 0 ? a.length - b.length : a[at]! - (b[at] ?? -1);
}

export function makedev(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

export function describe({
  mode,
  nlink,
  uid,
  gid,
  size,
  rdev,
  blocks,
  atime,
  mtime,
  atimensec,
  mtimensec,
}: Attr): string {
  const type = Object.entries(TYPES).find(([, bits]) => bits === (mode & 0o170000))![0];
  const time = (sec: number, nsec: number) => `${sec}.${String(nsec).padStart(9, '0')}`;
  return [
    `type=${type}`,
    `mode=${(mode & 0o7777).toString(8).padStart(4, '0')}`,
    `nlink=${nlink}`,
    `uid=${uid | 0}`,
    `gid=${gid | 0}`,
    `size=${size}`,
    `rdev=${(rdev >>> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}`,
    `blocks=${blocks}`,
    `atime=${time(atime, atimensec)}`,
    `mtime=${time(mtime, mtimensec)}`,
  ].join(' ');
}
