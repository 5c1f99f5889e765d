import { expect } from 'chai';
import { MigrationTarget } from '../../device/index.ts';
import { Vm } from '../../harness/node/vm.ts';
import { outpace, pipe, TOKEN } from '../support/migrations.ts';

/** Bytes a second. */
const BANDWIDTH = 6e6;
const PATIENCE = 300_000;

describe('live migration of a guest that changes more than the link takes', function () {
  this.timeout(900_000);
  let vms: Vm[] = [];

  beforeEach(async () => {
    const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
    vms = [vm];
    await vm.mount('share');
  });
  afterEach(() => Promise.all(vms.map((vm) => vm.stop())));

  async function goesOn({ vm }: { vm: Vm }): Promise<void> {
    vms.push(vm);
    const before = (await vm.exec('cat /mnt/share/count')).stdout.trim();
    expect((await vm.exec(`until [ $(cat /mnt/share/count) -gt ${before} ]; do sleep 0.1; done`)).code).to.equal(0);
  }

  it('stops it when the rounds do not get smaller, by the policy to stop', async () => {
    const [here, there] = pipe();
    const target = new MigrationTarget({ ...Vm.takeOver(TOKEN).options, timeoutMs: PATIENCE });
    const [result, successor] = await Promise.all([
      vms[0]!.migrate(await outpace(vms[0]!, here), { token: TOKEN, policy: 'stop', timeoutMs: PATIENCE }),
      target.serve(there),
    ]);
    expect(result.rounds).to.be.at.least(4);
    await goesOn(successor!);
  });

  it('throttles it until it is slower than the bandwidth, and it goes on there at its own pace', async () => {
    const [here, there] = pipe();
    await outpace(vms[0]!, here);
    const started = performance.now();
    const [result, successor] = await Promise.all([
      vms[0]!.migrate(here, { token: TOKEN, policy: 'throttle', bandwidth: BANDWIDTH }),
      Vm.takeOver(TOKEN).serve(there),
    ]);
    expect(result.bytes / ((performance.now() - started) / 1000), 'bytes a second').to.be.below(BANDWIDTH * 1.1);
    await goesOn(successor!);
  });
});
