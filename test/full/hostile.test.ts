import { sendWildly } from '../support/hostile-guest.ts';
import { fuzzPeers } from '../support/hostile-peers.ts';

describe('ten million hostile FUSE messages', function () {
  this.timeout(1_200_000);

  for (let seed = 101; seed <= 120; seed++)
    it(`half a million from seed ${seed}`, () => sendWildly(seed, 500_000).then(() => {}));
});

describe('ten million messages of hostile guests, peers, tabs and pages', function () {
  this.timeout(1_200_000);

  for (let seed = 101; seed <= 120; seed++)
    it(`half a million from seed ${seed}`, () => fuzzPeers(seed, 500_000).then(() => {}));
});

describe('hostile FUSE messages to a filesystem that answers later', function () {
  this.timeout(1_200_000);

  for (let seed = 201; seed <= 204; seed++)
    it(`300,000 from seed ${seed}`, () => sendWildly(seed, 300_000, { isLate: true }).then(() => {}));
});
