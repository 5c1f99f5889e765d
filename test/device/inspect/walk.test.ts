import { expect } from 'chai';
import { message } from '../../../device/conformance/message.ts';
import { Recorder } from '../../../device/inspect/recorder.ts';
import { STAGES, type WalkStep, walkIn, walkOut } from '../../../device/inspect/walk.ts';
import { FuseDriver } from '../../support/fuse-driver.ts';

const stages = (steps: WalkStep[]) => steps.map(({ stage }) => stage);
const titles = (steps: WalkStep[], stage: WalkStep['stage']) =>
  steps.filter((step) => step.stage === stage).map(({ title }) => title);

describe('a walk through the device', () => {
  function hold(options?: ConstructorParameters<typeof FuseDriver>[0]) {
    const fuse = new FuseDriver({ files: { '/file': 'content' }, ...options }).init();
    const recorder = new Recorder(fuse);
    recorder.isOn = true;
    fuse.driver.queues[1]!.wantInterruptAfter(0);
    fuse.transport.hold();
    return { fuse, recorder };
  }

  it('begins when something is requested', () => {
    const { fuse } = hold();
    expect(walkIn(fuse)).to.equal(undefined);
    fuse.send(1, 'LOOKUP', 1, 'file');
    expect(walkIn(fuse)).to.include({ queue: 1, opcode: 'LOOKUP' });
    expect(fuse.driver.queues[1]!.collect(), 'and nothing is served').to.have.length(0);
  });

  for (const packed of [false, true]) {
    for (const indirect of [false, true]) {
      it(`goes from descriptor to descriptor, to the answer, ${packed ? 'packed' : 'split'}${indirect ? ', indirect' : ''}`, () => {
        const { fuse, recorder } = hold({ offer: { packed }, indirect });
        fuse.send(1, 'LOOKUP', 1, 'file');
        const { steps } = walkIn(fuse)!;
        expect(stages(steps)).to.deep.equal([
          'message',
          'available',
          'kick',
          ...Array<string>(indirect ? 5 : 4).fill('descriptors'),
          'request',
        ]);
        const descriptors = titles(steps, 'descriptors').map((title) => title.replace(/^\w+ \d+/, ''));
        expect(descriptors).to.deep.equal([
          ...(indirect ? [' refers to a table'] : []),
          ': 40 bytes to read',
          ': 5 bytes to read',
          ': room for 16 bytes',
          ': room for 200 bytes',
        ]);
        const [header, name] = steps.filter(({ bytes, stage }) => bytes && stage === 'descriptors');
        expect(header!.fields!.map((field) => field.name))
          .to.include.members(['len', 'opcode', 'pid'])
          .and.not.include('name');
        expect(name!.fields).to.deep.equal([{ struct: '', name: 'name', offset: 0, length: 5, value: '"file"' }]);
        for (const { section, text } of steps) {
          expect(section).to.match(/^(\d+(\.\d+)+ |fuse\.h)/);
          expect(section.startsWith('2.')).to.equal(
            section.startsWith(packed ? '2.8' : '2.7') || section.startsWith('2.7.4'),
          );
          expect(text).to.match(/\.$/);
        }
        expect(fuse.transport.step()).to.equal(true);
        const out = walkOut(fuse, recorder.records.at(-1)!);
        expect(stages(out)).to.deep.equal(['answer', 'used', 'interrupt']);
        expect(out[0]!.fields!.map((field) => field.name)).to.include.members(['error', 'nodeid', 'attr.size']);
        expect(out[2]!.title).to.equal('The device interrupts');
        expect(fuse.driver.queues[1]!.collect()).to.have.length(1);
        expect(fuse.transport.step()).to.equal(false);
      });
    }
  }

  for (const indirect of [false, true]) {
    it(`has one step for many descriptors that are alike${indirect ? ', in a table' : ''}`, () => {
      const { fuse } = hold();
      const { driver } = fuse;
      const bytes = message('READ', { unique: 100n, nodeid: 1 }, { fh: 1n, size: 36_864 });
      driver.queues[1]!.add(
        driver.buffers([bytes.subarray(0, 40), bytes.subarray(40)], [16, ...Array<number>(9).fill(4096)]),
        { indirectFrom: indirect ? 0 : undefined },
      );
      const { steps } = walkIn(fuse)!;
      expect(steps[0]!.text).to.match(/in 2 buffers, with room for the reply in 10 others/);
      const told = titles(steps, 'descriptors').map((title) => title.replace(/\d+ to \d+|(?<=^\w+ )\d+/, 'n'));
      const [one, many] = indirect ? ['Entry', 'Entries'] : ['Descriptor', 'Descriptors'];
      expect(told).to.deep.equal([
        ...(indirect ? ['Descriptor n refers to a table'] : []),
        `${one} n: 40 bytes to read`,
        `${one} n: 40 bytes to read`,
        `${one} n: room for 16 bytes`,
        `${one} n: room for 4096 bytes`,
        `${one} n: room for 4096 bytes`,
        `${many} n: room for 28672 bytes`,
      ]);
    });
  }

  it('takes the requests one by one, those on hiprio last', () => {
    const { fuse } = hold();
    fuse.send(0, 'FORGET', 1);
    fuse.send(1, 'LOOKUP', 1, 'file');
    fuse.send(1, 'GETATTR', 1);
    const seen: string[] = [];
    for (let walk = walkIn(fuse); walk; walk = walkIn(fuse)) {
      seen.push(`${walk.queue} ${walk.opcode}`);
      fuse.transport.step();
    }
    expect(seen).to.deep.equal(['1 LOOKUP', '1 GETATTR', '0 FORGET']);
  });

  it('tells of errors, of requests without an answer, of those that wait, and of interrupts that do not come', () => {
    const { fuse, recorder } = hold();
    const serve = () => {
      fuse.transport.step();
      return walkOut(fuse, recorder.records.at(-1)!);
    };
    fuse.send(1, 'LOOKUP', 1, 'nobody');
    expect(serve()[0]!.title).to.equal('The filesystem answers ENOENT');
    fuse.send(1, 'LOOKUP', 1, 'nobody');
    expect(serve()[2]!.title).to.equal('No interrupt');
    fuse.send(0, 'FORGET', 1);
    const [done, , interrupt] = serve();
    expect([done!.title, interrupt!.title]).to.deep.equal(['FORGET is done', 'The interrupt comes later']);
    fuse.transport.release();
    const { nodeid, fh } = fuse.create('other');
    fuse.call('SETLK', nodeid, FuseDriver.lock(fh, 1));
    fuse.transport.hold();
    fuse.send(1, 'SETLKW', nodeid, FuseDriver.lock(fh, 2));
    expect(serve().map(({ title }) => title)).to.deep.equal(['SETLKW has to wait']);
  });

  it('shows what a driver has broken, up to the device’s refusal', () => {
    const { fuse, recorder } = hold();
    const { memory, queues } = fuse.driver;
    const head = fuse.send(1, 'LOOKUP', 1, 'file');
    memory.writeU32(queues[1]!.desc + 16 * head, 0xfffffff0);
    expect(stages(walkIn(fuse)!.steps)).to.deep.equal(['message', 'available', 'kick', 'descriptors', 'request']);
    fuse.transport.step();
    expect(fuse.transport.isLive).to.equal(false);
    expect(walkIn(fuse)).to.equal(undefined);
    expect(walkOut(fuse, recorder.records.at(-1)).map(({ title }) => title)).to.deep.equal([
      'The device needs a reset',
    ]);
  });

  it('has its stages in their order', () => {
    const { fuse, recorder } = hold();
    fuse.send(1, 'LOOKUP', 1, 'file');
    const { steps } = walkIn(fuse)!;
    fuse.transport.step();
    expect([...new Set(stages([...steps, ...walkOut(fuse, recorder.records.at(-1)!)]))]).to.deep.equal([...STAGES]);
  });
});

