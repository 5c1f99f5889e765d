import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { build } from 'esbuild';
import { type Browser, chromium } from 'playwright-core';
import { ensureGuestImage } from '../../guest-images/build.ts';

const ROOT = join(import.meta.dirname, '../..');
const FILES: Record<string, string> = {
  '/files/index.json': '{ "hello.txt": 13, "docs": { "read me.txt": 18 } }',
  '/files/hello.txt': 'from the web\n',
};

describe('the example of a filesystem, in a page', function () {
  this.timeout(300_000);
  let directory: string;
  let server: Server;
  let browser: Browser;
  const asked: string[] = [];

  before(async () => {
    execFileSync('npm', ['run', '--silent', 'build:library'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
    directory = mkdtempSync(join(tmpdir(), 'own-filesystem-'));
    // As examples/page/esbuild.js does it, with the package as it has just been built.
    await build({
      entryPoints: [join(ROOT, 'examples/page/web-directory.ts')],
      bundle: true,
      format: 'esm',
      target: 'es2022',
      outdir: directory,
      external: ['node:*', 'crypto', 'fs', 'perf_hooks'],
      alias: { 'v86-virtiofs': join(ROOT, 'dist/web/v86-virtiofs.mjs') },
      tsconfigRaw: {},
    });
    const { bios, vgaBios, kernel, initrd } = await ensureGuestImage();
    const paths: Record<string, string> = {
      '/web-directory.html': join(ROOT, 'examples/page/web-directory.html'),
      '/web-directory.js': join(directory, 'web-directory.js'),
      '/v86.wasm': join(ROOT, 'node_modules/v86/build/v86.wasm'),
      '/bios.bin': bios,
      '/vgabios.bin': vgaBios,
      '/vmlinuz': kernel,
      '/initrd.img': initrd,
    };
    const types: Record<string, string> = { html: 'text/html', js: 'text/javascript', wasm: 'application/wasm' };
    server = createServer(async ({ url = '' }, response) => {
      asked.push(url);
      const body = FILES[url] ?? (paths[url] && (await readFile(paths[url])));
      response.writeHead(body ? 200 : 404, { 'content-type': types[url.split('.').at(-1)!] ?? 'text/plain' }).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, resolve));
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  });
  after(async () => {
    await browser?.close();
    server?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('gives a guest the files of a server, when it reads them', async () => {
    const page = await browser.newPage();
    page.setDefaultTimeout(240_000);
    await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/web-directory.html`);
    const shown = page.locator('#console');
    await page.waitForFunction(() => document.querySelector('#console')!.textContent!.includes('\nfrom the web'));
    const text = (await shown.textContent())!.replaceAll('\r', '');
    expect(text).to.include('.\n./docs\n./docs/read me.txt\n./hello.txt\nfrom the web\n');
    expect(asked.filter((url) => url.startsWith('/files/'))).to.deep.equal(['/files/index.json', '/files/hello.txt']);
  });
});
