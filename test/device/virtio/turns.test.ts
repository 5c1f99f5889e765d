import { expect } from 'chai';
import fc from 'fast-check';
import { VIRTIO_F_EVENT_IDX } from '../../../device/virtio/constants.ts';
import { type Chain, DEFERRED } from '../../../device/virtio/device.ts';
import { PciTransport } from '../../../device/virtio/pci-transport.ts';
import type { Used } from '../../support/driver-queue.ts';
import { EchoDevice, echo } from '../../support/echo-device.ts';
import { FakeTurns } from '../../support/fake-turns.ts';
import { MockDriver } from '../../support/mock-driver.ts';

const BUDGET = 15;

/** A device whose requests take `cost` milliseconds, and a driver on an event loop that goes on when told. */
function slow({
  cost = 1,
  queueSizes = [64, 64, 64],
  packed = false,
  without = [] as number[],
  turnBudget = BUDGET,
} = {}) {
  const turns = new FakeTurns();
  const device = new EchoDevice(queueSizes);
  device.respond = (_queue, chain) => {
    turns.time += cost;
    return echo(device.requests.at(-1)!.bytes, chain);
  };
  const driver = new MockDriver(device, { offer: { packed, inOrder: true }, turns, turnBudget }).start({ without });
  const buffers = driver.buffers([Uint8Array.of(1, 2, 3)], [3]);
  const add = (queue: number, count: number) => Array.from({ length: count }, () => driver.queues[queue]!.add(buffers));
  const served = () => device.requests.map(({ queue }) => queue);
  return { turns, device, driver, add, served };
}

const idsOf = (used: Used[]) => used.map(({ id }) => id);

describe('requests that had waited for something that comes now', () => {
  function waiting(count: number) {
    const made = slow();
    const { turns, device, driver, add } = made;
    const chains: Chain[] = [];
    device.respond = (_queue, chain) => {
      chains.push(chain);
      return DEFERRED;
    };
    add(1, count);
    driver.kick(1);
    let served = 0;
    const come = () => {
      for (const chain of chains)
        chain.serveAgain(() => {
          turns.time++;
          served++;
          return 3;
        });
    };
    return { ...made, chains, come, served: () => served };
  }

  it('have no more of a turn than others', () => {
    const { turns, driver, come, served } = waiting(40);
    come();
    const counts = [served()];
    while (turns.turn()) counts.push(served());
    expect(counts.slice(0, 3)).to.deep.equal([15, 30, 40]);
    expect(driver.queues[1]!.collect()).to.have.length(40);
    expect(driver.transport.isPending).to.equal(false);
  });

  it('wait while the device is held, and are the first in a step', () => {
    const { turns, driver, come, served, device, add } = waiting(3);
    driver.transport.hold();
    add(1, 1);
    come();
    turns.finish();
    expect(served()).to.equal(0);
    expect(driver.transport.step()).to.equal(true);
    expect([served(), device.requests.length]).to.deep.equal([1, 3]);
    driver.transport.release();
    turns.finish();
    expect([served(), device.requests.length]).to.deep.equal([3, 4]);
  });

  it('wait while the machine is stopped, and are gone with a reset', () => {
    const { turns, driver, come, served } = waiting(40);
    come();
    turns.running = false;
    turns.finish();
    expect(served()).to.equal(15);
    turns.running = true;
    driver.transport.runQueues();
    expect(served()).to.equal(30);
    driver.write('device_status', 0);
    turns.finish();
    expect(served()).to.equal(30);
  });

  it('of a restored machine too', () => {
    const { turns, driver, device } = waiting(40);
    const { transport } = driver;
    transport.restoreState(PciTransport.checkState(structuredClone(transport.state()), transport));
    let served = 0;
    device.respond = () => {
      turns.time++;
      return ++served && 3;
    };
    for (const chain of transport.queues[1]!.inFlight) transport.askAgain(1, chain);
    expect(served).to.equal(0);
    turns.turn();
    expect(served).to.equal(15);
    turns.finish();
    expect(served).to.equal(40);
  });
});

