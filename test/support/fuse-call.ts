import { BytesSink, BytesSource } from '../../device/bytes.ts';
import { answerOf, type Body, message, type OperationName, type Out } from '../../device/conformance/message.ts';
import { fuse_out_header } from '../../device/fuse/layouts.ts';
import { DEFERRED } from '../../device/fuse/request.ts';
import type { FuseSession } from '../../device/fuse/session.ts';

/** What came of a request to an operation. */
export interface Answer<O extends OperationName | number = number> {
  /** 0, or a negative errno; undefined for a request that waits. */
  error: number | undefined;
  /** The same of a request that waited and was answered. */
  later: number | undefined;
  /** What follows `fuse_out_header`, as bytes, as text and as the operation's struct. */
  payload: DataView;
  bytes: Uint8Array;
  text: string;
  out: Out<O>;
}

const OUT_HEADER = fuse_out_header.size;

let unique = 0n;

/** One request to a session, over plain buffers. */
export function call<O extends OperationName | number>(
  session: FuseSession,
  operation: O,
  nodeid: number,
  ...body: Body<O>
): Answer<O> {
  const sent = message(operation, { unique: (unique += 2n), nodeid }, ...body);
  const reply = new Uint8Array(70_000);
  const length = session.handle({
    source: new BytesSource(sent),
    sink: new BytesSink(reply),
    isAwaited: true,
    complete: (written) => Object.assign(answer, contentOf(operation, reply, written), { later: errorOf(reply) }),
  });
  const answer: Answer<O> = {
    error: length === DEFERRED ? undefined : errorOf(reply),
    later: undefined,
    ...contentOf(operation, reply, length),
  };
  return answer;
}

function contentOf<O extends OperationName | number>(
  operation: O,
  reply: Uint8Array,
  length: number,
): Pick<Answer<O>, 'payload' | 'bytes' | 'text' | 'out'> {
  const payload = new DataView(reply.buffer, OUT_HEADER, Math.max(0, length - OUT_HEADER));
  return {
    payload,
    bytes: reply.slice(OUT_HEADER, Math.max(OUT_HEADER, length)),
    text: new TextDecoder().decode(payload),
    out: answerOf(operation, payload),
  };
}

function errorOf(reply: Uint8Array): number {
  return new DataView(reply.buffer).getInt32(4, true);
}
