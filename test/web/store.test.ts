import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';
import { expect } from 'chai';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

const ROOT = join(import.meta.dirname, '../..');

describe('snapshots in the origin private file system', function () {
  let server: Server;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let url: string;

  before(async () => {
    execFileSync('npm', ['run', '--silent', 'build:library'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
    server = createServer((request, response) => {
      const path = normalize(request.url!);
      if (path === '/')
        response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>test</title>');
      else
        readFile(join(ROOT, path)).then(
          (body) => response.writeHead(200, { 'content-type': 'text/javascript' }).end(body),
          () => response.writeHead(404).end(),
        );
    }).listen(0);
    url = `http://localhost:${(server.address() as AddressInfo).port}/`;
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  });
  beforeEach(async () => {
    context = await browser.newContext();
    page = await context.newPage();
    await page.goto(url);
  });
  afterEach(() => context.close());
  after(async () => {
    await browser?.close();
    server?.close();
  });

  /** Runs a function body in the page, with the library as `lib` and an open store as `store`. */
  const inPage = <T>(body: string) =>
    page.evaluate<T>(
      `import('/dist/web/v86-virtiofs.mjs').then(async (lib) => { const store = await lib.OpfsStore.open('snapshots'); ${body} })`,
    );

  it('keeps files, read whole and in part, across reloads', async () => {
    await inPage(
      `await store.write('a.layer', [Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5)]); await store.write('b.layer', []); await store.remove('b.layer');`,
    );
    await page.reload();
    expect(
      await inPage(
        `return [await store.list(), [...await store.read('a.layer', 0)], [...await store.read('a.layer', 1, 3)], [...await store.read('a.layer', 4, 100)]];`,
      ),
    ).to.deep.equal([['a.layer'], [1, 2, 3, 4, 5], [2, 3], [5]]);
  });

  it('a tab that is closed while it saves leaves every finished file, and nothing else', async () => {
    await inPage(`await store.write('whole.layer', [new Uint8Array(1000)]);`);
    await page.evaluate(
      `void import('/dist/web/v86-virtiofs.mjs').then(async (lib) => { const store = await lib.OpfsStore.open('snapshots'); for (;;) await store.write('torn.layer', Array(200).fill(new Uint8Array(1 << 20))); })`,
    );
    await page.waitForTimeout(150);
    await page.close();
    page = await context.newPage();
    await page.goto(url);
    const files = await inPage<[string, number][]>(
      `return Promise.all((await store.list()).map(async (name) => [name, (await store.read(name, 0)).length]));`,
    );
    expect(files.filter(([name]) => name === 'whole.layer')).to.deep.equal([['whole.layer', 1000]]);
    for (const [name, length] of files) if (name === 'torn.layer') expect(length).to.equal(200 << 20);
    const all = await page.evaluate<string[]>(
      `(async () => { const names = []; for await (const name of (await (await navigator.storage.getDirectory()).getDirectoryHandle('snapshots')).keys()) names.push(name); return names; })()`,
    );
    expect(all.filter((name) => !name.endsWith('.layer'))).to.deep.equal([]);
  });

  it('says when there is no room, and keeps what is there', async () => {
    const session = await context.newCDPSession(page);
    await session.send('Storage.overrideQuotaForOrigin', { origin: url, quotaSize: 3e6 });
    const told = await inPage<string>(
      `await store.write('small.layer', [new Uint8Array(1000)]); return store.write('large.layer', [new Uint8Array(8e6)]).then(() => 'written', (error) => error.name + ': ' + error.message);`,
    );
    expect(told).to.match(/no room for the snapshot.*remove snapshots, or export/);
    expect(await inPage(`return store.list();`)).to.deep.equal(['small.layer']);
  });

  it('says when the browser refuses', async () => {
    await page.evaluate(
      `navigator.storage.getDirectory = () => Promise.reject(new DOMException('refused', 'SecurityError'))`,
    );
    const told = await page.evaluate<string>(
      `import('/dist/web/v86-virtiofs.mjs').then((lib) => lib.OpfsStore.open('x')).then(() => 'opened', (error) => error.message)`,
    );
    expect(told).to.match(/keeps no files for this page: refused.*export/);
  });
});
