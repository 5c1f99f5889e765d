import { expect } from 'chai';
import fc from 'fast-check';
import { EchoDevice } from '../../support/echo-device.ts';
import { driveWildly } from '../../support/hostile-driver.ts';
import { MockDriver } from '../../support/mock-driver.ts';

/** Seeds that have found a fault once stay here. */
const SEEDS = [1, 2, 3, 4];

describe('transport against a hostile driver', () => {
  for (const seed of SEEDS) {
    it(`seed ${seed}: no exception, no hang, no access outside RAM, bounded memory`, function () {
      this.timeout(60_000);
      const { served, errors, resets, looks } = driveWildly(seed, 1_000_000);
      expect(served, 'chains served: the fuzzer gets somewhere').to.be.greaterThan(200);
      expect(errors, 'errors found').to.be.greaterThan(50);
      expect(resets, 'resets').to.be.greaterThan(50);
      expect(looks, 'descriptors that the inspector saw').to.be.greaterThan(1000);
    });
  }
});

describe('any legal layout gives the bytes that a contiguous one gives', () => {
  const layout = fc.record({
    sent: fc.uint8Array({ maxLength: 300 }),
    cuts: fc.array(fc.nat(300), { maxLength: 5 }),
    room: fc.nat(400),
    roomCuts: fc.array(fc.nat(400), { maxLength: 5 }),
    indirectFrom: fc.option(fc.nat(11), { nil: undefined }),
    packed: fc.boolean(),
  });

  function split(length: number, cuts: number[]): [number, number][] {
    const edges = [0, ...cuts.map((cut) => Math.min(cut, length)).sort((a, b) => a - b), length];
    return edges.slice(1).map((end, n) => [edges[n]!, end]);
  }

  it('split and packed, direct and indirect', () => {
    fc.assert(
      fc.property(layout, ({ sent, cuts, room, roomCuts, indirectFrom, packed }) => {
        const driver = new MockDriver(new EchoDevice(), { offer: { packed } }).start();
        const readable = split(sent.length, cuts).map(([from, to]) => sent.subarray(from, to));
        const writable = split(room, roomCuts).map(([from, to]) => to - from);
        const options =
          indirectFrom === undefined
            ? {}
            : { indirectFrom: packed ? 0 : Math.min(indirectFrom, readable.length + writable.length - 1) };
        expect(driver.request(1, readable, writable, options)).to.deep.equal(sent.slice(0, room));
      }),
      { numRuns: 500 },
    );
  });
});