describe('time that a kick may take', () => {
  for (const packed of [false, true]) {
    describe(packed ? 'packed ring' : 'split ring', () => {
      it('what is done in time is answered within the kick, and nothing is left for later', () => {
        const { turns, driver, add } = slow({ packed, cost: 0.05 });
        const ids = add(1, 20);
        driver.kick(1);
        expect(idsOf(driver.queues[1]!.collect())).to.deep.equal(ids);
        expect(driver.interrupts).to.equal(1);
        expect(driver.transport.isPending).to.equal(false);
        turns.finish();
      });

      it('the rest is answered in later turns, in order, and each time the driver hears of it', () => {
        const { turns, driver, add } = slow({ packed });
        const ids = add(1, 30);
        driver.kick(1);
        const counts: number[] = [];
        const answered: number[] = [];
        do {
          const used = idsOf(driver.queues[1]!.collect());
          expect(driver.irq, 'an interrupt for them').to.equal(used.length > 0);
          driver.readIsr();
          driver.queues[1]!.wantInterruptAfter(0);
          counts.push(used.length);
          answered.push(...used);
        } while (turns.turn());
        expect(answered).to.deep.equal(ids);
        expect(counts.filter(Boolean)).to.deep.equal([15, 15]);
      });

      it('all kicks of one turn share it', () => {
        const { turns, driver, add, served } = slow({ packed });
        for (let n = 0; n < 30; n++) {
          add(1, 1);
          driver.kick(1);
        }
        expect(served()).to.have.length(15);
        turns.turn();
        expect(served()).to.have.length(30);
      });

      it('a single request that takes longer is served all the same, one a turn', () => {
        const { turns, driver, add, served } = slow({ packed, cost: 40 });
        add(1, 3);
        driver.kick(1);
        for (const count of [1, 2, 3]) {
          expect(served()).to.have.length(count);
          turns.turn();
        }
        turns.finish();
        expect(served()).to.have.length(3);
      });

      it('with a budget of 0 each request has a turn of its own', () => {
        const { turns, driver, add, served } = slow({ packed, cost: 0, turnBudget: 0 });
        add(1, 2);
        add(0, 1);
        driver.kick(1);
        expect(served()).to.deep.equal([1]);
        turns.turn();
        expect(served()).to.deep.equal([1, 1]);
        turns.finish();
        expect(served()).to.deep.equal([1, 1, 0]);
      });

      it('no queue keeps others waiting for more than a turn, and hiprio comes after what was there before it', () => {
        const { turns, driver, add, served } = slow({ packed });
        add(2, 20);
        add(1, 20);
        add(0, 2);
        driver.kick(2);
        const kicked = served().length;
        turns.turn();
        expect(new Set(served().slice(0, kicked))).to.deep.equal(new Set([2]));
        expect(new Set(served().slice(kicked)), 'the other queue’s turn').to.deep.equal(new Set([1]));
        turns.finish();
        expect(served().slice(-2)).to.deep.equal([0, 0]);
        expect(served()).to.have.length(42);
      });

      it('a queue that is filled again and again does not keep hiprio waiting', () => {
        const { turns, driver, add, served } = slow({ packed, queueSizes: [16, 16] });
        add(1, 16);
        add(0, 1);
        driver.kick(1);
        for (let n = 0; n < 3; n++) {
          add(1, driver.queues[1]!.collect().length);
          turns.turn();
        }
        expect(served()).to.include(0);
      });

      it('who looks for EVENT_IDX sends no kick meanwhile, and what it adds is served', () => {
        const { turns, driver, add, served } = slow({ packed });
        const queue = driver.queues[1]!;
        add(1, 20);
        expect(queue.needsKick()).to.equal(true);
        driver.kick(1);
        add(1, 5);
        if (!packed) expect(queue.needsKick()).to.equal(false);
        turns.finish();
        expect(served()).to.have.length(25);
        add(1, 1);
        expect(queue.needsKick()).to.equal(true);
      });

      it('more than a queue can hold at once is served too, when it is added meanwhile and no kick tells of it', () => {
        const { turns, driver, served } = slow({ packed, queueSizes: [16, 16] });
        const queue = driver.queues[1]!;
        const [buffer] = driver.buffers([Uint8Array.of(1)], []);
        for (let n = 0; n < 16; n++) queue.add([buffer!]);
        driver.kick(1);
        for (let n = queue.collect().length; n > 0; n--) queue.add([buffer!]);
        turns.finish();
        expect(served()).to.have.length(31);
      });

      it('a kick for a queue whose turn is over already is not lost', () => {
        const { turns, driver, add, served } = slow({ packed });
        add(2, 1);
        add(1, 20);
        driver.kick(2);
        add(2, 1);
        driver.kick(2);
        turns.finish();
        expect(served().filter((queue) => queue === 2)).to.have.length(2);
      });

      it('a reset, of a queue or the device, takes back what waits, and later turns touch nothing', () => {
        for (const reset of ['queue', 'driver', 'machine'] as const) {
          const { turns, driver, add, served } = slow({ packed });
          add(1, 20);
          driver.kick(1);
          if (reset === 'queue') {
            driver.write('queue_select', 1);
            driver.write('queue_reset', 1);
          } else driver.transport.reset(reset);
          if (reset !== 'queue') expect(driver.transport.isPending).to.equal(false);
          const before = driver.memory.bytes.slice();
          turns.finish();
          expect(served(), reset).to.have.length(15);
          expect(driver.memory.bytes, reset).to.deep.equal(before);
          if (reset === 'queue') driver.queues[1] = driver.setUpQueue(1, driver.offered);
          else driver.start();
          add(1, 1);
          driver.kick(1);
          turns.finish();
          expect(served(), reset).to.have.length(16);
        }
      });

      it('a broken ring ends it', () => {
        const { turns, driver, add, served } = slow({ packed });
        add(1, 20);
        driver.kick(1);
        driver.memory.bytes.fill(0xff, driver.queues[1]!.desc, driver.queues[1]!.desc + 64 * 16);
        driver.memory.writeU16(driver.queues[1]!.driverArea + 2, 0x7777);
        turns.finish();
        expect(served()).to.have.length(15);
        expect(driver.transport.isPending).to.equal(false);
        if (!packed) expect(driver.errors).to.have.length(1);
      });

      it('a machine that stands still stays as it is until it runs', () => {
        const { turns, driver, add, served } = slow({ packed });
        add(1, 20);
        driver.kick(1);
        turns.running = false;
        const before = driver.memory.bytes.slice();
        turns.finish();
        expect(driver.memory.bytes).to.deep.equal(before);
        expect(served()).to.have.length(15);
        turns.running = true;
        driver.transport.runQueues();
        expect(served()).to.have.length(20);
      });

      it('what waits is in a snapshot: it is served where that is restored, and goes on here too', () => {
        const here = slow({ packed });
        const ids = here.add(1, 20);
        here.driver.kick(1);
        const state = structuredClone(here.driver.transport.state());
        const there = slow({ packed });
        there.driver.memory.bytes.set(here.driver.memory.bytes);
        there.driver.transport.restoreState(PciTransport.checkState(state, there.driver.transport));
        expect(there.served(), 'not within the restore').to.have.length(0);
        for (const { turns } of [here, there]) turns.finish();
        expect(there.served()).to.have.length(5);
        expect(idsOf(here.driver.queues[1]!.collect())).to.deep.equal(ids);
      });

      it('a device that is held serves nothing in later turns, step by step what is asked for, and the rest when it is released', () => {
        const { turns, driver, add, served } = slow({ packed });
        add(1, 30);
        driver.kick(1);
        driver.transport.hold();
        turns.finish();
        expect(served()).to.have.length(15);
        expect(driver.transport.step()).to.equal(true);
        expect(served()).to.have.length(16);
        driver.transport.release();
        turns.finish();
        expect(served()).to.have.length(30);
      });
    });
  }

  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('add' as const),
        queue: fc.nat(2),
        count: fc.integer({ min: 1, max: 12 }),
      }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('turn' as const) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('collect' as const), queue: fc.nat(2) }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constantFrom('stop', 'start', 'hold', 'step', 'release', 'restore') }),
    },
  );

  it('no chain is lost, none is served twice, and each queue keeps its order, whatever happens in between', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.boolean(),
        fc.boolean(),
        fc.constantFrom(0, 2, 15),
        // Small ones are often full, and a round serves all that they hold.
        fc.constantFrom(1, 2, 4, 16),
        (steps, packed, eventIdx, turnBudget, size) => {
          const { turns, device, driver } = slow({
            packed,
            queueSizes: [size, size, size],
            without: eventIdx ? [] : [VIRTIO_F_EVENT_IDX],
            turnBudget,
          });
          const buffers = driver.buffers([Uint8Array.of(1)], []);
          const added: number[][] = [[], [], []];
          const used: number[][] = [[], [], []];
          const collect = (queue: number) => used[queue]!.push(...idsOf(driver.queues[queue]!.collect()));
          for (const { kind, ...rest } of steps) {
            const { queue = 0, count = 0 } = rest as { queue?: number; count?: number };
            switch (kind) {
              case 'add':
                for (let n = 0; n < count && added[queue]!.length - used[queue]!.length < size; n++)
                  added[queue]!.push(driver.queues[queue]!.add(buffers));
                if (driver.queues[queue]!.needsKick() && turns.running) driver.kick(queue);
                break;
              case 'turn':
                turns.turn();
                break;
              case 'collect':
                collect(queue);
                break;
              case 'stop':
                turns.running = false;
                break;
              case 'start':
                turns.running = true;
                driver.transport.runQueues();
                break;
              case 'hold':
                driver.transport.hold();
                break;
              case 'step':
                if (driver.transport.isHeld) driver.transport.step();
                break;
              case 'release':
                driver.transport.release();
                break;
              case 'restore':
                driver.transport.restoreState(
                  PciTransport.checkState(structuredClone(driver.transport.state()), driver.transport),
                );
                break;
            }
          }
          // Nothing else makes the device look again.
          if (driver.transport.isHeld) driver.transport.release();
          if (!turns.running) {
            turns.running = true;
            driver.transport.runQueues();
          }
          turns.finish();
          for (const queue of [0, 1, 2]) collect(queue);
          expect(used).to.deep.equal(added);
          expect(driver.errors).to.deep.equal([]);
          for (const queue of [0, 1, 2])
            expect(device.requests.filter((request) => request.queue === queue)).to.have.length(added[queue]!.length);
        },
      ),
      { numRuns: 1500 },
    );
  });
});
