import { expect } from 'chai';
import { BytesSink, BytesSource } from '../../../device/bytes.ts';
import { whenHere } from '../../../device/fs/not-yet.ts';
import { BlockCache } from '../../../device/image/block-cache.ts';
import { HttpImage } from '../../../device/image/http-image.ts';
import { imageFileSystem } from '../../../device/image/load.ts';
import { type OpenImage, type OpenImageOptions, openImage } from '../../../device/image/open.ts';
import { FsError, MemoryFileSystem, MemoryStore } from '../../../device/index.ts';
import { ImageServer } from '../../support/image-server.ts';
import { builtImage, FILE } from '../../support/images.ts';

const SIZE = 300_000;
/** Milliseconds: more than a loaded machine takes. */
const LONG = 20_000;
const SHORT = 1000;
const SILENT = 'no byte for long';

/** What can be wrong with a server. */
const FAILURES: Record<string, (server: ImageServer) => void> = {
  nothing: () => {},
  'no ranges': (server) => (server.hasRanges = false),
  'network gone': (server) => (server.answer = (request) => !!request.socket.destroy()),
  'answers that break off': (server) =>
    (server.answer = (_, response, file) => {
      response.writeHead(200, { 'content-length': file?.length ?? 9 }).write(file?.subarray(0, 20) ?? '');
      setImmediate(() => response.destroy());
      return true;
    }),
  'bytes one by one': (server) =>
    (server.answer = (request, response, file) => {
      const [, from] = /=(\d+)/.exec(request.headers.range ?? '') ?? [];
      response.writeHead(from ? 206 : 200);
      let at = Number(from ?? 0);
      const drip = setInterval(() => response.write(file!.subarray(at, ++at)), 10);
      response.on('close', () => clearInterval(drip));
      return true;
    }),
  [SILENT]: (server) => (server.answer = () => true),
  ...Object.fromEntries(
    [403, 404, 416, 429, 500].map((status) => [
      `${status}`,
      (server: ImageServer) => (server.answer = (_, response) => !!response.writeHead(status).end()),
    ]),
  ),
  'content that is compressed': (server) =>
    (server.answer = (_, response) => !!response.writeHead(206, { 'content-encoding': 'br' }).end('x')),
  'wrong bytes': (server) => {
    for (const [name, bytes] of server.files)
      server.files.set(
        name,
        bytes.map((byte, n) => (n > 100 ? byte ^ 1 : byte)),
      );
  },
  'another image under its name': (server) => {
    server.files.clear();
    for (const [name, bytes] of other) server.files.set(name, bytes);
  },
};
let other: Map<string, Uint8Array>;

const RIGHT = /^right$/;
const passing = (cold: RegExp, read = cold) => ({ open: cold, 'open, warm': RIGHT, 'open by id, warm': RIGHT, read });
const lasting = (cold: RegExp, read = cold) => ({ open: cold, 'open, warm': cold, 'open by id, warm': RIGHT, read });

