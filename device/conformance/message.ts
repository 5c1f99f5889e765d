import { concat } from '../bytes.ts';
import * as C from '../fuse/constants.ts';
import * as L from '../fuse/layouts.ts';
import { type Fields, type FieldType, type Layout, struct, u32 } from '../fuse/struct.ts';

const NOTHING = struct('nothing', {});
/** What SETXATTR begins with where INIT has not settled on FUSE_SETXATTR_EXT. */
const fuse_compat_setxattr_in = struct('fuse_setxattr_in', { size: u32, flags: u32 });

/** Of each operation its opcode, the struct that a request begins with, and the one that an answer does. */
const OPERATIONS = {
  LOOKUP: [C.FUSE_LOOKUP, NOTHING, L.fuse_entry_out],
  FORGET: [C.FUSE_FORGET, L.fuse_forget_in, NOTHING],
  GETATTR: [C.FUSE_GETATTR, L.fuse_getattr_in, L.fuse_attr_out],
  SETATTR: [C.FUSE_SETATTR, L.fuse_setattr_in, L.fuse_attr_out],
  READLINK: [C.FUSE_READLINK, NOTHING, NOTHING],
  SYMLINK: [C.FUSE_SYMLINK, NOTHING, L.fuse_entry_out],
  MKNOD: [C.FUSE_MKNOD, L.fuse_mknod_in, L.fuse_entry_out],
  MKDIR: [C.FUSE_MKDIR, L.fuse_mkdir_in, L.fuse_entry_out],
  UNLINK: [C.FUSE_UNLINK, NOTHING, NOTHING],
  RMDIR: [C.FUSE_RMDIR, NOTHING, NOTHING],
  RENAME: [C.FUSE_RENAME, L.fuse_rename_in, NOTHING],
  LINK: [C.FUSE_LINK, L.fuse_link_in, L.fuse_entry_out],
  OPEN: [C.FUSE_OPEN, L.fuse_open_in, L.fuse_open_out],
  READ: [C.FUSE_READ, L.fuse_read_in, NOTHING],
  WRITE: [C.FUSE_WRITE, L.fuse_write_in, L.fuse_write_out],
  STATFS: [C.FUSE_STATFS, NOTHING, L.fuse_statfs_out],
  RELEASE: [C.FUSE_RELEASE, L.fuse_release_in, NOTHING],
  FSYNC: [C.FUSE_FSYNC, L.fuse_fsync_in, NOTHING],
  SETXATTR: [C.FUSE_SETXATTR, fuse_compat_setxattr_in, NOTHING],
  SETXATTR_EXT: [C.FUSE_SETXATTR, L.fuse_setxattr_in, NOTHING],
  GETXATTR: [C.FUSE_GETXATTR, L.fuse_getxattr_in, NOTHING],
  LISTXATTR: [C.FUSE_LISTXATTR, L.fuse_getxattr_in, NOTHING],
  REMOVEXATTR: [C.FUSE_REMOVEXATTR, NOTHING, NOTHING],
  FLUSH: [C.FUSE_FLUSH, L.fuse_flush_in, NOTHING],
  INIT: [C.FUSE_INIT, L.fuse_init_in, L.fuse_init_out],
  OPENDIR: [C.FUSE_OPENDIR, L.fuse_open_in, L.fuse_open_out],
  READDIR: [C.FUSE_READDIR, L.fuse_read_in, NOTHING],
  RELEASEDIR: [C.FUSE_RELEASEDIR, L.fuse_release_in, NOTHING],
  GETLK: [C.FUSE_GETLK, L.fuse_lk_in, L.fuse_lk_out],
  SETLK: [C.FUSE_SETLK, L.fuse_lk_in, NOTHING],
  SETLKW: [C.FUSE_SETLKW, L.fuse_lk_in, NOTHING],
  CREATE: [C.FUSE_CREATE, L.fuse_create_in, L.fuse_create_out],
  INTERRUPT: [C.FUSE_INTERRUPT, L.fuse_interrupt_in, NOTHING],
  DESTROY: [C.FUSE_DESTROY, NOTHING, NOTHING],
  BATCH_FORGET: [C.FUSE_BATCH_FORGET, L.fuse_batch_forget_in, NOTHING],
  FALLOCATE: [C.FUSE_FALLOCATE, L.fuse_fallocate_in, NOTHING],
  READDIRPLUS: [C.FUSE_READDIRPLUS, L.fuse_read_in, NOTHING],
  RENAME2: [C.FUSE_RENAME2, L.fuse_rename2_in, NOTHING],
  LSEEK: [C.FUSE_LSEEK, L.fuse_lseek_in, L.fuse_lseek_out],
  COPY_FILE_RANGE: [C.FUSE_COPY_FILE_RANGE, L.fuse_copy_file_range_in, L.fuse_write_out],
  SYNCFS: [C.FUSE_SYNCFS, L.fuse_syncfs_in, NOTHING],
  TMPFILE: [C.FUSE_TMPFILE, L.fuse_create_in, L.fuse_create_out],
  STATX: [C.FUSE_STATX, L.fuse_statx_in, L.fuse_statx_out],
} as const;

