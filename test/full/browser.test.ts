import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { Lines } from '../../harness/demo/lines.ts';
import { Vm } from '../../harness/vm.ts';

const ROOT = join(import.meta.dirname, '../..');
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
const TYPES: Record<string, string> = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' };

interface PageResult {
  told: string;
  files: string[];
  /** Base64. */
  layer: string;
}

describe('in headless Chromium', function () {
  this.timeout(300_000);
  let server: Server;
  let browser: Browser;
  let page: Page;
  let layer: Uint8Array;
  const complaints: string[] = [];

  before(async () => {
    if (!CHROMIUM) throw new Error('these tests need Chromium: apt-get install chromium');
    execFileSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
    server = createServer((request, response) => {
      const path = normalize(decodeURIComponent(new URL(request.url!, 'http://localhost').pathname));
      const send = (body: Uint8Array | string, type: string) => response.writeHead(200, { 'content-type': type, 'content-length': body.length }).end(body);
      if (path === '/') send('<!doctype html><title>test</title>', 'text/html');
      else if (path === '/snapshots/node.layer') send(layer, 'application/octet-stream');
      else readFile(join(ROOT, path)).then((body) => send(body, TYPES[extname(path)] ?? 'application/octet-stream'), () => response.writeHead(404).end());
    }).listen(0);
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
    page = await browser.newPage();
    page.on('pageerror', (error) => complaints.push(String(error)));
  });
  after(async () => {
    await browser?.close();
    server?.close();
  });

  it('a machine frozen in Node goes on in the page, and one frozen in the page goes on in Node', async () => {
    const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    let holder: number;
    try {
      await vm.mount('share');
      const { fs } = vm.share();
      fs.writeFileSync('/book', new Uint8Array(50_000));
      fs.mkdirSync('/chapters');
      for (let n = 0; n < 200; n++) fs.writeFileSync(`/chapters/a-chapter-with-a-long-name-${n}`, '');
      const process = vm.spawn(['holder', '/mnt/share']);
      await new Lines(process).until('ready');
      holder = process.id;
      layer = Buffer.concat(await store.export((await vm.freeze(store, 'node')).id));
    } finally {
      await vm.stop();
    }

    await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/`);
    const result = await page.evaluate<PageResult>(`import('/test/support/browser-page.mjs').then(({ goOn }) => goOn(${holder}))`);
    expect(result.told).to.match(/book from 25000 bytes 25000/).and.to.match(/secret from 470 bytes 46530 crc 97c90fae links 0/).and.to.match(/mapped dd/).and.to.match(/done\n$/);
    expect(result.told.match(/^entry /gm)).to.have.length.greaterThan(190);
    expect(result.files).to.include.members(['book', 'named', 'append']).and.not.to.include('from-page');

    const back = await store.import(Buffer.from(result.layer, 'base64'));
    const again = await Vm.thaw(store, back);
    try {
      expect(again.share().fs.readFileSync('/append', 'utf8')).to.equal('before after');
      expect((await again.exec('cat /proc/$(pidof sleep)/fd/0')).stdout).to.equal('written in the page\n');
    } finally {
      await again.stop();
    }
    expect(complaints).to.deep.equal([]);
  });
});
