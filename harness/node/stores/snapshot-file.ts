import { readFile } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { decode, encode } from 'cborg';
import type { Unheard } from '../../machine/agent/waiting-output.ts';
import { type MachineConfig, readConfig } from '../../machine/config.ts';
import { VmError } from '../../machine/errors.ts';
import { PRIVATE, writeFileWhole } from './whole-file.ts';

/**
 * A saved machine on disk: a head that can be read alone, then the bytes of v86's own state, in
 * which the virtio-fs devices travel. Numbers are little-endian:
 *
 * | offset | bytes | field |
 * |---|---|---|
 * | 0 | 8 | magic, "V86VIRFS" |
 * | 8 | 4 | format version |
 * | 12 | 4 | length of the head |
 * | 16 | 4 | CRC-32 of the head |
 * | 20 | … | head: CBOR (RFC 8949) of {@link SnapshotHead} |
 * | 20 + head | … | v86's state, `state.length` bytes |
 */
const MAGIC = 'V86VIRFS';
const FORMAT_VERSION = 1;
const PREFIX_LENGTH = 20;
/** Far above any real head: a damaged length must not become a huge allocation. */
const MAX_HEAD_LENGTH = 16 * 1024 * 1024;

export interface SnapshotHead {
  /** ISO 8601. */
  created: string;
  /** What the machine is. */
  config: MachineConfig;
  /** Last lines of the guest's console. */
  console: string[];
  /** Of `bytes`. */
  state: { length: number; crc32: number };
  /** What shares were loaded from, by their tags: see `ShareOrigin`. Missing in files of older releases. */
  shares?: Record<string, unknown>;
  /** See `GuestAgent.unheard`. Missing in files of older releases. */
  unheard?: Unheard;
}

/** A machine in one piece: what {@link writeSnapshot} writes. */
export interface Snapshot extends SnapshotHead {
  /** v86's state. */
  bytes: Uint8Array;
}

export function makeSnapshot(
  config: MachineConfig,
  console: string[],
  bytes: Uint8Array,
  { shares = {}, unheard }: Pick<SnapshotHead, 'shares' | 'unheard'> = {},
): Snapshot {
  return {
    created: new Date().toISOString(),
    config,
    console,
    state: { length: bytes.length, crc32: crc32(bytes) },
    shares,
    ...(unheard && { unheard }),
    bytes,
  };
}

/** Writes a snapshot: whole or not at all, for its owner alone. */
export async function writeSnapshot(path: string, snapshot: Snapshot): Promise<void> {
  const { bytes, ...fields } = snapshot;
  const head = encode(fields satisfies SnapshotHead);
  const prefix = Buffer.alloc(PREFIX_LENGTH);
  prefix.write(MAGIC, 'latin1');
  prefix.writeUInt32LE(FORMAT_VERSION, 8);
  prefix.writeUInt32LE(head.length, 12);
  prefix.writeUInt32LE(crc32(head), 16);

  try {
    await writeFileWhole(path, [prefix, head, bytes], { mode: PRIVATE });
  } catch (error) {
    throw new VmError('snapshot', `can't write the snapshot ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Reads a snapshot whole. Throws {@link VmError} `snapshot` when it is missing, damaged, or of another format. */
export async function readSnapshot(path: string): Promise<Snapshot> {
  let file: Buffer;
  try {
    file = await readFile(path);
  } catch (error) {
    throw new VmError('snapshot', `can't read the snapshot ${path}: ${(error as Error).message}`, { cause: error });
  }
  return decodeSnapshot(file, path);
}

/** As {@link readSnapshot}, from bytes; `name` is for messages. The result's bytes are a view of `file`. */
export function decodeSnapshot(file: Buffer, name: string): Snapshot {
  const refuse = (what: string): VmError => new VmError('snapshot', `the snapshot ${name} ${what}`);
  const cutOff = (expected: number) =>
    refuse(`is truncated: ${file.length} bytes of ${expected}; copy it again, or take it again`);
  if (file.toString('latin1', 0, MAGIC.length) !== MAGIC)
    throw refuse('is not a snapshot of v86-virtiofs: it begins with other bytes');
  if (file.length < PREFIX_LENGTH) throw cutOff(PREFIX_LENGTH);
  const version = file.readUInt32LE(8);
  if (version !== FORMAT_VERSION) {
    const cure = version > FORMAT_VERSION ? 'use a newer release' : 'take it again';
    throw refuse(`has format version ${version}, and this release reads ${FORMAT_VERSION}: ${cure}`);
  }
  const headLength = file.readUInt32LE(12);
  const damaged = (what: string) => refuse(`is damaged (${what}): copy it again, or take it again`);
  if (headLength > MAX_HEAD_LENGTH) throw damaged('head length');
  if (file.length < PREFIX_LENGTH + headLength) throw cutOff(PREFIX_LENGTH + headLength);
  const encoded = file.subarray(PREFIX_LENGTH, PREFIX_LENGTH + headLength);
  if (crc32(encoded) !== file.readUInt32LE(16)) throw damaged('checksum of the head');

  const head = decodeHead(encoded);
  if (!head) throw damaged('fields of the head');
  const bytes = file.subarray(PREFIX_LENGTH + headLength);
  if (bytes.length < head.state.length) throw cutOff(PREFIX_LENGTH + headLength + head.state.length);
  if (bytes.length > head.state.length) throw damaged(`${bytes.length - head.state.length} bytes too many`);
  if (crc32(bytes) !== head.state.crc32) throw damaged('checksum of the machine state');
  return { ...head, bytes };
}

function decodeHead(encoded: Uint8Array): SnapshotHead | undefined {
  try {
    const head = decode(encoded) as SnapshotHead;
    const isWhole = Array.isArray(head.console) && Number.isInteger(head.state.length);
    return isWhole ? { ...head, config: readConfig(head.config) } : undefined;
  } catch {
    return undefined;
  }
}

/** The bytes as a buffer of their own, copied only when they are part of a larger one. */
export function toArrayBuffer(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteLength } = bytes;
  if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength) return buffer;
  return new Uint8Array(bytes).buffer;
}
