import { declareRaces } from '../support/race-guest.ts';

describe('processes that race for one file', function () {
  this.timeout(300_000);
  declareRaces(2, 1);
});
