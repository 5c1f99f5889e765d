/** Raised whenever something is said in another way. */
export const PROTOCOL = 1;

/** What a client says. */
export const FROM_CLIENT = {
  /** JSON of a `Call`: what is to be run, and by whom. Nothing more is said before the answer. */
  CALL: 1,
  /** The daemon is to end. */
  STOP: 2,
  /** It has read ACCEPTED, and will not run the command itself any more. */
  GO: 3,
  /** Number of a stream: what was sent for it last is written. */
  WRITTEN: 4,
  /** Number of a stream, and the error's code and message with a space between: nothing can be written there any more. */
  LOST: 5,
  /** Bytes of stdin, after WANT. */
  INPUT: 6,
  INPUT_END: 7,
  /** The error's message. */
  INPUT_FAILED: 8,
  /** Its name. */
  SIGNAL: 9,
  /** Columns and rows of the terminal, two bytes each. */
  RESIZE: 10,
} as const;

/** What the daemon says. */
export const FROM_DAEMON = {
  ACCEPTED: 32,
  /** Why the client has to run it itself. */
  DECLINED: 33,
  STDOUT: 34,
  STDERR: 35,
  /** More of stdin. */
  WANT: 36,
  /** 1 to make a terminal raw, 0 to end that. */
  RAW: 37,
  /** The exit code. All output before it is written. */
  EXIT: 38,
} as const;

/** Bytes of a CALL: as much as Linux lets a program have of arguments and variables. */
export const LONGEST_CALL = 4 << 20;
/** Bytes of anything else. */
export const LONGEST = 128 << 10;
/** Bytes that are sent at once. */
export const PIECE = 64 << 10;
const HEADER = 5;

export interface Frame {
  type: number;
  payload: Buffer;
}

/** A frame: the payload's length in four bytes, little-endian; its type in one; the payload. */
export function encodeFrame(type: number, payload: Uint8Array | string = ''): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
  const frame = Buffer.allocUnsafe(HEADER + bytes.length);
  frame.writeUInt32LE(bytes.length, 0);
  frame[4] = type;
  frame.set(bytes, HEADER);
  return frame;
}

/** Cuts what comes from a socket into frames. */
export class FrameReader {
  readonly #longest: number;
  #parts: Buffer[] = [];
  #length = 0;

  constructor(longest: number) {
    this.#longest = longest;
  }

  /** Bytes of a frame that is not whole. */
  get rest(): number {
    return this.#length;
  }

  /** The frames that are whole now. @throws RangeError for one that is longer than any may be: no frame comes after it. */
  push(chunk: Buffer): Frame[] {
    this.#parts.push(chunk);
    this.#length += chunk.length;
    const frames: Frame[] = [];
    while (this.#length >= HEADER) {
      if (this.#parts[0]!.length < HEADER) this.#join();
      const length = this.#parts[0]!.readUInt32LE(0);
      if (length > this.#longest) throw new RangeError(`a message of ${length} bytes`);
      if (this.#length < HEADER + length) break;
      if (this.#parts[0]!.length < HEADER + length) this.#join();
      const all = this.#parts[0]!;
      frames.push({ type: all[4]!, payload: all.subarray(HEADER, HEADER + length) });
      this.#parts[0] = all.subarray(HEADER + length);
      this.#length -= HEADER + length;
    }
    return frames;
  }

  #join(): void {
    this.#parts = [Buffer.concat(this.#parts)];
  }
}
