import { promisify } from 'node:util';
import { constants, deflateRaw, inflateRaw } from 'node:zlib';
import { type Flate, wrongLength } from '../../../device/image/flate.ts';
import { SnapshotError } from '../../../device/index.ts';

const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw);

/** Node's own, in other threads than the emulator's. */
export const nodeFlate: Flate = {
  deflate: (bytes) => deflate(bytes, { level: constants.Z_BEST_COMPRESSION }),
  async inflate(bytes, length) {
    let found: Uint8Array;
    try {
      found = await inflate(bytes, { maxOutputLength: Math.max(length, 1) });
    } catch (error) {
      throw new SnapshotError(`${bytes.length} compressed bytes are damaged: ${(error as Error).message}`, {
        cause: error,
      });
    }
    if (found.length !== length) throw wrongLength(found.length, length);
    return new Uint8Array(found.buffer, found.byteOffset, length);
  },
};
