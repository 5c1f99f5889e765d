import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { build, transformSync } from 'esbuild';
import { type Browser, chromium, type Page } from 'playwright-core';
import sirv from 'sirv';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { PAGE_DIRECTORY } from '../../web/build/serve.ts';
import { visitOwnPage } from '../support/examples.ts';
import { buildPage } from './support.ts';

const ROOT = join(import.meta.dirname, '../..');
const EXAMPLES = join(ROOT, 'examples/page');
const FILES = {
  'index.json': '{ "hello.txt": 13, "docs": { "read me.txt": 18 } }',
  'hello.txt': 'from the web\n',
};

/** As they are written, on the sources. test/full/package.test.ts takes the package, and webpack.config.js and esbuild.js. */
describe('the examples for pages', function () {
  this.timeout(300_000);
  let site: string;
  let server: Server;
  let browser: Browser;
  const asked: string[] = [];

  before(async function () {
    this.timeout(1_800_000);
    buildPage();
    execFileSync('npm', ['run', '--silent', 'build:library'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
    site = mkdtempSync(join(tmpdir(), 'examples-'));
    await build({
      entryPoints: ['own-page.ts', 'web-directory.ts'].map((name) => join(EXAMPLES, name)),
      bundle: true,
      format: 'esm',
      target: 'es2022',
      outdir: site,
      external: ['node:*', 'crypto', 'fs', 'perf_hooks'],
      alias: { 'v86-virtiofs': join(ROOT, 'dist/web/v86-virtiofs.mjs') },
      tsconfigRaw: {},
    });
    // Without a bundler: the module as it is served.
    const { code } = transformSync(readFileSync(join(EXAMPLES, 'embedded.ts'), 'utf8'), { loader: 'ts' });
    writeFileSync(join(site, 'embedded.js'), code.replace('v86-virtiofs/page', './embed/page/virtiofs-vm.js'));
    for (const name of ['own-page', 'web-directory', 'embedded', 'first-share'])
      cpSync(join(EXAMPLES, `${name}.html`), join(site, `${name}.html`));
    for (const name of ['embed', 'guest']) cpSync(join(PAGE_DIRECTORY, name), join(site, name), { recursive: true });
    const { bios, vgaBios, kernel, initrd } = await ensureGuestImage();
    for (const [name, path] of Object.entries({
      'v86.wasm': join(ROOT, 'node_modules/v86/build/v86.wasm'),
      'bios.bin': bios,
      'vgabios.bin': vgaBios,
      vmlinuz: kernel,
      'initrd.img': initrd,
    }))
      cpSync(path, join(site, name));
    const serve = sirv(site, { dev: true });
    server = createServer((request, response) => {
      const { url = '' } = request;
      if (!url.startsWith('/files/')) return serve(request, response);
      asked.push(url);
      const body = FILES[url.slice('/files/'.length) as keyof typeof FILES];
      response.writeHead(body ? 200 : 404).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, resolve));
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  });
  after(async () => {
    await browser?.close();
    server?.close();
    rmSync(site, { recursive: true, force: true });
  });

  const open = async (name: string): Promise<Page> => {
    const page = await browser.newPage();
    page.setDefaultTimeout(240_000);
    await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/${name}.html`);
    return page;
  };

  it('first-share.html runs a script of the page in the guest', async () => {
    const page = await open('first-share');
    await page.waitForFunction(() => /^hello from Linux /.test(document.querySelector('#output')!.textContent!));
    await page.close();
  });

  it('embedded.ts shows what the guest has read', async () => {
    const page = await open('embedded');
    await page.waitForFunction(() => document.querySelector('#output')!.textContent === 'from the page\n');
    await page.close();
  });

  it('own-page.ts gives the guest the files of a visitor', async () => {
    const page = await open('own-page');
    await visitOwnPage(page);
    await page.close();
  });

  it('web-directory.ts gives a guest the files of a server, when it reads them', async () => {
    const page = await open('web-directory');
    const shown = page.locator('#console');
    await page.waitForFunction(() => document.querySelector('#console')!.textContent!.includes('\nfrom the web'));
    const text = (await shown.textContent())!.replaceAll('\r', '');
    expect(text).to.include('.\n./docs\n./docs/read me.txt\n./hello.txt\nfrom the web\n');
    expect(asked).to.deep.equal(['/files/index.json', '/files/hello.txt']);
    await page.close();
  });
});
