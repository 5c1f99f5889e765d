import { viewOf } from '../bytes.ts';
import { errnoName } from '../fs/errno.ts';
import { decodeName } from '../fs/names.ts';
import { fuse_in_header, fuse_out_header } from '../fuse/layouts.ts';

/** The opcode of a request; undefined of one that is shorter than its header. */
export function opcodeOf(message: Uint8Array): number | undefined {
  return message.length < fuse_in_header.size
    ? undefined
    : viewOf(message).getUint32(fuse_in_header.offsets.opcode, true);
}

/** What a reply says: its errno, 0 for none, and what follows `fuse_out_header`, borrowed. Undefined for bytes that are no reply. */
export function readReply(reply: Uint8Array): { errno: number; payload: Uint8Array } | undefined {
  if (reply.length < fuse_out_header.size) return undefined;
  return { errno: -fuse_out_header.at(viewOf(reply), 0).error, payload: reply.subarray(fuse_out_header.size) };
}

/** `ok`, or the errno's name. */
export function outcomeOf(errno: number): string {
  return errno === 0 ? 'ok' : errnoName(errno);
}

/** The names of a message, after its struct of `size` bytes. */
export function namesOf(message: Uint8Array, size: number, count: number): string[] {
  const names: string[] = [];
  for (let at = fuse_in_header.size + size; names.length < count; ) {
    const end = message.indexOf(0, at);
    if (end < 0) break;
    names.push(decodeName(message.subarray(at, end)));
    at = end + 1;
  }
  return names;
}
