import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { Vm } from '../../harness/node/vm.ts';
import { useGuest } from '../support/guest.ts';

describe('a held device', () => {
  const guest = useGuest();

  /** Starts a command whose request waits in the device. */
  async function startWaiting() {
    const { vm } = guest;
    vm.share().fs.writeFileSync('/file', 'content\n');
    const { transport } = vm.share().device;
    transport.hold();
    const before = transport.queues.at(-1)!.state().ring!.next_avail;
    const process = vm.spawn(['sh', '-c', `cat ${vm.share().mountPoint}/file > /tmp/copy; echo done`]);
    expect(await vm.exec('sleep 0.2; ls /tmp/copy')).to.include({ code: 0 });
    expect(transport.queues.at(-1)!.state().ring!.next_avail, 'nothing is taken').to.equal(before);
    return process;
  }

  it('lets the guest go on, and its request wait until the device is released', async () => {
    const process = await startWaiting();
    expect((await guest.vm.exec('cat /tmp/copy')).stdout).to.equal('');
    guest.vm.share().device.transport.release();
    expect(await process.exited).to.equal(0);
    expect((await guest.vm.exec('cat /tmp/copy')).stdout).to.equal('content\n');
  });

  it('can be frozen: a machine that goes on from there gets its answers', async () => {
    const process = await startWaiting();
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const { id } = await guest.vm.freeze(store, 'held');
    const other = await Vm.thaw(store, id);
    try {
      expect(await other.agent.attach(process.id).exited).to.equal(0);
      expect((await other.exec('cat /tmp/copy')).stdout).to.equal('content\n');
    } finally {
      await other.stop();
    }
    guest.vm.share().device.transport.release();
    expect(await process.exited).to.equal(0);
  });
});
