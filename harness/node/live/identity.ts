import type { BigIntStats } from 'node:fs';

/** Inode numbers from here on are hashes. */
const FIRST_HASH = 2 ** 30;
const ROOT = 1;

/** Which file of the host something is, whatever its names: the same in every process. */
export interface Identity {
  dev: bigint;
  ino: bigint;
  /** Nanoseconds; 0 where the host's file system does not tell. It is another when a number is used again. */
  birth: bigint;
}

export function identityOf({ dev, ino, birthtimeNs }: BigIntStats): Identity {
  return { dev, ino, birth: birthtimeNs };
}

/** Of files that are there at the same time. */
export function keyOf({ dev, ino }: { dev: bigint; ino: bigint }): string {
  return `${dev}:${ino}`;
}

export function isSameFile(a: Identity, b: Identity): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.birth === b.birth;
}

/** Of `fuse_entry_out.generation`: tells apart what had or has the same inode number. Nonzero, below 2^32. */
export function generationOf({ ino, birth }: Identity): number {
  return hash([low(ino), high(ino), low(birth), high(birth)]) || 1;
}

/**
 * The inode numbers that a file may have, best one first: the host's own where it is small and the file on the share's own device, else
 * hashes. Another process comes to the same ones.
 */
export function* numbersOf(identity: Identity, shareDev: bigint): Generator<number> {
  const { dev, ino, birth } = identity;
  if (dev === shareDev && ino > ROOT && ino < FIRST_HASH) yield Number(ino);
  // A device's number may be another tomorrow; which device it is only matters beside others.
  const device = dev === shareDev ? 0 : low(dev) ^ high(dev) ^ 1;
  for (let attempt = 0; ; attempt++) {
    const words = [device, low(ino), high(ino), low(birth), high(birth), attempt];
    yield FIRST_HASH + (hash(words) % FIRST_HASH);
  }
}

/** How many of {@link numbersOf} a file is looked for under, when only its number is known. */
export const LIKELY_NUMBERS = 2;

/** A UUID that is always the same for the same directory, wherever it is moved to; with no time of birth, for its device, number and path. */
export function uuidOfDirectory({ dev, ino, birth }: Identity, path: string): string {
  const seed = birth === 0n ? `${dev}:${ino}:${path}` : `${ino}:${birth}`;
  const words = [1, 2, 3, 4].map((salt) => hash([salt, ...Array.from(seed, (character) => character.codePointAt(0)!)]));
  const hex = words.map((word) => word.toString(16).padStart(8, '0')).join('');
  // RFC 9562, version 8: custom.
  const variant = ((parseInt(hex[16]!, 16) & 0x3) | 0x8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`;
}

/** Of words of 32 bits; below 2^32. Murmur3, with its 32-bit finalizer. */
export function hash(words: readonly number[]): number {
  let h = words.length;
  for (const word of words) {
    let k = Math.imul(word, 0xcc9e2d51);
    k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
    h ^= k;
    h = (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
  }
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function low(value: bigint): number {
  return Number(BigInt.asUintN(32, value));
}

function high(value: bigint): number {
  return Number(BigInt.asUintN(32, value >> 32n));
}
