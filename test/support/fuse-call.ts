import { DEFERRED } from '../../device/fuse/request.ts';
import type { FuseSession } from '../../device/fuse/session.ts';

/** A message: `fuse_in_header`, and the body as numbers (u32), bigints (u64), text (with its NUL) or bytes. */
export function message(
  opcode: number,
  unique: bigint,
  nodeid: number,
  ...body: (number | bigint | string | Uint8Array)[]
): Uint8Array {
  const out: number[] = [];
  const push = (value: number | bigint, size: number) => {
    for (let n = 0; n < size; n++) out.push(Number((BigInt(value) >> BigInt(8 * n)) & 0xffn));
  };
  push(0, 4);
  push(opcode, 4);
  push(unique, 8);
  push(nodeid, 8);
  for (const value of [0, 0, 1, 0]) push(value, 4);
  for (const field of body) {
    if (field instanceof Uint8Array) out.push(...field);
    else if (typeof field === 'string') out.push(...new TextEncoder().encode(`${field}\0`));
    else push(field, typeof field === 'bigint' ? 8 : 4);
  }
  const bytes = Uint8Array.from(out);
  new DataView(bytes.buffer).setUint32(0, bytes.length, true);
  return bytes;
}

export interface Answer {
  /** 0, or a negative errno; undefined for a request that waits. */
  error: number | undefined;
  /** The same of a request that waited and was answered. */
  later: number | undefined;
  payload: DataView;
  text: string;
}

let unique = 0n;

/** One request to a session, over plain buffers. */
export function call(
  session: FuseSession,
  opcode: number,
  nodeid: number,
  ...body: (number | bigint | string | Uint8Array)[]
): Answer {
  const sent = message(opcode, (unique += 2n), nodeid, ...body);
  let at = 0;
  const reply = new Uint8Array(70_000);
  const length = session.handle({
    source: {
      get remaining() {
        return sent.length - at;
      },
      read: (dst, offset, wanted) => {
        const part = sent.subarray(at, at + wanted);
        dst.set(part, offset);
        at += part.length;
        return part.length;
      },
    },
    sink: {
      capacity: reply.length,
      writeAt: (position, src, offset, count) => {
        const part = src.subarray(offset, offset + Math.min(count, reply.length - position));
        reply.set(part, position);
        return part.length;
      },
    },
    isAwaited: true,
    complete: () => (answer.later = errorOf(reply)),
  });
  const payload = reply.subarray(16, Math.max(16, length));
  const answer: Answer = {
    error: length === DEFERRED ? undefined : errorOf(reply),
    later: undefined,
    payload: new DataView(payload.buffer, payload.byteOffset, payload.byteLength),
    text: new TextDecoder().decode(payload),
  };
  return answer;
}

function errorOf(reply: Uint8Array): number {
  return new DataView(reply.buffer).getInt32(4, true);
}
