import { encodeFrame, TO_GUEST, TO_HOST } from '../../harness/machine/agent/frames.ts';
import { GuestAgent, type GuestProcess } from '../../harness/machine/agent/guest-agent.ts';
import { VmError } from '../../harness/machine/errors.ts';
import { count, damage, NUMBERS, noise, type Outcomes, pick, type Random, word } from './hostile-values.ts';

/** A guest that says anything over its agent's port: frames that are right, nearly so, and none, cut anywhere. */
export async function fuzzAgent(random: Random, messages: number): Promise<Outcomes> {
  const outcomes: Outcomes = new Map();
  let deliver: (bytes: Uint8Array) => void = () => {};
  let session = 0;
  let written = 0;
  const ids = new Set<number>();
  const agent = new GuestAgent({
    onData: (callback) => (deliver = callback),
    flush: () => {},
    write: (frame) => {
      written += frame.length;
      const id = new DataView(frame.buffer, frame.byteOffset, frame.byteLength).getUint32(
        frame.length > 8 ? 4 : 0,
        true,
      );
      if (frame[2] === TO_GUEST.HELLO) session = id;
      else if (ids.size < 40) ids.add(id);
    },
  });
  let heard = 0;
  const processes: GuestProcess[] = [];
  const open = () => {
    const process = agent.spawn('true', random(3) ? {} : { pty: { columns: 80, rows: 24 } });
    if (random(4)) process.onStdout = (data) => void (heard += data.length);
    process.onStderr = (data) => void (heard += data.length);
    process.exited.catch(() => {});
    void process.write(new Uint8Array(random(3000))).catch(() => {});
    if (random(2)) process.closeStdin();
    processes.push(process);
    if (processes.length > 20) processes.shift()!.detach();
  };
  /** One message of so many is not as it should be. */
  let honesty = 1;
  const begin = async (isHonest = false) => {
    honesty = pick(random, [10, 100, 10_000]);
    const before = written;
    const ready = agent.ready(
      60_000,
      random(3) ? undefined : { seed: new Uint8Array(32), clock: () => ({ sec: 1, nsec: 0 }) },
    );
    if (written === before) throw new Error('no HELLO');
    deliver(noise(random, random(40)));
    deliver(encodeFrame(TO_HOST.WELCOME, session, new Uint8Array(12)));
    deliver(encodeFrame(TO_HOST.RENEWED, session, new Uint8Array(8)));
    await ready;
    ids.clear();
    for (let n = 0; n < 3; n++) open();
    if (!isHonest && random(15) === 0) flood();
  };
  /** Sends all that a process may, and more. */
  const flood = () => {
    const process = agent.spawn('yes');
    processes.push(process);
    process.exited.catch(() => {});
    for (let n = 0; n < 200; n++) {
      deliver(encodeFrame(TO_HOST.TAKEN, 0, word(2 ** 31)));
      deliver(encodeFrame(TO_HOST.OUTPUT, process.id, noise(random, 8192)));
    }
    if (agent.isReady) throw new Error('a process sends more than it may');
  };
  const lengthOf = (type: number) =>
    type === TO_HOST.OUTPUT || type === TO_HOST.ERRORS
      ? 1 + random(random(honesty > 1000 ? 2 : 50) ? 60 : 8192)
      : type === TO_HOST.LISTED
        ? 4 * random(257)
        : type === TO_HOST.WELCOME
          ? 12 * random(2)
          : type === TO_HOST.RENEWED
            ? 8
            : 4;
  const compose = (): Uint8Array => {
    const type = random(honesty) ? 65 + random(10) : random(256);
    const id = random(3) ? pick(random, [...ids, 0]) : random(8) ? session : random(2 ** 31);
    const payload =
      type === TO_HOST.EXITED && random(honesty)
        ? word(random(256))
        : lengthOf(type) === 4
          ? word(random(2) ? random(5000) : pick(random, NUMBERS))
          : noise(random, lengthOf(type));
    const frame = encodeFrame(type, id, random(honesty) ? payload : noise(random, random(random(3) ? 9 : 9000)));
    return random(honesty) ? frame : random(2) ? damage(random, frame) : noise(random, random(200));
  };
  let rest: Uint8Array = new Uint8Array(0);
  await begin();
  for (let n = 0; n < messages; n++) {
    const bytes = Buffer.concat([rest, compose()]);
    const cut = random(3) ? bytes.length : random(bytes.length + 1);
    deliver(bytes.subarray(0, cut));
    rest = bytes.subarray(cut);
    if (random(100) === 0) open();
    if (random(500) === 0) agent.list().catch(() => {});
    if (agent.isReady) {
      count(outcomes, 'accepted');
      if (random(3000) !== 0) continue;
    } else {
      // What waits is told why, and what is asked too.
      const error = await agent.exec('true').catch((thrown: Error) => thrown);
      if (!(error instanceof VmError) || error.kind !== 'guest')
        throw new Error(`the link has ended with ${String(error)}`);
      for (const process of processes.splice(0)) await process.exited.catch(() => {});
      count(outcomes, /ended: ([a-z ]+)/.exec(error.message)![1]!);
    }
    rest = new Uint8Array(0);
    await begin();
  }
  // One that does as it should is heard.
  await begin(true);
  const list = agent.list();
  // The agent may have asked for itself, too.
  for (let n = 0; n < 2; n++) deliver(encodeFrame(TO_HOST.LISTED, 0, word(3)));
  if (String(await list) !== '3' || !heard) throw new Error('the agent does not work any more');
  return outcomes;
}
