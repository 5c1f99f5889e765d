import { NAME_MAX } from '../../fs/constants.ts';
import { encodeName } from '../../fs/names.ts';

/** Other in every process: whoever may choose names can't choose them so that they collide. */
const KEY = crypto.getRandomValues(new Int32Array(2));
const SCRATCH = new Uint8Array(NAME_MAX);

/** {@link hashBytes} of a name's bytes. */
export function hashName(name: string): number {
  const { length } = name;
  if (length > SCRATCH.length) return hashBytes(encodeName(name));
  for (let at = 0; at < length; at++) {
    const unit = name.charCodeAt(at);
    if (unit >= 0x80) return hashBytes(encodeName(name));
    SCRATCH[at] = unit;
  }
  return hashBytes(SCRATCH, 0, length);
}

/** HalfSipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", in its form for 32 bits), with a key of this process. */
export function hashBytes(bytes: Uint8Array, from = 0, to = bytes.length): number {
  let v0 = KEY[0]!;
  let v1 = KEY[1]!;
  let v2 = 0x6c796765 ^ KEY[0]!;
  let v3 = 0x74656462 ^ KEY[1]!;
  const end = to - ((to - from) & 3);
  for (let at = from, left = 5; left > 0; at += 4) {
    let word = 0;
    if (at < end) word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    else if (--left === 4) {
      word = (to - from) << 24;
      for (let n = at; n < to; n++) word |= bytes[n]! << (8 * (n - at));
    } else if (left === 3) v2 ^= 0xff;
    else if (left === 0) break;
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  return v1 ^ v3;
}
