import { expect } from 'chai';
import { AbsentBytes } from '../../../device/fs/origin.ts';
import { SnapshotError } from '../../../device/snapshot/errors.ts';
import { decodeFields, encodeFields } from '../../../device/snapshot/fields.ts';

/** A list of so many things, each as CBOR has it. */
function listOf(count: number, item: number[]): Uint8Array {
  const bytes = new Uint8Array(5 + count * item.length);
  bytes[0] = 0x9a;
  new DataView(bytes.buffer).setUint32(1, count);
  for (let n = 0; n < count; n++) bytes.set(item, 5 + n * item.length);
  return bytes;
}

describe('the fields of a snapshot', () => {
  for (const [what, item] of Object.entries({
    'empty records': [0xa0],
    'empty lists': [0x80],
    'lists of one number': [0x81, 1],
    'records of one number': [0xa1, 0x61, 0x61, 1],
    'lists without a length': [0x9f, 0xff],
  })) {
    it(`that are forged, as ${what} by the million, are refused before they take many times their length`, () => {
      const bytes = listOf(1 << 20, item);
      expect(() => decodeFields(bytes)).to.throw(SnapshotError, /more lists and records/);
    });
  }

  it('name content that is elsewhere, or are refused', () => {
    const absent = new AbsentBytes(new Uint8Array(32).fill(7), 65_536);
    const [bytes, back] = [encodeFields([absent]), decodeFields(encodeFields([absent])) as AbsentBytes[]];
    expect(back[0]).to.be.instanceOf(AbsentBytes);
    expect(back[0]!.name).to.equal(absent.name);
    // Its length is at the end.
    for (const length of [0, 65_537, 2 ** 32 - 1]) {
      new DataView(bytes.buffer, bytes.byteOffset).setUint32(bytes.length - 4, length, true);
      expect(() => decodeFields(bytes), String(length)).to.throw(SnapshotError, /a chunk of content has \d+ bytes/);
    }
    for (const content of [[0x40], [0x58, 35, ...new Array(35).fill(1)], [0x01], [0x80]])
      expect(() => decodeFields(Uint8Array.from([0xda, 0, 1, 0x4f, 0xf2, ...content]))).to.throw(
        SnapshotError,
        /content elsewhere/,
      );
  });

  it('are read where each record says something, however small it is', () => {
    const xattrs = Array.from({ length: 50_000 }, () => ({ ino: 1, name: 'user.a', value: new Uint8Array(0) }));
    expect(decodeFields(encodeFields({ xattrs }))).to.deep.equal({ xattrs });
    const few = Array.from({ length: 5000 }, () => []);
    expect(decodeFields(encodeFields(few))).to.deep.equal(few);
  });
});
