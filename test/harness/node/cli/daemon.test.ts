import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Call, makeCall, readCall } from '../../../../harness/node/cli/daemon/call.ts';
import { Door } from '../../../../harness/node/cli/daemon/door.ts';
import { readTask, shapeOf, unfit } from '../../../../harness/node/cli/daemon/parse.ts';
import { isTrusted } from '../../../../harness/node/cli/daemon/place.ts';
import { Session } from '../../../../harness/node/cli/daemon/session.ts';
import {
  encodeFrame,
  FROM_CLIENT,
  FROM_DAEMON,
  FrameReader,
  LONGEST,
  LONGEST_CALL,
} from '../../../../harness/node/cli/daemon/wire.ts';
import { machineOptions } from '../../../../harness/node/cli/options.ts';
import { makeProgram } from '../../../../harness/node/cli/program.ts';

/** The same numbers each time. */
function makeRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const closed = (socket: Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()));

describe('the daemon’s door and messages', () => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'door-'));
    path = join(directory, 'd.sock');
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('is in a directory of this user’s alone, and a client trusts no other', async () => {
    const nobody = () => {};
    const other = join(directory, 'other');
    mkdirSync(other, { mode: 0o755 });
    chmodSync(other, 0o755);
    const opened = await Door.open(join(other, 'd.sock'), nobody, nobody).catch((error: Error) => error);
    expect(opened)
      .to.have.property('message')
      .that.matches(/other is open to other users.*mode 700/);
    symlinkSync(directory, join(tmpdir(), `link-${process.pid}`));
    try {
      const linked = await Door.open(join(tmpdir(), `link-${process.pid}`, 'd.sock'), nobody, nobody).catch(
        (error: Error) => error,
      );
      expect(linked)
        .to.have.property('message')
        .that.matches(/is not a directory/);
    } finally {
      rmSync(join(tmpdir(), `link-${process.pid}`));
    }
    const door = await Door.open(path, nobody, nobody);
    expect(lstatSync(path).mode & 0o777).to.equal(0o600);
    expect(isTrusted(path)).to.equal(true);
    chmodSync(directory, 0o711);
    expect(isTrusted(path)).to.equal(false);
    chmodSync(directory, 0o700);
    door.close();
    expect(existsSync(path)).to.equal(false);
    expect(isTrusted(path)).to.equal(false);
    writeFileSync(path, '');
    expect(isTrusted(path)).to.equal(false);
  });

  it('takes the place of one that was killed, and leaves another’s alone', async () => {
    const calls: number[] = [];
    const first = await Door.open(
      path,
      () => calls.push(1),
      () => {},
    );
    const second = await Door.open(
      path,
      (_, socket) => (calls.push(2), socket.destroy()),
      () => {},
    );
    first.close();
    const socket = connect(path);
    socket.write(encodeFrame(FROM_CLIENT.STOP));
    await closed(socket);
    expect(calls).to.deep.equal([2]);
    second.close();
    expect(existsSync(path)).to.equal(false);
  });

  it('reads frames however they are cut, and refuses what is too long before it has come', () => {
    const random = makeRandom(1);
    const sent = Array.from({ length: 100 }, (_, n) => ({ type: n, payload: Buffer.alloc(random(3000), n) }));
    const bytes = Buffer.concat(sent.map(({ type, payload }) => encodeFrame(type, payload)));
    const reader = new FrameReader(3000);
    const got = [];
    for (let at = 0; at < bytes.length; ) {
      const end = at + 1 + random(500);
      got.push(...reader.push(bytes.subarray(at, end)));
      at = end;
    }
    expect(got.map(({ type, payload }) => ({ type, payload: Buffer.from(payload) }))).to.deep.equal(sent);
    expect(reader.rest).to.equal(0);
    const header = Buffer.from([0xff, 0xff, 0xff, 0xff, 1]);
    expect(() => new FrameReader(LONGEST_CALL).push(header)).to.throw(RangeError);
  });

  it('takes only calls that are whole, and of this protocol', () => {
    const call = makeCall(['run', '--', 'true']);
    const read = (change: object) => readCall(Buffer.from(JSON.stringify({ ...call, ...change })));
    expect(read({})).to.deep.equal(JSON.parse(JSON.stringify(call)));
    const wrong: Record<keyof Call, unknown[]> = {
      protocol: [0, 2, '1'],
      build: [1, null],
      args: ['run', [1], [null], ['a\0b'], {}],
      cwd: [1, '/a\0b', null],
      places: [[1], 'x'],
      ids: [['0'], [-1], 0],
      umask: [-1, 0o1000, '0', 1.5],
      env: [[], null, 'x', { A: 1 }, { 'A=B': 'x' }, { '': 'x' }, { A: 'x\0' }],
      terminals: [[true], [1, 1, 1], true],
      columns: [0, -1, 65_536, '80', 1.5],
      rows: [0, null],
    };
    for (const [name, values] of Object.entries(wrong))
      for (const value of [...values, undefined])
        expect(read({ [name]: value }), `${name}: ${JSON.stringify(value)}`).to.equal(undefined);
    for (const bytes of ['', '{', 'null', '[]', '7', '"x"']) expect(readCall(Buffer.from(bytes))).to.equal(undefined);
  });

  it('answers a caller after any number that say something else, or too much, or nothing', async () => {
    const random = makeRandom(2);
    let calls = 0;
    const door = await Door.open(
      path,
      ({ type, payload }, socket) => {
        if (type === FROM_CLIENT.CALL && readCall(payload)) calls++;
        socket.end(encodeFrame(FROM_DAEMON.DECLINED, 'no'));
      },
      () => {},
    );
    try {
      const good = encodeFrame(FROM_CLIENT.CALL, JSON.stringify(makeCall(['run', '--', 'true'])));
      const silent = connect(path);
      silent.on('error', () => {});
      for (let n = 0; n < 200; n++) {
        const bytes = Buffer.from(good);
        for (let change = random(4); change >= 0; change--) bytes[random(random(2) ? 8 : bytes.length)] = random(256);
        const socket = connect(path);
        socket.on('error', () => {}).resume();
        socket.end(random(3) ? bytes : Buffer.concat([bytes.subarray(0, random(bytes.length)), good]));
        await closed(socket);
      }
      calls = 0;
      const socket = connect(path);
      const answer: Buffer[] = [];
      socket.on('data', (data: Buffer) => answer.push(data));
      socket.write(good);
      await closed(socket);
      expect(Buffer.concat(answer).toString()).to.match(/no$/);
      expect(calls).to.equal(1);
      silent.destroy();
    } finally {
      door.close();
    }
  });

  it('leaves a client that says what none would, whatever that is', async function () {
    this.timeout(20_000);
    const random = makeRandom(3);
    const call = makeCall(['run', '--', 'true']);
    let arrived: (socket: Socket) => void = () => {};
    const server = createServer((socket) => arrived(socket)).listen(path);
    const words = Object.values(FROM_CLIENT);
    const payloads = ['', '\x01', '\x02', '\x03', 'SIGTERM', 'SIGKILL', '__proto__', '\x01EIO x', 'x'.repeat(5000)];
    try {
      for (let n = 0; n < 200; n++) {
        const there = new Promise<Socket>((resolve) => (arrived = resolve));
        const client = connect(path);
        client.on('error', () => {}).resume();
        const session = new Session(await there, call);
        const signals = new Set<string>();
        session.onSignal = (name) => signals.add(name);
        const gone = new Promise<void>((resolve) => (session.onGone = resolve));
        for (const stream of [session.stdin, session.stdout, session.stderr]) stream.on('error', () => {});
        session.stdin.resume();
        session.stdout.write('x');
        const accepted = session.accept();
        if (random(4)) client.write(encodeFrame(FROM_CLIENT.GO));
        for (let k = random(20); k >= 0; k--) {
          const [type, payload] = [words[random(words.length)]!, payloads[random(payloads.length)]!];
          client.write(random(10) ? encodeFrame(type, payload) : Buffer.from([random(256), random(256), 3, 4, 5, 6]));
        }
        client.end();
        await accepted;
        await gone;
        expect(session.hasGone).to.equal(true);
        expect([...signals].every((name) => name === 'SIGTERM')).to.equal(true);
        await session.end(0);
      }
    } finally {
      server.close();
    }
  });

  it('serves what its guests are like, and nothing else', () => {
    const task = (...args: string[]) => readTask(makeProgram(), args);
    for (const args of [
      ['run'],
      ['run', '--nope', '--', 'x'],
      ['shell', 'name'],
      ['ls'],
      ['run', '--help'],
      [],
      ['demo'],
    ])
      expect(task(...args), args.join(' ')).to.equal(undefined);
    const { flags, argv } = task('run', '-e', 'A=b', '--share', '/x', '--write-back', '--', 'ls', '--size')!;
    expect({ argv, env: flags.env }).to.deep.equal({ argv: ['ls', '--size'], env: { A: 'b' } });
    const shape = (...args: string[]) => shapeOf(machineOptions(task('run', ...args, '--', 'x')!.flags), '/here');
    const plain = shape();
    for (const same of [
      ['--share', 'y'],
      ['--share', 'z', '--write-back'],
      ['-v'],
      ['-t', 'share'],
      ['--timeout', '3'],
    ])
      expect(shape(...same), same.join(' ')).to.equal(plain);
    for (const other of [
      ['-m', '128'],
      ['--driver', 'fast'],
      ['--kernel', 'minimal'],
      ['--cmdline', 'x'],
      ['--boot', 'bios'],
      ['--bios', 'b'],
      ['--size', '1G'],
      ['--no-xattr'],
      ['-t', 'mine'],
      ['--share', 'a', '--share', 'b'],
      ['--share', 'a', '--live'],
    ])
      expect(shape(...other), other.join(' ')).not.to.equal(plain);
    expect(shape('--share', 'a', '--live')).to.equal(shape('--share', '/here/a', '--live'));
    for (const args of [['--root', 'x'], ['--no-cache'], ['--record', 'x'], ['--share', 'image:x']])
      expect(unfit(task('run', ...args, '--', 'x')!.flags), args[0]).to.be.a('string');
    expect(unfit(flags)).to.equal(undefined);
    expect(LONGEST).to.be.below(LONGEST_CALL);
  });
});
