import type { ByteSink, ByteSource } from '../bytes.ts';
import { NAME_MAX, PATH_MAX, XATTR_NAME_MAX } from '../fs/constants.ts';
import { EINVAL, ENAMETOOLONG, ENOENT, ERANGE, FsError } from '../fs/errno.ts';
import { decodeName } from '../fs/names.ts';
import { fuse_in_header, fuse_out_header } from './layouts.ts';
import type { View } from './struct.ts';

export const IN_HEADER_SIZE = fuse_in_header.size;
export const OUT_HEADER_SIZE = fuse_out_header.size;

/**
 * Bytes of a message that are kept: an extended attribute of 64 KiB, names, structs and a list of 8,000 inodes to forget fit. WRITE's
 * data stays in the source and doesn't count.
 */
export const MESSAGE_MAX = 128 * 1024;
/** Bytes of a reply that are put together here: structs and lists of directory entries. */
export const REPLY_MAX = 64 * 1024;

/** What a NUL-terminated string of a message is, and so which bytes it may have. */
export type StringKind = 'name' | 'lookup' | 'target' | 'xattr' | 'ignored';

/**
 * Reads one message after the other into a buffer of its own: a guest can change its memory while
 * we look. What it hands out is borrowed until the next message.
 */
export class MessageReader {
  readonly bytes = new Uint8Array(MESSAGE_MAX);
  readonly view = new DataView(this.bytes.buffer);
  readonly header: View<typeof fuse_in_header> = fuse_in_header.at(this.view, 0);
  #source!: ByteSource;
  /** Bytes of the message, by its header, that have not been taken out of the source. */
  #unread = 0;
  /** Of what was taken: how much there is, and how much was looked at. */
  #end = 0;
  #at = 0;

  /** Takes the header. `limit`: bytes that a message may have. @throws FsError EINVAL when it is cut off, or claims more than there is or may be. */
  begin(source: ByteSource, limit: number): void {
    const available = source.remaining;
    const count = source.read(this.bytes, 0, IN_HEADER_SIZE);
    if (count < IN_HEADER_SIZE) {
      this.bytes.fill(0, count, IN_HEADER_SIZE);
      throw FsError.of(EINVAL);
    }
    const { len } = this.header;
    if (len < IN_HEADER_SIZE || len > available || len > limit) throw FsError.of(EINVAL);
    this.#source = source;
    this.#at = this.#end = IN_HEADER_SIZE;
    this.#unread = len - IN_HEADER_SIZE;
  }

  /** Bytes of the message after what was taken: what the handler finds in the source. */
  get unread(): number {
    return this.#unread;
  }

  /** Takes a struct of `size` bytes; a longer one that the reader knows, up to `fullSize`, reads as 0 from there. */
  takeStruct(size: number, fullSize: number): void {
    if (size > this.#unread) throw FsError.of(EINVAL);
    this.#take(size);
    const end = IN_HEADER_SIZE + fullSize;
    this.bytes.fill(0, this.#end, end);
    this.#at = this.#end = end;
  }

  /** Takes all that is left. */
  takeRest(): void {
    this.#take(this.#unread);
  }

  #take(length: number): void {
    if (this.#end + length > MESSAGE_MAX) throw FsError.of(EINVAL);
    const count = this.#source.read(this.bytes, this.#end, length);
    this.#end += count;
    this.#unread -= count;
    if (count < length) throw FsError.of(EINVAL);
  }

  /** The next string of what was taken. @throws FsError EINVAL without a NUL; else as the kind says. */
  string(kind: StringKind): string {
    const start = this.#at;
    const end = this.bytes.indexOf(0, start);
    if (end < 0 || end >= this.#end) throw FsError.of(EINVAL);
    this.#at = end + 1;
    if (kind === 'ignored') return '';
    return decodeName(checkString(kind, this.bytes.subarray(start, end)));
  }

  /** What was taken and not looked at, borrowed. */
  rest(): Uint8Array {
    return this.bytes.subarray(this.#at, this.#end);
  }
}

const SLASH = 0x2f;
const DOT = 0x2e;

function checkString(kind: Exclude<StringKind, 'ignored'>, bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  switch (kind) {
    case 'name':
    case 'lookup':
      if (length > NAME_MAX) throw FsError.of(ENAMETOOLONG);
      if (length === 0 || bytes.includes(SLASH)) throw FsError.of(EINVAL);
      if (kind === 'name' && bytes[0] === DOT && (length === 1 || (length === 2 && bytes[1] === DOT)))
        throw FsError.of(EINVAL);
      break;
    case 'target':
      if (length >= PATH_MAX) throw FsError.of(ENAMETOOLONG);
      if (length === 0) throw FsError.of(ENOENT);
      break;
    case 'xattr':
      if (length === 0 || length > XATTR_NAME_MAX) throw FsError.of(ERANGE);
      break;
  }
  return bytes;
}

/** Puts replies together, and is the only one to write `fuse_out_header`. */
export class ReplyWriter {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #header: View<typeof fuse_out_header>;

  /** `payload`: bytes of room after the header. */
  constructor(payload: number) {
    this.bytes = new Uint8Array(OUT_HEADER_SIZE + payload);
    this.view = new DataView(this.bytes.buffer);
    this.#header = fuse_out_header.at(this.view, 0);
  }

  /** Makes room for a struct of `size` bytes, all 0, after the header. */
  clear(size: number): void {
    this.bytes.fill(0, OUT_HEADER_SIZE, OUT_HEADER_SIZE + size);
  }

  /** Sends header and `structSize` bytes from here; `payload` bytes in all are in the sink after the header. Returns the reply's length. */
  success(sink: ByteSink, unique: bigint, payload: number, structSize: number): number {
    return this.#send(sink, unique, 0, payload, structSize);
  }

  /** Returns the reply's length: 0 when not even the header fits. */
  error(sink: ByteSink, unique: bigint, errno: number): number {
    return sink.capacity < OUT_HEADER_SIZE ? 0 : this.#send(sink, unique, -errno, 0, 0);
  }

  #send(sink: ByteSink, unique: bigint, error: number, payload: number, structSize: number): number {
    this.#header.len = OUT_HEADER_SIZE + payload;
    this.#header.error = error;
    this.#header.unique = unique;
    sink.writeAt(0, this.bytes, 0, OUT_HEADER_SIZE + structSize);
    return OUT_HEADER_SIZE + payload;
  }
}
