import { PassThrough } from 'node:stream';
import { type Endpoint, expose } from 'comlink';
import { MAX_STRANGER_MESSAGE, type MigrationChannel, MigrationError } from '../../device/index.ts';
import {
  decodeDescription,
  decodeFate,
  decodeLayer,
  decodeQuery,
  decodeRefusal,
  decodeRound,
} from '../../device/migration/bodies.ts';
import { CreditChannel } from '../../device/migration/credit-channel.ts';
import { decodeHello, encodeHello } from '../../device/migration/hello.ts';
import { encodeFrame, TO_GUEST, TO_HOST } from '../../harness/machine/agent/frames.ts';
import { GuestAgent, type GuestProcess } from '../../harness/machine/agent/guest-agent.ts';
import { VmError } from '../../harness/machine/errors.ts';
import { mayCall } from '../../harness/node/migration/door.ts';
import { duplexChannel } from '../../harness/node/migration/duplex-channel.ts';
import { guarded, isComlinkMessage } from '../../web/protocol/guard.ts';
import { decodeNote, parseAddress } from '../../web/worker/rendezvous.ts';
import { randomNumbers } from './hostile-driver.ts';

type Random = (below: number) => number;

/** How often what a reader was sent came to what: `accepted`, or the name of an error. */
export type Outcomes = Map<string, number>;

const NUMBERS = [0, 1, 4, 255, 256, 8192, 65535, 65536, 2 ** 20, 2 ** 31, 2 ** 32 - 1];
const ENCODER = new TextEncoder();
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const word = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;

function count(outcomes: Outcomes, key: string): void {
  outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
}

const POOL_SIZE = 1 << 16;
const pool = Uint8Array.from(
  { length: POOL_SIZE },
  (() => {
    const random = randomNumbers(0);
    return () => random(256);
  })(),
);

function noise(random: Random, length: number): Uint8Array<ArrayBuffer> {
  const at = random(POOL_SIZE - length);
  return pool.slice(at, at + length);
}

/** Some bytes of it other ones, or left out, or put in. */
function damage(random: Random, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const damaged = [...bytes];
  for (let n = 1 + random(3); n > 0; n--) {
    const at = random(damaged.length + 1);
    damaged.splice(at, random(3), ...(random(2) ? [random(256)] : []));
  }
  return Uint8Array.from(damaged);
}

