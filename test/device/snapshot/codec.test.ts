import { expect } from 'chai';
import fc from 'fast-check';
import { loadCodec, MAX_CHUNK_BYTES } from '../../../device/snapshot/codec/codec.ts';
import * as glue from '../../../device/snapshot/codec/codec-wasm.ts';
import { SnapshotError } from '../../../device/snapshot/errors.ts';

const codec = loadCodec();
/** The instance that the codec already made. */
const memory: WebAssembly.Memory = (glue.initSync as () => { memory: WebAssembly.Memory })().memory;

describe('ChunkCodec: BLAKE3', () => {
  /** Of test_vectors.json in the BLAKE3 repository: bytes 0 to 250, repeated. */
  const vectors = [
    { length: 0, expect: 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262' },
    { length: 1, expect: '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213' },
    { length: 1023, expect: '10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11' },
    { length: 1024, expect: '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7' },
    { length: 1025, expect: 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444' },
    { length: 2049, expect: '5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030' },
    { length: 4096, expect: '015094013f57a5277b59d8475c0501042c0b642e531b0a1c8f58d2163229e969' },
    { length: 4097, expect: '9b4052b38f1c5fc8b1f9ff7ac7b27cd242487b3d890d15c96a1c25b8aa0fb995' },
    { length: 31744, expect: '62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47' },
    { length: 102400, expect: 'bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085' },
  ];
  for (const { length, expect: expected } of vectors) {
    it(`of ${length} bytes`, () => {
      const input = counting(length);
      expect(codec.hashHex(input)).to.equal(expected);
      expect(Buffer.from(codec.hash(input)).toString('hex')).to.equal(expected);
      expect(Buffer.from(codec.seal(input).hash).toString('hex')).to.equal(expected);
    });
  }

  it('is the same in pieces as in one', () => {
    const input = counting(3 * (1 << 20) + 5);
    expect(codec.hash(input)).to.deep.equal(codec.seal(input).hash);
  });
});

describe('ChunkCodec: LZ4', () => {
  /** Text-like, page-like and random content, also as a view into a larger buffer. */
  const contents = fc.oneof(
    fc.uint8Array({ maxLength: 5000 }),
    fc
      .tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 0, max: 4000 }))
      .map(([unit, times]) => Uint8Array.from({ length: unit.length * times }, (_, i) => unit[i % unit.length]!)),
    fc
      .array(fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 400 })), { maxLength: 60 })
      .map((runs) => Uint8Array.from(runs.flatMap(([byte, length]) => Array<number>(length).fill(byte)))),
    fc.uint8Array({ minLength: 10, maxLength: 300 }).map((bytes) => bytes.subarray(3, -2)),
  );

  it('gives back any content, and so does another decoder', () => {
    fc.assert(
      fc.property(contents, (bytes) => {
        const packed = codec.compress(bytes);
        expect(codec.seal(bytes).packed).to.deep.equal(packed);
        expect(codec.decompress(packed, bytes.length)).to.deep.equal(Uint8Array.from(bytes));
        expect(lz4Decode(packed)).to.deep.equal(Uint8Array.from(bytes));
      }),
      { numRuns: 300 },
    );
  });

  for (const length of [0, 1, 12, 13, 4096, 65534, 65535, 65536, 1 << 20, 5 << 20]) {
    it(`gives back ${length} bytes of every kind`, () => {
      for (const bytes of [new Uint8Array(length), counting(length), noise(length)]) {
        const packed = codec.compress(bytes);
        expect(Buffer.compare(codec.decompress(packed, length), bytes)).to.equal(0);
        expect(Buffer.compare(lz4Decode(packed), bytes)).to.equal(0);
      }
    });
  }

  it('reads blocks of other encoders', () => {
    // A run by a match that overlaps itself, and a match of 4 + 15 + 255 + 1 bytes.
    const run = Uint8Array.of(0x1f, 0x61, 1, 0, 255, 1, 0x50, 0x62, 0x63, 0x64, 0x65, 0x66);
    expect(Buffer.from(codec.decompress(run, 281)).toString()).to.equal(`${'a'.repeat(276)}bcdef`);
  });

  it('refuses chunks over the limit', () => {
    const long = new Uint8Array(MAX_CHUNK_BYTES + 1);
    expect(() => codec.compress(long)).to.throw(RangeError, 'at most 67108864 bytes');
    expect(() => codec.seal(long)).to.throw(RangeError);
  });
});

