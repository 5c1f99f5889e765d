import { DEFERRED, type FuseRequest } from '../../device/fuse/request.ts';
import type { FuseSession } from '../../device/fuse/session.ts';
import { encodeEvent, type RecordedEvent, recordingEnd, recordingStart } from '../../device/replay/recording.ts';

/** Records what a session is asked and answers from now on, without a device. */
export function recordEvents(session: FuseSession): RecordedEvent[] {
  const events: RecordedEvent[] = [];
  const handle = session.handle.bind(session);
  let count = 0;
  session.handle = (request: FuseRequest) => {
    const message = new Uint8Array(request.source.remaining);
    request.source.read(message, 0, message.length);
    request.source.rewind();
    const number = ++count;
    const { capacity } = request.sink;
    events.push({ kind: 'request', number, capacity, message });
    const reply = new Uint8Array(capacity);
    const answered = (written: number) => {
      if (written > 0) events.push({ kind: 'reply', number, message: reply.slice(0, written) });
      return written;
    };
    const length = handle({
      source: request.source,
      sink: {
        capacity,
        writeAt(position, src, offset, length) {
          const written = request.sink.writeAt(position, src, offset, length);
          reply.set(src.subarray(offset, offset + written), position);
          return written;
        },
      },
      get isAwaited() {
        return request.isAwaited;
      },
      set isAwaited(isAwaited) {
        request.isAwaited = isAwaited;
      },
      complete: (written) => request.complete(answered(written)),
    });
    return length === DEFERRED ? length : answered(length);
  };
  return events;
}

export function recordingOf(events: readonly RecordedEvent[]): Uint8Array[] {
  const requests = events.filter(({ kind }) => kind === 'request').length;
  return [recordingStart(), ...events.map(encodeEvent), recordingEnd(requests)];
}
