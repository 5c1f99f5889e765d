import { freezeUnderLoad } from '../support/load.ts';

describe('freeze at 200 random moments, and restore each time', function () {
  this.timeout(1_800_000);
  let seed = 1;
  for (const packed of [false, true]) {
    for (const eventIdx of [true, false]) {
      it(`${packed ? 'packed' : 'split'}, ${eventIdx ? 'with' : 'without'} EVENT_IDX`, () =>
        freezeUnderLoad({ share: { offer: { packed, eventIdx } }, rounds: 200, seed: seed++ }));
    }
  }

  it('with writeback and a queue of 8', () =>
    freezeUnderLoad({ share: { writeback: true, queueSize: 8 }, rounds: 200, seed: 9 }));
});
