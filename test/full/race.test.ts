import { declareRaces } from '../support/race-guest.ts';

describe('processes that race for one file, for long', function () {
  this.timeout(1_800_000);
  declareRaces(20, 1000);
});
