import { copyOf, viewOf } from '../bytes.ts';
import {
  FATTR_FH,
  FUSE_BATCH_FORGET,
  FUSE_GETATTR,
  FUSE_ROOT_ID,
  FUSE_SETATTR,
  FUSE_STATX,
} from '../fuse/constants.ts';
import {
  fuse_batch_forget_in,
  fuse_forget_one,
  fuse_getattr_in,
  fuse_in_header,
  fuse_read_in,
  fuse_setattr_in,
} from '../fuse/layouts.ts';
import type { Operation } from '../fuse/operation.ts';

/** fuse.h, `FUSE_GETATTR_FH`. */
const GETATTR_FH = 1;
/** What no filesystem gives out. */
const NOBODY = 2n ** 64n - 1n;

/** Fields of structs that name inodes. */
const NODES = ['newdir', 'oldnodeid', 'nodeid_out'];
/** … and open files and directories. */
const HANDLES = ['fh', 'fh_in', 'fh_out'];

/** What something of a recording is in the replay; undefined: there it could not be had. */
type Numbers = Map<bigint, bigint | undefined>;

/** Node ids and file handles of a recording, and what they are in its replay. */
export class Translation {
  readonly nodes: Numbers = new Map([[BigInt(FUSE_ROOT_ID), BigInt(FUSE_ROOT_ID)]]);
  readonly handles: Numbers = new Map();
  /** By recorded node id: a path that it had. */
  readonly #paths = new Map<bigint, string>([[BigInt(FUSE_ROOT_ID), '']]);

  /** Everything that a session knew is gone. */
  reset(): void {
    for (const numbers of [this.nodes, this.handles]) numbers.clear();
    this.nodes.set(BigInt(FUSE_ROOT_ID), BigInt(FUSE_ROOT_ID));
  }

  /** A path of a recorded node, as far as it is known. */
  path(nodeid: bigint): string {
    return this.#paths.get(nodeid) ?? `node ${nodeid}`;
  }

  name(nodeid: bigint, parent: bigint, name: string): void {
    this.#paths.set(nodeid, `${this.path(parent)}/${name}`);
  }

  /** A copy of a recorded READDIR or READDIRPLUS that reads on from `cookie` in the replay. */
  readdir(message: Uint8Array, cookie: bigint, size: number): Uint8Array {
    const copy = message.slice(0, fuse_in_header.size + fuse_read_in.size);
    const view = viewOf(copy);
    const [node, fh, offset] = [
      fuse_in_header.offsets.nodeid,
      fuse_in_header.size + fuse_read_in.offsets.fh,
      fuse_in_header.size + fuse_read_in.offsets.offset,
    ];
    view.setBigUint64(node, this.nodes.get(view.getBigUint64(node, true)) ?? NOBODY, true);
    const handle = view.getBigUint64(fh, true);
    view.setBigUint64(fh, handle === 0n ? 0n : (this.handles.get(handle) ?? NOBODY), true);
    view.setBigUint64(offset, cookie, true);
    view.setUint32(fuse_in_header.size + fuse_read_in.offsets.size, size, true);
    return copy;
  }

  /** A copy of a recorded request that names what the replay has; undefined when it takes something that could not be had there. */
  request(message: Uint8Array, operation: Operation | undefined): Uint8Array | undefined {
    if (message.length < fuse_in_header.size) return message;
    const copy = copyOf(message);
    const view = viewOf(copy);
    let isWhole = true;
    const put = (numbers: Numbers, at: number, unknown = NOBODY) => {
      if (at + 8 > copy.length) return;
      const recorded = view.getBigUint64(at, true);
      const replayed = numbers.has(recorded) ? numbers.get(recorded) : unknown;
      if (replayed === undefined) isWhole = false;
      else view.setBigUint64(at, replayed, true);
    };
    // INIT has none.
    if (view.getBigUint64(fuse_in_header.offsets.nodeid, true) !== 0n) put(this.nodes, fuse_in_header.offsets.nodeid);
    if (!operation) return isWhole ? copy : undefined;
    const base = fuse_in_header.size;
    const offsets = (operation.input?.offsets ?? {}) as Record<string, number>;
    for (const field of NODES) if (field in offsets) put(this.nodes, base + offsets[field]!);
    // Where a guest opens files by itself, there are none, and it says 0.
    if (usesHandle(message, operation))
      for (const field of HANDLES)
        if (field in offsets) {
          const at = base + offsets[field]!;
          const isNone = at + 8 <= copy.length && view.getBigUint64(at, true) === 0n;
          put(this.handles, at, isNone ? 0n : NOBODY);
        }
    if (operation.opcode === FUSE_BATCH_FORGET) {
      for (
        let at = base + fuse_batch_forget_in.size;
        at + fuse_forget_one.size <= copy.length;
        at += fuse_forget_one.size
      ) {
        // What could not be had is not forgotten.
        if (this.nodes.get(view.getBigUint64(at, true)) === undefined) view.setBigUint64(at, NOBODY, true);
        else put(this.nodes, at);
      }
    }
    return isWhole ? copy : undefined;
  }
}

/** Requests about attributes may name an open file, or not. */
function usesHandle(message: Uint8Array, { opcode }: Operation): boolean {
  const view = viewOf(message);
  const base = fuse_in_header.size;
  if (opcode === FUSE_GETATTR || opcode === FUSE_STATX)
    return message.length >= base + 8 && (fuse_getattr_in.at(view, base).getattr_flags & GETATTR_FH) !== 0;
  if (opcode === FUSE_SETATTR)
    return message.length >= base + 4 && (fuse_setattr_in.at(view, base).valid & FATTR_FH) !== 0;
  return true;
}
