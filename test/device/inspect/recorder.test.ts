import { expect } from 'chai';
import { toJson, toTraceEvents } from '../../../device/inspect/export.ts';
import { Recorder } from '../../../device/inspect/recorder.ts';
import { FuseDriver } from '../../support/fuse-driver.ts';

describe('recorder', () => {
  function start(options?: ConstructorParameters<typeof FuseDriver>[0]): { fuse: FuseDriver; recorder: Recorder } {
    const fuse = new FuseDriver(options).init();
    const recorder = new Recorder(fuse);
    recorder.isOn = true;
    return { fuse, recorder };
  }

  for (const packed of [false, true]) {
    it(`writes down request and reply, their bytes and buffers, ${packed ? 'packed' : 'split'}`, () => {
      const { fuse, recorder } = start({ offer: { packed } });
      fuse.driver.queues[1]!.wantInterruptAfter(0);
      const id = fuse.send(1, 'LOOKUP', 1, 'nobody');
      const [record] = recorder.records;
      expect(record).to.include({
        number: 1,
        queue: 1,
        id,
        opcode: 'LOOKUP',
        nodeid: 1,
        pid: 1,
        error: 'ENOENT',
        written: 16,
        interrupt: 'raised',
        hasWaited: false,
      });
      expect(record!.args).to.deep.equal({ names: ['nobody'] });
      expect(record!.buffers.map(({ length, writable }) => [length, writable])).to.deep.equal([
        [40, false],
        [7, false],
        [16, true],
        [200, true],
      ]);
      expect(record!.request).to.have.length(47);
      expect(new DataView(record!.request.buffer).getUint32(0, true), 'fuse_in_header.len').to.equal(47);
      expect(new DataView(record!.reply.buffer).getInt32(4, true), 'fuse_out_header.error').to.equal(-2);
      expect(record!.duration).to.be.at.least(0);
    });
  }

  it('says ENOENT of a name that there is not, remembered or not', () => {
    const { fuse, recorder } = start({ cache: 'always' });
    fuse.send(1, 'LOOKUP', 1, 'nobody');
    expect(recorder.records[0]).to.include({ error: 'ENOENT', written: 144 });
    fuse.create('somebody');
    fuse.send(1, 'LOOKUP', 1, 'somebody');
    expect(recorder.records.at(-1)).to.include({ opcode: 'LOOKUP', error: '', written: 144 });
  });

  it('has a request that waits, and its answer when that comes, from within another', () => {
    const { fuse, recorder } = start();
    const { nodeid, fh } = fuse.create('file');
    fuse.call('SETLK', nodeid, FuseDriver.lock(fh, 1));
    fuse.send(1, 'SETLKW', nodeid, FuseDriver.lock(fh, 2));
    const waiter = recorder.records.at(-1)!;
    expect(waiter).to.include({ opcode: 'SETLKW', written: undefined, hasWaited: true });
    expect(recorder.latencies.has('SETLKW')).to.equal(false);
    fuse.call('SETLK', nodeid, FuseDriver.lock(fh, 1, false));
    expect(waiter).to.include({ opcode: 'SETLKW', written: 16, error: '' });
    expect(recorder.records.at(-1)).to.include({ opcode: 'SETLK', written: 16 });
    expect(recorder.records.at(-1)!.args).to.have.nested.property('lk.type', 2);
    expect(recorder.latencies.get('SETLKW')!.count).to.equal(1);
  });

  it('has the error with which a request that waits is answered', () => {
    const { fuse, recorder } = start();
    const { nodeid, fh } = fuse.create('file');
    fuse.call('SETLK', nodeid, FuseDriver.lock(fh, 1));
    fuse.send(1, 'SETLKW', nodeid, FuseDriver.lock(fh, 2));
    const waiter = recorder.records.at(-1)!;
    fuse.send(0, 'INTERRUPT', 0, { unique: waiter.unique });
    expect(waiter).to.include({ opcode: 'SETLKW', written: 16, error: 'EINTR' });
  });

  it('tells of interrupts: for each answer, or for several at once, or none', async () => {
    const { fuse, recorder } = start();
    fuse.driver.queues[1]!.wantInterruptAfter(false);
    fuse.send(1, 'LOOKUP', 1, 'a');
    expect(recorder.records.at(-1)!.interrupt).to.equal('suppressed');
    fuse.send(0, 'FORGET', 1);
    fuse.send(0, 'FORGET', 1);
    expect(recorder.records.slice(-2).map(({ interrupt }) => interrupt)).to.deep.equal([undefined, undefined]);
    for (const end = Date.now() + 10_000; !recorder.records.at(-1)!.interrupt && Date.now() < end; )
      await new Promise((resolve) => setTimeout(resolve, 1));
    expect(recorder.records.slice(-2).map(({ interrupt, written }) => [interrupt, written])).to.deep.equal([
      ['raised', 0],
      ['raised', 0],
    ]);
  });

  it('counts all requests by opcode, and keeps the last thousand', () => {
    const { fuse, recorder } = start();
    for (let n = 0; n < 1200; n++) fuse.call('GETATTR', 1);
    expect(recorder.records).to.have.length(1000);
    expect(recorder.records[0]!.number).to.equal(201);
    const { count, total, buckets } = recorder.latencies.get('GETATTR')!;
    expect(count).to.equal(1200);
    expect(total).to.be.greaterThan(0);
    expect(buckets.reduce((sum, n) => sum + n, 0)).to.equal(1200);
    recorder.clear();
    expect([recorder.records.length, recorder.latencies.size]).to.deep.equal([0, 0]);
  });

  it('has one name for all opcodes that there are not, and for messages that are none', () => {
    const { fuse, recorder } = start();
    for (let opcode = 5000; opcode < 5100; opcode++) fuse.call(opcode, 1);
    fuse.driver.queues[1]!.add(fuse.driver.buffers([new Uint8Array(3)], [16]));
    fuse.driver.kick(1);
    expect([...recorder.latencies.keys()]).to.deep.equal(['unknown']);
    expect(recorder.records.at(-1)).to.include({ opcode: 'unknown', error: 'EINVAL', written: 16 });
  });

  it('forgets what a reset has ended, and goes on', () => {
    const { fuse, recorder } = start();
    const { nodeid, fh } = fuse.create('file');
    fuse.call('SETLK', nodeid, FuseDriver.lock(fh, 1));
    fuse.send(1, 'SETLKW', nodeid, FuseDriver.lock(fh, 2));
    fuse.driver.start();
    fuse.init();
    expect(recorder.records.at(-2)).to.include({ opcode: 'SETLKW', written: undefined });
    expect(recorder.records.at(-1)).to.include({ opcode: 'INIT', error: '' });
  });

  it('listens only while it is on', () => {
    const { fuse, recorder } = start();
    recorder.isOn = false;
    const { version } = recorder;
    fuse.send(1, 'LOOKUP', 1, 'name');
    expect([recorder.records.length, recorder.version]).to.deep.equal([0, version]);
  });

  describe('export', () => {
    function example(): Recorder {
      const { fuse, recorder } = start();
      const { nodeid, fh } = fuse.create('file');
      fuse.call('SETLK', nodeid, FuseDriver.lock(fh, 1));
      fuse.send(1, 'SETLKW', nodeid, FuseDriver.lock(fh, 2));
      fuse.send(0, 'FORGET', nodeid);
      fuse.call('SETLK', nodeid, FuseDriver.lock(fh, 1, false));
      fuse.send(1, 'SETLKW', nodeid, FuseDriver.lock(fh, 1));
      return recorder;
    }

    it('as JSON', () => {
      const { format, version, requests } = JSON.parse(toJson(example().records));
      expect([format, version]).to.deep.equal(['v86-virtiofs trace', 1]);
      expect(requests.map(({ opcode }: { opcode: string }) => opcode)).to.deep.equal([
        'CREATE',
        'SETLK',
        'SETLKW',
        'FORGET',
        'SETLK',
        'SETLKW',
      ]);
      expect(requests[0]).to.deep.include({ unique: '4', nodeid: 1, error: '' });
      expect(requests[0].request).to.match(/^([0-9a-f]{2}){61}$/);
    });

    it('as trace events: every slice has a time and a place, waits begin and end', () => {
      const { records } = example();
      const { traceEvents } = JSON.parse(toTraceEvents(records)) as {
        traceEvents: {
          ph: string;
          name: string;
          ts: number;
          dur: number;
          pid: number;
          tid: number;
          id: number;
          args: { name?: string };
        }[];
      };
      const of = (ph: string) => traceEvents.filter((event) => event.ph === ph);
      expect(of('M').map(({ args }) => args.name)).to.deep.equal(['virtio-fs', 'hiprio queue', 'request queue 1']);
      expect(of('X').map(({ name, tid }) => [name, tid])).to.deep.equal([
        ['CREATE', 1],
        ['SETLK', 1],
        ['FORGET', 0],
        ['SETLK', 1],
      ]);
      for (const { ts, dur, pid } of of('X')) {
        expect(ts).to.be.greaterThan(1e15);
        expect(dur).to.be.at.least(1);
        expect(pid).to.equal(1);
      }
      const [begin, open] = of('b');
      const [end] = of('e');
      expect([begin!.id, begin!.name, end!.id, end!.name]).to.deep.equal([3, 'SETLKW', 3, 'SETLKW']);
      expect(end!.ts).to.be.at.least(begin!.ts);
      expect([open!.id, of('e').length]).to.deep.equal([6, 1]);
    });
  });
});
