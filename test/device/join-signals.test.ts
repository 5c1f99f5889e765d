import { getEventListeners } from 'node:events';
import { mock } from 'node:test';
import { expect } from 'chai';
import { joinSignals } from '../../device/join-signals.ts';

describe('signals that are joined', () => {
  afterEach(() => mock.timers.reset());

  it('are aborted with the first of them, and its reason', () => {
    const [first, second] = [new AbortController(), new AbortController()];
    const { signal } = joinSignals([first.signal, undefined, second.signal]);
    expect(signal.aborted).to.equal(false);
    second.abort('why');
    first.abort('later');
    expect(signal.reason).to.equal('why');
    expect(joinSignals([second.signal]).signal.reason).to.equal('why');
  });

  it('are aborted when it takes too long, unless they are released before', () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    const [late, done] = [joinSignals([], 1000), joinSignals([], 1000)];
    const never = [joinSignals([], Infinity), joinSignals([], 2 ** 31)];
    done.release();
    mock.timers.tick(1000);
    for (const { signal } of never) expect(signal.aborted).to.equal(false);
    expect(late.signal.reason).to.have.property('name', 'TimeoutError');
    expect(done.signal.aborted).to.equal(false);
  });

  it('have one listener, however many wait, and none of those that were released is told', () => {
    const source = new AbortController();
    const all = Array.from({ length: 50 }, () => joinSignals([source.signal]));
    for (const { release } of all.slice(1)) release();
    expect(getEventListeners(source.signal, 'abort')).to.have.length(1);
    source.abort();
    expect(all.map(({ signal }) => signal.aborted)).to.deep.equal([true, ...Array<boolean>(49).fill(false)]);
  });
});
