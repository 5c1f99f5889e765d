import { once } from 'node:events';
import { get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { generate } from 'selfsigned';
import { WebSocket } from 'ws';
import { type MigrationChannel, MigrationError, MigrationLink, makeToken } from '../../../../device/index.ts';
import { encodeHello } from '../../../../device/migration/hello.ts';
import { VmError } from '../../../../harness/machine/errors.ts';
import { dial, dialWeb, type Trust } from '../../../../harness/node/migration/dial.ts';
import { Door, type DoorOptions, mayCall } from '../../../../harness/node/migration/door.ts';

const TOKEN = makeToken();
const MiB = 1 << 20;
/** Strangers that a door lets wait, and callers who have proven themselves. */
const STRANGERS = 32,
  CALLERS = 8;

describe('the door for migrations', function () {
  this.timeout(60_000);
  let doors: Door[] = [];
  let sockets: { destroy?(): void; terminate?(): void }[] = [];
  let known: MigrationLink[] = [];
  let notices: string[] = [];
  let certificate: { cert: string; key: string };

  before(async () => {
    const made = await generate([{ name: 'commonName', value: 'localhost' }], {
      keyType: 'ec',
      algorithm: 'sha256',
      extensions: [
        { name: 'basicConstraints', cA: true },
        { name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] },
      ],
    });
    certificate = { cert: made.cert, key: made.private };
  });
  afterEach(() => {
    for (const socket of sockets) (socket.destroy ?? socket.terminate)!.call(socket);
    for (const door of doors) door.close();
    [doors, sockets, known, notices] = [[], [], [], []];
  });

  async function open(options: Partial<DoorOptions> = {}): Promise<{ port: number; url: string; strangers: Error[] }> {
    const strangers: Error[] = [];
    const door = await Door.open(
      { host: 'localhost', port: 0, onNotice: (message) => notices.push(message), ...options },
      (channel) => {
        MigrationLink.open(channel, 'destination', TOKEN).then(
          (link) => known.push(link),
          (error: Error) => strangers.push(error),
        );
      },
    );
    doors.push(door);
    return { port: Number(/\d+$/.exec(door.address)![0]), url: door.address, strangers };
  }

  function tcp(port: number): Socket {
    const socket = connect(port, 'localhost').on('error', () => {});
    sockets.push(socket);
    return socket;
  }

  function web(url: string, options = {}): WebSocket {
    const socket = new WebSocket(url, { perMessageDeflate: false, ...options }).on('error', () => {});
    sockets.push(socket);
    return socket;
  }

  const call = (
    isWeb: boolean,
    { port, url }: { port: number; url: string },
    tls?: Trust,
  ): Promise<MigrationChannel> => (isWeb ? dialWeb(url, tls) : dial({ host: 'localhost', port, tls }));

  /** Somebody who knows the token gets in, and is heard. */
  async function honest(channel: MigrationChannel): Promise<void> {
    const before = known.length;
    const link = await MigrationLink.open(channel, 'source', TOKEN);
    await link.send(5, new Uint8Array(200_000));
    while (known.length === before) await new Promise((resolve) => setImmediate(resolve));
    expect((await known.at(-1)!.receive(5)).body.length).to.equal(200_000);
    channel.close();
  }

  for (const isWeb of [false, true]) {
    describe(isWeb ? 'over WebSockets' : 'over TCP', () => {
      it('lets in who knows the token, whatever number of others say nothing', async () => {
        const way = await open({ isWeb });
        const others: Socket[] = [];
        for (let n = 0; n < 1000; n++) {
          others.push(tcp(way.port));
          if (n % 100 === 99) await once(others.at(-1)!, 'connect');
        }
        await honest(await call(isWeb, way));
        while (others.filter(({ destroyed }) => !destroyed).length > STRANGERS)
          await new Promise((resolve) => setImmediate(resolve));
        await honest(await call(isWeb, way));
      });

      it('lets in who knows the token while others do not, or say half of a greeting', async () => {
        const way = await open({ isWeb });
        const wrong = await MigrationLink.open(await call(isWeb, way), 'source', makeToken()).catch(
          (error: Error) => error,
        );
        expect(wrong)
          .to.be.instanceOf(MigrationError)
          .with.property('message')
          .that.matches(/it has a different token/);
        const half = await call(isWeb, way);
        await half.send(encodeHello('source', true).subarray(0, 30));
        expect(await half.receive()).to.equal(undefined);
        const long = await call(isWeb, way);
        await long.send(new Uint8Array(1000));
        expect(await long.receive().catch(() => undefined)).to.equal(undefined);
        await honest(await call(isWeb, way));
        while (way.strangers.length < 3) await new Promise((resolve) => setImmediate(resolve));
        expect(way.strangers.map(({ name }) => name)).to.deep.equal([
          'MigrationError',
          'MigrationError',
          'MigrationError',
        ]);
      });

      it('lets in so many at once', async () => {
        const way = await open({ isWeb });
        const outcomes = [];
        for (let n = 0; n < CALLERS + 2; n++) {
          const channel = await call(isWeb, way);
          outcomes.push(
            await MigrationLink.open(channel, 'source', TOKEN).then(
              () => 'in',
              () => 'out',
            ),
          );
        }
        expect(outcomes).to.deep.equal([...Array(CALLERS).fill('in'), 'out', 'out']);
        known[0]!.close();
      });
    });
  }

  it('hangs up on who sends before it is known, and keeps nothing of it', async () => {
    const web = await open({ isWeb: true });
    const plain = await open();
    (globalThis as { gc?: () => void }).gc?.();
    const before = process.memoryUsage();
    const block = Buffer.alloc(MiB, 1);
    for (const way of [web, plain]) {
      for (let n = 0; n < 40; n++) {
        const socket = tcp(way.port);
        await once(socket, 'connect');
        if (way === web)
          socket.write(
            'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
          );
        // A frame of 64 MiB, or a message of as many, that never ends.
        socket.write(
          way === web ? Uint8Array.of(0x82, 0xff, 0, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4) : Uint8Array.of(4, 0, 0, 0),
        );
        for (let sent = 0; sent < 8 && !socket.destroyed; sent++)
          await new Promise<void>((resolve) => socket.write(block, () => resolve()));
        if (!socket.destroyed) await once(socket, 'close');
      }
    }
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).to.be.below(16 * MiB);
    await honest(await call(true, web));
    await honest(await call(false, plain));
  });

  it('answers no request that is none for a WebSocket, and none with a long head', async () => {
    const { port } = await open({ isWeb: true });
    const [response] = (await once(get({ port, host: 'localhost' }), 'response')) as [{ statusCode: number }];
    expect(response.statusCode).to.equal(426);
    const socket = tcp(port);
    socket.write(`GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`);
    await once(socket, 'close');
  });

  describe('browsers', () => {
    const answerTo = async (url: string, origin: string) => {
      const socket = web(url, { origin });
      return Promise.race([
        once(socket, 'open').then(() => 'in'),
        once(socket, 'unexpected-response').then(([, response]) => (response as { statusCode: number }).statusCode),
      ]);
    };

    it('get in with pages of this computer, and those of others that were named', async () => {
      const { url } = await open({ isWeb: true, origins: ['https://example.org'] });
      for (const origin of ['http://localhost:8086', 'http://127.0.0.1', 'https://example.org'])
        expect(await answerTo(url, origin), origin).to.equal('in');
      for (const origin of [
        'https://evil.example',
        'https://localhost.evil.example',
        'https://example.org.evil.example',
        'http://example.org',
        'null',
        'file://',
      ])
        expect(await answerTo(url, origin), origin).to.equal(403);
      expect(await answerTo(url, 'https://evil.example')).to.equal(403);
      expect(notices.filter((notice) => notice.includes('"https://evil.example"')))
        .to.have.length(1)
        .and.satisfy(([notice]: string[]) => notice!.includes('--origin'));
      const any = await open({ isWeb: true, origins: ['*'] });
      expect(await answerTo(any.url, 'https://evil.example')).to.equal('in');
    });

    it('are judged by the whole of it', () => {
      expect(mayCall('http://[::1]:8086', 'localhost', [])).to.equal(true);
      expect(mayCall('http://192.168.0.7', '192.168.0.7', [])).to.equal(true);
      for (const origin of [
        '',
        'localhost',
        'http://localhost@evil.example',
        'chrome-extension://localhost',
        'http://',
        'http://localhost.',
      ])
        expect(mayCall(origin, 'localhost', []), origin).to.equal(false);
    });
  });

  describe('with TLS', () => {
    for (const isWeb of [false, true]) {
      it(`is called by ${isWeb ? 'wss' : 'tls'}, by its certificate, its authority, and no other`, async () => {
        const way = await open({ isWeb, tls: certificate });
        expect(way.url).to.match(isWeb ? /^wss:\/\/localhost:\d+$/ : /^tls:localhost:\d+$/);
        await honest(await call(isWeb, way, { ca: certificate.cert }));
        const fingerprint = await fingerprintOf(way.port);
        await honest(await call(isWeb, way, { fingerprint }));
        await honest(await call(isWeb, way, { fingerprint: fingerprint.replaceAll(':', '').toLowerCase() }));
        const failures = [];
        for (const trust of [{}, { fingerprint: '00'.repeat(32) }])
          failures.push(await call(isWeb, way, trust).catch((error: Error) => error));
        for (const failure of failures) expect(failure).to.be.instanceOf(VmError);
        expect(String(failures[0])).to.match(/self-signed certificate/);
        expect(String(failures[1])).to.contain(
          `has another certificate than it should: its SHA-256 fingerprint is ${fingerprint}`,
        );
      });
    }

    it('is in nobody’s way who speaks no TLS, or says nothing', async () => {
      const way = await open({ tls: certificate });
      for (let n = 0; n < 100; n++) tcp(way.port).write(n % 2 ? 'GET / HTTP/1.1\r\n\r\n' : '');
      await honest(await call(false, way, { ca: certificate.cert }));
    });

    it('says what is wrong with a certificate', async () => {
      const error = await open({ tls: { cert: 'none', key: certificate.key } }).catch((thrown: Error) => thrown);
      expect(error)
        .to.be.instanceOf(VmError)
        .with.property('message')
        .that.matches(/can't use the certificate/);
    });
  });

  async function fingerprintOf(port: number): Promise<string> {
    const error = await dial({ host: 'localhost', port, tls: { fingerprint: '11'.repeat(32) } }).catch(
      (thrown: Error) => thrown,
    );
    return /is ([\dA-F:]{95})/.exec(String(error))![1]!;
  }
});
