import { expect } from 'chai';
import { loadCodec, MemoryStore, Recorder, SnapshotStore } from '../../device/index.ts';
import { Vm, VmError } from '../../harness/index.ts';

/** Processes, pipes, files, waits, and all that tells the time or is drawn by chance. */
const SCRIPT = `
  for n in 1 2 3; do seq $n 100 | sort -r | head -n $n > f$n; mv f$n g$n; mkdir -p d/$n; cp g$n d/$n; done
  rm -r d/1; sleep 5; ls -le; date; cat /proc/uptime /proc/sys/kernel/random/uuid; head -c 32 /dev/urandom | md5sum
  echo said > /dev/kmsg; dmesg | tail -n 1`;

/** How far: docs/going-on.md says so. */
describe('deterministic machines from one snapshot', function () {
  this.timeout(600_000);
  let store: SnapshotStore;
  let id: string;
  before(async () => {
    store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
    try {
      await vm.mount();
      ({ id } = await vm.freeze(store));
    } finally {
      await vm.stop();
    }
  });

  /** `delay`: for which the host does something else. */
  async function run(deterministic: number, delay: number) {
    const vm = await Vm.thaw(store, id, { deterministic });
    try {
      const recorder = new Recorder(vm.share().device);
      recorder.isOn = true;
      await new Promise((resolve) => setTimeout(resolve, delay));
      const { stdout, stderr } = await vm.exec(SCRIPT, { cwd: '/mnt/share', check: true, timeoutMs: 240_000 });
      const instructions = vm.emulator.get_instruction_counter();
      await new Promise((resolve) => setTimeout(resolve, delay));
      // Nobody waits for it, so it does nothing.
      expect(vm.emulator.get_instruction_counter()).to.equal(instructions);
      const requests = recorder.records.map(({ time: _, duration: __, ...record }) => record);
      return { stdout, stderr, instructions, requests };
    } finally {
      await vm.stop();
    }
  }

  it('run the same instructions, and say, draw and ask the same at the same time', async () => {
    const first = await run(7, 0);
    expect(first.requests).to.have.length.above(50);
    expect(await run(7, 300)).to.deep.equal(first);
  });

  it("can't go by the host's clock, or have a seed that is none", async () => {
    for (const options of [{ deterministic: 7, clock: 'host' as const }, { deterministic: 0.5 }]) {
      const error = await Vm.thaw(store, id, options).catch((refusal: unknown) => refusal);
      expect(error).to.be.instanceOf(VmError).with.property('kind', 'configuration');
    }
  });
});
