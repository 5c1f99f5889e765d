import { expect } from 'chai';
import { Handle } from '../../web/embed/handle.ts';
import { useFakeWorker } from './fake-worker.ts';

describe('the handle of a guest', () => {
  const fake = useFakeWorker();
  const never = () => new Promise<never>(() => {});
  const fate = (call: Promise<unknown>): Promise<string> =>
    call.then(
      (answer) => String(answer),
      (error: Error) => error.message,
    );
  const fates = (vm: Handle) => Promise.all([fate(vm.ready), fate(vm.exec('true')), fate(vm.fs.list())]);
  /** As long as a worker takes to be asked. */
  const asked = () => new Promise((resolve) => setTimeout(resolve, 50));

  for (const [message, told] of [
    ['', 'The emulator has stopped: its program could not be fetched. Reload the page.'],
    ['out of memory', 'The emulator has stopped: out of memory. Reload the page.'],
  ] as const)
    it(`rejects where the worker can't start: ${message || 'no program'}`, async () => {
      fake.behaviour = { start: never };
      const vm = new Handle({});
      const problems: string[] = [];
      vm.on('problem', (problem) => problems.push(problem));
      const before = fates(vm);
      fake.made[0]!.fail(message);
      expect(await before).to.deep.equal([told, told, told]);
      expect(await fate(vm.exec('true'))).to.equal(told);
      expect(problems).to.deep.equal([told]);
      expect(vm.connection.hasFailed).to.equal(true);
      expect(fake.made[0]!.isTerminated).to.equal(true);
    });

  it('rejects where it is destroyed while it starts, and says nothing else', async () => {
    fake.behaviour = { start: never };
    const vm = new Handle({});
    const before = fates(vm);
    vm.destroy();
    const told = 'this guest was destroyed';
    expect(await before).to.deep.equal([told, told, told]);
    expect(await fate(vm.exec('true'))).to.equal(told);
    expect(vm.connection.problems).to.deep.equal([]);
  });

  it('rejects where the worker dies later, what is under way and what comes after', async () => {
    fake.behaviour = { guest: { exec: never } };
    const vm = new Handle({});
    await vm.ready;
    const underWay = fate(vm.exec('sleep 1000'));
    await asked();
    fake.made[0]!.fail('out of memory');
    expect(await underWay).to.match(/The emulator has stopped: out of memory/);
    expect(await fate(vm.exec('true'))).to.match(/The emulator has stopped: out of memory/);
    expect(vm.connection.isDead).to.equal(true);
    await vm.ready;
  });

  it('is the same one when the guest is started once more', async () => {
    fake.behaviour = { start: () => Promise.reject(new Error('the server answers 404')) };
    const vm = new Handle({ src: 'nowhere/' });
    const heard: string[] = [];
    vm.on('problem', (problem) => heard.push(problem));
    const stop = vm.on('ready', () => heard.push('ready'));
    expect(await fates(vm)).to.deep.equal(Array(3).fill('the server answers 404'));
    fake.behaviour = { guest: { exec: async () => 'done' } };
    vm.start({ src: 'guest/' });
    expect(await fate(vm.exec('true'))).to.equal('done');
    await vm.ready;
    expect(heard).to.deep.equal(['the server answers 404', 'ready']);
    expect(vm.connection.hasFailed).to.equal(false);
    stop();
    vm.start({});
    await vm.ready;
    expect(heard).to.have.length(2);
  });
});
