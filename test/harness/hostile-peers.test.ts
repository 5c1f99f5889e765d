import { expect } from 'chai';
import { fuzzPeers } from '../support/hostile-peers.ts';

describe('what hostile guests, peers, tabs and pages send', function () {
  this.timeout(300_000);

  for (const seed of [1, 2]) {
    it(`250,000 messages from seed ${seed} end their channels, and nothing else`, async () => {
      const before = process.memoryUsage().arrayBuffers;
      const outcomes = await fuzzPeers(seed, 250_000);
      expect(process.memoryUsage().arrayBuffers - before).to.be.below(256 << 20);
      for (const [reader, counts] of outcomes) {
        const kinds = [...counts.keys()];
        expect(kinds.length, `${reader}: ${kinds.join(', ')}`).to.be.greaterThan(1);
      }
      expect(outcomes.get('fuzzCreditChannel')).to.include.keys(
        'the other side keeps sending without waiting for confirmation',
        'the other side confirms a message that was not sent',
      );
      expect(outcomes.get('fuzzAgent')).to.include.keys(
        'accepted',
        'something other than the agent',
        'a process has ended with the code ',
        'a process sent more than it was allowed to',
      );
    });
  }
});