describe('ChunkCodec: damaged chunks', () => {
  const good = codec.compress(counting(3000));
  const cases = [
    { name: 'nothing', packed: [], rawLength: 1, expect: "0 bytes can't be 1 compressed" },
    {
      name: 'more than so few bytes can make',
      packed: [0x1f, 0x61, 1, 0],
      rawLength: 1 << 20,
      expect: "4 bytes can't be 1048576 compressed",
    },
    {
      name: 'more bytes than so few can need',
      packed: [...good],
      rawLength: 10,
      expect: `${good.length} bytes can't be 10 compressed`,
    },
    { name: 'a shorter length', packed: [...good], rawLength: 2999, expect: 'it makes more bytes' },
    { name: 'a longer length', packed: [...good], rawLength: 3001, expect: 'it makes only 3000 bytes' },
    { name: 'an offset of 0', packed: [0x14, 0x61, 0, 0, 0x10, 0x62], rawLength: 10, expect: 'offset' },
    { name: 'an offset before the start', packed: [0x14, 0x61, 2, 0, 0x10, 0x62], rawLength: 10, expect: 'offset' },
    { name: 'literals past the end', packed: [0x50, 0x61], rawLength: 5, expect: 'literal' },
    { name: 'a length without end', packed: [0xf0, 255, 255, 255], rawLength: 500, expect: 'is damaged' },
    {
      name: 'lengths that add up to over 4 GiB',
      packed: [0xf0, ...Array<number>(1000).fill(255), 0],
      rawLength: 5000,
      expect: 'is damaged',
    },
    { name: 'a negative length', packed: [...good], rawLength: -1, expect: "can't have -1 bytes" },
    { name: 'a fraction', packed: [...good], rawLength: 0.5, expect: "can't have 0.5 bytes" },
    { name: 'no number', packed: [...good], rawLength: NaN, expect: "can't have NaN bytes" },
    { name: 'an enormous length', packed: [...good], rawLength: 2 ** 40, expect: `can't have ${2 ** 40} bytes` },
  ];
  for (const { name, packed, rawLength, expect: expected } of cases) {
    it(name, () => {
      expect(() => codec.decompress(Uint8Array.from(packed), rawLength)).to.throw(SnapshotError, expected);
      expect(codec.decompress(good, 3000)).to.deep.equal(counting(3000));
    });
  }

  it('cut off anywhere', () => {
    for (let length = 0; length < good.length; length++) {
      expect(() => codec.decompress(good.subarray(0, length), 3000), `${length} bytes`).to.throw(SnapshotError);
    }
  });

  it('random, or with bytes changed: refused, or the length asked for, as another decoder has it', () => {
    const source = codec.compress(Buffer.concat([counting(600), new Uint8Array(900), noise(300), counting(700)]));
    const changed = fc
      .array(fc.tuple(fc.nat(source.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
      .map((changes) => {
        const packed = source.slice();
        for (const [at, byte] of changes) packed[at] = byte;
        return packed;
      });
    const lengths = fc.oneof(fc.constant(2500), fc.nat(5000), fc.nat(MAX_CHUNK_BYTES));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 2000 }), changed), lengths, (packed, rawLength) => {
        let raw: Uint8Array;
        try {
          raw = codec.decompress(packed, rawLength);
        } catch (error) {
          expect(error).to.be.instanceOf(SnapshotError);
          return;
        }
        expect(raw.length).to.equal(rawLength);
        expect(raw).to.deep.equal(lz4Decode(packed));
      }),
      { numRuns: 3000 },
    );
  });
});

describe('ChunkCodec: memory', () => {
  it("allocates nothing for lengths that the bytes can't make", () => {
    const before = memory.buffer.byteLength;
    expect(() => codec.decompress(new Uint8Array(100), MAX_CHUNK_BYTES)).to.throw(SnapshotError);
    expect(memory.buffer.byteLength).to.equal(before);
  });

  it('takes the same staging area for every call', () => {
    const chunks = [4096, 10, 70_000, 1 << 20].map(noise);
    const useAll = () => {
      for (const chunk of chunks) {
        codec.decompress(codec.seal(chunk).packed, chunk.length);
        codec.hash(chunk);
        expect(() => codec.decompress(chunk, chunk.length + 1)).to.throw(SnapshotError);
      }
    };
    useAll();
    const before = memory.buffer.byteLength;
    for (let i = 0; i < 200; i++) useAll();
    expect(memory.buffer.byteLength).to.equal(before);
  });

  it('takes the chunk, its bound and a constant at most', () => {
    const before = memory.buffer.byteLength;
    const chunk = new Uint8Array(MAX_CHUNK_BYTES);
    expect(codec.decompress(codec.compress(chunk), chunk.length).length).to.equal(chunk.length);
    expect(memory.buffer.byteLength - before).to.be.below(2.1 * MAX_CHUNK_BYTES + (3 << 20));
  });

  it('neither keeps nor changes what it is given and has returned', () => {
    const input = counting(5000);
    const { hash, packed } = codec.seal(input);
    const raw = codec.decompress(packed, 5000);
    const copies = [hash.slice(), packed.slice(), raw.slice()];
    codec.seal(noise(5000));
    expect(input).to.deep.equal(counting(5000));
    expect([hash, packed, raw]).to.deep.equal(copies);
    expect(loadCodec()).to.equal(codec);
  });
});

function counting(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i % 251);
}

/** The same bytes at every run (xorshift). */
function noise(length: number): Uint8Array {
  let state = 0x9e3779b9;
  return Uint8Array.from({ length }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state;
  });
}

/** A block that is whole, decoded by https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md. */
function lz4Decode(block: Uint8Array): Uint8Array {
  const output: number[] = [];
  let at = 0;
  const length = (nibble: number) => {
    let total = nibble;
    if (nibble === 15) for (let byte = 255; byte === 255; total += byte) byte = block[at++]!;
    return total;
  };
  while (at < block.length) {
    const token = block[at++]!;
    for (let left = length(token >> 4); left > 0; left--) output.push(block[at++]!);
    if (at === block.length) break;
    const offset = block[at++]! | (block[at++]! << 8);
    for (let left = length(token & 15) + 4; left > 0; left--) output.push(output[output.length - offset]!);
  }
  return Uint8Array.from(output);
}
