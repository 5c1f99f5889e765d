import { expect } from 'chai';
import { OneAtATime } from '../../device/one-at-a-time.ts';

describe('actions one at a time', () => {
  it('begin at once when nothing is under way, and else in the order in which they came, whatever fails', async () => {
    const changes = new OneAtATime();
    const told: string[] = [];
    const action = (name: string, isGood = true) =>
      changes.run(async () => {
        told.push(`${name} begins`);
        await Promise.resolve();
        told.push(`${name} ends`);
        if (!isGood) throw new Error(name);
        return name;
      });
    const results = Promise.allSettled([action('a'), action('b', false), action('c')]);
    expect(told).to.deep.equal(['a begins']);
    expect((await results).map((result) => (result.status === 'fulfilled' ? result.value : 'failed'))).to.deep.equal([
      'a',
      'failed',
      'c',
    ]);
    expect(told).to.deep.equal(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
    await Promise.resolve();
    void action('d');
    expect(told.at(-1)).to.equal('d begins');
  });
});
