import { expect } from 'chai';
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

  it('are read where each record says something, however small it is', () => {
    const xattrs = Array.from({ length: 50_000 }, () => ({ ino: 1, name: 'user.a', value: new Uint8Array(0) }));
    expect(decodeFields(encodeFields({ xattrs }))).to.deep.equal({ xattrs });
    const few = Array.from({ length: 5000 }, () => []);
    expect(decodeFields(encodeFields(few))).to.deep.equal(few);
  });
});
