import { expect } from 'chai';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '../../../device/virtio/constants.ts';
import type { VirtioErrorKind } from '../../../device/virtio/errors.ts';
import { PciTransport } from '../../../device/virtio/pci-transport.ts';
import type { PackedDriverQueue, SplitDriverQueue } from '../../support/driver-queue.ts';
import { EchoDevice } from '../../support/echo-device.ts';
import { MockDriver } from '../../support/mock-driver.ts';

const bytes = (length: number, seed = 0) => Uint8Array.from({ length }, (_, n) => (n * 7 + seed) & 0xff);
const NEEDS_RESET = 0x40;
const AVAIL = 1 << 7;

for (const packed of [false, true]) {
  describe(`${packed ? 'packed' : 'split'} virtqueue`, () => {
    let device: EchoDevice;
    const make = (options: { without?: number[]; size?: number } = {}) => {
      device = new EchoDevice([16, options.size ?? 16]);
      return new MockDriver(device, { offer: { packed } }).start(options);
    };

    for (const without of [
      [],
      [VIRTIO_F_EVENT_IDX],
      [VIRTIO_F_INDIRECT_DESC],
      [VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC],
    ]) {
      it(`answers ${without.length ? `without feature ${without.join(', ')}` : 'with all features'}, many times round the ring`, () => {
        const driver = make({ without });
        for (let n = 0; n < 200; n++) {
          const sent = bytes(1 + (n % 40), n);
          const isIndirect = !without.includes(VIRTIO_F_INDIRECT_DESC) && n % 3 === 0;
          expect(driver.request(1, [sent], [64], isIndirect ? { indirectFrom: 0 } : {}), `request ${n}`).to.deep.equal(
            sent,
          );
          if (n % 5 === 0) driver.readIsr();
        }
        expect(driver.errors).to.deep.equal([]);
      });
    }

    it('goes round 65,536 requests: indices wrap', () => {
      const driver = make({ size: 8 });
      const queue = driver.queues[1]!;
      const buffers = driver.buffers([bytes(3)], [3]);
      for (let n = 0; n < 70_000; n++) {
        const id = queue.add(buffers);
        driver.kick(1);
        const used = queue.collect();
        if (used.length !== 1 || used[0]!.id !== id || used[0]!.length !== 3)
          expect.fail(`request ${n}: ${JSON.stringify(used)}`);
      }
      expect(driver.errors).to.deep.equal([]);
    });

    it('2.7.4.1: makes no assumption on the layout: 1-byte descriptors', () => {
      const driver = make();
      const sent = bytes(7);
      expect(
        driver.request(
          1,
          [...sent].map((byte) => Uint8Array.of(byte)),
          Array<number>(9).fill(1),
        ),
      ).to.deep.equal(sent);
    });

    it('takes buffers of no bytes', () => {
      const driver = make();
      expect(driver.request(1, [new Uint8Array(), bytes(5), new Uint8Array()], [0, 2, 0, 3])).to.deep.equal(bytes(5));
    });

    it('2.7.5.3.2: takes direct descriptors followed by an indirect one, and ignores WRITE on that', () => {
      const driver = make();
      if (packed) {
        // 2.8.8 forbids the mixture; WRITE on a lone one is ignored.
        const queue = driver.queues[1]!;
        queue.add(driver.buffers([bytes(6)], [6]), { indirectFrom: 0 });
        driver.memory.writeU16(queue.desc + 14, driver.memory.readU16(queue.desc + 14) | VIRTQ_DESC_F_WRITE);
        driver.kick(1);
        expect(device.requests.at(-1)!.bytes).to.deep.equal(bytes(6));
        return;
      }
      expect(driver.request(1, [bytes(4), bytes(4, 4)], [3, 5], { indirectFrom: 1 })).to.deep.equal(
        Uint8Array.of(...bytes(4), ...bytes(4, 4)),
      );
      const queue = driver.queues[1]! as SplitDriverQueue;
      const head = queue.add(driver.buffers([bytes(6)], [6]), { indirectFrom: 0 });
      driver.memory.writeU16(queue.desc + 16 * head + 12, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE);
      driver.kick(1);
      expect(device.requests.at(-1)!.bytes).to.deep.equal(bytes(6));
    });

    it('2.7.4.3: writes neither readable buffers nor descriptors nor the driver’s area', () => {
      const driver = make();
      const queue = driver.queues[1]!;
      const buffers = driver.buffers([bytes(100)], [100]);
      queue.add(buffers);
      const {
        memory: { bytes: ram },
      } = driver;
      const guarded = [
        [buffers[0]!.address, 100],
        [queue.driverArea, packed ? 4 : 6 + 32],
        ...(packed ? [] : [[queue.desc, 256]]),
      ] as [number, number][];
      const before = guarded.map(([address, length]) => ram.slice(address, address + length));
      driver.kick(1);
      expect(guarded.map(([address, length]) => ram.slice(address, address + length))).to.deep.equal(before);
    });

    it('2.7.8.2: the used length counts what was written from the first writable byte, never more than there is room for', () => {
      const driver = make();
      device.respond = (_queue, chain) => chain.sink.writeAt(0, bytes(10), 0, 10);
      expect(driver.request(1, [bytes(1)], [20])).to.have.length(10);
      device.respond = () => 1_000_000;
      expect(driver.request(1, [bytes(1)], [20])).to.have.length(20);
      device.respond = () => 0;
      expect(driver.request(1, [bytes(1)], []), 'a request without a reply').to.have.length(0);
    });

    it('writes at positions, backwards and across buffers', () => {
      const driver = make();
      device.respond = (_queue, { sink }) => {
        expect(sink.capacity).to.equal(30);
        expect(sink.writeAt(25, bytes(10, 1), 0, 10), 'cut at the end').to.equal(5);
        expect(sink.writeAt(5, bytes(20, 2), 3, 12)).to.equal(12);
        expect(sink.writeAt(0, bytes(5, 3), 0, 5)).to.equal(5);
        expect(sink.writeAt(30, bytes(1), 0, 1)).to.equal(0);
        expect(sink.writeAt(17, bytes(8, 4), 0, 8)).to.equal(8);
        return 30;
      };
      const expected = Uint8Array.of(
        ...bytes(5, 3),
        ...bytes(20, 2).subarray(3, 15),
        ...bytes(8, 4),
        ...bytes(10, 1).subarray(0, 5),
      );
      expect(driver.request(1, [bytes(1)], [7, 1, 9, 13])).to.deep.equal(expected);
    });

    it('several requests with one kick give one interrupt', () => {
      const driver = make();
      for (let n = 0; n < 5; n++) driver.queues[1]!.add(driver.buffers([bytes(4, n)], [4]));
      driver.kick(1);
      expect(driver.queues[1]!.collect()).to.have.length(5);
      expect(driver.interrupts).to.equal(1);
      expect(driver.transport.statistics[1]!.deepest).to.equal(5);
    });

    it('2.7.7.2, 2.8.14: without EVENT_IDX the driver’s flags say whether it wants an interrupt', () => {
      const driver = make({ without: [VIRTIO_F_EVENT_IDX] });
      driver.queues[1]!.wantInterruptAfter(false);
      driver.request(1, [bytes(1)], [1]);
      expect(driver.irq).to.equal(false);
      driver.queues[1]!.wantInterruptAfter(0);
      driver.request(1, [bytes(1)], [1]);
      expect(driver.irq).to.equal(true);
    });

    it('2.7.7.2, 2.8.14: with EVENT_IDX an interrupt comes exactly when used_event is passed, at every place of the ring', () => {
      const driver = make({ size: 8 });
      const queue = driver.queues[1]!;
      const buffers = driver.buffers([bytes(1)], []);
      for (let round = 0; round < 100; round++) {
        for (const after of [0, 1, 2, 4] as const) {
          queue.wantInterruptAfter(after);
          for (let n = 0; n < 5; n++) {
            queue.add(buffers);
            driver.kick(1);
            expect(driver.readIsr() === 1, `round ${round}, interrupt after ${after}, request ${n}`).to.equal(
              n === after,
            );
          }
          queue.collect();
        }
      }
    });

    it('with EVENT_IDX a batch that passes used_event gives one interrupt', () => {
      const driver = make();
      const queue = driver.queues[1]!;
      queue.wantInterruptAfter(3);
      for (let n = 0; n < 3; n++) queue.add(driver.buffers([bytes(1)], []));
      driver.kick(1);
      expect(driver.readIsr()).to.equal(0);
      for (let n = 0; n < 3; n++) queue.add(driver.buffers([bytes(1)], []));
      driver.kick(1);
      expect(driver.readIsr()).to.equal(1);
    });

    it('2.7.10: asks for every kick', () => {
      for (const without of [[], [VIRTIO_F_EVENT_IDX]]) {
        const driver = make({ without });
        for (let n = 0; n < 40; n++) {
          driver.queues[1]!.add(driver.buffers([bytes(1)], [1]));
          expect(driver.queues[1]!.needsKick(), `request ${n}`).to.equal(true);
          driver.kick(1);
          driver.queues[1]!.collect();
        }
      }
    });

    it('answers deferred chains later, in any order, and goes on meanwhile', () => {
      const driver = make();
      const queue = driver.queues[1]!;
      device.defer();
      const sets = [1, 2, 3].map((n) => driver.buffers([bytes(4, n)], [4]));
      const ids = sets.map((buffers) => queue.add(buffers));
      driver.kick(1);
      expect([driver.readIsr(), queue.collect()]).to.deep.equal([0, []]);
      for (const n of [2, 0, 1]) {
        device.deferred[n]!.sink.writeAt(0, bytes(4, n + 1), 0, 4);
        device.deferred[n]!.complete(4);
        device.deferred[n]!.complete(4);
        expect(driver.readIsr()).to.equal(1);
        expect(queue.collect()).to.deep.equal([{ id: ids[n], length: 4 }]);
        expect(driver.written(sets[n]!)).to.deep.equal(bytes(4, n + 1));
        queue.wantInterruptAfter(0);
      }
    });

    it('a queue full of deferred chains does not hold up the other queue', () => {
      const driver = make({ size: 8 });
      device.defer();
      for (let n = 0; n < 8; n++) driver.queues[1]!.add(driver.buffers([bytes(1)], []));
      driver.kick(1);
      expect(device.deferred).to.have.length(8);
      device.respond = () => 0;
      expect(driver.request(0, [bytes(1)], [])).to.have.length(0);
      device.deferred.forEach((chain) => chain.complete(0));
      expect(driver.queues[1]!.collect()).to.have.length(8);
      expect(driver.errors).to.deep.equal([]);
    });

    it('its state, deferred chains included, goes on in another transport over the same memory', () => {
      const driver = make();
      const queue = driver.queues[1]!;
      for (let n = 0; n < 21; n++) driver.request(1, [bytes(4, n)], [4]);
      driver.readIsr();
      queue.wantInterruptAfter(0);
      device.defer();
      const buffers = driver.buffers([bytes(4), bytes(3)], [2, 2]);
      const id = queue.add(buffers);
      driver.kick(1);

      const restored = new MockDriver(new EchoDevice([16, 16]), { memorySize: driver.memory.size });
      restored.memory.bytes.set(driver.memory.bytes);
      const state = structuredClone(driver.transport.state());
      restored.transport.restoreState(PciTransport.checkState(state, restored.transport));
      expect(restored.transport.state()).to.deep.equal(driver.transport.state());
      const [chain] = restored.transport.queues[1]!.inFlight;
      expect(chain!.source.remaining).to.equal(7);
      chain!.sink.writeAt(0, bytes(4, 9), 0, 4);
      chain!.complete(4);
      expect(restored.irq).to.equal(true);
      driver.memory.bytes.set(restored.memory.bytes);
      expect(queue.collect()).to.deep.equal([{ id, length: 4 }]);
      expect(driver.written(buffers)).to.deep.equal(bytes(4, 9));
    });

    describe('2.1.2: what a driver gets wrong asks for a reset, and a reset brings the device back', () => {
      type Break = (driver: MockDriver, queue: SplitDriverQueue & PackedDriverQueue) => void;
      const patch = (
        driver: MockDriver,
        at: number,
        change: { flags?: number; next?: number; length?: number; high?: number; address?: number },
      ) => {
        const { memory } = driver;
        const flagsAt = packed ? 14 : 12;
        if (change.flags !== undefined) memory.writeU16(at + flagsAt, change.flags | (packed ? AVAIL : 0));
        if (change.next !== undefined && !packed) memory.writeU16(at + 14, change.next);
        if (change.length !== undefined) memory.writeU32(at + 8, change.length);
        if (change.high !== undefined) memory.writeU32(at + 4, change.high);
        if (change.address !== undefined) memory.writeU32(at, change.address);
      };
      const cases: {
        name: string;
        kind: VirtioErrorKind;
        says: RegExp;
        only?: 'split' | 'packed';
        without?: number[];
        break: Break;
      }[] = [
        {
          name: 'avail.idx jumps by more than the queue’s size',
          kind: 'ring',
          says: /avail\.idx is 17 ahead/,
          only: 'split',
          break: (driver, queue) => driver.memory.writeU16(queue.driverArea + 2, 17),
        },
        {
          name: 'a head beyond the table',
          kind: 'ring',
          says: /descriptor 16: the table has 16/,
          only: 'split',
          break: (_driver, queue) => queue.makeAvailable(16),
        },
        {
          name: 'next beyond the table',
          kind: 'ring',
          says: /descriptor 999/,
          only: 'split',
          break: (driver, queue) => (
            queue.add(driver.buffers([bytes(1)], [1])),
            patch(driver, queue.desc, { flags: VIRTQ_DESC_F_NEXT, next: 999 })
          ),
        },
        {
          name: 'a chain that loops',
          kind: 'chain',
          says: /more than 16 descriptors.*loops/,
          only: 'split',
          break: (driver, queue) => (
            queue.add(driver.buffers([bytes(1)], [1])), patch(driver, queue.desc, { flags: VIRTQ_DESC_F_NEXT, next: 0 })
          ),
        },
        {
          name: 'a chain all round the ring',
          kind: 'chain',
          says: /more than 16 descriptors/,
          only: 'packed',
          break: (driver, queue) => {
            for (let n = 0; n < 16; n++)
              patch(driver, queue.desc + 16 * n, { flags: VIRTQ_DESC_F_NEXT, address: 0x100, length: 1 });
          },
        },
        {
          name: 'an indirect table that loops',
          kind: 'chain',
          says: /more than 16 descriptors.*loops/,
          only: 'split',
          break: (driver, queue) => {
            queue.add(driver.buffers([bytes(1)], [1]), { indirectFrom: 0 });
            patch(driver, driver.memory.readU32(queue.desc), { flags: VIRTQ_DESC_F_NEXT, next: 0 });
          },
        },
        {
          name: 'next beyond an indirect table',
          kind: 'chain',
          says: /entry 2 of an indirect table of 2/,
          only: 'split',
          break: (driver, queue) => {
            queue.add(driver.buffers([bytes(1)], [1]), { indirectFrom: 0 });
            patch(driver, driver.memory.readU32(queue.desc), { flags: VIRTQ_DESC_F_NEXT, next: 2 });
          },
        },
        {
          name: 'an indirect table longer than the queue',
          kind: 'chain',
          says: /more than 16 descriptors/,
          break: (driver, queue) =>
            queue.add(
              driver.buffers(
                Array.from({ length: 17 }, () => bytes(1)),
                [],
              ),
              { indirectFrom: 0 },
            ),
        },
        {
          name: 'an indirect table within another',
          kind: 'chain',
          says: /within an indirect table/,
          break: (driver, queue) => {
            queue.add(driver.buffers([bytes(1)], [1]), { indirectFrom: 0 });
            patch(driver, driver.memory.readU32(queue.desc), { flags: VIRTQ_DESC_F_INDIRECT });
          },
        },
        {
          name: 'INDIRECT together with NEXT',
          kind: 'chain',
          says: /both INDIRECT and NEXT/,
          break: (driver, queue) => {
            queue.add(driver.buffers([bytes(1)], [1]), { indirectFrom: 0 });
            patch(driver, queue.desc, { flags: VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_NEXT });
          },
        },
        {
          name: 'INDIRECT linked by NEXT',
          kind: 'chain',
          says: /INDIRECT descriptor linked by NEXT/,
          only: 'packed',
          break: (driver, queue) => (
            queue.add(driver.buffers([bytes(1)], [1])), patch(driver, queue.desc + 16, { flags: VIRTQ_DESC_F_INDIRECT })
          ),
        },
        {
          name: 'an indirect table that is not a multiple of 16 bytes',
          kind: 'chain',
          says: /indirect table of 31 bytes/,
          break: (driver, queue) => (
            queue.add(driver.buffers([bytes(1)], [1]), { indirectFrom: 0 }), patch(driver, queue.desc, { length: 31 })
          ),
        },
        {
          name: 'an empty indirect table',
          kind: 'chain',
          says: /indirect table of 0 bytes/,
          break: (driver, queue) => (
            queue.add(driver.buffers([bytes(1)], [1]), { indirectFrom: 0 }), patch(driver, queue.desc, { length: 0 })
          ),
        },
        {
          name: 'an indirect table outside RAM',
          kind: 'address',
          says: /indirect table at 0x1[0-9a-f]{8}/,
          break: (driver, queue) => (
            queue.add(driver.buffers([bytes(1)], [1]), { indirectFrom: 0 }), patch(driver, queue.desc, { high: 1 })
          ),
        },
        {
          name: 'an indirect table that was not negotiated',
          kind: 'chain',
          says: /INDIRECT_DESC is not negotiated/,
          without: [VIRTIO_F_INDIRECT_DESC],
          break: (driver, queue) => queue.add(driver.buffers([bytes(1)], [1]), { indirectFrom: 0 }),
        },
        {
          name: 'a readable descriptor after a writable one',
          kind: 'chain',
          says: /readable descriptor after a device-writable/,
          break: (driver, queue) => queue.add(driver.buffers([bytes(1)], [1]).reverse()),
        },
        {
          name: 'a buffer outside RAM',
          kind: 'address',
          says: /outside guest RAM/,
          break: (driver, queue) => queue.add([{ address: driver.memory.size - 1, length: 2, writable: true }]),
        },
        {
          name: 'a buffer whose end overflows 64 bits',
          kind: 'address',
          says: /outside guest RAM/,
          break: (driver, queue) => {
            queue.add(driver.buffers([bytes(1)], []));
            patch(driver, queue.desc, { address: 0xffffffff, high: 0xffffffff, length: 0xffffffff });
          },
        },
      ];
      for (const { name, kind, says, only, without = [], break: breakIt } of cases) {
        if (only && (only === 'packed') !== packed) continue;
        it(name, () => {
          const driver = make({ without });
          breakIt(driver, driver.queues[1] as SplitDriverQueue & PackedDriverQueue);
          driver.kick(1);
          expect(driver.errors.map((error) => ({ kind: error.kind, queue: error.queue }))).to.deep.equal([
            { kind, queue: 1 },
          ]);
          expect(driver.errors[0]!.message).to.match(says);
          expect(driver.read('device_status') & NEEDS_RESET).to.equal(NEEDS_RESET);
          expect(driver.readIsr() & 2, 'a configuration change notification').to.equal(2);
          const { length } = device.requests;
          driver.queues[0]!.add(driver.buffers([bytes(1)], [1]));
          driver.kick(0);
          expect(device.requests, 'nothing is served until the reset').to.have.length(length);
          driver.start();
          expect(driver.request(1, [bytes(5)], [5])).to.deep.equal(bytes(5));
        });
      }

      it('a failure of the device itself', () => {
        const driver = make();
        device.respond = () => {
          throw new TypeError('a bug');
        };
        driver.queues[1]!.add(driver.buffers([bytes(1)], [1]));
        driver.kick(1);
        expect(driver.errors[0])
          .to.include({ kind: 'device' })
          .and.have.property('cause')
          .that.is.instanceOf(TypeError);
        expect(driver.read('device_status') & NEEDS_RESET).to.equal(NEEDS_RESET);
      });

      const setups: {
        name: string;
        size?: number;
        field?: 'queue_desc_lo' | 'queue_driver_lo' | 'queue_device_lo' | 'queue_desc_hi';
        value?: number;
        kind: VirtioErrorKind;
        only?: 'split';
      }[] = [
        { name: 'a queue_size of 0', size: 0, kind: 'queue' },
        { name: 'a queue_size beyond the maximum', size: 32, kind: 'queue' },
        { name: 'a queue_size that is no power of two', size: 12, kind: 'queue', only: 'split' },
        { name: 'a misaligned descriptor area', field: 'queue_desc_lo', value: 0x1008, kind: 'queue' },
        { name: 'a misaligned driver area', field: 'queue_driver_lo', value: 0x1001, kind: 'queue' },
        { name: 'a misaligned device area', field: 'queue_device_lo', value: 0x1002, kind: 'queue' },
        { name: 'a ring that ends outside RAM', field: 'queue_desc_lo', value: (1 << 20) - 16, kind: 'address' },
        { name: 'a ring above 4 GiB', field: 'queue_desc_hi', value: 1, kind: 'address' },
      ];
      for (const { name, size, field, value, kind, only } of setups) {
        if (only === 'split' && packed) continue;
        it(name, () => {
          const driver = make();
          driver.negotiate();
          driver.write('queue_select', 1);
          for (const area of ['desc', 'driver', 'device'] as const) driver.write(`queue_${area}_lo`, 0x4000);
          if (size !== undefined) driver.write('queue_size', size);
          if (field) driver.write(field, value!);
          driver.write('queue_enable', 1);
          expect(driver.errors.map((error) => error.kind)).to.deep.equal([kind]);
          expect([driver.read('queue_enable'), driver.read('device_status') & NEEDS_RESET]).to.deep.equal([
            0,
            NEEDS_RESET,
          ]);
        });
      }

      it('more chains at once than the queue has descriptors', () => {
        const driver = make({ without: [VIRTIO_F_INDIRECT_DESC] });
        device.defer();
        const queue = driver.queues[1] as SplitDriverQueue & PackedDriverQueue;
        const buffers = driver.buffers([bytes(1)], []);
        for (let n = 0; n < 17 && !driver.errors.length; n++) {
          if (packed) queue.add(buffers);
          else {
            driver.memory.writeU32(queue.desc, buffers[0]!.address);
            driver.memory.writeU32(queue.desc + 8, 1);
            queue.makeAvailable(0);
          }
          driver.kick(1);
        }
        expect(driver.errors[0]).to.include({ kind: 'ring' });
        expect(device.deferred.length).to.equal(16);
      });
    });
  });
}
