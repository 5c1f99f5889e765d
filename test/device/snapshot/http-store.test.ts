import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { HttpStore, loadCodec, SnapshotError, SnapshotStore } from '../../../device/index.ts';

const LAYER = readFileSync(new URL('../../snapshots/v1.layer', import.meta.url));

describe('snapshots on a web server', () => {
  let server: Server;
  let requests: (string | undefined)[];
  let behave: 'ranges' | 'whole' | 'break' | 'break whole' | 'missing' | 'flood';
  const base = () => `http://localhost:${(server.address() as AddressInfo).port}/some/path/`;

  before((done) => {
    server = createServer(({ headers: { range } }, response) => {
      requests.push(range);
      if (behave === 'missing') return void response.writeHead(404).end();
      if (behave === 'whole') return void response.writeHead(200, { 'content-length': LAYER.length }).end(LAYER);
      if (behave === 'break whole') {
        response.writeHead(200, { 'content-length': LAYER.length }).write(LAYER.subarray(0, 10));
        return void setTimeout(() => response.destroy(), 10);
      }
      const [, from, to] = /bytes=(\d+)-(\d*)/.exec(range!)!;
      const part = LAYER.subarray(Number(from), to ? Number(to) + 1 : undefined);
      if (part.length === 0) return void response.writeHead(416).end();
      if (behave === 'flood') return void response.writeHead(206).end(Buffer.alloc(10_000_000));
      response.writeHead(206, { 'content-length': part.length });
      if (behave === 'ranges') return void response.end(part);
      response.write(part.subarray(0, 10));
      setTimeout(() => response.destroy(), 10);
    }).listen(0, done);
  });
  after(() => server.close());
  beforeEach(() => {
    requests = [];
  });

  for (const way of ['ranges', 'whole'] as const) {
    it(`are read ${way === 'ranges' ? 'in ranges' : 'whole, and once, where the server knows no ranges'}`, async () => {
      behave = way;
      let progress = 0;
      const store = await SnapshotStore.open(
        new HttpStore(base(), ['v1.layer'], (bytes) => {
          progress = Math.max(progress, bytes);
        }),
        loadCodec(),
      );
      const id = store.find('golden');
      await store.verify(id);
      expect(progress).to.be.greaterThan(0);
      if (way === 'whole') expect(requests).to.have.length(1);
    });
  }

  it('a network that breaks, a file that is not there, and a server that sends too much, are told', async () => {
    for (const [way, says] of [
      ['break', /network broke while v1\.layer.*try again/],
      ['missing', /v1\.layer: the server answers 404/],
      ['flood', /more of v1\.layer than the 64 bytes/],
    ] as const) {
      behave = way;
      const opened = await SnapshotStore.open(new HttpStore(base(), ['v1.layer']), loadCodec());
      expect(() => opened.find('golden')).to.throw(SnapshotError, says);
    }
  });

  it('are fetched again after the network broke, where the server knows no ranges', async () => {
    const files = new HttpStore(base(), ['v1.layer']);
    behave = 'break whole';
    expect(await files.read('v1.layer', 0, 64).catch((caught: Error) => caught)).to.be.instanceOf(SnapshotError);
    behave = 'whole';
    expect(Buffer.from(await files.read('v1.layer', 0, 64)).equals(LAYER.subarray(0, 64))).to.equal(true);
  });

  it('nothing can be written there', async () => {
    const error = await new HttpStore(base(), []).write().catch((caught: Error) => caught);
    expect(error).to.be.instanceOf(SnapshotError);
  });
});
