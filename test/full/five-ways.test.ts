import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { expect } from 'chai';
import { type Browser, chromium, type Page } from 'playwright-core';
import { loadCodec, SnapshotStore } from '../../device/index.ts';
import { DirectoryStore } from '../../harness/node/stores/directory-store.ts';
import { Vm } from '../../harness/node/vm.ts';
import type { ShareOptions } from '../../harness/node/vm-options.ts';
import { type Expectations, expectations, goOn, type Scene, setUp } from '../support/scene.mjs';

const ROOT = join(import.meta.dirname, '../..');
const CHROMIUM = '/usr/bin/chromium';
const TYPES: Record<string, string> = {
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
  '.html': 'text/html',
};
/** The second one has dirty pages in the guest's cache when the freeze comes. */
const SHARES: Omit<ShareOptions, 'tag'>[] = [
  { locks: 'shared' },
  { locks: 'shared', writeback: true, offer: { packed: true } },
];

for (const share of SHARES) {
  describe(`a guest in the middle of everything is frozen once and restored in five ways (${JSON.stringify(share)})`, function () {
    this.timeout(300_000);
    let directory: string;
    let store: SnapshotStore;
    let vm: Vm;
    let scene: Scene;
    let expected: Expectations;
    let id: string;
    let layer: Uint8Array;
    let server: Server;
    let browser: Browser;
    let page: Page;
    const complaints: string[] = [];

    before(async () => {
      if (!existsSync(CHROMIUM))
        throw new Error('these tests need Chromium: run `node scripts/browsers.mjs`, or apt-get install chromium');
      execFileSync('npm', ['run', '--silent', 'build:library'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
      directory = await mkdtemp(join(tmpdir(), 'scene-'));
      store = await SnapshotStore.open(new DirectoryStore(directory), loadCodec());
      vm = await Vm.boot({ shares: [{ tag: 'share', ...share }] });
      await vm.mount('share');
      expected = await expectations(vm.agent, vm.share().device);
      scene = await setUp(vm.agent);
      ({ id } = await vm.freeze(store, 'node'));
      layer = Buffer.concat(await store.export(id));
      server = createServer((request, response) => {
        const path = normalize(decodeURIComponent(new URL(request.url!, 'http://localhost').pathname));
        const send = (body: Uint8Array | string, type: string) =>
          response.writeHead(200, { 'content-type': type, 'content-length': body.length }).end(body);
        if (path === '/') send('<!doctype html><title>test</title>', 'text/html');
        else if (path === '/snapshots/node.layer') send(layer, 'application/octet-stream');
        else
          readFile(join(ROOT, path)).then(
            (body) => send(body, TYPES[extname(path)] ?? 'application/octet-stream'),
            () => response.writeHead(404).end(),
          );
      }).listen(0);
      browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
    });
    beforeEach(async () => {
      page = await browser.newPage();
      page.on('pageerror', (error) => complaints.push(String(error)));
      await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/`);
    });
    afterEach(async () => {
      await page.close();
      expect(complaints.splice(0)).to.deep.equal([]);
    });
    after(async () => {
      await vm?.stop();
      await browser?.close();
      server?.close();
      if (directory) await rm(directory, { recursive: true });
    });

    const goOnWith = (machine: Vm) => goOn(machine.agent, scene, machine.share().device, expected);
    const inPage = <T>(call: string, ...args: unknown[]) =>
      page.evaluate<T>(
        `import('/test/support/browser-page.mjs').then(({ ${call} }) => ${call}(...${JSON.stringify([share, ...args])}))`,
      );

    it('in the same emulator, rewinding it', async () => {
      await vm.exec('killall locker holder cpu; rm -rf /mnt/share/*');
      await vm.thaw(store, id);
      expect(await goOnWith(vm)).to.deep.equal([]);
    });

    it('in a new emulator, configured differently', async () => {
      const other = await Vm.thaw(store, id, { shares: [{ tag: 'share', cache: 'always', maxWrite: 65536 }] });
      try {
        expect(await goOnWith(other)).to.deep.equal([]);
      } finally {
        await other.stop();
      }
    });

    it('in a new Node process', () => {
      const told = execFileSync(
        process.execPath,
        [
          '--import',
          'tsx',
          join(ROOT, 'test/support/scene-process.ts'),
          directory,
          id,
          ...[share, scene, expected].map((part) => JSON.stringify(part)),
        ],
        { encoding: 'utf8', timeout: 120_000, killSignal: 'SIGKILL' },
      );
      expect(JSON.parse(told)).to.deep.equal([]);
    });

    it('in headless Chromium', async () => {
      expect(await inPage<string[]>('goOnHere', scene, expected)).to.deep.equal([]);
    });

    it('back in Node, from a snapshot that was taken in Chromium', async () => {
      const back = await store.import(Buffer.from(await inPage<string>('freezeAgain'), 'base64'));
      const again = await Vm.thaw(store, back, { shares: [{ tag: 'share', ...share }] });
      try {
        expect(await goOnWith(again)).to.deep.equal([]);
      } finally {
        await again.stop();
      }
    });
  });
}
