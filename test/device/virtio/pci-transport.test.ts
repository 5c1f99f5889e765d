import { expect } from 'chai';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from '../../../device/virtio/constants.ts';
import type { OfferedFeatures } from '../../../device/virtio/features.ts';
import {
  BAR,
  PCI_CFG_BAR,
  PCI_CFG_DATA,
  PCI_CFG_LENGTH,
  PCI_CFG_OFFSET,
  PMCSR,
} from '../../../device/virtio/pci-config-space.ts';
import { PciTransport } from '../../../device/virtio/pci-transport.ts';
import type { TransportEvent } from '../../../device/virtio/trace.ts';
import { EchoDevice } from '../../support/echo-device.ts';
import { MockDriver } from '../../support/mock-driver.ts';

const bit = (n: number) => 1n << BigInt(n);
const bytes = (text: string) => new TextEncoder().encode(text);
const DRIVER_OK = 15;
const NEEDS_RESET = 0x40;

describe('PCI transport', () => {
  let device: EchoDevice;
  let driver: MockDriver;
  beforeEach(() => {
    device = new EchoDevice();
    driver = new MockDriver(device);
  });
  const bar = (offset: number, width: number) => driver.transport.readBar(offset, width);

  describe('common configuration', () => {
    it('4.1.4.3.1: feature windows beyond 64 bits read 0', () => {
      for (const select of [2, 3, 0x80000000, 0xffffffff]) {
        driver.write('device_feature_select', select);
        expect(driver.read('device_feature'), `window ${select}`).to.equal(0);
      }
    });

    it('4.1.4.3.1: driver_feature reads back what was written for the window', () => {
      driver.accept(0x123456789abcdef0n);
      driver.write('driver_feature_select', 1);
      expect(driver.read('driver_feature')).to.equal(0x12345678);
      driver.write('driver_feature_select', 0);
      expect(driver.read('driver_feature')).to.equal(0x9abcdef0);
      driver.write('driver_feature_select', 2);
      expect(driver.read('driver_feature')).to.equal(0);
    });

    it('4.1.4.3.1: queue_size is the maximum at reset, and 0 for a queue that is not there', () => {
      driver.write('queue_select', 1);
      expect(driver.read('queue_size')).to.equal(16);
      driver.write('queue_select', 2);
      for (const field of ['queue_size', 'queue_enable', 'queue_desc_lo', 'queue_device_hi'] as const)
        expect(driver.read(field), field).to.equal(0);
      driver.write('queue_size', 8);
      driver.write('queue_enable', 1);
      expect(driver.read('queue_enable')).to.equal(0);
      expect(driver.read('device_status') & NEEDS_RESET).to.equal(0);
    });

    it('4.1.4.3.2: queue_enable can not be cleared by writing 0', () => {
      driver.start();
      driver.write('queue_select', 0);
      driver.write('queue_enable', 0);
      expect(driver.read('queue_enable')).to.equal(1);
    });

    it('4.1.4.3.2: an enabled queue keeps its size and addresses', () => {
      driver.start();
      const before = (['queue_size', 'queue_desc_lo', 'queue_driver_lo', 'queue_device_hi'] as const).map(
        (name) => [name, driver.read(name)] as const,
      );
      for (const [name] of before) driver.write(name, 2);
      expect(before.map(([name]) => [name, driver.read(name)])).to.deep.equal(before);
    });

    it('4.1.3.1: 64-bit addresses come as two 32-bit halves, in either order', () => {
      driver.write('queue_desc_hi', 0x89abcdef);
      driver.write('queue_desc_lo', 0x01234560);
      expect([driver.read('queue_desc_lo'), driver.read('queue_desc_hi')]).to.deep.equal([0x01234560, 0x89abcdef]);
      driver.write('queue_desc_lo', 0xfffffff0);
      driver.write('queue_desc_hi', 0);
      expect([driver.read('queue_desc_lo'), driver.read('queue_desc_hi')]).to.deep.equal([0xfffffff0, 0]);
    });

    it('4.1.3.1: every field answers at its own width, and bytes of it at others', () => {
      driver.write('queue_select', 1);
      driver.write('queue_desc_lo', 0xa1b2c3d4);
      expect(bar(0x20, 4)).to.equal(0xa1b2c3d4);
      expect([bar(0x20, 2), bar(0x22, 2), bar(0x20, 1), bar(0x23, 1)]).to.deep.equal([0xc3d4, 0xa1b2, 0xd4, 0xa1]);
      expect(bar(0x14, 4), 'device_status, config_generation, queue_select').to.equal(0x00010000);
      expect(bar(0x18, 4), 'queue_size, queue_msix_vector').to.equal(0xffff0010);
      expect(bar(0x3a, 4), 'past the end').to.equal(0);
    });

    it('4.1.3.1: a write of another width changes just the bytes it has', () => {
      driver.write('queue_desc_lo', 0xa1b2c3d4);
      driver.transport.writeBar(0x21, 1, 0xee);
      expect(driver.read('queue_desc_lo')).to.equal(0xa1b2eed4);
      driver.transport.writeBar(0x16, 4, 0x00080001);
      expect([driver.read('queue_select'), driver.read('queue_size')]).to.deep.equal([1, 8]);
    });

    it('4.1.4.3.1: config_generation changes with the configuration', () => {
      const before = driver.read('config_generation');
      expect(driver.read('config_generation')).to.equal(before);
      device.config[5] = 0x77;
      expect(driver.read('config_generation')).not.to.equal(before);
      expect(bar(BAR.device.offset + 5, 1)).to.equal(0x77);
    });

    it('4.1.5.1.2: no MSI-X: vectors read NO_VECTOR whatever is written', () => {
      driver.write('config_msix_vector', 1);
      driver.write('queue_msix_vector', 1);
      expect([driver.read('config_msix_vector'), driver.read('queue_msix_vector')]).to.deep.equal([0xffff, 0xffff]);
    });

    it('4.1.4.6: device configuration is readable at every width before FEATURES_OK, and not writable', () => {
      const at = BAR.device.offset;
      expect([bar(at, 1), bar(at + 1, 2), bar(at + 36, 4)]).to.deep.equal([1, 0x0302, 0x28272625]);
      driver.transport.writeBar(at, 4, 0);
      expect(bar(at, 4)).to.equal(0x04030201);
      expect([bar(at + 38, 4), bar(at + 40, 4), bar(at + 127, 4)]).to.deep.equal([0x2827, 0, 0]);
    });
  });

  describe('status and features', () => {
    it('2.1: status keeps the bits that the driver sets', () => {
      for (const status of [1, 3, 0x83]) {
        driver.write('device_status', status);
        expect(driver.read('device_status')).to.equal(status);
      }
    });

    it('6.1: VIRTIO_F_VERSION_1 is offered and required', () => {
      expect(driver.offered & bit(VIRTIO_F_VERSION_1)).not.to.equal(0n);
      expect(driver.negotiate(driver.offered & ~bit(VIRTIO_F_VERSION_1))).to.equal(false);
    });

    it('2.2.2: FEATURES_OK is refused for what was not offered, and accepted for a subset after a reset', () => {
      expect(driver.negotiate(driver.offered | bit(5))).to.equal(false);
      expect(driver.negotiate(bit(VIRTIO_F_VERSION_1))).to.equal(true);
      driver.write('device_status', 0);
      driver.write('driver_feature_select', 3);
      driver.write('driver_feature', 1);
      driver.accept(driver.offered);
      driver.write('device_status', 11);
      expect(driver.read('device_status')).to.equal(3);
    });

    it('3.1.1: features do not change after FEATURES_OK', () => {
      driver.negotiate(bit(VIRTIO_F_VERSION_1));
      driver.accept(driver.offered);
      expect(driver.transport.features.accepted).to.equal(bit(VIRTIO_F_VERSION_1));
    });

    it('3.1.1: DRIVER_OK needs FEATURES_OK', () => {
      driver.write('device_status', 7);
      expect(driver.read('device_status')).to.equal(3);
      expect(device.log).to.deep.equal([]);
    });

    const masks: { name: keyof OfferedFeatures; bit: number; isDefault: boolean }[] = [
      { name: 'indirect', bit: VIRTIO_F_INDIRECT_DESC, isDefault: true },
      { name: 'eventIdx', bit: VIRTIO_F_EVENT_IDX, isDefault: true },
      { name: 'packed', bit: VIRTIO_F_RING_PACKED, isDefault: false },
      { name: 'inOrder', bit: VIRTIO_F_IN_ORDER, isDefault: false },
      { name: 'ringReset', bit: VIRTIO_F_RING_RESET, isDefault: true },
    ];
    for (const { name, bit: n, isDefault } of masks) {
      it(`the option ${name} decides whether feature bit ${n} is offered (${isDefault ? 'yes' : 'no'} by default)`, () => {
        const isOffered = (offer?: OfferedFeatures) => (new MockDriver(device, { offer }).offered & bit(n)) !== 0n;
        expect([isOffered(), isOffered({ [name]: true }), isOffered({ [name]: false })]).to.deep.equal([
          isDefault,
          true,
          false,
        ]);
      });
    }

    it('6: IN_ORDER is not offered by a device that may answer later', () => {
      const deferring = Object.assign(new EchoDevice(), { answersInOrder: false });
      expect(new MockDriver(deferring, { offer: { inOrder: true } }).offered & bit(VIRTIO_F_IN_ORDER)).to.equal(0n);
    });

    it('2.4.1: after a reset status reads 0 and every register is at its default', () => {
      const fresh = new MockDriver(new EchoDevice());
      driver.start();
      driver.request(1, [bytes('x')], [10]);
      driver.write('device_status', 0);
      expect(driver.read('device_status')).to.equal(0);
      for (const queue of [0, 1]) {
        for (const each of [driver, fresh]) each.write('queue_select', queue);
        for (let offset = 0; offset < BAR.common.length; offset += 4)
          expect(bar(offset, 4), `queue ${queue}, offset ${offset}`).to.equal(fresh.transport.readBar(offset, 4));
      }
      expect([driver.irq, driver.readIsr()]).to.deep.equal([false, 0]);
      expect(device.log.at(-1)).to.equal('reset driver');
    });
  });

  describe('before, during and after operation', () => {
    it('3.1.1: nothing is served before DRIVER_OK, and what waits is served then', () => {
      driver.negotiate();
      driver.queues = [0, 1].map((index) => driver.setUpQueue(index, driver.offered));
      const buffers = driver.buffers([bytes('early')], [5]);
      driver.queues[1]!.add(buffers);
      driver.kick(1);
      expect([device.requests.length, driver.irq]).to.deep.equal([0, false]);
      driver.driverOk();
      expect(driver.written(buffers)).to.deep.equal(bytes('early'));
    });

    it('4.1.4.5.1: ISR tells of queues and clears when read; INTA# follows it; PCI Status mirrors it', () => {
      driver.start();
      const status = () => driver.transport.readConfig(6, 2) & 8;
      expect(status()).to.equal(0);
      driver.request(1, [bytes('x')], [1]);
      expect([driver.irq, status()]).to.deep.equal([true, 8]);
      expect(driver.readIsr()).to.equal(1);
      expect([driver.irq, status(), driver.readIsr()]).to.deep.equal([false, 0, 0]);
    });

    it('PCI 3.0, 6.2.2: Interrupt Disable in the command register holds INTA# down', () => {
      driver.start();
      driver.transport.writeConfig(4, 2, 0x400);
      driver.request(1, [bytes('x')], [1]);
      expect(driver.irq).to.equal(false);
      driver.transport.writeConfig(4, 2, 0);
      expect(driver.irq).to.equal(true);
    });

    it('4.1.5.2: a kick is a 16-bit write of the queue’s number; a 32-bit one is taken too; other numbers do nothing', () => {
      driver.start();
      for (const [width, value] of [
        [2, 1],
        [4, 1],
      ] as const) {
        driver.queues[1]!.add(driver.buffers([bytes('x')], [1]));
        driver.transport.writeBar(BAR.notify.offset, width, value);
      }
      expect(device.requests).to.have.length(2);
      driver.kick(7);
      driver.kick(0xffff);
      expect(driver.errors).to.deep.equal([]);
    });

    it('2.9: a lost kick is made up for by the next one, on whichever queue', () => {
      driver.start();
      driver.queues[1]!.add(driver.buffers([bytes('lost')], [4]));
      driver.kick(0);
      expect(device.requests.map(({ queue }) => queue)).to.deep.equal([1]);
    });

    it('looks at the request queues before the hiprio queue, so that an INTERRUPT finds what it is about', () => {
      driver.start();
      driver.queues[0]!.add(driver.buffers([bytes('interrupt')], [4]));
      driver.queues[1]!.add(driver.buffers([bytes('request')], [4]));
      driver.kick(0);
      expect(device.requests.map(({ queue }) => queue)).to.deep.equal([1, 0]);
    });

    it('2.4.1: a reset makes deferred chains dead: their completion writes nothing', () => {
      driver.start();
      device.defer();
      driver.queues[1]!.add(driver.buffers([bytes('x')], [1]));
      driver.kick(1);
      driver.write('device_status', 0);
      expect(device.log.slice(-2)).to.deep.equal(['abandon 0', 'reset driver']);
      const before = driver.memory.bytes.slice();
      device.deferred[0]!.complete(1);
      expect(driver.memory.bytes).to.deep.equal(before);
      expect(driver.irq).to.equal(false);
    });

    it('a reset of the machine resets the device, and tells it so', () => {
      driver.start();
      driver.transport.writeConfig(PMCSR, 2, 3);
      driver.transport.reset('machine');
      expect([
        driver.read('device_status'),
        device.log.at(-1),
        driver.transport.readConfig(PMCSR, 2) & 3,
      ]).to.deep.equal([0, 'reset machine', 0]);
    });

    it('2.6.1: a queue is reset alone, and set up again, with VIRTIO_F_RING_RESET', () => {
      driver.start();
      device.defer();
      driver.queues[1]!.add(driver.buffers([bytes('x')], [1]));
      driver.kick(1);
      driver.write('queue_select', 1);
      driver.write('queue_reset', 1);
      expect([
        driver.read('queue_reset'),
        driver.read('queue_enable'),
        driver.read('queue_desc_lo'),
        driver.read('queue_size'),
      ]).to.deep.equal([0, 0, 0, 16]);
      expect(device.log.at(-1)).to.equal('abandon 0');
      device.deferred[0]!.complete(1);
      device.respond = (_queue, chain) => chain.sink.writeAt(0, bytes('ok'), 0, 2);
      driver.queues[1] = driver.setUpQueue(1, driver.offered, 8);
      expect(driver.request(1, [bytes('y')], [2])).to.deep.equal(bytes('ok'));
      expect(driver.request(0, [bytes('z')], [2])).to.deep.equal(bytes('ok'));
    });

    it('2.6.1: without VIRTIO_F_RING_RESET queue_reset does nothing', () => {
      driver.start({ without: [VIRTIO_F_RING_RESET] });
      driver.write('queue_select', 1);
      driver.write('queue_reset', 1);
      expect(driver.read('queue_enable')).to.equal(1);
    });

    it('counts requests, bytes, kicks and interrupts', () => {
      driver.start();
      driver.request(1, [bytes('12345')], [3]);
      driver.readIsr();
      driver.queues[1]!.wantInterruptAfter(false);
      driver.request(1, [bytes('123')], [3]);
      expect(driver.transport.statistics[1]).to.deep.equal({
        kicks: 2,
        requests: 2,
        bytesRead: 8,
        bytesWritten: 6,
        interrupts: 1,
        suppressed: 1,
        deepest: 1,
      });
    });
  });

  describe('PCI_CFG: a driver that has only configuration space', () => {
    const access = (offset: number, length: number) => {
      driver.transport.writeConfig(PCI_CFG_BAR, 1, 0);
      driver.transport.writeConfig(PCI_CFG_OFFSET, 4, offset);
      driver.transport.writeConfig(PCI_CFG_LENGTH, 4, length);
    };

    it('4.1.4.9.1: runs the device through the window', () => {
      const { transport } = driver;
      const viaWindow = {
        readBar: (offset: number, width: number) => (access(offset, width), transport.readConfig(PCI_CFG_DATA, width)),
        writeBar: (offset: number, width: number, value: number) => (
          access(offset, width), transport.writeConfig(PCI_CFG_DATA, width, value)
        ),
      };
      const throughConfig = new Proxy(transport, {
        get: (target, name) => {
          if (name === 'readBar' || name === 'writeBar') return viaWindow[name];
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
      Object.defineProperty(driver, 'transport', { value: throughConfig });
      driver.start();
      expect(driver.request(1, [bytes('through the window')], [18])).to.deep.equal(bytes('through the window'));
      expect(driver.readIsr()).to.equal(1);
      expect(driver.irq).to.equal(false);
    });

    it('4.1.4.9.2: an impossible window reads 0 and writes nothing', () => {
      for (const [bar_, offset, length] of [
        [1, 0, 4],
        [0, 0, 3],
        [0, 2, 4],
        [0, 0x100, 4],
        [0, 0xfffffffc, 4],
        [0, 0x14, 0],
      ] as const) {
        access(offset, length);
        driver.transport.writeConfig(PCI_CFG_BAR, 1, bar_);
        driver.transport.writeConfig(PCI_CFG_DATA, 4, 0xff);
        expect(driver.transport.readConfig(PCI_CFG_DATA, 4)).to.equal(0);
      }
      expect(driver.read('device_status')).to.equal(0);
    });

    it('PCI PM: the power state reads back, No_Soft_Reset stays, and nothing is lost in D3hot', () => {
      driver.start();
      driver.transport.writeConfig(PMCSR, 2, 3);
      expect(driver.transport.readConfig(PMCSR, 2)).to.equal(0b1011);
      driver.transport.writeConfig(PMCSR, 2, 0);
      expect(driver.request(1, [bytes('awake')], [5])).to.deep.equal(bytes('awake'));
    });
  });

  describe('trace', () => {
    it('tells of registers, kicks, chains, interrupts and resets, with the specification’s names', () => {
      const events: TransportEvent[] = [];
      driver.start();
      driver.transport.onTrace((event) => events.push(event));
      driver.request(1, [bytes('abc')], [2, 4]);
      driver.readIsr();
      driver.read('device_status');
      driver.write('device_status', 0);
      expect(events.map(({ type }) => type)).to.deep.equal([
        'kick',
        'chain',
        'used',
        'interrupt',
        'register',
        'register',
        'register',
        'reset',
      ]);
      expect(events[1]).to.deep.include({ type: 'chain', queue: 1 });
      expect((events[1] as { buffers: object[] }).buffers).to.have.length(3);
      expect(events[2]).to.deep.include({ written: 3 });
      expect(events[3]).to.deep.include({ raised: true });
      expect(events[5]).to.deep.equal({
        type: 'register',
        region: 'common',
        access: 'read',
        field: 'device_status',
        offset: 0x14,
        width: 1,
        value: DRIVER_OK,
      });
    });
  });

  describe('taken out on purpose', () => {
    it('is an empty slot, whose chains are dead, until it is put in again', () => {
      driver.start();
      device.defer();
      driver.queues[1]!.add(driver.buffers([bytes('abc')], [4]));
      driver.kick(1);
      expect(device.deferred).to.have.length(1);
      driver.transport.unplug();
      expect(device.log).to.include('abandon 0');
      for (const width of [1, 2, 4] as const)
        for (const offset of [BAR.common.offset, BAR.isr.offset, BAR.device.offset, BAR.notify.offset])
          expect(bar(offset, width)).to.equal(2 ** (8 * width) - 1);
      driver.write('device_status', DRIVER_OK);
      driver.kick(1);
      driver.transport.breakDown();
      expect([driver.transport.deviceStatus, driver.transport.isLive]).to.deep.equal([0, false]);
      driver.transport.reset('machine');
      expect(driver.transport.isUnplugged).to.equal(true);
      driver.transport.plugIn();
      expect(driver.read('device_status')).to.equal(0);
      driver.start();
      expect(driver.transport.isLive).to.equal(true);
    });

    it('stays so through a snapshot, which says it of no other device', () => {
      driver.start();
      const before = structuredClone(driver.transport.state());
      expect(before).not.to.have.property('unplugged');
      driver.transport.unplug();
      const state = structuredClone(driver.transport.state());
      const other = new MockDriver(new EchoDevice());
      const take = (each: unknown) => other.transport.restoreState(PciTransport.checkState(each, other.transport));
      take(state);
      expect([other.transport.isUnplugged, other.transport.state()]).to.deep.equal([true, state]);
      take({ ...before, queues: before.queues.map((queue) => ({ ...queue, queue_enable: false, ring: undefined })) });
      expect(other.transport.isUnplugged).to.equal(false);
      for (const unplugged of [1, 'yes', null])
        expect(() => PciTransport.checkState({ ...state, unplugged }, other.transport)).to.throw(/unplugged is /);
      expect(() => PciTransport.checkState({ ...state, device_status: DRIVER_OK }, other.transport)).to.throw(
        /device_status is 15 of a device that was taken out/,
      );
    });
  });
});
