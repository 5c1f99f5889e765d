import { mock } from 'node:test';
import { decode, encode } from 'cborg';
import { expect } from 'chai';
import fc from 'fast-check';
import { encodeFrame, TO_GUEST, TO_HOST } from '../../../../harness/machine/agent/frames.ts';
import { GuestAgent } from '../../../../harness/machine/agent/guest-agent.ts';
import { readUnheard } from '../../../../harness/machine/agent/waiting-output.ts';
import { VmError } from '../../../../harness/machine/errors.ts';

/** Bytes that Linux' 8250 driver takes off a port at once: 512 times 256. What is behind stays, and v86's edge-triggered interrupt has been. */
const TAKEN_AT_ONCE = 512 * 256;

describe('the agent of a guest that takes long to boot', () => {
  afterEach(() => mock.timers.reset());

  it('is not called more often than its serial port can take', async () => {
    mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    let sent = 0;
    let calls = 0;
    const agent = new GuestAgent({
      write: ({ length }) => void ((sent += length), calls++),
      onData: () => {},
      flush: () => {},
    });
    const ready = agent.ready(600_000).then(
      () => 'answered',
      (error: Error) => error.message,
    );
    for (let second = 0; second < 600; second++) mock.timers.tick(1000);
    expect(await ready).to.match(/no answer from its agent/);
    expect(calls).to.be.above(20);
    expect(sent).to.be.below(TAKEN_AT_ONCE);
  });
});

/** Says what it is told to, and knows the session. */
function lyingGuest() {
  let deliver: (bytes: Uint8Array) => void = () => {};
  const sent: { type: number; id: number; frame: Uint8Array }[] = [];
  const agent = new GuestAgent({
    onData: (callback) => (deliver = callback),
    flush: () => {},
    write: (frame) => {
      const [type, id] = [frame[2]!, new DataView(frame.buffer, frame.byteOffset).getUint32(4, true)];
      sent.push({ type, id, frame: frame.slice() });
      if (type === TO_GUEST.HELLO) queueMicrotask(() => deliver(encodeFrame(TO_HOST.WELCOME, id)));
    },
  });
  const say = (type: number, id: number, payload: Uint8Array = new Uint8Array(0)) =>
    deliver(encodeFrame(type, id, payload));
  return { agent, sent, say, deliver: (bytes: Uint8Array) => deliver(bytes) };
}
const number = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);

