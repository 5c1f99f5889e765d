import { expect } from 'chai';
import { Counterexample, explore } from '../../support/explorer.ts';
import { type Budget, type Faults, NOTHING } from '../../support/migration-end.ts';
import { MigrationWorld } from '../../support/migration-world.ts';

describe('the switch of a migration, in every order and with every loss', function () {
  this.timeout(60_000);

  /** Losses of messages, ends of links on either side and late timers are in all of them. */
  const budgets: [string, Partial<Budget>][] = [
    ['links that end anywhere, and two questions', { questions: 2 }],
    ['somebody else who asks at any time', { questions: 1, strays: 1 }],
    ['the destination crashes and comes back, twice', { questions: 1, crashesThere: 2 }],
    ['the source crashes', { questions: 1, crashesHere: 1, crashesThere: 1 }],
    ['the disk fails', { questions: 1, diskFailures: 1, crashesThere: 1 }],
    ['the records are lost', { questions: 1, losses: 1, crashesThere: 1 }],
    ['the owner runs, rewinds or stops the machine', { questions: 1, ownerActs: 2, crashesThere: 1 }],
  ];
  for (const [what, budget] of budgets) {
    it(`one machine runs, or a side that had it is down: ${what}`, async () => {
      const { states } = await explore(() => MigrationWorld.make({ ...NOTHING, ...budget }));
      expect(states).to.be.greaterThan(100);
    });
  }

  const mends: [string, Partial<Budget>, Faults, RegExp][] = [
    ['a machine that is rewound while it is switched over', { ownerActs: 1 }, { isLeaseIgnored: true }, /runs/],
    [
      'a record that was evicted, taken for a machine that was not started',
      { questions: 1, losses: 1 },
      { isUnknownNever: true },
      /two machines run/,
    ],
    [
      'a record that is read and written in two steps',
      { questions: 1 },
      { isDecidedInTwoSteps: true },
      /two machines run/,
    ],
    ['a machine that starts before that is kept', { questions: 1 }, { startsBeforeKept: true }, /two machines run/],
    [
      'a question that is answered and not taken down',
      { questions: 1 },
      { isQuestionNotKept: true },
      /two machines run/,
    ],
    ['a link that ends, taken for a refusal', {}, { isEndRefusal: true }, /two machines run/],
  ];
  for (const [what, budget, faults, says] of mends) {
    it(`finds ${what}`, async () => {
      const found = await explore(() => MigrationWorld.make({ ...NOTHING, ...budget }, faults)).catch(
        (error: Error) => error,
      );
      expect(found).to.be.instanceOf(Counterexample).with.property('message').that.matches(says);
    });
  }
});
