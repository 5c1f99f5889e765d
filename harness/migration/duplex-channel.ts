import { once } from 'node:events';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import type { MigrationChannel } from '../../device/index.ts';

/** Of a message, u32 before it. */
const MAX_LENGTH = 16 << 20;

/** A channel over a socket, or the two ends of a pipe: each message behind its length, u32 in network order. */
export function duplexChannel(readable: Readable, writable: Writable): MigrationChannel {
  const chunks = readable[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest: Buffer = Buffer.alloc(0);
  const closed = new Promise((resolve) => writable.once('close', resolve));
  // Else a socket keeps short messages back, 40 ms each.
  if (writable instanceof Socket) writable.setNoDelay();
  const swallow = () => {};
  readable.on('error', swallow);
  writable.on('error', swallow);

  const take = async (length: number): Promise<Buffer | undefined> => {
    const parts = [rest];
    let have = rest.length;
    while (have < length) {
      const { done, value } = await chunks.next().catch(() => ({ done: true, value: undefined }));
      if (done || !value) return undefined;
      parts.push(value);
      have += value.length;
    }
    const all = parts.length === 1 ? rest : Buffer.concat(parts);
    rest = all.subarray(length);
    return all.subarray(0, length);
  };

  return {
    async send(message) {
      if (writable.destroyed || writable.writableEnded) throw new Error('the connection is closed');
      const framed = Buffer.alloc(4 + message.length);
      framed.writeUInt32BE(message.length);
      framed.set(message, 4);
      if (!writable.write(framed)) await Promise.race([once(writable, 'drain'), closed]);
    },
    async receive() {
      const head = await take(4);
      if (!head) return undefined;
      const length = head.readUInt32BE();
      if (length > MAX_LENGTH) return undefined;
      const message = await take(length);
      return message && new Uint8Array(message);
    },
    close() {
      readable.destroy();
      writable.end();
    },
  };
}
