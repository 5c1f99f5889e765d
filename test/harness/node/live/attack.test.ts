import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { LiveDirectory } from '../../../../harness/node/live/live-directory.ts';
import { randomNumbers } from '../../../support/hostile-driver.ts';
import { attackLive, LiveGuest, viewOfGuest, viewOfHost } from '../../../support/live-attack.ts';

describe('a live directory and a random guest', function () {
  this.timeout(120_000);
  let root: string;
  beforeEach(() => (root = realpathSync(mkdtempSync(join(tmpdir(), 'live-attack-')))));
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('while the host swaps directories and links before each operation: nothing outside is read or changed', () => {
    const { swaps, reads, moves } = attackLive(root, 1000, 1);
    expect(swaps).to.be.above(500);
    expect(reads).to.be.above(100);
    expect(moves).to.be.above(50);
  });

  it('with as few descriptors as can be', () => {
    expect(attackLive(root, 500, 2, { maxDescriptors: 16 }).swaps).to.be.above(200);
  });

  it('without a host that interferes: the guest sees what the host has, after each operation', () => {
    for (const options of [{}, { maxDescriptors: 16 }, { hasDescriptors: false }]) {
      const live = LiveDirectory.open(root, { io: 'now', ...options });
      const host = LiveDirectory.open(root, { io: 'now' });
      const next = randomNumbers(3);
      const [guest, other] = [new LiveGuest(live, next), new LiveGuest(host, next)];
      for (let n = 0; n < 150; n++) {
        (next(3) ? guest : other).step();
        expect(viewOfGuest(live), `step ${n}`).to.deep.equal(viewOfHost(root));
      }
      live.end();
      host.end();
    }
  });
});
