import { MessageChannel } from 'node:worker_threads';
import { expect } from 'chai';
import {
  MemoryFileSystem,
  type MigrationChannel,
  MigrationTarget,
  makeToken,
  type PortLike,
  portChannel,
} from '../../device/index.ts';
import { Vm } from '../../harness/node/vm.ts';
import { migrateThroughCuts, migrateWith, outpace, pipe, TOKEN } from '../support/migrations.ts';
import { expectations, goOn, setUp } from '../support/scene.mjs';

const port = (): [MigrationChannel, MigrationChannel] => {
  const { port1, port2 } = new MessageChannel();
  return [portChannel(port1 as unknown as PortLike), portChannel(port2 as unknown as PortLike)];
};

describe('live migration', function () {
  this.timeout(600_000);

  it('moves a guest in the middle of everything, and stops it here', async () => {
    const vm = await Vm.boot({ shares: [{ tag: 'share', locks: 'shared' }] });
    await vm.mount('share');
    const expected = await expectations(vm.agent, vm.share().device);
    const scene = await setUp(vm.agent);
    const [here, there] = port();
    const rounds: number[] = [];
    const [result, successor] = await Promise.all([
      vm.migrate(here, { token: TOKEN, onProgress: ({ round }) => rounds.push(round) }),
      Vm.takeOver(TOKEN).serve(there),
    ]);
    try {
      expect(rounds)
        .to.deep.equal(Array.from({ length: result.rounds }, (_, n) => n + 1))
        .and.have.length.greaterThan(1);
      expect(await vm.exec('true').catch((error: Error) => error.message)).to.match(/was stopped/);
      const { vm: moved } = successor!;
      expect(await goOn(moved.agent, scene, moved.share().device, expected)).to.deep.equal([]);
    } finally {
      await successor?.vm.stop();
      await vm.stop();
    }
  });

  it('whatever the byte at which the link breaks, one machine runs and loses nothing @long', () =>
    migrateThroughCuts({ cuts: 8, seed: 1 }));

  describe('is refused, and the machine runs on', () => {
    let vm: Vm;
    before(async () => {
      vm = await Vm.boot({ shares: [{ tag: 'share' }] });
      await vm.mount('share');
      await vm.exec('dd if=/dev/urandom of=/mnt/share/large bs=64k count=4 2>/dev/null');
    });
    after(() => vm.stop());
    afterEach(async () =>
      expect((await vm.exec('echo runs > /mnt/share/f; cat /mnt/share/f')).stdout).to.equal('runs\n'),
    );

    const refused: [string, Parameters<typeof migrateWith>[1], RegExp][] = [
      ['with another token', { token: makeToken() }, /different token|hung up/],
      ['for another memory size', { options: { memory: 512 } }, /memory/],
      ['for other shares', { options: { shares: [{ tag: 'other' }] } }, /other|devices/],
      [
        'where the folder may not be as large',
        { options: { shares: [{ tag: 'share', filesystem: new MemoryFileSystem({ size: 65_536 }) }] } },
        /quota|room|no space/i,
      ],
      ['where there is no room', { limit: 1000 }, /more than 1000 bytes/],
      [
        'by a listener that says something else',
        { listen: async (channel) => channel.send(new TextEncoder().encode('HTTP/1.1 400 Bad Request')) },
        /does not speak/,
      ],
      ['by one that says nothing', { timeoutMs: 300, listen: async () => {} }, /silent for 0.3 s/],
      ['by one that hangs up', { listen: async (channel) => channel.close() }, /does not answer|ended|closed/],
      [
        'by one that repeats what it hears',
        { listen: async (channel) => channel.send((await channel.receive())!) },
        /both sides are calling/,
      ],
    ];
    for (const [what, how, says] of refused) {
      it(what, async () => {
        const error = await migrateWith(vm, how).catch((thrown: Error) => thrown);
        expect(error).to.be.an('error').with.property('message').that.matches(says);
      });
    }

    it('when it is broken off', async () => {
      const abort = new AbortController();
      const error = await migrateWith(vm, { signal: abort.signal, onProgress: () => abort.abort() }).catch(
        (thrown: Error) => thrown,
      );
      expect(error)
        .to.be.an('error')
        .with.property('message')
        .that.matches(/was cancelled/);
    });

    it('when the guest changes more than can be sent, and the policy is to give up', async () => {
      const [here, there] = pipe();
      void new MigrationTarget({ ...Vm.takeOver(TOKEN).options, timeoutMs: 300_000 }).serve(there).catch(() => {});
      const error = await vm
        .migrate(await outpace(vm, here), { token: TOKEN, policy: 'give-up', timeoutMs: 300_000 })
        .catch((thrown: Error) => thrown);
      expect(error)
        .to.be.an('error')
        .with.property('message')
        .that.matches(/changes more than can be sent/);
      await vm.exec('kill $(cat /tmp/pid)');
    });
  });
});
