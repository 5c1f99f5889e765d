import { getEventListeners } from 'node:events';
import { queryObjects } from 'node:v8';
import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { encodeFrame, FrameReader, TO_GUEST, TO_HOST } from '../../harness/machine/agent/frames.ts';
import { useGuest } from '../support/guest.ts';

/** What the guest's agent holds at once. */
const MAX_PROCESSES = 256;

describe('the processes that a guest keeps for its host', () => {
  const guest = useGuest({ shares: [], memory: 64 });
  let store: SnapshotStore;
  before(async () => {
    store = await SnapshotStore.open(new MemoryStore(), loadCodec());
  });
  const count = async () => (await guest.vm.agent.list()).length;

  it('do not get more with commands that ended before it was frozen, or were under way then', async () => {
    const before = await count();
    for (let n = 0; n < 3; n++) {
      await guest.vm.exec('true');
      // At once: the guest has not heard yet that its end was taken note of.
      const { id: afterEnd } = await guest.vm.freeze(store);
      await guest.vm.thaw(store, afterEnd);
      // It says more than a pipe holds, and reads what never comes.
      const begun = guest.vm.spawn(['sh', '-c', 'echo $$ > /tmp/pid; cat; head -c 200000 /dev/zero; echo end >&2'], {
        isKept: false,
      });
      await guest.vm.exec('until [ -s /tmp/pid ]; do sleep 0.01; done');
      const { id: underWay } = await guest.vm.freeze(store);
      await guest.vm.thaw(store, underWay);
      expect(await begun.exited.catch(({ message }: Error) => message)).to.match(/restarted/);
      await guest.vm.exec('while kill -0 $(cat /tmp/pid); do sleep 0.01; done; rm /tmp/pid');
    }
    expect(await count()).to.equal(before);
  });

  it('are there when they are to be asked for later, with what they say and return', async () => {
    const before = await count();
    const kept = guest.vm.spawn('read line; echo "$line"; exit 7');
    const { id } = await guest.vm.freeze(store);
    await guest.vm.thaw(store, id);
    expect(await count()).to.equal(before + 1);
    const again = guest.vm.agent.attach(kept.id);
    let said = '';
    again.onStdout = (data) => (said += new TextDecoder().decode(data));
    await again.write('hello\n');
    expect([await again.exited, said]).to.deep.equal([7, 'hello\n']);
    await guest.vm.exec('true');
    expect(await count()).to.equal(before);
  });

  it('make way when they have ended and nobody asks, the eldest first @long', async () => {
    const left: number[] = [];
    while (left.length < MAX_PROCESSES + 20) {
      for (let n = 0; n < 60; n++) {
        const process = guest.vm.spawn(['false']);
        process.detach();
        left.push(process.id);
      }
      await guest.vm.exec('while pidof false; do sleep 0.01; done');
    }
    expect((await guest.vm.exec('echo works')).stdout).to.equal('works\n');
    const known = await guest.vm.agent.list();
    expect(known.length).to.be.at.most(MAX_PROCESSES);
    expect(known).to.include(left.at(-1)).and.not.include(left[0]);
    expect(await guest.vm.agent.attach(left.at(-1)!).exited).to.equal(1);
  });

  it('can be left and attached to again at once', async () => {
    const process = guest.vm.spawn('head -c 300000 /dev/zero');
    for (let n = 0; n < 3; n++) {
      process.detach();
      guest.vm.agent.attach(process.id).detach();
    }
    const again = guest.vm.agent.attach(process.id);
    let length = 0;
    again.onStdout = (data) => (length += data.length);
    expect([await again.exited, length]).to.deep.equal([0, 300_000]);
  });

  it('are listed for a host that says hello and asks at once, and all that it sent is counted', async () => {
    const { emulator, agent } = guest.vm;
    const session = 12345;
    const list = encodeFrame(TO_GUEST.LIST, 0);
    const said = new Promise<Map<number, Uint8Array>>((resolve) => {
      const frames = new Map<number, Uint8Array>();
      const reader = new FrameReader({
        onFrame: ({ type, payload }) => {
          frames.set(type, payload.slice());
          if (frames.has(TO_HOST.TAKEN)) resolve(frames);
        },
        onEarlyOutput: () => {},
        onNoise: () => {},
      });
      reader.seek(session);
      emulator.add_listener('serial1-output-byte', listen);
      function listen(byte: number) {
        reader.push(Uint8Array.of(byte));
        if (frames.has(TO_HOST.TAKEN)) emulator.remove_listener('serial1-output-byte', listen);
      }
    });
    emulator.serial_send_bytes(1, Buffer.concat([encodeFrame(TO_GUEST.HELLO, session), list]));
    const frames = await said;
    expect(frames.has(TO_HOST.LISTED)).to.equal(true);
    // HELLO itself is not counted: a host that has the answer to an earlier one counts from there too.
    expect(Buffer.from(frames.get(TO_HOST.TAKEN)!).readUInt32LE()).to.equal(list.length);
    await agent.ready();
    expect((await guest.vm.exec('echo works')).stdout).to.equal('works\n');
  });

  it('leave nothing on signals that outlive them', async () => {
    const { signal } = new AbortController();
    const all = () => [
      ...[signal, guest.vm.life.signal].map((each) => getEventListeners(each, 'abort').length),
      queryObjects(AbortSignal, { format: 'count' }),
    ];
    await guest.vm.exec('true', { signal });
    const before = all();
    for (let n = 0; n < 5; n++) await guest.vm.exec('true', { signal });
    expect(all()).to.deep.equal(before);
  });
});
