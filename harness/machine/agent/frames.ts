/**
 * Frames between host and guest agent, both ways, little-endian:
 *
 * | offset | bytes | field |
 * |---|---|---|
 * | 0 | 2 | 0xA5, 0x5A |
 * | 2 | 1 | type |
 * | 3 | 1 | 0 |
 * | 4 | 4 | id of the process |
 * | 8 | 2 | length of the payload |
 * | 10 | … | payload |
 * | 10 + length | 4 | checksum of all before: Adler-32's two sums, modulo 2^16 |
 *
 * A guest that finds something else passes it over: it may have been restored in the middle of a frame. What the host does: {@link FrameReader}.
 */
export interface Frame {
  type: number;
  id: number;
  /** A view; valid during the call that brings it. */
  payload: Uint8Array;
}

export type Stream = 'stdout' | 'stderr';

/** Of a process. */
export interface Output {
  stream: Stream;
  bytes: Uint8Array;
}

export const TO_GUEST = {
  HELLO: 1,
  PART: 2,
  SPAWN: 3,
  INPUT: 4,
  END_INPUT: 5,
  KILL: 6,
  RESIZE: 7,
  CREDIT: 8,
  CLOSE: 9,
  LIST: 10,
  RENEW: 11,
} as const;
export const TO_HOST = {
  WELCOME: 65,
  TAKEN: 66,
  STARTED: 67,
  FAILED: 68,
  OUTPUT: 69,
  ERRORS: 70,
  INPUT_TAKEN: 71,
  EXITED: 72,
  LISTED: 73,
  RENEWED: 74,
} as const;

const SYNC = [0xa5, 0x5a] as const;
const HEADER_SIZE = 10;
const CHECK_SIZE = 4;
/** The longest payload to the guest, and to the host. */
export const MAX_TO_GUEST = 1024;
const MAX_TO_HOST = 8192;
const WELCOME_LENGTH = 12;
/** That the agent has at once. */
export const MAX_PROCESSES = 256;
const LONGEST_TO_HOST = HEADER_SIZE + MAX_TO_HOST + CHECK_SIZE;
/** More than the guest can be in the middle of. */
export const LONGEST_TO_GUEST = HEADER_SIZE + MAX_TO_GUEST + CHECK_SIZE;

export function encodeFrame(type: number, id: number, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const frame = new Uint8Array(HEADER_SIZE + payload.length + CHECK_SIZE);
  const view = new DataView(frame.buffer);
  frame.set([...SYNC, type]);
  view.setUint32(4, id, true);
  view.setUint16(8, payload.length, true);
  frame.set(payload, HEADER_SIZE);
  view.setUint32(HEADER_SIZE + payload.length, checksum(frame, 0, HEADER_SIZE + payload.length), true);
  return frame;
}

/** The process that a frame of {@link encodeFrame} is of. */
export function idOf(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset).getUint32(4, true);
}

/** Bytes that the payload of each may have, of those to the host. */
const LENGTHS: Record<number, (length: number) => boolean> = {
  // Agents of older images don't tell the time.
  [TO_HOST.WELCOME]: (length) => length === 0 || length === WELCOME_LENGTH,
  [TO_HOST.TAKEN]: (length) => length === 4,
  [TO_HOST.STARTED]: (length) => length === 4,
  [TO_HOST.FAILED]: (length) => length === 4,
  [TO_HOST.OUTPUT]: (length) => length > 0 && length <= MAX_TO_HOST,
  [TO_HOST.ERRORS]: (length) => length > 0 && length <= MAX_TO_HOST,
  [TO_HOST.INPUT_TAKEN]: (length) => length === 4,
  [TO_HOST.EXITED]: (length) => length === 4,
  [TO_HOST.LISTED]: (length) => length % 4 === 0 && length <= 4 * MAX_PROCESSES,
  [TO_HOST.RENEWED]: (length) => length === 8,
};

/** Who is told what a {@link FrameReader} reads. */
export interface FrameListener {
  onFrame(frame: Frame): void;
  /** Output from before a session, of a guest that goes on. `bytes` is a view; valid during the call. */
  onEarlyOutput(id: number, output: Output): void;
  /** Something else than a frame has come: nothing is read until {@link FrameReader.seek} is called. */
  onNoise(): void;
}

/**
 * Reads the guest's frames from a stream of bytes, each as long as its type has to be. Before the answer to a session's HELLO only output is of
 * use, and that only where the stream is known to be at a frame; otherwise the guest may be in the middle of anything, and all is passed over. From
 * the answer on nothing but whole frames may come.
 */
export class FrameReader {
  readonly #listener: FrameListener;
  readonly #bytes = new Uint8Array(4 * MAX_TO_HOST);
  readonly #view = new DataView(this.#bytes.buffer);
  #start = 0;
  #end = 0;
  #state: 'following' | 'seeking' | 'reading' | 'ended' = 'ended';
  #session = 0;

