import { expect } from 'chai';
import { forgets } from '../../device/conformance/message.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { BAR } from '../../device/virtio/pci-config-space.ts';
import { VIRTIO_FS_F_SESSION_KEEP } from '../../device/virtio-fs.ts';
import { FuseDriver } from '../support/fuse-driver.ts';

/** In the device configuration. */
const SESSION = 44;
const ROOT = 1;
const HIPRIO = 0,
  REQUESTS = 1;

/** By the numbers of the statements; those of the driver's are in test/full/suspend.test.ts. */
describe('SESSION_KEEP, docs/virtio-spec-proposal.md', () => {
  let fuse: FuseDriver;
  const number = (of = fuse) => of.transport.readBar(BAR.device.offset + SESSION, 4);
  const read = (nodeid: number, fh: number) => fuse.attempt('READ', nodeid, { fh, size: 10 }).error;
  const lock = (operation: 'SETLK' | 'SETLKW', nodeid: number, fh: number, owner: number, isLock = true) =>
    fuse.attempt(operation, nodeid, FuseDriver.lock(fh, owner, isLock)).error;
  /** Makes a request wait for a lock that another owner has. */
  const wait = (nodeid: number, fh: number): void => {
    expect(lock('SETLK', nodeid, fh, 1)).to.equal(0);
    fuse.send(REQUESTS, 'SETLKW', nodeid, FuseDriver.lock(fh, 2));
    expect(fuse.session.state().waiters).to.have.length(1);
  };
  /** Kicks when the driver has made an interrupt for the last request available. */
  const interrupt = (unique = fuse.unique): void => void fuse.send(HIPRIO, 'INTERRUPT', 0, { unique });
  /** What a snapshot, a restart of the device and a migration do. */
  const carryOver = (): FuseDriver => {
    const next = new FuseDriver();
    next.session.restore(FuseSession.checkState(fuse.session.state(), next.filesystem), () => undefined);
    return next;
  };

  beforeEach(() => {
    fuse = new FuseDriver();
  });

  it('1. session is 0 while there is no session', () => {
    expect(number()).to.equal(0);
    fuse.init();
    expect(number()).not.to.equal(0);
    fuse.call('DESTROY', 0);
    expect(number()).to.equal(0);
  });

  it('2. another number for each session, and for those of other devices', () => {
    const other = new FuseDriver().init();
    const numbers = [number(other), ...Array.from({ length: 20 }, () => number(fuse.init()))];
    expect(new Set([0, ...numbers])).to.have.property('size', 22);
  });

  it('3. the same number while the session lasts, after resets, and in another device', () => {
    const before = number(fuse.init());
    fuse.create('file');
    fuse.driver.start();
    fuse.create('another');
    expect(number()).to.equal(before);
    const next = carryOver();
    next.driver.start();
    expect(number(next)).to.equal(before);
  });

  it('4. the number has changed when the request is used that changed it', () => {
    const seen: number[] = [];
    fuse.transport.onTrace(({ type }) => {
      if (type === 'used') seen.push(number());
    });
    fuse.init();
    const first = number();
    fuse.init();
    const second = number();
    fuse.call('DESTROY', 0);
    expect(seen).to.deep.equal([first, second, 0]);
  });

  it('6. an interrupt for a request that it does not have is ignored', () => {
    const { nodeid, fh } = fuse.init().create('file');
    wait(nodeid, fh);
    interrupt(4711n);
    expect(fuse.session.state().waiters).to.have.length(1);
    expect(read(nodeid, fh)).to.equal(0);
  });

  it('7. an interrupt meets a request that was made available before it, kicked for or not', () => {
    const { nodeid, fh } = fuse.init().create('file');
    expect(lock('SETLK', nodeid, fh, 1)).to.equal(0);
    const { kick } = fuse.driver;
    fuse.driver.kick = () => {};
    fuse.send(REQUESTS, 'SETLKW', nodeid, FuseDriver.lock(fh, 2));
    fuse.driver.kick = kick;
    interrupt();
    expect(fuse.session.state().waiters).to.deep.equal([]);
    expect(fuse.driver.queues[REQUESTS]!.collect()).to.have.length(1);
  });

  it('7. and so does one for a request that waits', () => {
    const { nodeid, fh } = fuse.init().create('file');
    wait(nodeid, fh);
    interrupt();
    expect(fuse.session.state().waiters).to.deep.equal([]);
    expect(fuse.driver.queues[REQUESTS]!.collect()).to.have.length(1);
  });

  it('8. a reset does not end a session that began with the feature, however many there are, and of drivers without it too', () => {
    const before = number(fuse.init());
    fuse.driver.write('device_status', 0);
    fuse.driver.write('device_status', 0);
    fuse.driver.start({ without: [VIRTIO_FS_F_SESSION_KEEP] });
    fuse.driver.start();
    expect(number()).to.equal(before);
  });

  it('9. a reset ends one that began without it', () => {
    fuse.driver.start({ without: [VIRTIO_FS_F_SESSION_KEEP] });
    fuse.init();
    fuse.driver.write('device_status', 0);
    expect([number(), fuse.session.negotiated]).to.deep.equal([0, undefined]);
  });

  it('10. a reset discards what waits, and it gets no lock afterwards', () => {
    const { nodeid, fh } = fuse.init().create('file');
    wait(nodeid, fh);
    fuse.driver.start();
    expect(fuse.session.state().waiters).to.deep.equal([]);
    expect(lock('SETLK', nodeid, fh, 1, false)).to.equal(0);
    expect(lock('SETLK', nodeid, fh, 3), 'nobody else has it').to.equal(0);
  });

  it('11. what was used before a reset has its full effect', () => {
    const { nodeid, fh } = fuse.init().create('file');
    fuse.call('WRITE', nodeid, { fh, size: 4 }, Uint8Array.of(1, 2, 3, 4));
    expect(lock('SETLK', nodeid, fh, 1)).to.equal(0);
    fuse.driver.start();
    expect([...(fuse.volume.readFileSync('/file') as Buffer)]).to.deep.equal([1, 2, 3, 4]);
    expect(read(nodeid, fh)).to.equal(0);
    expect(lock('SETLK', nodeid, fh, 2), 'it is locked').to.be.lessThan(0);
  });

  it('12. a reset has no other effect', () => {
    const { nodeid, fh } = fuse.init().create('file');
    fuse.volume.unlinkSync('/file');
    lock('SETLK', nodeid, fh, 1);
    const before = structuredClone(fuse.session.state());
    fuse.driver.start();
    expect(fuse.session.state()).to.deep.equal(before);
  });

  it('13. node ids and handles that were given up are not used again', () => {
    fuse.init();
    const seen = Array.from({ length: 20 }, (_, n) => {
      const made = fuse.create(`file ${n}`);
      fuse.call('RELEASE', made.nodeid, { fh: made.fh });
      fuse.send(HIPRIO, 'FORGET', made.nodeid, { nlookup: 1n });
      if (n === 10) fuse.driver.start();
      fuse.volume.unlinkSync(`/file ${n}`);
      return made;
    });
    expect(new Set(seen.map(({ nodeid }) => nodeid))).to.have.property('size', 20);
    expect(new Set(seen.map(({ fh }) => fh))).to.have.property('size', 20);
  });

  it('14. more FORGETs than lookups, and those of strangers, are ignored', () => {
    const { nodeid } = fuse.init().create('file');
    fuse.send(HIPRIO, 'FORGET', nodeid, { nlookup: 1000n });
    fuse.send(HIPRIO, 'FORGET', 4711, { nlookup: 1n });
    fuse.send(HIPRIO, 'BATCH_FORGET', 0, { count: 2 }, ...forgets([nodeid, 5], [4712, 1]));
    expect(fuse.driver.queues[HIPRIO]!.collect()).to.have.length(3);
    expect(fuse.attempt('LOOKUP', ROOT, 'file').error).to.equal(0);
    expect(fuse.driver.errors).to.deep.equal([]);
  });

  it('15. tag, queues and features stay while there is a session', () => {
    const facts = (of: FuseDriver) => [
      of.driver.offered,
      of.driver.negotiate() && of.driver.read('num_queues'),
      ...Array.from({ length: 44 }, (_, n) => of.transport.readBar(BAR.device.offset + n, 1)),
    ];
    const before = facts(fuse.init());
    fuse.driver.write('device_status', 0);
    expect(facts(fuse)).to.deep.equal(before);
    expect(facts(carryOver())).to.deep.equal(before);
  });

  it('16. a session that the device ends is answered with errors until the next INIT', () => {
    const { nodeid, fh } = fuse.init().create('file');
    fuse.session.end();
    expect(number()).to.equal(0);
    expect(read(nodeid, fh)).to.be.lessThan(0);
    expect(fuse.attempt('LOOKUP', ROOT, 'file').error).to.be.lessThan(0);
    fuse.init();
    expect(fuse.attempt('LOOKUP', ROOT, 'file').error).to.equal(0);
  });

  it('a reset of the machine, which the emulator tells apart, ends the session', () => {
    fuse.init();
    fuse.transport.reset('machine');
    expect(number()).to.equal(0);
  });
});
