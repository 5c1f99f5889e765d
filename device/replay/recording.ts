/**
 * A session's requests and replies as bytes, in the order in which they came and went.
 *
 * A recording begins with {@link MAGIC}, and is a sequence of frames then, whose numbers are little-endian: `u32 length` of what follows the
 * frame's header, `u32 kind`, `u32 number` of the request, `u32` CRC-32 of kind, number and what follows, and that: of a request `u32 capacity`, the
 * bytes of room for its reply, and the FUSE message; of a reply the FUSE message; of the end nothing, its number is that of all requests.
 */
import CRC32 from 'crc-32';
import { concat, copyOf } from '../bytes.ts';

const MAGIC = new TextEncoder().encode('v86-virtiofs fuse\n1\n');
const HEADER = 16;
/** Bytes of a message that are kept: those of a session are shorter, and what a guest makes longer is refused whatever is in it. */
export const MAX_MESSAGE = 2 << 20;
/** Requests without a reply at a time. */
const MAX_UNANSWERED = 65_536;
const MAX_NUMBER = 2 ** 32 - 1;

const REQUEST = 1;
const REPLY = 2;
const END = 3;

/** One thing that happened. Requests are numbered from 1, in the order in which they came. */
export type RecordedEvent =
  /** `capacity`: bytes of room for the reply, 0 of what nothing answers. */
  | { kind: 'request'; number: number; capacity: number; message: Uint8Array }
  | { kind: 'reply'; number: number; message: Uint8Array };

/** A recording that can't be read. The message says where, and what is wrong. */
export class RecordingError extends Error {
  override readonly name = 'RecordingError';
}

/** What a recording begins with. */
export function recordingStart(): Uint8Array {
  return copyOf(MAGIC);
}

/** An event's frame. The message is cut where it is longer than {@link MAX_MESSAGE}; it is copied. */
export function encodeEvent(event: RecordedEvent): Uint8Array {
  const message = event.message.subarray(0, MAX_MESSAGE);
  if (event.kind === 'reply') return encodeFrame(REPLY, event.number, message);
  const capacity = new Uint8Array(4);
  new DataView(capacity.buffer).setUint32(0, Math.min(event.capacity, MAX_MESSAGE), true);
  return encodeFrame(REQUEST, event.number, concat([capacity, message]));
}

/** What a recording of so many requests ends with: without it, it was cut off. */
export function recordingEnd(count: number): Uint8Array {
  return encodeFrame(END, count, new Uint8Array(0));
}

function encodeFrame(kind: number, number: number, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER + body.length);
  frame.set(body, HEADER);
  const view = new DataView(frame.buffer);
  view.setUint32(0, body.length, true);
  view.setUint32(4, kind, true);
  view.setUint32(8, number, true);
  view.setUint32(12, checksum(frame), true);
  return frame;
}

/** Of a frame, its own field left out. */
function checksum(frame: Uint8Array): number {
  return CRC32.buf(frame.subarray(HEADER), CRC32.buf(frame.subarray(4, 12))) >>> 0;
}

/**
 * The events of a recording, which comes in parts of any size; what it keeps in memory is one event, and the numbers of requests that have no reply
 * yet. Messages are copies.
 *
 * @throws RecordingError as soon as something is wrong; for one that was cut off, after the events that are there.
 */
export async function* readRecording(
  parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<RecordedEvent> {
  const bytes = new Parts(parts);
  const magic = await bytes.take(MAGIC.length);
  if (!magic?.every((byte, n) => byte === MAGIC[n]))
    throw new RecordingError('this is no recording of requests, or one of another version');
  const unanswered = new Set<number>();
  let count = 0;
  for (;;) {
    const where = `at byte ${bytes.position}`;
    const cutOff = () => new RecordingError(`the recording is cut off ${where}, after ${count} requests`);
    const header = await bytes.take(HEADER);
    if (!header) throw cutOff();
    const view = new DataView(header.buffer, header.byteOffset);
    const [length, kind, number] = [0, 4, 8].map((at) => view.getUint32(at, true)) as [number, number, number];
    if (length > MAX_MESSAGE + 4)
      throw new RecordingError(`the recording is damaged ${where}: ${length} bytes in one message`);
    const body = await bytes.take(length);
    if (!body) throw cutOff();
    if (checksum(concat([header, body])) !== view.getUint32(12, true))
      throw new RecordingError(`the recording is damaged ${where}: the checksum is wrong`);
    const wrong = (what: string) => new RecordingError(`the recording is damaged ${where}: ${what}`);
    if (kind === REQUEST) {
      if (number !== count + 1) throw wrong(`request ${number} comes after request ${count}`);
      if (length < 4) throw wrong(`request ${number} is too short`);
      const capacity = new DataView(body.buffer, body.byteOffset).getUint32(0, true);
      if (capacity > MAX_MESSAGE) throw wrong(`request ${number} has room for ${capacity} bytes`);
      count++;
      if (capacity > 0) unanswered.add(number);
      if (unanswered.size > MAX_UNANSWERED) throw wrong(`more than ${MAX_UNANSWERED} requests wait for a reply`);
      yield { kind: 'request', number, capacity, message: body.subarray(4) };
    } else if (kind === REPLY) {
      if (!unanswered.delete(number)) throw wrong(`there is a reply to request ${number}, which waits for none`);
      yield { kind: 'reply', number, message: body };
    } else if (kind === END) {
      if (number !== count || length > 0) throw wrong(`it ends after ${number} requests, and has ${count}`);
      if (!(await bytes.isOver())) throw wrong('something comes after its end');
      return;
    } else throw wrong(`there is no message of kind ${kind}`);
  }
}

/** Whether one more request can be recorded. */
export function hasRoom(count: number, unanswered: number): boolean {
  return count < MAX_NUMBER && unanswered < MAX_UNANSWERED;
}

/** Bytes that come in parts. */
class Parts {
  position = 0;
  readonly #parts: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #held: Uint8Array[] = [];
  #length = 0;

  constructor(parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
    this.#parts = Symbol.asyncIterator in parts ? parts[Symbol.asyncIterator]() : parts[Symbol.iterator]();
  }

  /** The next bytes, copied; undefined when there are fewer. */
  async take(length: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    while (this.#length < length) if (!(await this.#more())) return undefined;
    const taken = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const first = this.#held[0]!;
      const part = first.subarray(0, length - at);
      taken.set(part, at);
      at += part.length;
      if (part.length === first.length) this.#held.shift();
      else this.#held[0] = first.subarray(part.length);
    }
    this.#length -= length;
    this.position += length;
    return taken;
  }

  async isOver(): Promise<boolean> {
    while (this.#length === 0) if (!(await this.#more())) return true;
    return false;
  }

  async #more(): Promise<boolean> {
    const { done, value } = await this.#parts.next();
    if (done) return false;
    if (value.length > 0) this.#held.push(value);
    this.#length += value.length;
    return true;
  }
}
