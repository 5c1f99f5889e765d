import { expect } from 'chai';
import { type DeviceView, viewDevice } from '../../../device/inspect/device-view.ts';
import { FuseDriver } from '../../support/fuse-driver.ts';

describe('view of a device', () => {
  const view = ({ transport, session }: FuseDriver): DeviceView =>
    viewDevice({ tag: 'share', slot: 13, transport, session });
  const set = ({ status }: DeviceView) => status.filter(({ isSet }) => isSet).map(({ name }) => name);
  const register = ({ registers }: DeviceView, name: string) =>
    registers.find((candidate) => candidate.name === name)?.value;

  it('has status and features, as offered and as accepted', () => {
    const fuse = new FuseDriver({ offer: { packed: true, eventIdx: false } });
    expect(set(view(fuse))).to.deep.equal(['ACKNOWLEDGE', 'DRIVER', 'FEATURES_OK', 'DRIVER_OK']);
    const features = Object.fromEntries(
      view(fuse).features.map(({ name, bit, isOffered, isAccepted }) => [name, [bit, isOffered, isAccepted]]),
    );
    expect(features).to.deep.include({
      VIRTIO_F_VERSION_1: [32, true, true],
      VIRTIO_F_RING_PACKED: [34, true, true],
      VIRTIO_F_EVENT_IDX: [29, false, false],
    });
    fuse.driver.write('device_status', 0);
    expect(set(view(fuse))).to.deep.equal([]);
    expect(view(fuse).features.filter(({ isAccepted }) => isAccepted)).to.deep.equal([]);
  });

  it('has the capabilities that a driver finds, and what they lead to', () => {
    const { pciId, capabilities } = view(new FuseDriver());
    expect(pciId).to.equal('1af4:105a');
    expect(capabilities.map(({ name }) => name.replace('VIRTIO_PCI_CAP_', ''))).to.deep.equal([
      'Power Management',
      'COMMON_CFG',
      'NOTIFY_CFG',
      'ISR_CFG',
      'DEVICE_CFG',
      'PCI_CFG',
    ]);
    expect(capabilities[1]).to.include({ at: 0x48, bar: 0, offset: 0, length: 0x3c });
  });

  it('has the registers by name, addresses whole, and changes none by looking', () => {
    const fuse = new FuseDriver().init();
    fuse.driver.queues[1]!.wantInterruptAfter(0);
    fuse.call('GETATTR', 1);
    fuse.driver.write('queue_select', 1);
    const before = structuredClone(fuse.transport.state());
    const seen = view(fuse);
    expect(fuse.transport.state()).to.deep.equal(before);
    expect(register(seen, 'num_queues')).to.equal(2);
    expect(register(seen, 'queue_desc')).to.equal(fuse.driver.queues[1]!.desc);
    expect(register(seen, 'ISR status')).to.equal(1);
    expect(register(seen, 'virtio_fs session')).to.equal(fuse.session.number);
    expect(seen.interrupt).to.deep.equal({ isRaised: true, isQueue: true, isConfig: false, isDisabled: false });
    fuse.driver.readIsr();
    expect(view(fuse).interrupt.isRaised).to.equal(false);
  });

  it('counts what each queue has done', () => {
    const fuse = new FuseDriver().init();
    fuse.call('GETATTR', 1);
    expect(view(fuse).queues[1]).to.include({ size: 16, isEnabled: true, kicks: 2, requests: 2, inFlight: 0 });
    expect(view(fuse).queues[0]).to.include({ requests: 0 });
  });

  it('says that the device is held, or needs a reset', () => {
    const fuse = new FuseDriver().init();
    fuse.transport.hold();
    expect(view(fuse).isHeld).to.equal(true);
    fuse.transport.release();
    fuse.driver.memory.writeU16(fuse.driver.queues[1]!.driverArea + 2, 0x8000);
    fuse.driver.kick(1);
    expect(set(view(fuse))).to.include('DEVICE_NEEDS_RESET');
    expect(view(fuse).interrupt.isConfig).to.equal(true);
  });
});
