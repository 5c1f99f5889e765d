/** Bytes that a part has at least and at most; on average, about five times the least. */
const MIN_PART = 16 << 10;
export const MAX_PART = 256 << 10;
/** A part ends where these bits of the rolling hash are zeros: once in 64 KiB. */
const MASK = 0xffff0000;

/** A number for each byte, the same for ever, so that the same bytes are cut at the same places in every process. */
const GEAR = Int32Array.from({ length: 256 }, (_, byte) => {
  let x = Math.imul(byte + 1, 0x9e3779b9);
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return x ^ (x >>> 15);
});

/**
 * Cuts bytes into parts where their content says so (a gear hash over the last 32 bytes), so that a change in one place leaves the
 * parts before and after it as they were. Each is a view of `bytes`.
 */
export function* cutByContent(bytes: Uint8Array): Generator<Uint8Array> {
  for (let from = 0; from < bytes.length; ) {
    const end = Math.min(from + MAX_PART, bytes.length);
    let to = Math.min(from + MIN_PART, end);
    for (let hash = 0; to < end; ) {
      hash = ((hash << 1) + GEAR[bytes[to++]!]!) | 0;
      if ((hash & MASK) === 0) break;
    }
    yield bytes.subarray(from, to);
    from = to;
  }
}
