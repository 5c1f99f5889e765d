import { expect } from 'chai';
import { explore } from '../support/explorer.ts';
import { MigrationWorld } from '../support/migration-world.ts';

it('the switch of a migration: one machine runs, whatever else happens once each', async () => {
  const everything = {
    crashesThere: 1,
    crashesHere: 1,
    questions: 1,
    strays: 1,
    diskFailures: 1,
    losses: 1,
    ownerActs: 1,
  };
  const { states } = await explore(() => MigrationWorld.make(everything));
  expect(states).to.be.greaterThan(100_000);
});
