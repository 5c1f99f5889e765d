import { expect } from 'chai';
import { decodeBlob, encodeBlob } from '../../../device/snapshot/blob.ts';
import { SnapshotError } from '../../../device/snapshot/errors.ts';
import { checkStateVersion, STATE_VERSION } from '../../../device/snapshot/upgrades.ts';

const VERSION = STATE_VERSION;

describe('device state envelope', () => {
  const payloads: { name: string; payload: unknown }[] = [
    { name: 'bigints of any size stay bigints', payload: { small: 5n, u64: 2n ** 64n - 1n, negative: -3n, number: 5 } },
    { name: 'bytes', payload: { bytes: Uint8Array.of(0, 255, 1), empty: new Uint8Array(0) } },
    { name: 'file names that are not UTF-8', payload: ['ab\udc80x\u{d55c}\udcff\udc80é😀', '\udcff', 'plain'] },
    { name: 'numbers up to 2^53', payload: [0, -1, 2 ** 53 - 1, 0.5] },
  ];
  for (const { name, payload } of payloads) {
    it(`gives back ${name}`, () =>
      expect(decodeBlob(encodeBlob(VERSION, payload), checkStateVersion)).to.deep.equal({ version: VERSION, payload }));
  }

  const blob = encodeBlob(VERSION, { files: ['a', 'b'], next: 9 });
  const damaged: { name: string; bytes: Uint8Array; says: RegExp }[] = [
    { name: 'nothing', bytes: new Uint8Array(0), says: /truncated: 0 bytes/ },
    { name: 'something else', bytes: new Uint8Array(64), says: /not a virtio-fs state/ },
    {
      name: 'a newer version',
      bytes: encodeBlob(VERSION + 1, 0),
      says: new RegExp(`schema version ${VERSION + 1}.*reads versions 1 to ${VERSION}.*newer release`),
    },
    { name: 'version 0', bytes: encodeBlob(0, 0), says: /schema version 0.*take the snapshot again/ },
    { name: 'a cut-off payload', bytes: blob.subarray(0, -1), says: /truncated/ },
    { name: 'trailing bytes', bytes: Uint8Array.of(...blob, 0), says: /truncated|bytes of/ },
  ];
  for (const { name, bytes, says } of damaged) {
    it(`refuses ${name}, and says so`, () =>
      expect(() => decodeBlob(bytes, checkStateVersion)).to.throw(SnapshotError, says));
  }

  it('refuses every flipped byte', () => {
    for (let at = 0; at < blob.length; at++) {
      const flipped = blob.slice();
      flipped[at]! ^= 0x10;
      expect(() => decodeBlob(flipped, checkStateVersion), `byte ${at}`).to.throw(SnapshotError);
    }
  });
});
