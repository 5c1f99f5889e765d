import { expect } from 'chai';
import { viewQueue } from '../../../device/inspect/rings.ts';
import { FuseDriver } from '../../support/fuse-driver.ts';

const FORMATS = [
  { name: 'split, direct', packed: false, indirect: false },
  { name: 'split, indirect', packed: false, indirect: true },
  { name: 'packed, direct', packed: true, indirect: false },
  { name: 'packed, indirect', packed: true, indirect: true },
];
const states = (entries: Uint8Array) =>
  Array.from(entries, (state) => 'fai'[state])
    .join('')
    .replace(/f+$/, '');

describe('view of a virtqueue', () => {
  for (const { name, packed, indirect } of FORMATS) {
    describe(name, () => {
      const make = () => new FuseDriver({ offer: { packed }, indirect }).init();
      /** Entries that LOOKUP takes in the ring: header, name, and two buffers for the answer. */
      const slots = indirect ? 1 : 4;

      it('shows what waits while the device is held, then what was used', () => {
        const fuse = make();
        const before = viewQueue(fuse.transport, 1);
        expect(before).to.include({ index: 1, size: 16, isEnabled: true, isPacked: packed });
        expect(states(before.entries)).to.equal('');
        fuse.transport.hold();
        const id = fuse.send(1, 'LOOKUP', 1, 'name');
        const waiting = viewQueue(fuse.transport, 1);
        expect([...waiting.entries].filter((state) => state === 1)).to.have.length(slots);
        const first = waiting.entries.indexOf(1);
        const head = waiting.descriptors.find(({ index }) => index === first)!;
        const chain = indirect ? head.table! : waiting.descriptors.filter(({ index }) => waiting.entries[index] === 1);
        expect(chain.map(({ len, flags }) => [len, flags.includes('WRITE')])).to.deep.equal([
          [40, false],
          [5, false],
          [16, true],
          [200, true],
        ]);
        expect(head.flags.includes('INDIRECT')).to.equal(indirect);
        if (!packed) {
          expect(waiting.avail!.ring.at(-1)).to.deep.equal({
            at: (waiting.avail!.idx - 1) % 16,
            head: id,
            isNew: true,
          });
          expect(waiting.avail!.idx).to.equal(waiting.device!.next_avail + 1);
        }
        fuse.transport.release();
        const after = viewQueue(fuse.transport, 1);
        expect([...after.entries].filter((state) => state !== 0)).to.have.length(0);
        if (packed) expect(after.device!.next_used).to.equal(after.device!.next_avail);
        else expect(after.used!.ring.at(-1)).to.deep.equal({ at: (after.used!.idx - 1) % 16, id, len: 16 });
      });

      it('shows chains that are with the device', () => {
        const fuse = make();
        const { nodeid, fh } = fuse.create('file');
        fuse.call('SETLK', nodeid, FuseDriver.lock(fh, 1));
        const id = fuse.send(1, 'SETLKW', nodeid, FuseDriver.lock(fh, 2));
        const view = viewQueue(fuse.transport, 1);
        expect(view.inFlight).to.deep.equal([id]);
        expect([...view.entries].filter((state) => state === 2)).to.have.length(slots);
        fuse.call('SETLK', nodeid, FuseDriver.lock(fh, 1, false));
        expect(viewQueue(fuse.transport, 1).inFlight).to.deep.equal([]);
      });

      it('follows the ring round its end', () => {
        const fuse = make();
        for (let n = 0; n < 50; n++) fuse.call('GETATTR', 1);
        fuse.transport.hold();
        fuse.send(1, 'LOOKUP', 1, 'name');
        fuse.send(1, 'LOOKUP', 1, 'other');
        const view = viewQueue(fuse.transport, 1);
        expect([...view.entries].filter((state) => state === 1)).to.have.length(2 * slots);
        if (!packed)
          expect(view.avail!.ring.map(({ isNew }) => isNew)).to.deep.equal([
            ...Array<boolean>(14).fill(false),
            true,
            true,
          ]);
      });
    });
  }

  it('shows the event indices and suppression structures', () => {
    const split = viewQueue(new FuseDriver().init().transport, 1);
    expect(split.used!.avail_event).to.equal(split.avail!.idx);
    expect(split.avail!.used_event).to.be.a('number');
    expect(viewQueue(new FuseDriver({ offer: { eventIdx: false } }).init().transport, 1).avail!.used_event).to.equal(
      undefined,
    );
    expect(viewQueue(new FuseDriver({ offer: { packed: true } }).init().transport, 1).events).to.deep.equal([
      { side: 'driver', offset: 0, wrap: 0, flags: 0 },
      { side: 'device', offset: 0, wrap: 0, flags: 0 },
    ]);
  });

  it('shows nothing of a queue that is not enabled', () => {
    const fuse = new FuseDriver();
    fuse.driver.write('device_status', 0);
    const { isEnabled, device, descriptors } = viewQueue(fuse.transport, 1);
    expect({ isEnabled, device, descriptors }).to.deep.equal({ isEnabled: false, device: undefined, descriptors: [] });
  });

  it('shows no table where the driver points outside guest RAM, and no tables in tables', () => {
    const fuse = new FuseDriver().init();
    const { memory, queues } = fuse.driver;
    fuse.transport.hold();
    const head = fuse.send(1, 'LOOKUP', 1, 'name');
    const at = queues[1]!.desc + 16 * head;
    const table = memory.readU32(at);
    const shown = () => viewQueue(fuse.transport, 1).descriptors.find(({ index }) => index === head)!;
    memory.writeU16(table + 12, 4);
    expect(shown().table![0])
      .to.deep.include({ flags: ['INDIRECT'] })
      .and.not.have.property('table');
    memory.writeU32(at, 0xfffffff0);
    expect(shown().table).to.deep.equal([]);
  });
});