/** A guest that says anything over its agent's port: frames that are right, nearly so, and none, cut anywhere. */
async function fuzzAgent(random: Random, messages: number): Promise<Outcomes> {
  const outcomes: Outcomes = new Map();
  let deliver: (bytes: Uint8Array) => void = () => {};
  let session = 0;
  let written = 0;
  const ids = new Set<number>();
  const agent = new GuestAgent({
    onData: (callback) => (deliver = callback),
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
  deliver(encodeFrame(TO_HOST.LISTED, 0, word(3)));
  if (String(await list) !== '3' || !heard) throw new Error('the agent does not work any more');
  return outcomes;
}

/** Messages of a side that may send bytes, and of one that may send anything: one of `honesty`. */
function compose(random: Random, honesty = 5): unknown {
  const message = (length: number) => noise(random, length);
  const piece = (kind: number, length: number) => Uint8Array.of(kind, ...message(length));
  switch (random(honesty) ? 9 : random(6)) {
    case 0:
      return pick(random, [
        null,
        undefined,
        '',
        'text',
        0,
        NaN,
        true,
        {},
        [],
        [1],
        { bytes: message(3) },
        { taken: true },
        new Date(),
        new Error('x'),
        new Map(),
        1n,
        () => {},
      ]);
    case 1:
      return pick(random, [
        new Float64Array(4),
        new DataView(new ArrayBuffer(9)),
        new Uint8Array(new SharedArrayBuffer(random(9))),
        new SharedArrayBuffer(4),
        new Uint16Array(3),
        new ArrayBuffer(random(3)),
      ]);
    case 2:
      return random(4) ? piece(random(256), random(300)) : Uint8Array.of(2);
    case 3:
      return piece(1, MAX_STRANGER_MESSAGE + random(3)).buffer;
    case 4:
      return new Uint8Array(pick(random, [0, 1000, (512 << 10) + 2])).subarray(0, random(3));
    case 5: {
      const buffer = piece(1, 8).buffer;
      const view = new Uint8Array(buffer);
      structuredClone(buffer, { transfer: [buffer] });
      return random(2) ? view : buffer;
    }
    default:
      return piece(1, random(100));
  }
}

/** Another tab, a page or a server that posts anything to a channel. */
async function fuzzCreditChannel(random: Random, messages: number): Promise<Outcomes> {
  const outcomes: Outcomes = new Map();
  for (let n = 0; n < messages; ) {
    let posted = 0;
    let closed = 0;
    const channel = new CreditChannel({ post: () => void posted++, close: () => void closed++ }, undefined);
    if (random(4) === 0) channel.admit();
    let unread = 0;
    let sent = 0;
    const honesty = pick(random, [5, 100, 10_000]);
    const isSlow = random(3) === 0;
    for (; n < messages && !closed; n++) {
      const isConfirming = sent > 0 && random(4) === 0;
      if (isConfirming) sent--;
      const data = isConfirming ? Uint8Array.of(2) : compose(random, honesty);
      const isMessage =
        (data instanceof Uint8Array || data instanceof ArrayBuffer) &&
        new Uint8Array(data instanceof Uint8Array && data.length ? data : new ArrayBuffer(1))[0] === 1;
      channel.take(data);
      if (isMessage) unread++;
      if (unread > 17 && !closed) throw new Error(`${unread} messages wait`);
      if (!closed && unread && random(isSlow ? 20 : 3) >= (isSlow ? 12 : 1)) {
        await channel.receive();
        unread--;
      }
      if (!closed && sent < 16 && random(4) === 0) {
        sent++;
        await channel.send(noise(random, 3)).catch(() => {});
      }
      if (random(2000) === 0) channel.close();
      count(outcomes, 'accepted');
    }
    channel.take(compose(random));
    channel.close();
    const before = posted;
    for (let end = false; !end; )
      end = await channel.receive().then(
        (message) => message === undefined,
        (error: unknown) => expectMigrationError(error, outcomes),
      );
    if (
      !(await channel.send(new Uint8Array(1)).then(
        () => false,
        (error: unknown) => error instanceof MigrationError,
      )) ||
      posted !== before
    )
      throw new Error('a closed channel sends');
    if (closed !== 1) throw new Error(`closed ${closed} times`);
  }
  return outcomes;
}

function expectMigrationError(error: unknown, outcomes: Outcomes): true {
  if (!(error instanceof MigrationError)) throw error;
  count(outcomes, error.message.replace(/\d+/g, 'n'));
  return true;
}

/** Another process that writes anything into a socket or pipe, in parts of any length. */
async function fuzzDuplexChannel(random: Random, messages: number): Promise<Outcomes> {
  const outcomes: Outcomes = new Map();
  for (let n = 0; n < messages; ) {
    const [incoming, outgoing] = [new PassThrough(), new PassThrough()];
    outgoing.resume();
    const channel: MigrationChannel = duplexChannel(incoming, outgoing);
    const isKnown = random(2) === 0;
    if (isKnown) channel.admit();
    const bodies = Array.from({ length: 1 + random(200) }, () =>
      noise(random, random(isKnown ? 300 : MAX_STRANGER_MESSAGE + 1)),
    );
    const whole = Buffer.concat(bodies.flatMap((body) => [Uint8Array.of(0, 0, body.length >> 8, body.length), body]));
    const isWhole = random(2) === 0;
    const bytes = isWhole ? whole : random(4) ? damage(random, whole) : noise(random, random(3000));
    for (let at = 0; at < bytes.length; )
      at +=
        incoming.write(bytes.subarray(at, at + 1 + random(2000))) === undefined ? 0 : Math.min(bytes.length - at, 2000);
    incoming.end();
    let came = 0;
    for (let end = false; !end; ) {
      end = await channel.receive().then(
        (message) => {
          if (message && message.length > (isKnown ? 512 << 10 : MAX_STRANGER_MESSAGE))
            throw new Error(`a message of ${message.length} bytes`);
          came++;
          return message === undefined;
        },
        (error: unknown) => expectMigrationError(error, outcomes),
      );
    }
    count(outcomes, 'accepted');
    n += Math.max(came, 1);
    channel.close();
    channel.close();
  }
  return outcomes;
}

/** JSON as the other side may make it up. */
function composeJson(random: Random, depth = 0): unknown {
  const uuid = '01234567-89ab-4cde-8f01-23456789abcd';
  const value = () =>
    pick(random, [
      uuid,
      uuid,
      'x'.repeat(64),
      'a.layer',
      '',
      '../x',
      '../../etc/passwd.layer',
      'CON.layer',
      'started',
      'never',
      '\u001b[2J',
      '\ud800',
      0,
      1,
      -1,
      0.5,
      Infinity,
      2 ** 53,
      true,
      false,
      null,
    ]);
  if (depth > 3 || random(3) === 0) return value();
  if (random(4) === 0)
    return Array.from({ length: random(random(20) ? 4 : 300) }, () => composeJson(random, depth + 1));
  const names = [
    'id',
    'machine',
    'name',
    'length',
    'snapshot',
    'isLast',
    'fate',
    'reason',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
  ];
  return Object.fromEntries(
    Array.from({ length: random(7) }, () => [pick(random, names), composeJson(random, depth + 1)]),
  );
}

const BODIES = [decodeDescription, decodeLayer, decodeRound, decodeQuery, decodeFate, decodeRefusal] as const;

/** A side that knows the token, and sends anything as the bodies of its messages; and greetings of one that does not. */
function fuzzBodies(random: Random, messages: number): Outcomes {
  const outcomes: Outcomes = new Map();
  const good = [
    { id: '01234567-89ab-4cde-8f01-23456789abcd', machine: { memory: 256, image: 'x', devices: ['a'] } },
    { name: `${'0'.repeat(64)}.layer`, length: 5 },
    { snapshot: '0'.repeat(64), isLast: false },
    { id: '01234567-89ab-4cde-8f01-23456789abcd' },
    { fate: 'never' },
    { reason: 'no \u001b[31m room' },
  ];
  for (let n = 0; n < messages; n++) {
    const kind = random(BODIES.length);
    const base = random(3)
      ? {
          ...(random(4) ? good[kind] : (composeJson(random) as object)),
          ...(random(2) ? (composeJson(random) as object) : {}),
        }
      : composeJson(random);
    const text = ENCODER.encode(random(200) ? JSON.stringify(base) : '['.repeat(random(60_000)));
    try {
      const result = random(10)
        ? BODIES[kind]!(random(5) ? text : damage(random, text))
        : decodeHello(
            damage(random, encodeHello(pick(random, ['source', 'destination']), random(2) === 1)),
            'source',
            true,
          );
      if (typeof result === 'string' && /[\u0000-\u001f\u007f-\u009f]/.test(result))
        throw new Error('what is not printable came through');
      if (typeof result === 'object' && 'name' in result && !/^[\w-]+\.layer$/.test(result.name))
        throw new Error(`a layer by the name of ${result.name}`);
      count(outcomes, `accepted ${BODIES[kind]!.name}`);
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      count(outcomes, error.name);
    }
  }
  return outcomes;
}

/** Another tab that posts anything to where tabs meet, addresses that were pasted, and what a page's worker is told. */
function fuzzPage(random: Random, messages: number): Outcomes {
  const outcomes: Outcomes = new Map();
  const uuid = '01234567-89ab-4cde-8f01-23456789abcd';
  let tell: (event: Event) => void = () => {};
  // Comlink's own end, which what is let through must not make throw.
  expose(
    { shells: { open: () => {} } },
    guarded({
      postMessage: () => {},
      addEventListener: (_: string, listener: (event: Event) => void) => (tell = listener),
      removeEventListener: () => {},
    } as Endpoint),
  );
  for (let n = 0; n < messages; n++) {
    const strange = compose(random);
    const note = pick(random, [
      strange,
      { here: uuid },
      { go: uuid },
      { here: strange },
      { go: [uuid] },
      Object.create({ here: uuid }),
    ]);
    const id = decodeNote(random(2) ? 'here' : 'go', note);
    if (id !== undefined && id !== uuid) throw new Error('a note of something else');
    count(outcomes, id === undefined ? 'no note' : 'note');
    const wire = () =>
      pick(random, [
        { type: 'RAW', value: 1 },
        { type: 'HANDLER', name: 'proxy', value: strange },
        { type: 'HANDLER', name: 'evil', value: 1 },
        strange,
      ]);
    const list = <T>(make: () => T) => (random(5) ? Array.from({ length: random(random(9) ? 4 : 40) }, make) : strange);
    const call = random(9)
      ? {
          id: pick(random, [uuid, uuid, 5, strange]),
          type: pick(random, ['GET', 'APPLY', 'SET', 'CONSTRUCT', 'RELEASE', 'RAW', 'HANDLER', strange]),
          path: list(() => pick(random, ['shells', 'open', '__proto__', 'constructor', 5])),
          argumentList: list(wire),
        }
      : strange;
    tell(new MessageEvent('message', { data: call }));
    const isCall = isComlinkMessage(call);
    if (isCall) {
      const { type, path } = call as { type: string; path?: unknown[] };
      if (/SET|CONSTRUCT/.test(type) || path?.some((part) => part === '__proto__' || part === 'constructor'))
        throw new Error('a call that leads anywhere');
    }
    count(outcomes, isCall ? 'call' : 'no call');
    if (n % 10) continue;
    const text = () => String.fromCharCode(...noise(random, random(30)));
    if (
      mayCall(
        random(2)
          ? text()
          : `http${random(2) ? 's' : ''}://${pick(random, ['localhost.evil', 'localhost@evil', 'evil'])}${text()}`,
        'localhost',
        [],
      )
    )
      throw new Error('a page from elsewhere may call');
    try {
      parseAddress(
        pick(random, [
          'ws://localhost:1#',
          'wss://',
          '',
          'http://x#y',
          'ws://h:1#%E0%A4%A',
          String.fromCharCode(...noise(random, random(40))),
        ]) + String.fromCharCode(...noise(random, random(30))),
      );
    } catch (error) {
      if (!(error instanceof Error) || error instanceof TypeError || error instanceof URIError) throw error;
      count(outcomes, 'no address');
    }
  }
  return outcomes;
}

/** Sends all readers of what others say `messages` messages together. Throws at the first thing that is not as it must be. */
export async function fuzzPeers(seed: number, messages: number): Promise<Map<string, Outcomes>> {
  const random = randomNumbers(seed);
  const readers = { fuzzAgent, fuzzCreditChannel, fuzzDuplexChannel, fuzzBodies, fuzzPage };
  const shares: Record<keyof typeof readers, number> = {
    fuzzAgent: 0.4,
    fuzzCreditChannel: 0.2,
    fuzzDuplexChannel: 0.1,
    fuzzBodies: 0.15,
    fuzzPage: 0.15,
  };
  const outcomes = new Map<string, Outcomes>();
  let stray: unknown;
  const notice = (error: unknown) => (stray ??= error);
  process.on('unhandledRejection', notice).on('uncaughtException', notice);
  try {
    for (const [name, fuzz] of Object.entries(readers)) {
      outcomes.set(name, await fuzz(random, Math.ceil(messages * shares[name as keyof typeof readers])));
      await turn();
      if (stray) throw new Error(`${name}: nobody has caught ${String(stray)}`, { cause: stray });
    }
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
  } finally {
    process.off('unhandledRejection', notice).off('uncaughtException', notice);
  }
  return outcomes;
}
