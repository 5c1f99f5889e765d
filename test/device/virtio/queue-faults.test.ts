import { expect } from 'chai';
import { EchoDevice } from '../../support/echo-device.ts';
import { MockDriver } from '../../support/mock-driver.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

for (const packed of [false, true])
  describe(`queues that go wrong on purpose, ${packed ? 'packed' : 'split'}`, () => {
    let driver: MockDriver;
    beforeEach(() => {
      driver = new MockDriver(new EchoDevice(), { offer: { packed, eventIdx: false } }).start();
    });
    /** Sends a request through queue `queue`. */
    const send = (queue: number) => {
      driver.queues[queue]!.add(driver.buffers([bytes('abc')], [4]));
      driver.kick(queue);
    };
    const answered = (queue: number) => driver.queues[queue]!.collect().length;

    it('stall one by one, until each is let go, and lose nothing', () => {
      const { faults } = driver.transport;
      const ends = [faults.stall(1), faults.stall(1)];
      send(1);
      send(0);
      expect([answered(0), answered(1)]).to.deep.equal([1, 0]);
      expect(driver.transport.step(), 'what is stalled is not stepped through').to.equal(false);
      ends[0]!();
      ends[0]!();
      send(1);
      expect(answered(1)).to.equal(0);
      ends[1]!();
      expect(answered(1)).to.equal(2);
      send(1);
      expect(answered(1)).to.equal(1);
    });

    it('stay stalled through a reset', () => {
      const end = driver.transport.faults.stall(1);
      driver.start();
      send(1);
      expect(answered(1)).to.equal(0);
      end();
      expect(answered(1)).to.equal(1);
    });

    it('lose interrupts by queue and count, and have what they did not tell of', () => {
      const { faults } = driver.transport;
      faults.loseInterrupts({ queue: 1, after: 1, count: 2 });
      const told = (queue: number) => {
        send(queue);
        expect(answered(queue)).to.equal(1);
        return driver.readIsr() !== 0;
      };
      expect([told(1), told(0), told(1), told(0), told(1), told(1)]).to.deep.equal([
        true,
        true,
        false,
        true,
        false,
        true,
      ]);
      const end = faults.loseInterrupts();
      expect([told(0), told(1)]).to.deep.equal([false, false]);
      end();
      end();
      expect([told(0), told(1)]).to.deep.equal([true, true]);
      expect(() => faults.loseInterrupts({ count: -1 })).to.throw(RangeError);
    });
  });
