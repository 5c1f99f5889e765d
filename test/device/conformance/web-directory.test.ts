import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { Client } from '../../../device/conformance/client.ts';
import { conformance } from '../../../device/conformance/index.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import { WebDirectory } from '../../../examples/filesystems/web-directory.ts';

const FILES: Record<string, string> = {
  '/hello.txt': 'from the web\n',
  '/docs/read%20me.txt': 'fetched when read\n',
  '/docs/large': 'abcdefghij'.repeat(50_000),
  '/index.json': JSON.stringify({
    'hello.txt': 13,
    docs: { 'read me.txt': 18, large: 500_000, empty: {} },
    gone: 5,
    'shorter than said.txt': 100,
    many: Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`a-name-that-is-not-short-${n}`, {}])),
  }),
  '/shorter%20than%20said.txt': 'short',
};

describe('the example of a filesystem', () => {
  let server: Server;
  let url: string;
  let asked: string[];
  const files = { ...FILES };

  before(async () => {
    server = createServer((request, response) => {
      asked.push(request.url!);
      const text = files[request.url!];
      response.writeHead(text === undefined ? 404 : 200).end(text);
    });
    await new Promise<void>((resolve) => server.listen(0, resolve));
    url = `http://localhost:${(server.address() as AddressInfo).port}`;
  });
  beforeEach(() => {
    asked = [];
  });
  after(() => server.close());

  const mount = async (): Promise<Client> => {
    const client = new Client(new FuseSession({ filesystem: await WebDirectory.open(url) }));
    await client.init();
    return client;
  };

  /** Without what can't be read: the other tests have that. */
  const sound = async () => {
    const { gone: _gone, 'shorter than said.txt': _shorter, ...index } = JSON.parse(FILES['/index.json']!);
    return new WebDirectory(url, index);
  };
  for (const { subject, name, run } of conformance({ readOnly: true, fileHandles: true }).scenarios)
    it(`${subject}: ${name}`, () => run(sound));

  it('fetches a file when it is read for the first time, and not before', async () => {
    const client = await mount();
    const nodeid = await client.node('docs/large');
    expect((await client.attr(nodeid)).size).to.equal(500_000);
    expect(asked).to.deep.equal(['/index.json']);
    const { fh } = (await client.ask('OPEN', nodeid, { flags: 0 })).out;
    const read = (offset: number) => client.ask('READ', nodeid, { fh, offset, size: 10 });
    const parts = await Promise.all([0, 499_995, 3].map(read));
    expect(parts.map(({ bytes }) => new TextDecoder().decode(bytes))).to.deep.equal([
      'abcdefghij',
      'fghij',
      'defghijabc',
    ]);
    expect(asked).to.deep.equal(['/index.json', '/docs/large']);
  });

  it('answers EIO for what the server does not have, or otherwise, and asks again the next time', async () => {
    const client = await mount();
    for (const name of ['gone', 'shorter than said.txt']) {
      const nodeid = await client.node(name.replaceAll(' ', '%20'));
      const { fh } = (await client.ask('OPEN', nodeid, { flags: 0 })).out;
      for (let n = 0; n < 2; n++) expect(await client.attempt('READ', nodeid, { fh, size: 10 }), name).to.equal('EIO');
    }
    expect(asked.slice(1)).to.deep.equal([
      '/gone',
      '/gone',
      '/shorter%20than%20said.txt',
      '/shorter%20than%20said.txt',
    ]);
    files['/gone'] = 'again';
    const nodeid = await client.node('gone');
    const { bytes } = await client.ask('READ', nodeid, { fh: (await client.ask('OPEN', nodeid)).out.fh, size: 10 });
    expect(new TextDecoder().decode(bytes)).to.equal('again');
  });
});