  constructor(listener: FrameListener) {
    this.#listener = listener;
  }

  /** What has come of a frame that is not whole, as a copy; undefined when it is not known where one begins. */
  get begun(): Uint8Array | undefined {
    if (this.#state !== 'following' && this.#state !== 'reading') return undefined;
    return this.#bytes.slice(this.#start, this.#end);
  }

  /** Starts over for another guest, whose stream continues after `begun` (borrowed); undefined when nothing is known of it. */
  follow(begun: Uint8Array | undefined): void {
    this.#session = 0;
    this.#start = this.#end = 0;
    this.#state = 'ended';
    if (!begun || begun.length >= LONGEST_TO_HOST) return;
    this.#state = 'following';
    this.push(begun);
  }

  /** Begins to look for the answer to this session's HELLO. */
  seek(session: number): void {
    this.#session = session;
    this.#state = this.#state === 'reading' || this.#state === 'following' ? 'following' : 'seeking';
  }

  end(): void {
    this.#state = 'ended';
  }

  /** `bytes` is borrowed. */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && this.#state !== 'ended'; ) {
      this.#bytes.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
      // A frame has room, so there is some left.
      const part = bytes.subarray(at, at + this.#bytes.length - this.#end);
      this.#bytes.set(part, this.#end);
      this.#end += part.length;
      at += part.length;
      while (this.#step());
    }
    if (this.#state === 'ended') this.#start = this.#end = 0;
  }

  /** Takes a frame, or bytes that are not a frame. Returns whether there may be more. */
  #step(): boolean {
    if (this.#state === 'ended' || this.#start === this.#end) return false;
    const isFrame = this.#judge();
    if (isFrame === undefined) return this.#findAnswer();
    if (!isFrame) {
      if (this.#state === 'reading') {
        this.#state = 'ended';
        this.#listener.onNoise();
      } else {
        this.#state = 'seeking';
        this.#start++;
      }
      return true;
    }
    const view = this.#view;
    const start = this.#start;
    const payload = this.#bytes.subarray(start + HEADER_SIZE, start + HEADER_SIZE + view.getUint16(start + 8, true));
    this.#start += HEADER_SIZE + payload.length + CHECK_SIZE;
    const [type, id] = [this.#bytes[start + 2]!, view.getUint32(start + 4, true)];
    if (this.#state !== 'reading' && this.#isAnswer(start)) this.#state = 'reading';
    if (this.#state === 'reading') this.#listener.onFrame({ type, id, payload });
    else if (type === TO_HOST.OUTPUT) this.#listener.onEarlyOutput(id, { stream: 'stdout', bytes: payload });
    else if (type === TO_HOST.ERRORS) this.#listener.onEarlyOutput(id, { stream: 'stderr', bytes: payload });
    return true;
  }

  /** The answer to HELLO behind a frame of which the rest never came is as good. Returns whether it is there. */
  #findAnswer(): boolean {
    if (this.#state !== 'following') return false;
    const begun = this.#start;
    this.#state = 'seeking';
    for (let at = begun + 1; at + HEADER_SIZE <= this.#end; at++) {
      this.#start = at;
      if (this.#isAnswer(at) && this.#judge()) return true;
    }
    this.#start = begun;
    this.#state = 'following';
    return false;
  }

  /** Whether what begins here answers this session's HELLO. */
  #isAnswer(start: number): boolean {
    return this.#bytes[start + 2] === TO_HOST.WELCOME && this.#view.getUint32(start + 4, true) === this.#session;
  }

  /** Whether a frame begins here that may come now; undefined when there are too few bytes to tell. */
  #judge(): boolean | undefined {
    const bytes = this.#bytes;
    const start = this.#start;
    const available = this.#end - start;
    if (bytes[start] !== SYNC[0] || (available > 1 && bytes[start + 1] !== SYNC[1])) return false;
    if (available < HEADER_SIZE) return undefined;
    const type = bytes[start + 2]!;
    const length = this.#view.getUint16(start + 8, true);
    if (bytes[start + 3] !== 0 || !LENGTHS[type]?.(length)) return false;
    if (this.#state === 'seeking' && !this.#isAnswer(start)) return false;
    if (available < HEADER_SIZE + length + CHECK_SIZE) return undefined;
    return (
      this.#view.getUint32(start + HEADER_SIZE + length, true) === checksum(bytes, start, start + HEADER_SIZE + length)
    );
  }
}

function checksum(bytes: Uint8Array, from: number, to: number): number {
  let a = 1;
  let b = 0;
  for (let at = from; at < to; at++) {
    a = (a + bytes[at]!) & 0xffff;
    b = (b + a) & 0xffff;
  }
  return (a | (b << 16)) >>> 0;
}