describe('the agent of a guest that lies', () => {
  const lies: [string, number, Uint8Array][] = [
    ['a number without bytes', TO_HOST.TAKEN, new Uint8Array(0)],
    ['a number of three bytes', TO_HOST.EXITED, new Uint8Array(3)],
    ['a number of five bytes', TO_HOST.INPUT_TAKEN, new Uint8Array(5)],
    ['a list of half a number', TO_HOST.LISTED, new Uint8Array(6)],
    ['a list of more than there can be', TO_HOST.LISTED, new Uint8Array(4 * 257)],
    ['output without any', TO_HOST.OUTPUT, new Uint8Array(0)],
    ['more than fits', TO_HOST.ERRORS, new Uint8Array(8193)],
    ['a type that there is none of', 99, new Uint8Array(0)],
    ['what goes to guests', TO_GUEST.LIST, new Uint8Array(0)],
    ['an exit code beyond all', TO_HOST.EXITED, number(256)],
  ];
  for (const [what, type, payload] of lies) {
    it(`has its link ended for ${what}, which can be begun anew`, async () => {
      const { agent, say } = lyingGuest();
      await agent.ready();
      const process = agent.spawn('true');
      process.onStdout = () => {};
      const list = agent.list();
      say(type, process.id, payload);
      const error = await process.exited.catch((thrown: Error) => thrown);
      expect(error).to.be.instanceOf(VmError).with.property('kind', 'guest');
      expect(await list.catch((thrown: Error) => thrown)).to.equal(error);
      say(TO_HOST.LISTED, 0);
      expect(await agent.list().catch((thrown: Error) => thrown)).to.equal(error);
      await agent.ready();
      const again = agent.list();
      say(TO_HOST.LISTED, 0, number(7));
      expect(await again).to.deep.equal([7]);
    });
  }

  it('sends no more than it was allowed, whoever listens', async () => {
    const { agent, say } = lyingGuest();
    await agent.ready();
    const process = agent.spawn('true');
    for (let n = 0; n < 128; n++) say(TO_HOST.OUTPUT, process.id, new Uint8Array(8192));
    let heard = 0;
    const stop = (process.onStdout = (data) => void (heard += data.length));
    expect(heard).to.equal(1 << 20);
    process.onStdout = undefined;
    // Its window is that of the terminal, which it takes nothing from: the credit waits.
    for (let n = 0; n < 128; n++) say(TO_HOST.TAKEN, 0, number(1e6));
    for (let n = 0; n < 128; n++) say(TO_HOST.OUTPUT, process.id, new Uint8Array(8192));
    say(TO_HOST.ERRORS, process.id, Uint8Array.of(1));
    expect(await process.exited.catch(({ message }: Error) => message)).to.match(/more than it was allowed to/);
    process.onStdout = stop;
  });

  it('is allowed nothing more as long as a listener has not taken what it was given', async () => {
    const { agent, say, sent } = lyingGuest();
    await agent.ready();
    const process = agent.spawn('true');
    const taking: (() => void)[] = [];
    process.onStdout = () => new Promise<void>((resolve) => taking.push(resolve));
    const credits = () => {
      for (let n = 0; n < 10; n++) say(TO_HOST.TAKEN, 0, number(1e6));
      return sent.filter(({ type }) => type === TO_GUEST.CREDIT).length;
    };
    const before = credits();
    for (let n = 0; n < 128; n++) say(TO_HOST.OUTPUT, process.id, new Uint8Array(8192));
    await new Promise((resolve) => setImmediate(resolve));
    expect([taking.length, credits()]).to.deep.equal([128, before]);
    for (const taken of taking.splice(0)) taken();
    await new Promise((resolve) => setImmediate(resolve));
    expect(credits()).to.be.above(before);
    // In another session nobody may listen.
    say(TO_HOST.OUTPUT, process.id, new Uint8Array(8192));
    await agent.ready();
    const later = credits();
    for (const taken of taking) taken();
    await new Promise((resolve) => setImmediate(resolve));
    expect(credits()).to.equal(later);
  });

  it('is killed when its listener fails later', async () => {
    const { agent, say, sent } = lyingGuest();
    await agent.ready();
    const process = agent.spawn('true');
    process.onStdout = () => Promise.reject(new Error('no'));
    say(TO_HOST.OUTPUT, process.id, new Uint8Array(1));
    expect(await process.exited.catch(({ message }: Error) => message)).to.equal('no');
    for (let n = 0; n < 10; n++) say(TO_HOST.TAKEN, 0, number(1e6));
    expect(sent.some(({ type }) => type === TO_GUEST.KILL)).to.equal(true);
  });

  it('lets what waits for it not grow, however much it sends and however little it takes', async () => {
    const { agent, say, sent } = lyingGuest();
    await agent.ready();
    const process = agent.spawn('true');
    let heard = 0;
    process.onStdout = () => void heard++;
    for (let n = 0; n < 100_000; n++) say(TO_HOST.OUTPUT, process.id, Uint8Array.of(1));
    expect(heard).to.equal(100_000);
    const before = sent.length;
    for (let n = 0; n < 10; n++) say(TO_HOST.TAKEN, 0, number(1e6));
    expect(sent.length - before, 'frames that waited').to.be.below(5);
  });

  it('counts stdin as taken once, whatever it says', async () => {
    const { agent, say } = lyingGuest();
    await agent.ready();
    const process = agent.spawn('cat');
    const first = process.write(new Uint8Array(1000));
    for (let n = 0; n < 100; n++) say(TO_HOST.INPUT_TAKEN, process.id, number(0xffffffff));
    await first;
    const second = process.write(new Uint8Array(200_000)).then(() => 'taken');
    say(TO_HOST.INPUT_TAKEN, process.id, number(65536));
    expect(await Promise.race([second, new Promise((resolve) => setImmediate(resolve, 'waits'))])).to.equal('waits');
  });

  it('ends a command whose listener fails, and nothing else', async () => {
    const { agent, say, sent } = lyingGuest();
    await agent.ready();
    const [process, other] = [agent.spawn('true'), agent.spawn('true')];
    const failure = new Error('the disk is full');
    process.onStdout = () => {
      throw failure;
    };
    say(TO_HOST.OUTPUT, process.id, Uint8Array.of(1));
    expect(await process.exited.catch((thrown: Error) => thrown)).to.equal(failure);
    say(TO_HOST.EXITED, process.id, number(137));
    say(TO_HOST.EXITED, other.id, number(3));
    expect(await other.exited).to.equal(3);
    say(TO_HOST.TAKEN, 0, number(1e6));
    expect(sent.filter(({ type, id }) => type === TO_GUEST.KILL && id === process.id)).to.have.length(1);
  });

  it('asks in a new session, and nothing of the last is answered in it', async () => {
    const { agent, say } = lyingGuest();
    await agent.ready();
    const stale = agent.list();
    await agent.ready();
    const fresh = agent.list();
    say(TO_HOST.LISTED, 0, number(5));
    expect(await stale.catch(({ message }: Error) => message)).to.match(/restarted/);
    expect(await fresh).to.deep.equal([5]);
  });

  it('reads frames however they are cut', async () => {
    const { agent, deliver } = lyingGuest();
    await agent.ready();
    const process = agent.spawn('true');
    const heard: number[] = [];
    process.onStdout = (data) => void heard.push(...data);
    const bytes = Buffer.concat([
      encodeFrame(TO_HOST.OUTPUT, process.id, Uint8Array.of(0xa5, 0x5a)),
      encodeFrame(TO_HOST.OUTPUT, process.id, Uint8Array.of(3)),
      encodeFrame(TO_HOST.EXITED, process.id, number(9)),
    ]);
    for (const byte of bytes) deliver(Uint8Array.of(byte));
    expect(await process.exited).to.equal(9);
    expect(heard).to.deep.equal([0xa5, 0x5a, 3]);
  });
});