export type OperationName = keyof typeof OPERATIONS;
/** A number is an opcode that nobody knows, whose message has no struct. */
type Opcode = OperationName | number;
/** Of a struct's fields, some. */
export type Values<D> = {
  [K in keyof D]?: D[K] extends Layout<infer N> ? Values<N> : D[K] extends FieldType<infer V> ? Value<V> : never;
};
/** Numbers that are more exact than a view of the field are bigints. */
type Value<V> = V extends number | bigint ? number | bigint : V;
type In<O extends Opcode> = O extends OperationName
  ? (typeof OPERATIONS)[Extract<O, OperationName>][1]['fields']
  : Record<never, never>;

/** The struct's fields, 0 where nothing is said; then names, which get their NUL, and bytes. */
export type Body<O extends Opcode> =
  | [fields: Values<In<O>>, ...rest: (string | Uint8Array)[]]
  | (string | Uint8Array)[];

/** The struct of an answer. */
export type Out<O extends Opcode> = O extends OperationName
  ? Fields<(typeof OPERATIONS)[Extract<O, OperationName>][2]['fields']>
  : Record<never, never>;

/** What `fuse_in_header` has beside length and opcode: 0 where nothing is said, but `pid` is 1. */
export type Header = Values<Omit<(typeof L.fuse_in_header)['fields'], 'len' | 'opcode'>>;

/** A message of a guest's kernel: `fuse_in_header`, the operation's struct, names and data. */
export function message<O extends Opcode>(operation: O, header: Header, ...body: Body<O>): Uint8Array {
  const [opcode, layout] =
    typeof operation === 'number' ? [operation, NOTHING] : OPERATIONS[operation as OperationName];
  const [first] = body;
  const isBare = first === undefined || typeof first === 'string' || first instanceof Uint8Array;
  const rest = ((isBare ? body : body.slice(1)) as (string | Uint8Array)[]).map((part) =>
    typeof part === 'string' ? new TextEncoder().encode(`${part}\0`) : part,
  );
  const whole = concat([
    new Uint8Array(L.fuse_in_header.size),
    encode(layout as Layout, isBare ? {} : (first as object)),
    ...rest,
  ]);
  whole.set(encode(L.fuse_in_header, { pid: 1, ...header, len: whole.length, opcode }));
  return whole;
}

/** A struct's bytes, 0 where nothing is said. @throws Error for a field that it does not have. */
function encode<D extends Layout['fields']>(layout: Layout<D>, values: Values<D>): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  for (const [name, value] of Object.entries(values)) {
    const type = layout.fields[name];
    const offset = layout.offsets[name]!;
    if (!type) throw new Error(`${layout.name} has no field ${name}`);
    if ('fields' in type) bytes.set(encode(type as Layout, value as object), offset);
    else if (value instanceof Uint8Array) bytes.set(value, offset);
    else bytes.set(littleEndian(BigInt(value as number | bigint), type.size), offset);
  }
  return bytes;
}

function littleEndian(value: bigint, size: number): number[] {
  return Array.from({ length: size }, (_, n) => Number((value >> BigInt(8 * n)) & 0xffn));
}

/** The struct that an answer begins with, at the start of `payload`. */
export function answerOf<O extends Opcode>(operation: O, payload: DataView): Out<O> {
  const layout: Layout = typeof operation === 'number' ? NOTHING : OPERATIONS[operation as OperationName][2];
  return layout.at(payload, 0) as Out<O>;
}

/** The fields of INIT, of a guest that accepts all that is offered: as of Linux 6.1, and of the newest protocol with its second flags. */
export const INIT = { major: 7, minor: 38, max_readahead: 0x20000, flags: 0xffffffff } as const;
export const INIT_NEWEST = { ...INIT, minor: 41, flags2: 0xffffffff } as const;

/** What follows the struct of BATCH_FORGET: pairs of `nodeid` and `nlookup`. */
export function forgets(...pairs: [nodeid: number | bigint, nlookup: number | bigint][]): Uint8Array[] {
  return pairs.map(([nodeid, nlookup]) => encode(L.fuse_forget_one, { nodeid, nlookup }));
}
