import { concat } from '../bytes.ts';
import { SnapshotError } from '../snapshot/errors.ts';

/**
 * Columns of numbers as images have them: each number as its difference from the one before, and of all of those the lowest bytes first, then
 * the second ones, and so on, so that little is left when they are compressed.
 */
export function packU32(values: ArrayLike<number>): Uint8Array {
  const count = values.length;
  const bytes = new Uint8Array(4 * count);
  let last = 0;
  for (let n = 0; n < count; n++) {
    const difference = (values[n]! - last) >>> 0;
    last = values[n]!;
    for (let plane = 0; plane < 4; plane++) bytes[plane * count + n] = difference >>> (8 * plane);
  }
  return bytes;
}

/** Back. @throws SnapshotError unless it is such a column. */
export function unpackU32(bytes: unknown, what: string): Uint32Array {
  if (!(bytes instanceof Uint8Array) || bytes.length % 4) throw refusal(`${what} is not a column of numbers`);
  const count = bytes.length / 4;
  const values = new Uint32Array(count);
  let last = 0;
  for (let n = 0; n < count; n++) {
    let difference = 0;
    for (let plane = 0; plane < 4; plane++) difference |= bytes[plane * count + n]! << (8 * plane);
    values[n] = last = (last + difference) >>> 0;
  }
  return values;
}

/** Whole numbers below 2^53, as two columns: the low halves, and the high ones. */
export function packU53(values: readonly number[]): Uint8Array {
  return concat([
    packU32(values.map((value) => value >>> 0)),
    packU32(values.map((value) => Math.floor(value / 2 ** 32))),
  ]);
}

/** Back. They may be larger. @throws SnapshotError unless it is such a column. */
export function unpackU53(bytes: unknown, what: string): Float64Array {
  if (!(bytes instanceof Uint8Array) || bytes.length % 8) throw refusal(`${what} is not a column of numbers`);
  const half = bytes.length / 2;
  const low = unpackU32(bytes.subarray(0, half), what);
  const high = unpackU32(bytes.subarray(half), what);
  return Float64Array.from(low, (value, n) => value + high[n]! * 2 ** 32);
}

export function refusal(what: string): SnapshotError {
  return new SnapshotError(`the image is invalid: ${what}; build it again`);
}