describe('a held device', () => {
  it('serves nothing until it is released, then everything', () => {
    const fuse = new FuseDriver().init();
    fuse.transport.hold();
    expect(fuse.transport.isHeld).to.equal(true);
    for (const name of ['a', 'b', 'c']) fuse.send(1, 'LOOKUP', 1, name);
    expect(fuse.driver.queues[1]!.collect()).to.have.length(0);
    fuse.transport.release();
    expect(fuse.transport.isHeld).to.equal(false);
    expect(fuse.driver.queues[1]!.collect()).to.have.length(3);
  });

  it('is still held after a reset, whose driver waits as well', () => {
    const fuse = new FuseDriver();
    fuse.transport.hold();
    fuse.driver.start();
    expect(() => fuse.init()).to.throw('INIT was not answered');
    fuse.transport.release();
    expect(fuse.session.negotiated).to.include({ major: 7 });
  });

  it('leaves its requests in its state: another one serves them when its machine starts', () => {
    const fuse = new FuseDriver().init();
    fuse.transport.hold();
    fuse.send(1, 'LOOKUP', 1, 'name');
    const state = structuredClone(fuse.transport.state());
    fuse.transport.release();
    fuse.driver.queues[1]!.collect();
    const other = new FuseDriver().init();
    other.driver.memory.bytes.set(fuse.driver.memory.bytes);
    expect(state.queues[1]!.ring!.next_avail).to.equal(1);
    other.transport.restoreState(state);
    other.transport.runQueues();
    expect(other.transport.state().queues[1]!.ring!.next_avail).to.equal(2);
  });
});
