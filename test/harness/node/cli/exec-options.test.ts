import { mock } from 'node:test';
import { expect } from 'chai';
import { withinTime } from '../../../../harness/node/cli/exec-options.ts';

describe('the time of a command', () => {
  afterEach(() => mock.timers.reset());

  /** What it is sent, second by second, until it is over. */
  async function follow(seconds: number | undefined, endsBy?: string): Promise<[log: string[], code: number]> {
    mock.timers.reset();
    mock.timers.enable({ apis: ['setTimeout'] });
    const log: string[] = [];
    let second = 0;
    let end = (_code: number) => {};
    const exited = new Promise<number>((resolve) => (end = resolve));
    const kill = (signal: unknown) => {
      log.push(`${second} ${signal}`);
      if (signal === endsBy) end(143);
    };
    if (endsBy === '') end(3);
    let code: number | undefined;
    const ended = withinTime({ kill }, seconds, exited).then((result) => (code = result));
    for (; code === undefined && second < 100; second++) {
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      mock.timers.tick(1000);
    }
    return [log, await ended];
  }

  it('is what it takes, where nobody limits it, and within the limit', async () => {
    expect(await follow(undefined, '')).to.deep.equal([[], 3]);
    expect(await follow(5, '')).to.deep.equal([[], 3]);
  });

  it('ends by SIGTERM, then by SIGKILL, and then without its guest', async () => {
    expect(await follow(5, 'SIGTERM')).to.deep.equal([['5 SIGTERM'], 124]);
    expect(await follow(5, 'SIGKILL')).to.deep.equal([['5 SIGTERM', '15 SIGKILL'], 124]);
    expect(await follow(5)).to.deep.equal([['5 SIGTERM', '15 SIGKILL'], 124]);
  });
});
