import { viewOf } from '../bytes.ts';
import { errnoName } from '../fs/errno.ts';
import { IN_HEADER_SIZE, OUT_HEADER_SIZE } from '../fuse/codec.ts';
import { FUSE_BATCH_FORGET, FUSE_READDIR, FUSE_READDIRPLUS } from '../fuse/constants.ts';
import { fuse_dirent, fuse_direntplus, fuse_forget_one, fuse_in_header, fuse_out_header } from '../fuse/layouts.ts';
import { OPERATIONS } from '../fuse/opcodes.ts';
import type { Layout } from '../fuse/struct.ts';

/** A field of a message, by the header's names: where it is in the bytes, and what it says. */
export interface MessageField {
  /** The struct that it is of; '' for names and data. */
  struct: string;
  name: string;
  offset: number;
  length: number;
  value: string;
}

const OPCODE_OFFSET = fuse_in_header.offsets.opcode;
/** Characters of a name that are shown. */
const MAX_TEXT = 80;
/** Dirents are padded to this (`FUSE_DIRENT_ALIGN`). */
const DIRENT_ALIGNMENT = 8;

/** An opcode's name; those that no header has are one, so that a guest can't make up more and more. */
export function opcodeName(opcode: number): string {
  return OPERATIONS.get(opcode)?.name ?? 'unknown';
}

/** The opcode of a request's first bytes; undefined when they are too few. */
export function opcodeOf(request: Uint8Array): number | undefined {
  return request.length < OPCODE_OFFSET + 4 ? undefined : viewOf(request).getUint32(OPCODE_OFFSET, true);
}

/** Header, struct, names and data of a request's first bytes. `flags`: what INIT has settled on. */
export function requestFields(request: Uint8Array, flags = 0n): MessageField[] {
  const fields = structFields(fuse_in_header, request, 0);
  const opcode = opcodeOf(request);
  const operation = OPERATIONS.get(opcode ?? 0);
  if (!operation) return fields;
  let at = IN_HEADER_SIZE;
  if (operation.input) {
    const size =
      operation.inputSize?.({ uses: (flag) => (flags & flag) !== 0n, message: { unread: request.length - at } }) ??
      operation.input.size;
    fields.push(...structFields(operation.input, request.subarray(0, at + size), at));
    at += size;
  }
  for (const _ of operation.strings) {
    const end = request.indexOf(0, at);
    if (end < 0) break;
    fields.push({
      struct: '',
      name: 'name',
      offset: at,
      length: end + 1 - at,
      value: textOf(request.subarray(at, end)),
    });
    at = end + 1;
  }
  if (opcode === FUSE_BATCH_FORGET) {
    for (; at + fuse_forget_one.size <= request.length; at += fuse_forget_one.size)
      fields.push(...structFields(fuse_forget_one, request, at));
  }
  return [...fields, ...rest(request, at)];
}

/** Header, struct, directory entries and data of a reply's first bytes; `request`: of what it answers. */
export function replyFields(reply: Uint8Array, request: Uint8Array): MessageField[] {
  const fields = structFields(fuse_out_header, reply, 0);
  const opcode = opcodeOf(request) ?? 0;
  const output = OPERATIONS.get(opcode)?.output;
  let at = OUT_HEADER_SIZE;
  if (output && reply.length > at) {
    fields.push(...structFields(output, reply, at));
    at += output.size;
  }
  const entry = opcode === FUSE_READDIRPLUS ? fuse_direntplus : opcode === FUSE_READDIR ? fuse_dirent : undefined;
  while (entry && at + entry.size <= reply.length) {
    fields.push(...structFields(entry, reply, at));
    const namelen = viewOf(reply).getUint32(at + entry.size - fuse_dirent.size + fuse_dirent.offsets.namelen, true);
    const name = at + entry.size;
    if (name + namelen > reply.length) return fields;
    fields.push({
      struct: '',
      name: 'name',
      offset: name,
      length: namelen,
      value: textOf(reply.subarray(name, name + namelen)),
    });
    at += Math.ceil((entry.size + namelen) / DIRENT_ALIGNMENT) * DIRENT_ALIGNMENT;
  }
  return [...fields, ...rest(reply, at)];
}

function rest(message: Uint8Array, at: number): MessageField[] {
  if (at >= message.length) return [];
  return [
    {
      struct: '',
      name: 'data',
      offset: at,
      length: message.length - at,
      value: textOf(message.subarray(at, at + MAX_TEXT)),
    },
  ];
}

function textOf(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes);
  return text.length > MAX_TEXT ? `${JSON.stringify(text.slice(0, MAX_TEXT))}…` : JSON.stringify(text);
}

function structFields(layout: Layout, bytes: Uint8Array, base: number, prefix = ''): MessageField[] {
  const view = viewOf(bytes);
  return Object.entries(layout.fields).flatMap(([name, type]) => {
    const offset = base + layout.offsets[name]!;
    if (offset + type.size > bytes.length) return [];
    if ('fields' in type) return structFields(type as Layout, bytes, offset, `${prefix}${name}.`);
    return [
      {
        struct: layout.name,
        name: prefix + name,
        offset,
        length: type.size,
        value: readable(name, type.get(view, offset)),
      },
    ];
  });
}

/** Numbers as they are read best. */
function readable(name: string, value: unknown): string {
  if (value instanceof Uint8Array) return '';
  if (name === 'opcode') return `${String(value)} ${opcodeName(value as number)}`;
  if (name === 'error') return value === 0 ? '0' : `${String(value)} ${errnoName(-(value as number))}`;
  if (/mode|umask/.test(name)) return `0${(value as number).toString(8)}`;
  if (/flags|^valid$|owner|mask/.test(name)) return `0x${(value as number | bigint).toString(16)}`;
  return String(value);
}
