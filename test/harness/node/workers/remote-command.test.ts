import { expect } from 'chai';
import type { ToThread } from '../../../../harness/node/workers/messages.ts';
import { RemoteCommand } from '../../../../harness/node/workers/remote-command.ts';

describe('a command of a machine in another thread', () => {
  const sent: ToThread[] = [];
  const command = new RemoteCommand(1, (message, moved = []) =>
    sent.push(structuredClone(message, { transfer: moved })),
  );
  beforeEach(() => sent.splice(0));

  it('takes input that stays what it is, whatever memory it is part of', async () => {
    const large = Buffer.alloc(100_000, 1);
    // Node keeps small ones in memory that they share.
    const small = Buffer.from('small');
    const taken = [large, small, large.subarray(5, 10), 'text'].map((data) => command.write(data));
    expect([large.length, small.toString()]).to.deep.equal([100_000, 'small']);
    expect(sent.map((message) => message.do === 'write' && Buffer.from(message.data).toString('latin1'))).to.deep.equal(
      [large.toString('latin1'), 'small', '\x01'.repeat(5), 'text'],
    );
    for (const _ of taken) command.hear({ say: 'written', command: 1 });
    await Promise.all(taken);
  });

  it('takes no signal that Linux has not', () => {
    for (const signal of [100, -1, 1.5, 'SIGCLD' as 'SIGCHLD'])
      expect(() => command.kill(signal)).to.throw(RangeError, /no signal/);
    command.kill('SIGTERM');
    expect(sent).to.deep.equal([{ do: 'kill', command: 1, signal: 15 }]);
  });
});
