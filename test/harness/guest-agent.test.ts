import { expect } from 'chai';
import { mock } from 'node:test';
import { GuestAgent } from '../../harness/guest-agent.ts';

/** Bytes that Linux' 8250 driver takes off a port at once: 512 times 256. What is behind stays, and v86's edge-triggered interrupt has been. */
const TAKEN_AT_ONCE = 512 * 256;

describe('the agent of a guest that takes long to boot', () => {
  afterEach(() => mock.timers.reset());

  it('is not called more often than its serial port can take', async () => {
    mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    let sent = 0;
    let calls = 0;
    const agent = new GuestAgent({ write: ({ length }) => void ((sent += length), calls++), onData: () => {} });
    const ready = agent.ready(600_000).then(() => 'answered', (error: Error) => error.message);
    for (let second = 0; second < 600; second++) mock.timers.tick(1000);
    expect(await ready).to.match(/no answer from its agent/);
    expect(calls).to.be.above(20);
    expect(sent).to.be.below(TAKEN_AT_ONCE);
  });
});
