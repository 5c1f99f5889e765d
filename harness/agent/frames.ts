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
 * Who finds something else passes it over: a restored machine may be in the middle of a frame.
 */
export interface Frame {
  type: number;
  id: number;
  /** A view; valid during the call that brings it. */
  payload: Uint8Array;
}

export const TO_GUEST = { HELLO: 1, PART: 2, SPAWN: 3, INPUT: 4, END_INPUT: 5, KILL: 6, RESIZE: 7, CREDIT: 8, CLOSE: 9, LIST: 10, RENEW: 11 } as const;
export const TO_HOST = { WELCOME: 65, TAKEN: 66, STARTED: 67, FAILED: 68, OUTPUT: 69, ERRORS: 70, INPUT_TAKEN: 71, EXITED: 72, LISTED: 73, RENEWED: 74 } as const;

const SYNC = [0xa5, 0x5a] as const;
const HEADER_SIZE = 10;
const CHECK_SIZE = 4;
/** The longest payload to the guest, and to the host. */
export const MAX_TO_GUEST = 1024;
const MAX_TO_HOST = 8192;
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

/** Finds the guest's frames in a stream of bytes. */
export class FrameReader {
  readonly #onFrame: (frame: Frame) => void;
  #bytes = new Uint8Array(4 * MAX_TO_HOST);
  #start = 0;
  #end = 0;

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  /** `bytes` is borrowed. */
  push(bytes: Uint8Array): void {
    this.#makeRoom(bytes.length);
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.length;
    for (let length = this.#next(); length > 0; length = this.#next()) this.#start += length;
  }

  #makeRoom(length: number): void {
    if (this.#end + length <= this.#bytes.length) return;
    const held = this.#bytes.subarray(this.#start, this.#end);
    const room = held.length + length <= this.#bytes.length ? this.#bytes : new Uint8Array(2 * (held.length + length));
    room.set(held);
    this.#bytes = room;
    this.#start = 0;
    this.#end = held.length;
  }

  /** Takes a frame, or a byte that begins none. Returns how many bytes are done with; 0 when there are too few. */
  #next(): number {
    const bytes = this.#bytes;
    const start = this.#start;
    const available = this.#end - start;
    if (available === 0) return 0;
    if (bytes[start] !== SYNC[0]) return 1;
    if (available < HEADER_SIZE) return 0;
    const view = new DataView(bytes.buffer, start, available);
    const length = view.getUint16(8, true);
    if (bytes[start + 1] !== SYNC[1] || length > MAX_TO_HOST) return 1;
    const whole = HEADER_SIZE + length + CHECK_SIZE;
    if (available < whole) return 0;
    if (view.getUint32(HEADER_SIZE + length, true) !== checksum(bytes, start, start + HEADER_SIZE + length)) return 1;
    this.#onFrame({ type: bytes[start + 2]!, id: view.getUint32(4, true), payload: bytes.subarray(start + HEADER_SIZE, start + HEADER_SIZE + length) });
    return whole;
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
