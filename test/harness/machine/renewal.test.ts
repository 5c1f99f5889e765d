import { expect } from 'chai';
import { encodeFrame, TO_GUEST, TO_HOST } from '../../../harness/machine/agent/frames.ts';
import { GuestAgent } from '../../../harness/machine/agent/guest-agent.ts';
import { encodeRenewal } from '../../../harness/machine/agent/renewal.ts';

/** What an agent says in WELCOME. */
function guestTime(sec: bigint, nsec: number): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, sec, true);
  view.setUint32(8, nsec, true);
  return bytes;
}

/** Flags, seconds and nanoseconds to go forward by. */
function steps(payload: Uint8Array): [number, bigint, number] {
  const view = new DataView(payload.buffer);
  return [view.getUint32(0, true), view.getBigInt64(4, true), view.getUint32(12, true)];
}

describe('what a guest is told about the time', () => {
  const clock = () => ({ sec: 1000, nsec: 250_000_000 });

  for (const [name, sec, nsec, told] of [
    ['is behind', 998n, 750_000_000, [1, 1n, 500_000_000]],
    ['is ahead', 1003n, 750_000_000, [1, -4n, 500_000_000]],
    ['is from before 1970', -2n, 0, [1, 1002n, 250_000_000]],
    ['is right, as far as anybody can tell', 1000n, 250_900_000, [0, 0n, 0]],
    ['is a second off', 1001n, 250_000_000, [1, -1n, 0]],
  ] as const) {
    it(`when its clock ${name}`, () => {
      expect(steps(encodeRenewal({ clock }, guestTime(sec, nsec)))).to.deep.equal(told);
    });
  }

  it('is a number whatever it says itself', () => {
    for (const sec of [0n, 2n ** 63n - 1n, -(2n ** 63n)])
      for (const nsec of [0, 0xffffffff]) {
        const [flags, , nanoseconds] = steps(encodeRenewal({ clock }, guestTime(sec, nsec)));
        expect(flags).to.equal(1);
        expect(nanoseconds).to.be.within(0, 999_999_999);
      }
  });

  it('needs an agent that tells the time', () => {
    expect(() => encodeRenewal({ clock }, new Uint8Array(0))).to.throw('build the image again');
    expect(steps(encodeRenewal({ seed: new Uint8Array(32) }, new Uint8Array(0)))[0]).to.equal(0);
  });
});

describe('the link to a guest that comes back', () => {
  /** A guest that answers as `answer` says. */
  function link(answer: (frame: { type: number; id: number }) => Uint8Array | undefined) {
    const types: number[] = [];
    let deliver: (bytes: Uint8Array) => void = () => {};
    const hear = (frame: Uint8Array) => {
      const [type, id] = [frame[2]!, new DataView(frame.buffer, frame.byteOffset).getUint32(4, true)];
      types.push(type);
      const bytes = answer({ type, id });
      if (bytes) queueMicrotask(() => deliver(bytes));
    };
    const agent = new GuestAgent({ write: hear, onData: (callback) => (deliver = callback), flush: () => {} });
    return { agent, types };
  }
  const welcoming =
    (renewed: Uint8Array | undefined) =>
    ({ type, id }: { type: number; id: number }) => {
      if (type === TO_GUEST.HELLO) return encodeFrame(TO_HOST.WELCOME, id, guestTime(0n, 0));
      return type === TO_GUEST.RENEW && renewed ? encodeFrame(TO_HOST.RENEWED, id, renewed) : undefined;
    };
  const renewal = { clock: () => ({ sec: 1, nsec: 0 }), seed: new Uint8Array(32) };

  it('carries the renewal before anything that was asked meanwhile', async () => {
    const { agent, types } = link(welcoming(new Uint8Array(8)));
    const ready = agent.ready(1000, renewal);
    agent.spawn('true');
    await ready;
    expect(types.slice(0, 3)).to.deep.equal([TO_GUEST.HELLO, TO_GUEST.RENEW, TO_GUEST.SPAWN]);
  });

  for (const [what, errors, message] of [
    ['clock', [1, 0], "can't set its clock: EPERM"],
    ['seed', [0, 22], "can't take new random numbers: EINVAL"],
  ] as const) {
    it(`says that the ${what} is refused`, async () => {
      const { agent } = link(welcoming(new Uint8Array(Uint32Array.from(errors).buffer)));
      const error = await agent.ready(1000, renewal).catch((caught: Error) => caught);
      expect(error).to.have.property('message').that.contains(message);
    });
  }

  it('can be ended: what waits fails, and what is asked afterwards, until it is begun anew', async () => {
    const { agent } = link(welcoming(undefined));
    const lost = new Error('the guest has halted');
    const failing = async (promise: Promise<unknown>) =>
      expect(await promise.catch((caught: Error) => caught)).to.equal(lost);
    const ready = agent.ready(1000, renewal);
    const process = agent.spawn('true');
    const list = agent.list();
    agent.lose(lost);
    for (const each of [ready, process.exited, list, agent.list(), agent.exec('true')]) await failing(each);
    expect(agent.isReady).to.equal(false);
    await agent.ready(1000);
    expect(agent.isReady).to.equal(true);
  });
});
