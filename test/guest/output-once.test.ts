import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import type { GuestProcess } from '../../harness/machine/agent/guest-agent.ts';
import { Vm } from '../../harness/node/vm.ts';
import { pipe, TOKEN } from '../support/migrations.ts';

/** Writes numbers, a thousand at a time, until it is told to end. */
const WRITER = 'n=0; until [ -e /tmp/end ]; do seq $n $((n + 999)); n=$((n + 1000)); done';

/** Milliseconds to write in: so short that it is anywhere then, also in the middle of a frame. */
const aMoment = () => new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 100));

const until = async (condition: () => boolean) => {
  while (!condition()) await aMoment();
};

/** Collects what a process writes, from where `before` ends. */
function listen(process: GuestProcess, before = '') {
  const heard = { process, text: before };
  process.onStdout = (data) => void (heard.text += new TextDecoder().decode(data));
  return heard;
}

/** Ends the writer, and sees that each number was heard once, in order. */
async function expectAll(vm: Vm, heard: ReturnType<typeof listen>): Promise<void> {
  await vm.exec('touch /tmp/end');
  expect(await heard.process.exited).to.equal(0);
  const numbers = heard.text.trimEnd().split('\n');
  expect(numbers.length % 1000, 'numbers of the last thousand').to.equal(0);
  const wrong = numbers.findIndex((number, at) => number !== String(at));
  expect(wrong < 0 ? [] : numbers.slice(wrong, wrong + 3), `number ${wrong}`).to.deep.equal([]);
}

describe('what a process in the guest writes is heard once', function () {
  this.timeout(300_000);
  let vm: Vm;
  let store: SnapshotStore;
  beforeEach(async () => {
    store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    vm = await Vm.boot();
  });
  afterEach(() => vm.stop());

  const start = async () => {
    const heard = listen(vm.spawn(WRITER));
    await until(() => heard.text !== '');
    return heard;
  };
  const attach = (id: number, before: string) => listen(vm.agent.attach(id), before);

  it('when the machine moves, and moves on', async () => {
    let heard = await start();
    for (let n = 0; n < 3; n++) {
      const [here, there] = pipe();
      const [, arrived] = await Promise.all([vm.migrate(here, { token: TOKEN }), Vm.takeOver(TOKEN).serve(there)]);
      vm = arrived!.vm;
      heard = attach(heard.process.id, heard.text);
      await aMoment();
    }
    await expectAll(vm, heard);
  });

  /** What takes the guest along into another machine. */
  const ways = {
    frozen: async () => {
      const { id } = await vm.freeze(store);
      return () => Vm.thaw(store, id);
    },
    saved: async () => {
      const snapshot = await vm.save();
      return () => Vm.restore(snapshot);
    },
  };
  const goElsewhere = async (how: keyof typeof ways) => {
    await vm.pause();
    const resume = await ways[how]();
    await vm.stop();
    vm = await resume();
  };

  for (const how of ['frozen', 'saved'] as const)
    it(`when it resumes in other machines from where it was ${how}${how === 'saved' ? ' @long' : ''}`, async () => {
      let heard = await start();
      for (let n = 0; n < 5; n++) {
        await goElsewhere(how);
        heard = attach(heard.process.id, heard.text);
        await aMoment();
      }
      await expectAll(vm, heard);
    });

  it('also when nobody attaches to it on the way @long', async () => {
    const heard = await start();
    for (let n = 0; n < 5; n++) {
      await goElsewhere('frozen');
      if (n === 0) await vm.exec('true');
    }
    await expectAll(vm, attach(heard.process.id, heard.text));
  });

  it('when it goes back to a moment again and again', async () => {
    const heard = await start();
    await vm.pause();
    const { text, process } = heard;
    await vm.checkpoint();
    await vm.start();
    for (let n = 0; n < 5; n++) {
      // After a pause it is heard as before.
      if (n) attach(process.id, text);
      await aMoment();
      await vm.rewind();
    }
    await expectAll(vm, attach(process.id, text));
  });

  it('when its session is begun anew, and when it is left and attached to', async () => {
    let heard = await start();
    for (let n = 0; n < 10; n++) {
      if (n % 2) heard.process.detach();
      else await vm.ready();
      heard = attach(heard.process.id, heard.text);
      await aMoment();
    }
    await expectAll(vm, heard);
  });

  it('from some number on, when v86’s own functions take it back, which keep nothing of what has begun @long', async () => {
    const { process } = await start();
    const state = await vm.emulator.save_state();
    for (let n = 0; n < 5; n++) {
      await aMoment();
      await vm.emulator.restore_state(state);
      await vm.goOn();
      const heard = listen(vm.agent.attach(process.id));
      await until(() => heard.text.length > 20_000);
      const numbers = heard.text.split('\n').slice(1, -1).map(Number);
      expect(numbers).to.deep.equal(numbers.map((_, at) => numbers[0]! + at));
    }
  });
});