/** What comes of each, by the moment in which it begins; what was in the cache before is right in any case. */
const EXPECTED: Record<string, { open: RegExp; 'open, warm': RegExp; 'open by id, warm': RegExp; read: RegExp }> = {
  nothing: passing(RIGHT),
  'no ranges': passing(RIGHT),
  'network gone': passing(/can't fetch .*look at the network.*Access-Control-Allow-Origin/),
  'answers that break off': passing(/can't fetch|broke off|truncated/),
  'bytes one by one': passing(/comes too slowly, not even 4096 bytes in 0.06 s: look at the network/),
  [SILENT]: passing(/can't fetch .*nothing has come for a while/),
  403: lasting(/403.*let it serve this file/),
  404: lasting(/404.*removed, or replaced by another one, or was not copied whole; publish it again/),
  416: lasting(/416.*shorter than the image says; publish it again/),
  429: passing(/answers 429/),
  500: passing(/answers 500/),
  'content that is compressed': lasting(/comes compressed \(Content-Encoding: br\).*send it as it is/),
  // What the cache has is sound.
  'wrong bytes': passing(
    /checksum of its head does not match; copy it again/,
    /is damaged where it comes from.*publish the image again/,
  ),
  'another image under its name': lasting(/^another image$/, /removed, or replaced by another one/),
};

describe('what becomes of an image where something is wrong', function () {
  this.timeout(30_000);
  let server: ImageServer;
  let contents: Map<string, Uint8Array>;
  let id: string;
  const open: OpenImage[] = [];
  /** Milliseconds after which a server says nothing any more. */
  let stall = LONG;

  /** With one file of this byte. */
  async function built(byte: number) {
    const filesystem = new MemoryFileSystem();
    const file = filesystem.mknod(filesystem.root, 'file', { mode: 0o100644, uid: 0, gid: 0 });
    const bytes = new Uint8Array(SIZE).map((_, n) => (byte * n) >> 4);
    filesystem.write(file, 0, SIZE, new BytesSource(bytes));
    return { ...(await builtImage(filesystem)), bytes };
  }
  let bytes: Uint8Array;
  before(async () => {
    ({ contents, bytes, id } = await built(37));
    other = (await built(41)).contents;
  });
  beforeEach(async () => {
    stall = LONG;
    server = await ImageServer.start(new Map(contents));
  });
  afterEach(async () => {
    for (const { origin } of open.splice(0)) origin.close();
    await server.stop();
  });

  async function openIt(options: OpenImageOptions = {}): Promise<OpenImage> {
    const from = new HttpImage(server.url(FILE), { stallMs: stall });
    const image = await openImage(from, { firstPause: 1, patience: 60, memory: 0, ...options });
    open.push(image);
    return image;
  }

  /** Reads the file as a guest does. */
  async function read(image: OpenImage): Promise<string> {
    if (image.info.id !== id) return 'another image';
    const filesystem = imageFileSystem(image);
    const found = new Uint8Array(SIZE);
    const file = filesystem.lookup(filesystem.root, 'file')!;
    await whenHere(() => filesystem.read(file, 0, SIZE, new BytesSink(found), 0));
    return Buffer.compare(found, bytes) === 0 ? 'right' : 'wrong bytes';
  }
  const said = (promise: Promise<string>) => promise.catch((error: Error) => error.message);

  /** Has read it all before. */
  async function warm(): Promise<BlockCache> {
    const cache = new BlockCache(new MemoryStore());
    const image = await openIt({ cache });
    expect(await read(image)).to.equal('right');
    image.origin.close();
    await cache.settle();
    return cache;
  }

  for (const [failure, begin] of Object.entries(FAILURES)) {
    const expected = EXPECTED[failure]!;
    const start = () => {
      if (failure === SILENT) stall = SHORT;
      begin(server);
    };
    const heal = () => {
      stall = LONG;
      server.answer = () => false;
      server.files.clear();
      for (const [name, file] of contents) server.files.set(name, file);
    };

    it(`${failure}: when it is opened`, async () => {
      start();
      expect(await said(openIt().then(read))).to.match(expected.open);
      heal();
      expect(await said(openIt().then(read))).to.equal('right');
    });

    it(`${failure}: when it is opened, and was read before`, async () => {
      const cache = await warm();
      start();
      expect(await said(openIt({ cache }).then(read))).to.match(expected['open, warm']);
      heal();
      expect(await said(openIt({ cache }).then(read))).to.equal('right');
    });

    it(`${failure}: when it has to be this one, and was read before, as for a snapshot`, async () => {
      const cache = await warm();
      start();
      server.log.length = 0;
      expect(await said(openIt({ cache, id }).then(read))).to.match(expected['open by id, warm']);
      expect(server.log, 'nothing was asked for').to.deep.equal([]);
    });

    it(`${failure}: when it has to be this one, and nobody has read it`, async () => {
      start();
      const cold =
        failure === 'another image under its name' ? /is another image now.*is needed; publish that/ : expected.open;
      expect(await said(openIt({ id }).then(read))).to.match(cold);
    });

    it(`${failure}: when a guest reads`, async () => {
      if (failure === SILENT) stall = SHORT;
      const troubles: string[] = [];
      const image = await openIt({ onTrouble: ({ error }) => troubles.push(error.message) });
      begin(server);
      const filesystem = imageFileSystem(image);
      const file = filesystem.lookup(filesystem.root, 'file')!;
      const found = new Uint8Array(SIZE);
      const attempt = () => whenHere(() => filesystem.read(file, 0, SIZE, new BytesSink(found), 0));
      const error: unknown = await attempt().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (expected.read === RIGHT) expect(error).to.equal(undefined);
      else {
        expect(error).to.be.instanceOf(FsError).with.property('code', 5);
        expect((error as Error).message).to.match(expected.read);
        expect(troubles.at(-1), 'an event').to.match(expected.read);
        expect(filesystem.getattr(file).size, 'names and attributes are there').to.equal(SIZE);
      }
      heal();
      expect(await attempt(), 'later').to.equal(SIZE);
      expect(Buffer.compare(found, bytes)).to.equal(0);
    });

    it(`${failure}: when a guest reads what was read before`, async () => {
      const cache = await warm();
      const image = await openIt({ cache });
      start();
      expect(await said(read(image))).to.equal('right');
    });
  }
});