describe('the agent of a guest that goes on somewhere else', () => {
  const text = (value: string) => new TextEncoder().encode(value);
  const output = (id: number, value: string, type: number = TO_HOST.OUTPUT) => encodeFrame(type, id, text(value));
  const ID = 7;
  const NOTHING = { begun: new Uint8Array(0), output: [] };

  /** What was heard of {@link ID} when it is attached to. */
  function listen(agent: GuestAgent) {
    const heard = { stdout: '', stderr: '' };
    const process = agent.attach(ID);
    process.onStdout = (data) => void (heard.stdout += new TextDecoder().decode(data));
    process.onStderr = (data) => void (heard.stderr += new TextDecoder().decode(data));
    return { process, heard };
  }

  it('has what a process wrote before its session for who attaches, from the middle of a frame on', async () => {
    const there = lyingGuest();
    await there.agent.ready();
    const { heard: before } = listen(there.agent);
    const frames = Buffer.concat([output(ID, 'one,'), output(ID, 'two,'), output(ID, 'error', TO_HOST.ERRORS)]);
    for (let cut = 0; cut <= frames.length; cut++) {
      before.stdout = before.stderr = '';
      there.deliver(frames.subarray(0, cut));
      const here = lyingGuest();
      here.agent.follow(there.agent.unheard());
      here.deliver(frames.subarray(cut));
      await here.agent.ready();
      const { heard } = listen(here.agent);
      here.say(TO_HOST.OUTPUT, ID, text('three'));
      expect([before.stdout + heard.stdout, before.stderr + heard.stderr], `cut at ${cut}`).to.deep.equal([
        'one,two,three',
        'error',
      ]);
      there.deliver(frames.subarray(cut));
    }
  });

  it('lets it write so much less as it has written already', async () => {
    const { agent, say, sent, deliver } = lyingGuest();
    agent.follow(NOTHING);
    for (let n = 0; n < 100; n++) deliver(output(ID, 'x'.repeat(8192)));
    await agent.ready();
    const process = agent.attach(ID);
    const credit = sent.findLast(({ type }) => type === TO_GUEST.CREDIT)!;
    expect(new DataView(credit.frame.buffer).getUint32(10, true)).to.equal((1 << 20) - 100 * 8192);
    for (let n = 0; n < 28; n++) say(TO_HOST.OUTPUT, ID, new Uint8Array(8192));
    say(TO_HOST.OUTPUT, ID, Uint8Array.of(1));
    expect(await process.exited.catch(({ message }: Error) => message)).to.match(/more than it was allowed to/);
  });

  it('is believed nothing before its session when it was not known where a frame begins', async () => {
    for (const begun of [undefined, Uint8Array.of(1), new Uint8Array(100_000)]) {
      const { agent, deliver } = lyingGuest();
      agent.follow(begun && { begun, output: [] });
      deliver(output(ID, 'forged'));
      await agent.ready();
      expect(listen(agent).heard.stdout).to.equal('');
    }
  });

  it('is another one again: what the last one wrote is forgotten', async () => {
    const { agent, deliver } = lyingGuest();
    agent.follow(NOTHING);
    deliver(output(ID, 'of the first'));
    agent.follow(NOTHING);
    deliver(output(ID, 'of the second'));
    await agent.ready();
    expect(listen(agent).heard.stdout).to.equal('of the second');
  });

  it('can be begun anew without losing what is written meanwhile', async () => {
    const { agent, deliver } = lyingGuest();
    await agent.ready();
    listen(agent);
    const again = agent.ready();
    deliver(output(ID, 'meanwhile'));
    await again;
    expect(listen(agent).heard.stdout).to.equal('meanwhile');
  });

  it('takes along what nobody has heard: of those that were left, that nobody listens to, and that nobody has attached to', async () => {
    const there = lyingGuest();
    there.agent.follow(NOTHING);
    there.deliver(output(ID, 'early,'));
    await there.agent.ready();
    const [left, held] = [there.agent.spawn('true'), there.agent.spawn('true')];
    left.detach();
    there.say(TO_HOST.OUTPUT, left.id, text('left,'));
    there.say(TO_HOST.ERRORS, held.id, text('held,'));
    let { agent } = there;
    for (const word of ['one,', 'two,']) {
      const here = lyingGuest();
      here.agent.follow(readUnheard(decode(encode(agent.unheard()))));
      here.deliver(output(ID, word));
      await here.agent.ready();
      ({ agent } = here);
    }
    const said = (id: number) => {
      const heard: string[] = [];
      const process = agent.attach(id);
      process.onStdout = process.onStderr = (data) => void heard.push(new TextDecoder().decode(data));
      return heard.join('');
    };
    expect([ID, left.id, held.id].map(said)).to.deep.equal(['early,one,two,', 'left,', 'held,']);
    expect(agent.unheard()).to.deep.equal(NOTHING);
  });

  it('forgets what nobody can attach to any more', async () => {
    const { agent, say, deliver } = lyingGuest();
    agent.follow(NOTHING);
    for (const id of [ID, 8]) deliver(output(id, 'x'));
    await agent.ready();
    say(TO_HOST.LISTED, 0, number(ID));
    await new Promise((resolve) => setImmediate(resolve));
    expect(agent.unheard()!.output.map(({ id }) => id)).to.deep.equal([ID]);
  });

  it('has nothing to tell of that no agent can have sent', () => {
    const sound = {
      begun: new Uint8Array(3),
      output: [{ id: ID, stdout: new Uint8Array(1), stderr: new Uint8Array(0) }],
    };
    expect(readUnheard(sound)).to.deep.equal(sound);
    const [one] = sound.output;
    for (const wrong of [
      undefined,
      null,
      5,
      {},
      { ...sound, begun: 'x' },
      { ...sound, output: {} },
      { ...sound, output: [null] },
      { ...sound, output: [{ ...one, id: -1 }] },
      { ...sound, output: [{ ...one, id: 2 ** 32 }] },
      { ...sound, output: [{ ...one, stdout: 'x' }] },
      { ...sound, output: [{ ...one, stderr: new Uint8Array(16 << 20) }] },
      { ...sound, output: Array(257).fill(one) },
    ])
      expect(readUnheard(wrong)).to.equal(undefined);
    fc.assert(
      fc.property(fc.anything(), (value) => (readUnheard(value)?.begun ?? new Uint8Array(0)) instanceof Uint8Array),
    );
  });

  it('is heard again when the rest of a frame never came', async () => {
    const { agent, deliver } = lyingGuest();
    await agent.ready();
    deliver(output(ID, 'x'.repeat(8000)).subarray(0, 100));
    await agent.ready();
    deliver(output(ID, 'lost'));
    const { heard } = listen(agent);
    deliver(output(ID, 'heard'));
    expect(heard.stdout).to.equal('heard');
  });

  it('may write nothing more while as much as it may write at once waits for who attaches', async () => {
    const { agent, say, sent } = lyingGuest();
    await agent.ready();
    agent.attach(ID).detach();
    for (let n = 0; n < 128; n++) say(TO_HOST.OUTPUT, ID, new Uint8Array(8192));
    for (let n = 0; n < 3; n++) agent.attach(ID).detach();
    say(TO_HOST.TAKEN, 0, number(1e6));
    const credits = sent.filter(({ type }) => type === TO_GUEST.CREDIT).map(({ frame }) => new DataView(frame.buffer));
    expect(credits.map((frame) => frame.getUint32(10, true))).to.deep.equal([1 << 20, 0, 0, 0]);
    expect(listen(agent).heard.stdout.length).to.equal(1 << 20);
  });

  it('takes nothing from who is attached to a process when an earlier session leaves it', async () => {
    const { agent, say, sent } = lyingGuest();
    await agent.ready();
    const earlier = agent.attach(ID);
    say(TO_HOST.OUTPUT, ID, text('earlier'));
    agent.follow(NOTHING);
    await agent.ready();
    const { heard } = listen(agent);
    earlier.detach();
    say(TO_HOST.OUTPUT, ID, text('now'));
    expect(heard.stdout).to.equal('now');
    expect(sent.filter(({ type }) => type === TO_GUEST.CLOSE)).to.deep.equal([]);
    expect(agent.unheard()).to.deep.equal(NOTHING);
  });

  it('keeps what a process that was left writes until the guest knows', async () => {
    const { agent, say } = lyingGuest();
    await agent.ready();
    const { process } = listen(agent);
    process.detach();
    say(TO_HOST.OUTPUT, ID, text('late'));
    expect(listen(agent).heard.stdout).to.equal('late');
  });

  for (const [what, flood] of [
    ['one process', () => output(ID, 'x'.repeat(8192))],
    ['many processes', (n: number) => output(n, 'x'.repeat(8192))],
    ['many frames of a byte', (n: number) => output(n, 'x')],
  ] as const) {
    it(`is not believed when ${what} send more than there can be`, async () => {
      const { agent, deliver } = lyingGuest();
      agent.follow(NOTHING);
      const ready = agent.ready().catch((error: Error) => error);
      let sent = 0;
      for (; sent % 5000 || (agent.unheard() && sent < 1e6); sent++) deliver(flood(sent));
      expect(sent).to.be.below(200_000);
      expect(await ready)
        .to.be.instanceOf(VmError)
        .with.property('message')
        .that.matches(/more than they were allowed/);
    });
  }
});
