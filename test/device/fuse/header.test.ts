import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import * as constants from '../../../device/fuse/constants.ts';
import * as layouts from '../../../device/fuse/layouts.ts';
import { INIT_FLAGS } from '../../../device/fuse/negotiation.ts';
import type { Layout } from '../../../device/fuse/struct.ts';
import { ensureGuestImage } from '../../../guest-images/build.ts';

const SIZES: Record<string, number> = {
  uint64_t: 8,
  int64_t: 8,
  uint32_t: 4,
  int32_t: 4,
  uint16_t: 2,
  int16_t: 2,
  char: 1,
};
/** Structs that have grown after this header, and the fields they had in it. */
const GROWN: Record<string, string> = { fuse_open_out: 'backing_id', fuse_init_out: 'max_stack_depth' };

interface Struct {
  size: number;
  alignment: number;
  offsets: Record<string, number>;
}

/** The structs of a header, by the rules of C. */
function parseStructs(header: string): Map<string, Struct> {
  const structs = new Map<string, Struct>();
  for (const [, name, body] of header.matchAll(/^struct (\w+) \{([^}]*)\}/gm)) {
    let end = 0;
    let alignment = 1;
    const offsets: Record<string, number> = {};
    for (const [, type, field, count] of body!
      .replace(/\/\*[\s\S]*?\*\//g, '')
      .matchAll(/(?:struct\s+)?(\w+)\s+(\w+)(?:\[(\w*)\])?;/g)) {
      const nested = structs.get(type!);
      const size = nested?.size ?? SIZES[type!];
      if (size === undefined) throw new Error(`${name!}.${field!} has type ${type!}`);
      const aligned = nested?.alignment ?? size;
      end = Math.ceil(end / aligned) * aligned;
      offsets[field!] = end;
      end += size * (count === undefined ? 1 : Number(count || 0));
      alignment = Math.max(alignment, aligned);
    }
    structs.set(name!, { size: Math.ceil(end / alignment) * alignment, alignment, offsets });
  }
  return structs;
}

/** `#define` and enum members that are plain numbers or bits. */
function parseNumbers(header: string): Map<string, bigint> {
  const numbers = new Map<string, bigint>();
  for (const [, name, value] of header.matchAll(
    /^\s*(?:#define\s+)?((?:FUSE|FATTR|FOPEN)_\w+)[\s=]+(\d+|0x[\da-f]+|\(1(?:ULL)? << \d+\)),?\s*(?:\/\*.*)?$/gm,
  )) {
    const shift = /\(1(?:ULL)? << (\d+)\)/.exec(value!);
    numbers.set(name!, shift ? 1n << BigInt(shift[1]!) : BigInt(value!));
  }
  return numbers;
}

describe('Linux’s fuse.h', () => {
  let structs: Map<string, Struct>;
  let numbers: Map<string, bigint>;

  before(async function () {
    this.timeout(120_000);
    const header = readFileSync((await ensureGuestImage()).fuseHeader, 'utf8');
    structs = parseStructs(header);
    numbers = parseNumbers(header);
    expect(structs.size).to.be.greaterThan(50);
    expect(numbers.get('FUSE_KERNEL_VERSION')).to.equal(7n);
  });

  it('has our structs, with fields at our offsets, and our sizes', () => {
    const newer: string[] = [];
    for (const { name, size, offsets } of Object.values(layouts) as Layout[]) {
      const there = structs.get(name);
      if (!there) {
        newer.push(name);
        continue;
      }
      for (const [field, offset] of Object.entries(there.offsets))
        if (!/^(padding|dummy|spare|unused|reserved|name)/.test(field))
          expect((offsets as Record<string, number>)[field], `${name}.${field}`).to.equal(offset);
      const unknown = Object.keys(offsets).filter(
        (field) => !(field in there.offsets) && !/^(padding|spare|unused)/.test(field) && GROWN[name] !== field,
      );
      expect(unknown, `fields of ${name} that the header does not have`).to.deep.equal([]);
      expect(size, name).to.equal(there.size);
    }
    // A pair that the header has no name for, and what came after the oldest header that this runs with, of 7.38.
    expect([
      'fuse_create_out',
      'fuse_sx_time',
      'fuse_statx',
      'fuse_statx_in',
      'fuse_statx_out',
      'fuse_ext_header',
      'fuse_supp_groups',
    ]).to.include.members(newer);
  });

  it('has our numbers', () => {
    const newer: string[] = [];
    for (const [name, value] of Object.entries(constants)) {
      if (
        !/^(FUSE|FATTR|FOPEN)_/.test(name) ||
        name === 'FUSE_KERNEL_MINOR_VERSION' ||
        /^FUSE_COMPAT_INIT_IN/.test(name)
      )
        continue;
      const there = numbers.get(name);
      if (there === undefined) newer.push(name);
      else expect(BigInt(value), name).to.equal(there);
    }
    expect([
      'FUSE_STATX',
      'FUSE_HAS_EXPIRE_ONLY',
      'FUSE_NOTIFY_INC_EPOCH',
      'FUSE_DIRECT_IO_ALLOW_MMAP',
      'FUSE_PASSTHROUGH',
      'FUSE_NO_EXPORT_SUPPORT',
      'FUSE_HAS_RESEND',
      'FUSE_ALLOW_IDMAP',
      'FUSE_CREATE_SUPP_GROUP',
      'FUSE_EXT_GROUPS',
      'FUSE_MAX_NR_SECCTX',
    ]).to.include.members(newer);
  });

  it('has no INIT flag and no opcode that we don’t know', () => {
    const known = new Set<string>(Object.keys(constants));
    const flags = [...numbers]
      .filter(([name, value]) => /^FUSE_/.test(name) && value >= 1n << 32n)
      .map(([name]) => name);
    for (const name of flags)
      expect(
        INIT_FLAGS.map((flag) => flag.name),
        'flags',
      ).to.include(name);
    for (const opcode of ['FUSE_LOOKUP', 'FUSE_SYNCFS', 'FUSE_REMOVEMAPPING'])
      expect(numbers.has(opcode), opcode).to.equal(true);
    const opcodes = [...numbers]
      .filter(([name, value]) => /^FUSE_[A-Z0-9]+$/.test(name) && value > 0n && value <= 60n)
      .map(([name]) => name);
    expect(opcodes.filter((name) => !known.has(name) && !/^FUSE_(INIT_RESERVED|ROOT_ID)/.test(name))).to.deep.equal([]);
  });
});
