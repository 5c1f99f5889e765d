import { expect } from 'chai';
import { V86Machine } from '../../device/v86/adapter.ts';
import { Vm } from '../../harness/index.ts';

/** Seconds: what `/proc/uptime` is rounded to, and what may be between two readings of the time stamp counter. */
const CLOSE = 0.05;

describe("a guest's clock", function () {
  this.timeout(300_000);
  let vm: Vm;
  before(async () => {
    vm = await Vm.boot({ clock: 'keep' });
  });
  after(() => vm.stop());

  const host = () => V86Machine.of(vm.emulator).clock!.now() / 1000;
  const guest = async () => Number((await vm.exec('cat /proc/uptime')).stdout.split(' ')[0]);

  /** Seconds that pass in the guest during `action`, and at most and at least by its machine's clock. */
  async function passed(action: () => Promise<unknown>) {
    const times = [host(), await guest(), host()];
    await action();
    times.push(host(), await guest(), host());
    const [early, before, begun, ended, after, late] = times as [number, number, number, number, number, number];
    return { guest: after - before, most: late - early, least: ended - begun };
  }

  it('goes at the speed that it is told, and waits pass at it', async () => {
    vm.setClockSpeed(50);
    try {
      // With the host's clock this would end by its time limit.
      const { guest, most, least } = await passed(() => vm.exec('sleep 200'));
      expect(least).to.be.at.least(200);
      expect(guest).to.be.within(least - CLOSE, most + CLOSE);
    } finally {
      vm.setClockSpeed(1);
    }
  });

  it('stands while the machine is paused, with `keep`', async () => {
    const { guest, most, least } = await passed(async () => {
      await vm.pause();
      const before = host();
      await new Promise((resolve) => setTimeout(resolve, 2000));
      expect(host()).to.be.closeTo(before, 0.001);
      await vm.start();
    });
    expect(guest).to.be.within(least - CLOSE, most + CLOSE);
  });

  it('takes no other speed, and stays as it is', () => {
    for (const speed of [0, 1000, Number.NaN]) expect(() => vm.setClockSpeed(speed)).to.throw(RangeError, 'speed');
    expect(V86Machine.of(vm.emulator).clock).to.have.property('speed', 1);
  });
});
