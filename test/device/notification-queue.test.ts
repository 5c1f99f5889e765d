import { expect } from 'chai';
import { createFsFromVolume, Volume } from 'memfs';
import { INIT, message } from '../../device/conformance/message.ts';
import { filesystemOf } from '../../device/filesystems/memfs/volume.ts';
import type { FileSystem } from '../../device/fs/filesystem.ts';
import { NOTIFICATION_MAX } from '../../device/fuse/notices.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { BAR } from '../../device/virtio/pci-config-space.ts';
import { PciTransport } from '../../device/virtio/pci-transport.ts';
import { VIRTIO_FS_F_SESSION_KEEP, VirtioFs } from '../../device/virtio-fs.ts';
import type { Buffer as DriverBuffer } from '../support/driver-queue.ts';
import { MockDriver } from '../support/mock-driver.ts';
import { PlainFileSystem } from '../support/plain-filesystem.ts';

const ROOT = 1;
const NOTIFICATIONS = 1,
  REQUESTS = 2;
const INVAL_INODE = 2,
  INVAL_ENTRY = 3,
  INC_EPOCH = 8;
const SIZE = 16;

/** Until microtasks have run. */
const soon = () => Promise.resolve();

for (const packed of [false, true]) {
  describe(`the notification queue, ${packed ? 'packed' : 'split'}`, () => {
    let driver: MockDriver;
    let session: FuseSession;
    let fs: ReturnType<typeof createFsFromVolume>;
    const posted = new Map<number, DriverBuffer[]>();
    let unique = 0n;

    function start({ without = [] as number[], buffers = 0, keep = false } = {}): void {
      const volume = Volume.fromJSON({ '/file': 'one' });
      fs = createFsFromVolume(volume);
      session = new FuseSession({ filesystem: filesystemOf(volume) });
      const device = new VirtioFs(session, { tag: 'share', requestQueues: 1, queueSize: SIZE });
      driver = new MockDriver(device, { offer: { packed } });
      begin(without, keep);
      posted.clear();
      for (let n = 0; n < buffers; n++) post();
    }

    /** Sets the device up, which resets it, and mounts. */
    function begin(without: number[] = [], keep = false): void {
      driver.start({ without: keep ? without : [...without, VIRTIO_FS_F_SESSION_KEEP] });
      if (!session.negotiated) request('INIT', 0, INIT);
      expect(request('LOOKUP', ROOT, 'file')).to.equal(0);
    }

    const request = (...[operation, nodeid, ...body]: [string, number, ...unknown[]]): number => {
      const sent = message(operation as 'GETATTR', { unique: (unique += 2n), nodeid }, ...(body as []));
      const reply = driver.request(without1() ? 1 : REQUESTS, [sent], [16, 200]);
      return new DataView(reply.buffer, reply.byteOffset).getInt32(4, true);
    };
    const without1 = () => (driver.transport.features.accepted & 1n) === 0n;

    /** Makes a buffer available. */
    function post(lengths = [NOTIFICATION_MAX], options = {}, readable: Uint8Array[] = []): void {
      const buffers = driver.buffers(readable, lengths);
      posted.set(driver.queues[NOTIFICATIONS]!.add(buffers, options), buffers);
      driver.kick(NOTIFICATIONS);
    }

    /** What the device has put into buffers since the last call: lengths, codes and numbers of inodes. */
    function collect(): { length: number; code: number; ino: number }[] {
      return driver.queues[NOTIFICATIONS]!.collect().map(({ id, length }) => {
        const bytes = driver.written(posted.get(id)!);
        const view = new DataView(bytes.buffer);
        return { length, code: length && view.getInt32(4, true), ino: length > 16 ? view.getUint32(16, true) : 0 };
      });
    }

    it('5.11.2, 5.11.3: is queue 1 where it is negotiated, and requests begin at queue 2', () => {
      start();
      expect(driver.read('num_queues')).to.equal(3);
      expect(request('GETATTR', ROOT, {})).to.equal(0);
      start({ without: [0] });
      expect(driver.read('num_queues')).to.equal(2);
      expect(request('GETATTR', ROOT, {})).to.equal(0);
      driver.write('queue_select', 2);
      expect(driver.read('queue_size'), 'the last one is not there').to.equal(0);
    });

    it('5.11.4: notify_buf_size has room for the longest notification', async () => {
      start({ buffers: 1 });
      expect(driver.transport.readBar(BAR.device.offset + 40, 4)).to.equal(NOTIFICATION_MAX);
      fs.writeFileSync(`/${'x'.repeat(255)}`, '');
      await soon();
      expect(collect()).to.deep.equal([{ length: 16 + 16 + 255 + 1, code: INVAL_ENTRY, ino: ROOT }]);
    });

    it('5.11.6.3: what has changed is written into a buffer of the driver, which is interrupted', async () => {
      start({ buffers: 2 });
      driver.readIsr();
      const before = driver.interrupts;
      fs.writeFileSync('/file', 'two');
      expect(collect(), 'in the middle of the host').to.deep.equal([]);
      await soon();
      expect(driver.interrupts).to.equal(before + 1);
      expect(collect()).to.deep.equal([{ length: 40, code: INVAL_INODE, ino: session.state().nodes.ino[0] }]);
    });

    for (const [name, lengths, options] of [
      ['several descriptors', [16, 24, NOTIFICATION_MAX - 40], {}],
      ['bytes of their own', Array.from({ length: 10 }, (_, n) => (n < 9 ? 1 : NOTIFICATION_MAX)), {}],
      ['an indirect table', [20, NOTIFICATION_MAX], { indirectFrom: 0 }],
    ] as const)
      it(`takes buffers of ${name}`, async () => {
        start();
        post([...lengths], options);
        fs.writeFileSync('/file', 'two');
        await soon();
        expect(collect()).to.have.length(1);
        expect(driver.errors).to.deep.equal([]);
      });

    it('gives buffers back with nothing in them that are too small, or have something to read', async () => {
      start();
      post([NOTIFICATION_MAX - 1]);
      post([NOTIFICATION_MAX], {}, [new Uint8Array(16)]);
      expect(collect().map(({ length }) => length)).to.deep.equal([0, 0]);
      fs.writeFileSync('/file', 'two');
      await soon();
      expect(collect()).to.deep.equal([]);
      post();
      expect(collect(), 'nothing was lost').to.have.length(1);
    });

    it('keeps what there is no buffer for, once for each inode and name, and goes on with the next buffer', async () => {
      start({ buffers: 1 });
      for (let n = 0; n < 10; n++) {
        fs.writeFileSync('/file', `${n}`);
        await soon();
      }
      expect(collect()).to.have.length(1);
      post();
      expect(collect(), 'within the kick').to.have.length(1);
      post();
      expect(collect()).to.deep.equal([]);
      for (let n = 0; n < 2000; n++) fs.writeFileSync(`/new-${n}`, '');
      await soon();
      expect(collect()).to.deep.equal([{ length: 16, code: INC_EPOCH, ino: 0 }]);
    });

    it('takes buffers all round the ring, many times', async () => {
      start({ buffers: SIZE });
      let count = 0;
      for (let n = 0; n < 500; n++) {
        fs.writeFileSync('/file', `${n}`);
        fs.writeFileSync(`/new-${n}`, '');
        await soon();
        for (const { code } of collect()) {
          count += code === INVAL_ENTRY ? 1 : 0;
          post();
        }
      }
      expect(count).to.equal(500);
      expect(driver.errors).to.deep.equal([]);
    });

    it('a driver that is reset and goes on believes nothing: it is told of what comes after', async () => {
      start({ buffers: 1, keep: true });
      for (const name of ['one', 'two', 'three']) fs.writeFileSync(`/${name}`, '');
      await soon();
      begin([], true);
      post();
      expect(collect()).to.deep.equal([]);
      fs.writeFileSync('/file', 'later');
      await soon();
      expect(collect()).to.have.length(1);
    });

    it('2.6.1: a reset of the queue alone takes its buffers back, and nothing else is lost', async () => {
      start({ buffers: 3 });
      driver.write('queue_select', NOTIFICATIONS);
      driver.write('queue_reset', 1);
      fs.writeFileSync('/file', 'two');
      await soon();
      expect(driver.errors).to.deep.equal([]);
      driver.queues[NOTIFICATIONS] = driver.setUpQueue(NOTIFICATIONS, driver.transport.features.accepted);
      post();
      expect(collect()).to.have.length(1);
    });

    it('a restored device has the buffers that the driver made available, and tells what waited', async () => {
      start({ buffers: 2 });
      for (let n = 0; n < 5; n++) fs.writeFileSync(`/new-${n}`, '');
      await soon();
      expect(collect()).to.have.length(2);
      post();
      expect(collect()).to.have.length(1);
      fs.writeFileSync('/file', 'two');
      const { transport } = driver;
      const state = FuseSession.checkState(structuredClone(session.state()), session.filesystem as never);
      transport.restoreState(PciTransport.checkState(structuredClone(transport.state()), transport));
      session.restore(state, () => undefined);
      for (let left = 20; left > 0; left--) {
        post();
        left = collect().length ? left : 0;
      }
      await soon();
      expect(session.state(), 'all of it was told').not.to.have.property('notices');
      expect(driver.errors).to.deep.equal([]);
    });

    it('a device that is restored in place uses each buffer that it has again, once', async () => {
      start({ buffers: 2 });
      const { transport } = driver;
      transport.restoreState(PciTransport.checkState(structuredClone(transport.state()), transport));
      const taken = [...transport.queues[NOTIFICATIONS]!.inFlight];
      expect(taken).to.have.length(2);
      for (const chain of taken) transport.askAgain(NOTIFICATIONS, chain);
      await new Promise((resolve) => setTimeout(resolve));
      for (const expected of [1, 1, 0]) {
        fs.writeFileSync('/file', 'two');
        await soon();
        expect(collect()).to.have.length(expected);
      }
      post();
      expect(collect(), 'the one that waited').to.have.length(1);
      expect(driver.errors).to.deep.equal([]);
    });

    describe('of a guest that a snapshot has asleep', () => {
      /** Lets the guest sleep, and copies its state. */
      function sleep(): () => void {
        driver.write('device_status', 0);
        const [transport, saved] = structuredClone([driver.transport.state(), session.state()] as const);
        return () => {
          driver.transport.restoreState(PciTransport.checkState(transport, driver.transport));
          session.restore(FuseSession.checkState(saved, session.filesystem as never), () => undefined);
        };
      }
      /** The device and session of another process. */
      function elsewhere(): void {
        session = new FuseSession({ filesystem: session.filesystem });
        const device = new VirtioFs(session, { tag: 'share', requestQueues: 1, queueSize: SIZE });
        driver = new MockDriver(device, { offer: { packed } });
      }
      const tells = async () => {
        post();
        expect(collect(), 'it believes nothing').to.deep.equal([]);
        fs.writeFileSync('/file', `${unique}`);
        await soon();
        expect(collect()).to.deep.equal([{ length: 40, code: INVAL_INODE, ino: session.state().nodes.ino[0] }]);
      };

      for (const [where, move] of [
        ['in its own machine', () => {}],
        ['elsewhere', elsewhere],
      ] as const)
        it(`are told once it is awake, ${where}, and as often as it sleeps`, async () => {
          start({ buffers: 2, keep: true });
          for (let n = 0; n < 3; n++) {
            const restore = sleep();
            fs.writeFileSync('/file', 'before');
            move();
            restore();
            fs.writeFileSync('/file', 'meanwhile');
            await soon();
            begin([], true);
            expect(driver.transport.deviceStatus & 4).to.equal(4);
            await tells();
          }
          expect(driver.errors).to.deep.equal([]);
        });

      it('are not written into buffers that it made available after that moment', async () => {
        start({ buffers: 1, keep: true });
        const restore = sleep();
        begin([], true);
        post();
        restore();
        const before = driver.memory.bytes.slice();
        const { interrupts } = driver;
        fs.writeFileSync('/file', 'two');
        await soon();
        expect(Buffer.compare(before, driver.memory.bytes)).to.equal(0);
        expect(driver.interrupts).to.equal(interrupts);
        begin([], true);
        await tells();
      });

      it('are none for a driver that wakes up without them, nor for its session', async () => {
        start({ buffers: 1, keep: true });
        sleep();
        begin([0], true);
        fs.writeFileSync('/file', 'two');
        await soon();
        expect(session.state()).not.to.have.property('notices');
        begin([], true);
        await tells();
      });
    });

    it('is not offered where the filesystem does not tell, or the host will not, and a restored driver keeps it', () => {
      const offered = (options: object, filesystem: FileSystem = filesystemOf(new Volume())) => {
        const config = { tag: 'x', requestQueues: 1, queueSize: 8, ...options };
        return new MockDriver(new VirtioFs(new FuseSession({ filesystem }), config)).offered & 1n;
      };
      const silent = new PlainFileSystem();
      expect(offered({})).to.equal(1n);
      expect(offered({ notifications: false })).to.equal(0n);
      expect(offered({}, silent)).to.equal(0n);
      start({ buffers: 1 });
      const other = new FuseSession({ filesystem: session.filesystem });
      const device = new VirtioFs(other, { tag: 'share', requestQueues: 1, queueSize: SIZE, notifications: false });
      const transport = new PciTransport({ device, memory: driver.memory, setIrq: () => {} });
      transport.restoreState(PciTransport.checkState(structuredClone(driver.transport.state()), transport));
      expect(transport.queues[NOTIFICATIONS]!.inFlight.size).to.equal(1);
    });
  });
}
