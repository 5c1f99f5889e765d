import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { expect } from 'chai';
import { servePage } from '../../web/build/serve.ts';

describe('the server of the page', () => {
  const text = 'a line of it\n'.repeat(1000);
  const bytes = Buffer.from(Array.from({ length: 5000 }, (_, n) => n));
  let directory: string;
  let server: Server;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'v86-virtiofs-serve-'));
    const page = join(directory, 'page');
    mkdirSync(join(page, 'guest'), { recursive: true });
    mkdirSync(join(page, '.git'));
    for (const name of [
      'index.html',
      'main.js',
      'v86.wasm',
      'main.js.map',
      '.env',
      '.git/config',
      'guest/guest.json',
      '../secret.txt',
    ])
      writeFileSync(join(page, name), text);
    writeFileSync(join(page, 'small.js'), '1');
    writeFileSync(join(page, 'main-0123456789ab.js'), text);
    writeFileSync(join(page, 'guest/x-0123456789abcdef.layer.bin'), bytes);
    writeFileSync(join(page, 'guest/x.layer.bin'), bytes);
    symlinkSync('../secret.txt', join(page, 'link.txt'));
    symlinkSync('main.js', join(page, 'own.js'));
    server = (await servePage(0, page)).server;
  });
  after(() => {
    server.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** As it is on the wire: `fetch` would tidy the path up. */
  function get(
    path: string,
    headers: Record<string, string> = {},
    method = 'GET',
  ): Promise<{ status: number; headers: IncomingHttpHeaders; body: Buffer }> {
    return new Promise((resolve, reject) => {
      request({ port: (server.address() as AddressInfo).port, path, headers, method }, (response) => {
        const parts: Buffer[] = [];
        response
          .on('data', (part: Buffer) => void parts.push(part))
          .on('end', () =>
            resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(parts) }),
          );
      })
        .on('error', reject)
        .end();
    });
  }

  it('sends nothing from elsewhere, nor files whose names begin with a dot', async () => {
    for (const path of [
      '/.env',
      '/.git/config',
      '/%2eenv',
      '/%2Egit/config',
      '/guest/../.env',
      '/../secret.txt',
      '/..%2fsecret.txt',
      '/%2e%2e/secret.txt',
      '/%2e%2e%2fsecret.txt',
      '/..\\secret.txt',
      '/..%5csecret.txt',
      '/guest/..%2f..%2fsecret.txt',
      '/link.txt',
      '/nothing',
      '/guest',
      '/guest/',
      '/main.js%00.txt',
      '/%',
      '/%ff',
      '//../secret.txt',
      '*',
      'http://localhost/../secret.txt',
      '/main.js/',
      '/main.js/x',
      `/${'a'.repeat(5000)}`,
    ]) {
      const { status, body } = await get(path);
      if (path === '/main.js/') continue;
      expect([status, body.toString()], path).to.deep.equal([404, 'not found']);
    }
    expect((await get('/', {}, 'POST')).status).to.equal(405);
    expect((await get('/own.js')).body.toString()).to.equal(text);
  });

  it('says of files with a hash in their names that they are the same for ever, and of others to ask again', async () => {
    for (const path of ['/guest/x-0123456789abcdef.layer.bin', '/main-0123456789ab.js'])
      expect((await get(path)).headers['cache-control'], path).to.equal('public, max-age=31536000, immutable');
    for (const path of ['/', '/main.js', '/guest/guest.json', '/guest/x.layer.bin'])
      expect((await get(path)).headers['cache-control'], path).to.equal('no-cache');
  });

  it('compresses what gains from it, as the browser takes it', async () => {
    const types = {
      '/': 'text/html;charset=utf-8',
      '/main.js': 'text/javascript',
      '/v86.wasm': 'application/wasm',
      '/main.js.map': 'application/json',
      '/guest/guest.json': 'application/json',
    };
    for (const [path, type] of Object.entries(types)) {
      for (const [accepted, encoding] of [
        ['gzip, deflate, br, zstd', 'br'],
        ['gzip', 'gzip'],
        ['br;q=0, gzip;q=0.5', 'gzip'],
        ['BR', 'br'],
        ['', undefined],
        ['identity', undefined],
        ['br;q=0, gzip;q=0', undefined],
      ] as const) {
        const { status, headers, body } = await get(path, { 'accept-encoding': accepted });
        const unpacked = encoding === 'br' ? brotliDecompressSync(body) : encoding === 'gzip' ? gunzipSync(body) : body;
        expect(
          [
            status,
            headers['content-encoding'],
            headers.vary,
            headers['content-type'],
            headers['content-length'],
            unpacked.toString() === text,
          ],
          `${path} ${accepted}`,
        ).to.deep.equal([200, encoding, 'accept-encoding', type, String(body.length), true]);
      }
    }
    expect((await get('/small.js', { 'accept-encoding': 'br' })).headers['content-encoding']).to.equal(undefined);
    const { headers, body } = await get('/guest/x.layer.bin', { 'accept-encoding': 'br, gzip' });
    expect([headers['content-encoding'], headers.vary, body.equals(bytes)]).to.deep.equal([undefined, undefined, true]);
    const head = await get('/main.js', { 'accept-encoding': 'br' }, 'HEAD');
    expect([head.status, head.body.length, head.headers['content-encoding']]).to.deep.equal([200, 0, 'br']);
  });

  it('sends each version once, by encoding', async () => {
    const seen = new Set<string>();
    for (const encoding of ['br', 'gzip', 'identity']) {
      const {
        headers: { etag },
      } = await get('/main.js', { 'accept-encoding': encoding });
      seen.add(etag!);
      expect(
        (await get('/main.js', { 'accept-encoding': encoding, 'if-none-match': etag! })).status,
        encoding,
      ).to.equal(304);
    }
    expect(seen.size).to.equal(3);
    writeFileSync(join(directory, 'page/small.js'), text.toUpperCase());
    expect(gunzipSync((await get('/small.js', { 'accept-encoding': 'gzip' })).body).toString()).to.equal(
      text.toUpperCase(),
    );
    writeFileSync(join(directory, 'page/small.js'), `${text}!`);
    expect(gunzipSync((await get('/small.js', { 'accept-encoding': 'gzip' })).body).toString()).to.equal(`${text}!`);
  });

  it('sends parts of files as they are, and ignores ranges that are none', async () => {
    for (const [range, from, to] of [
      ['bytes=0-9', 0, 10],
      ['bytes=4990-', 4990, 5000],
      ['bytes=4990-9999', 4990, 5000],
    ] as const) {
      const { status, headers, body } = await get('/guest/x.layer.bin', { range, 'accept-encoding': 'br' });
      expect([status, headers['content-range'], body.equals(bytes.subarray(from, to))], range).to.deep.equal([
        206,
        `bytes ${from}-${to - 1}/5000`,
        true,
      ]);
    }
    expect((await get('/main.js', { range: 'bytes=2-5', 'accept-encoding': 'br' })).body.toString()).to.equal(
      text.slice(2, 6),
    );
    expect((await get('/guest/x.layer.bin', { range: 'bytes=6000-' })).status).to.equal(416);
    for (const range of [
      'bytes=-5',
      'bytes=9-3',
      'bytes=',
      'bytes=a-b',
      'bytes=0-1,4-5',
      'lines=1-2',
      `bytes=${'9'.repeat(400)}-`,
      'bytes=--',
      '',
    ]) {
      const { status, body } = await get('/guest/x.layer.bin', { range });
      expect([status, body.length], range).to.deep.equal([200, 5000]);
    }
    expect((await get('/main.js')).status).to.equal(200);
  });

  it('says what the page may do', async () => {
    for (const path of ['/', '/main.js', '/nothing']) {
      const { headers } = await get(path);
      expect(headers['content-security-policy']).to.match(
        /^default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; .*frame-ancestors 'self'$/,
      );
      expect(headers['x-content-type-options']).to.equal('nosniff');
    }
  });
});
