import { expect } from 'chai';
import { BootCache } from '../../harness/node/boot-cache.ts';
import { makePlan } from '../../harness/node/plan.ts';
import { Vm } from '../../harness/node/vm.ts';

describe('boot cache', () => {
  it('boots again in place of a guest that does not answer', async () => {
    const options = { memory: 80, shares: [{ tag: 'share' }] };
    const { origin } = await makePlan(options);
    const cache = new BootCache();
    const silent = await Vm.boot({ memory: options.memory });
    try {
      await silent.exec('(sleep 1; kill -STOP $(pidof agent)) > /dev/null 2>&1 &');
      expect(await silent.exec('sleep 3', { timeoutMs: 5000 }).catch(({ kind }) => kind)).to.equal('timeout');
      await cache.store(origin, await silent.save());
    } finally {
      await silent.stop();
    }
    for (const attempt of ['after a while', 'at once']) {
      const vm = await Vm.boot(options);
      try {
        expect(
          (await vm.exec(`mkdir -p /mnt/share && mount -t virtiofs share /mnt/share && echo ${attempt}`)).stdout,
        ).to.equal(`${attempt}\n`);
      } finally {
        await vm.stop();
      }
    }
  });
});
