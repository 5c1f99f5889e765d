import { once } from 'node:events';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { MAX_MESSAGE, MAX_STRANGER_MESSAGE, type MigrationChannel, MigrationError } from '../../../device/index.ts';

/**
 * A channel over a socket, or the two ends of a pipe: each message behind its length, u32 in network order. `isCaller`: see
 * {@link MigrationChannel}.
 */
export function duplexChannel(readable: Readable, writable: Writable, isCaller?: boolean): MigrationChannel {
  const chunks = readable[Symbol.asyncIterator]() as AsyncIterator<unknown>;
  let rest: Uint8Array = new Uint8Array(0);
  let limit = MAX_STRANGER_MESSAGE;
  const closed = new Promise((resolve) => writable.once('close', resolve));
  // Else a socket keeps short messages back, 40 ms each.
  if (writable instanceof Socket) writable.setNoDelay();
  const swallow = () => {};
  readable.on('error', swallow);
  writable.on('error', swallow);

  const close = () => {
    readable.destroy();
    writable.end();
  };

  /** As many bytes, however small the parts are that they come in; undefined when the stream ends before. */
  const take = async (length: number): Promise<Buffer | undefined> => {
    const bytes = Buffer.alloc(length);
    for (let at = 0; ; ) {
      const part = rest.subarray(0, length - at);
      bytes.set(part, at);
      rest = rest.subarray(part.length);
      at += part.length;
      if (at === length) return bytes;
      const { done, value } = await chunks.next().catch(() => ({ done: true, value: undefined }));
      if (done || !(value instanceof Uint8Array)) return undefined;
      rest = value;
    }
  };

  return {
    isCaller,
    async send(message) {
      if (writable.destroyed || writable.writableEnded) throw new MigrationError('the connection is closed');
      const framed = Buffer.alloc(4 + message.length);
      framed.writeUInt32BE(message.length);
      framed.set(message, 4);
      if (!writable.write(framed)) await Promise.race([once(writable, 'drain').catch(swallow), closed]);
    },
    async receive() {
      const head = await take(4);
      if (!head) return undefined;
      const length = head.readUInt32BE();
      if (length > limit) {
        close();
        throw new MigrationError(
          `the other side sends ${length} bytes at once, or something other than a migration: ${limit} are allowed`,
        );
      }
      return take(length);
    },
    admit: () => {
      limit = MAX_MESSAGE;
    },
    close,
  };
}
