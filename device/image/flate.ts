import { concat } from '../bytes.ts';
import { SnapshotError } from '../snapshot/errors.ts';

/** Compresses and unpacks (RFC 1951). What is given is borrowed until the promise settles, what is returned is the caller's. */
export interface Flate {
  /** Compresses: a raw stream, without a header. */
  deflate(bytes: Uint8Array): Promise<Uint8Array>;
  /** Unpacks. @throws SnapshotError unless exactly `length` bytes come out. */
  inflate(bytes: Uint8Array, length: number): Promise<Uint8Array>;
}

/** The one that browsers and Node have. */
export const streamFlate: Flate = {
  async deflate(bytes) {
    return concat(await collect(through(bytes, new CompressionStream('deflate-raw')), Infinity));
  },
  async inflate(bytes, length) {
    let parts: Uint8Array[];
    try {
      parts = await collect(through(bytes, new DecompressionStream('deflate-raw')), length);
    } catch (error) {
      if (error instanceof SnapshotError) throw error;
      throw new SnapshotError(`${bytes.length} compressed bytes are damaged: ${(error as Error).message}`, {
        cause: error,
      });
    }
    const whole = parts.length === 1 ? parts[0]! : concat(parts);
    if (whole.length !== length) throw wrongLength(whole.length, length);
    return whole;
  },
};

export function wrongLength(found: number | string, expected: number): SnapshotError {
  return new SnapshotError(`compressed bytes are damaged: they make ${found} bytes of ${expected}`);
}

function through(
  bytes: Uint8Array,
  transform: CompressionStream | DecompressionStream,
): ReadableStreamDefaultReader<Uint8Array> {
  const source = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
  return source.pipeThrough(transform as ReadableWritablePair<Uint8Array, Uint8Array>).getReader();
}

async function collect(reader: ReadableStreamDefaultReader<Uint8Array>, limit: number): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return parts;
    length += value.length;
    if (length > limit) {
      await reader.cancel().catch(() => {});
      throw wrongLength(`more than ${limit}`, limit);
    }
    parts.push(value);
  }
}
