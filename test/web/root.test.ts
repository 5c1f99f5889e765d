import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { Vm } from '../../harness/node/vm.ts';
import { offeringBoth } from '../../web/build/offer.ts';
import { PAGE_DIRECTORY } from '../../web/build/serve.ts';
import { largeFile, makeRootGuest, type RootGuest } from './root-guest.ts';
import { serveIndex, useWebSite, type Visit } from './support.ts';

const MD5 = createHash('md5').update(largeFile()).digest('hex');

describe('the page: a root filesystem on an image', function () {
  const site = useWebSite();
  let guest: RootGuest;
  /** What was asked for below debian/. */
  let asked: string[] = [];
  /** What becomes of a request for the image or its packs; true when it was answered. */
  let answer: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;

  before(async function () {
    this.timeout(300_000);
    guest = await makeRootGuest();
  });
  after(() => guest.remove());
  beforeEach(() => {
    asked = [];
    answer = () => false;
    site.intercept = (request, response, next) => {
      const path = request.url!.replace('/some/where/', '');
      if (serveIndex(request, response, offeringBoth)) return;
      if (!path.startsWith('debian/')) return next();
      asked.push(path.slice('debian/'.length));
      if (/\.(image|pack)$/.test(path) && answer(request, response)) return;
      request.url = `/${path}`;
      guest.serve(request, response);
    };
  });

  const packs = () => asked.filter((name) => name.endsWith('.pack'));

  it('is what the page opens with; the small guest is chosen on the page or by its address, and remembered', async () => {
    const context = await site.newProfile();
    const visit = await site.open({ context });
    expect(await visit.run('grep " / " /proc/mounts; cat /small; pwd')).to.match(
      /^root \/ virtiofs rw.*\na small file\n\/mnt\/share$/,
    );
    await visit.run('echo mine > /mine');
    await visit.page.getByLabel('Guest', { exact: true }).selectOption('BusyBox');
    expect(await visit.run('ls /small /mine 2>&1 | grep -c No.such')).to.equal('2');
    expect(visit.page.url()).to.match(/\?guest=busybox$/);
    const again = await site.open({ context });
    expect(await again.run('ls /small 2>&1')).to.match(/No such/);
    const chosen = await site.open({ context, path: '?guest=debian' });
    expect(await chosen.run('cat /small')).to.equal('a small file');
  });

  it('reads what the guest reads, keeps that for other tabs and later visits, and needs no server for it then', async () => {
    const context = await site.newProfile();
    const visit = await site.open({ context });
    await visit.ready();
    const before = packs().length;
    expect(await visit.run('md5sum < /large; cat /small')).to.include(MD5);
    expect(packs().length).to.be.above(before);
    // What was fetched is written behind.
    await visit.until(async () => {
      asked = [];
      const other = await site.open({ context, path: '?guest=debian' });
      const sum = await other.run('md5sum < /large; cat /small');
      await other.page.close();
      return sum.includes(MD5) && asked.filter((name) => /\.(image|pack)$/.test(name)).length === 0;
    }, 'the content was fetched again');
    answer = (request) => {
      request.socket.destroy();
      return true;
    };
    await visit.page.close();
    const later = await site.open({ context });
    expect(await later.run('md5sum < /large; cat /small')).to.match(new RegExp(`${MD5}.*\na small file`));
  });

  it('takes two tabs that read at the same time', async () => {
    const context = await site.newProfile();
    const visits = await Promise.all([site.open({ context }), site.open({ context })]);
    const [one, two] = visits as [Visit, Visit];
    await Promise.all(visits.map((visit) => visit.ready()));
    const sums = await Promise.all([one.run('md5sum < /large'), two.run('md5sum < /large; cat /small')]);
    for (const sum of sums) expect(sum).to.include(MD5);
  });

  it('reads without a cache where the browser keeps no files', async () => {
    const context = await site.newProfile();
    await context.addInitScript('delete StorageManager.prototype.getDirectory');
    // Workers have one of their own.
    await context.route(/\.js$/, async (route) => {
      const response = await route.fetch();
      const body = `delete globalThis.StorageManager?.prototype.getDirectory;\n${await response.text()}`;
      await route.fulfill({ response, body });
    });
    const visit = await site.open({ context });
    expect(await visit.run('md5sum < /large')).to.include(MD5);
    visit.forgive();
  });

  it('goes on after snapshots, rewinds, forks, a reload, and a reset to its base', async () => {
    const visit = await site.open();
    const { page } = visit;
    await visit.run('echo one > /mine; rm /small');
    await page.getByRole('tab', { name: 'Timeline' }).click();
    await page.getByLabel('Name of the snapshot').fill('mark');
    await page.getByRole('button', { name: 'Snapshot now' }).click();
    await page.locator('vm-timeline li[data-id]').filter({ hasText: 'mark' }).waitFor();
    await visit.run('echo two > /mine');
    await page.getByRole('button', { name: 'Rewind to: mark' }).click();
    await page.getByRole('button', { name: 'Undo' }).waitFor();
    expect(await visit.run('cat /mine; md5sum < /large')).to.match(new RegExp(`^one\n${MD5}`));

    await page.getByRole('button', { name: 'Fork', exact: true }).click();
    await page.getByRole('button', { name: 'Same folder' }).click();
    await visit.until(async () => /# $/m.test(`${await visit.screen(1)} `), 'no second guest');
    await visit.run('echo second > /mine; echo shared > /mnt/share/f', 1);
    expect(await visit.run('cat /mine; cat /mnt/share/f')).to.equal('one\nshared');
    await page.getByRole('button', { name: 'Close guest 2' }).click();
    await visit.terminal(1).waitFor({ state: 'detached' });

    await page.reload();
    await page.getByText(/resumed from/).waitFor();
    expect(await visit.run('cat /mine; md5sum < /large')).to.match(new RegExp(`^one\n${MD5}`));

    await page.getByRole('tab', { name: 'Timeline' }).click();
    await page.getByRole('button', { name: 'Reset to start' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Reset' }).click();
    await page.getByRole('button', { name: 'Undo' }).waitFor();
    expect(await visit.run('cat /small; ls /mine 2>&1')).to.match(/^a small file\n.*No such/);
  });

  it('boots again from its root when the guest reboots', async () => {
    const visit = await site.open();
    await visit.run('echo stays > /mine');
    await visit.type('reboot -f');
    await visit.page.getByText(/is booting again/).waitFor();
    expect(await visit.run('cat /mine; grep -c " / virtiofs" /proc/mounts')).to.equal('stays\n1');
    expect(await visit.page.locator('.problem').allInnerTexts()).to.deep.equal([]);
  });

  it('waits while the network is gone, says so, and goes on', async () => {
    const visit = await site.open();
    await visit.ready();
    answer = (request) => {
      request.socket.destroy();
      return true;
    };
    await visit.type('md5sum < /large');
    await visit.page.getByText(/The guest waits for files of its root: can't fetch .*Trying again/).waitFor();
    answer = () => false;
    await visit.until(async () => (await visit.screen()).includes(MD5), 'it has not gone on');
    await visit.page.getByText(/waits for files of its root/).waitFor({ state: 'detached' });
    visit.forgive();
  });

  it('gives the guest an error, and tells it, when the image is gone or damaged', async () => {
    const visit = await site.open();
    await visit.ready();
    answer = (_, response) => {
      response.writeHead(404).end();
      return true;
    };
    expect(await visit.run('md5sum < /large')).to.match(/I\/O error|Input\/output error/);
    await visit.page.getByText(/root can’t be read: .*removed, or replaced by another one/).waitFor();
    answer = (request, response) => {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')!;
      const length = Number(to) + 1 - Number(from);
      response.writeHead(206, { 'content-range': `bytes ${from}-${to}/9999999`, 'content-length': length });
      response.end(Buffer.alloc(length));
      return true;
    };
    expect(await visit.run('md5sum < /large')).to.match(/I\/O error|Input\/output error/);
    await visit.page.getByText(/root can’t be read: .*not what they should be/).waitFor();
    answer = () => false;
    expect(await visit.run('md5sum < /large')).to.include(MD5);
    visit.forgive();
  });

  it('moves to another tab, and comes back from Node, where it was frozen to', async () => {
    const context = await site.newProfile();
    const first = await site.open({ context });
    await first.run('echo one > /mine; head -c 1000000 /large > /part; exec 5</large; head -c 10 <&5 > /dev/null');
    await first.page.getByRole('button', { name: 'Move the guest', exact: true }).click();
    const link = await first.page.getByLabel('Link for the other tab').inputValue();
    const visit = await site.open({ context, path: link.slice(site.url.length) });
    await first.page.getByText('guest runs in another tab now').waitFor();
    expect(await visit.run('cat /mine; md5sum < /large')).to.match(new RegExp(`^one\n${MD5}`));

    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    await visit.page.getByLabel('Name of the snapshot').fill('moving');
    await visit.page.getByRole('button', { name: 'Snapshot now' }).click();
    const row = visit.page.locator('vm-timeline li[data-id]').filter({ hasText: 'moving' });
    await row.waitFor();
    await row.getByRole('button', { name: /^More/ }).click();
    const download = await visit.download(() => row.getByRole('button', { name: /^Export/ }).click());
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const id = await store.import(await readFile(await download.path()));
    const vm = await Vm.thaw(store, id, { images: [join(guest.directory, 'root.image')] });
    try {
      const { stdout } = await vm.exec('cat /mine; md5sum < /large; echo two > /mine; rm /part');
      expect(stdout).to.match(new RegExp(`^one\n${MD5}`));
      const back = join(guest.directory, 'node.layer');
      await writeFile(back, Buffer.concat(await store.export((await vm.freeze(store, 'from Node')).id)));
      await visit.drop(visit.page.locator('vm-timeline').getByRole('list'), [back]);
    } finally {
      await vm.stop();
    }
    await visit.page.getByRole('button', { name: 'Rewind to: from Node' }).click();
    await visit.page.getByRole('button', { name: 'Undo' }).waitFor();
    expect(await visit.run('cat /mine; ls /part 2>&1; (head -c 10 | wc -c) <&5')).to.match(/^two\n.*No such.*\n10$/);

    // The small guest knows no image.
    const small = await site.open({ path: '?guest=busybox' });
    await small.ready();
    await small.page.getByRole('tab', { name: 'Timeline' }).click();
    await small.drop(small.page.locator('vm-timeline').getByRole('list'), [join(guest.directory, 'node.layer')]);
    await small.page.getByRole('button', { name: 'Fork from here: from Node' }).click();
    await small.page
      .getByText(
        new RegExp(
          `its root filesystem is the image ${guest.manifest.root!.id.slice(0, 12)}, but this page has no image`,
        ),
      )
      .waitFor();
    expect(await small.run('echo well')).to.equal('well');
  });

  it('is booted from where an element or a function names another image', async () => {
    const visit = await site.open({ path: 'example.html' });
    await visit.page.evaluate(async () => {
      const module: string = new URL('embed/page/virtiofs-vm.js', location.href).href;
      const { createVm } = (await import(module)) as {
        createVm(options: object): { exec(c: string): Promise<unknown> };
      };
      Object.assign(globalThis, { made: createVm({ root: 'debian/root.image' }) });
    });
    const exec = (command: string) =>
      visit.page.evaluate(
        (text) => (globalThis as unknown as { made: Vm }).made.exec(text, { timeoutMs: 100_000 }),
        command,
      ) as Promise<{ stdout: string }>;
    expect((await exec('grep " / " /proc/mounts; md5sum < /large; ls -a /')).stdout)
      .to.match(/^root \/ virtiofs rw/)
      .and.include(MD5)
      .and.not.include('.v86-virtiofs');
    const missing = await visit.page.evaluate(async () => {
      const module: string = new URL('embed/page/virtiofs-vm.js', location.href).href;
      const { createVm } = (await import(module)) as { createVm(options: object): { ready: Promise<void> } };
      return createVm({ root: 'debian/missing.image' }).ready.then(String, ({ message }: Error) => message);
    });
    expect(missing).to.match(/missing\.image: the server answers 404/);
    visit.forgive();
  });

  describe('on another site', () => {
    let other: Server;
    let methods: Set<string>;
    /** What a page's script says that boots a guest with the root at a path. */
    let booting: (path: string) => string;
    const MISSING = /can't fetch http.*root\.image.*Access-Control-Allow-Origin/;

    beforeEach(() => {
      methods = new Set();
      other = createServer((request, response) => {
        methods.add(request.method!);
        const path = request.url!.replace('/open/', '/');
        if (path !== request.url) response.setHeader('access-control-allow-origin', '*');
        request.url = path;
        guest.serve(request, response);
      }).listen(0);
      const { port } = other.address() as AddressInfo;
      booting = (path) => `import(new URL('embed/page/virtiofs-vm.js', location.href).href)
        .then(({ createVm }) => createVm({ root: 'http://localhost:${port}${path}' }).exec('md5sum < /large', { timeoutMs: 400_000 }))
        .then(({ stdout }) => stdout, ({ message }) => message)`;
      const pass = site.intercept!;
      site.intercept = (request, response, next) => {
        // The page's own policy has no other sites.
        response.setHeader('content-security-policy', '');
        pass(request, response, next);
      };
    });
    afterEach(() => {
      other.closeAllConnections();
      other.close();
    });

    for (const browser of ['Chromium', 'Firefox'] as const)
      it(`is streamed by ${browser} where that allows it, and says what is missing where not`, async () => {
        const visit = await site.open({ path: 'example.html', browser });
        expect(await visit.page.evaluate<string>(booting('/open/debian/root.image'))).to.include(MD5);
        expect(await visit.page.evaluate<string>(booting('/debian/root.image'))).to.match(MISSING);
        // A preflight would cost a way there and back for each request.
        expect([...methods]).to.deep.equal(['GET']);
        visit.forgive();
        visit.strangers.length = 0;
      });
  });

  it('does the same in Firefox', async () => {
    const context = await site.newProfile(undefined, 'Firefox');
    const { page } = await site.open({ context });
    const choice = page.getByLabel('Guest', { exact: true });
    await choice.selectOption('BusyBox');
    await page.waitForURL(/guest=busybox/);
    // It is remembered.
    const visit = await site.open({ context });
    expect(await visit.run('cat /small 2>&1')).to.match(/No such file/);
    await visit.page.getByLabel('Guest', { exact: true }).selectOption('Debian');
    await visit.page.waitForURL(/guest=debian/);
    expect(await visit.run('echo mine > /mine; md5sum < /large')).to.include(MD5);
    await visit.page.evaluate(async () => void (await document.querySelector('virtiofs-vm')!.vm!.snapshot('mark')));
    await visit.page.reload();
    await visit.page.getByText(/resumed from/).waitFor();
    expect(await visit.run('cat /mine; md5sum < /large')).to.match(new RegExp(`^mine\n${MD5}`));
  });

  it('shows its files, and fetches the content of those that are opened', async () => {
    const visit = await site.open();
    const { page } = visit;
    await visit.ready();
    const files = page.locator('vm-files');
    await page.getByRole('tab', { name: 'Files' }).click();
    await files.locator('.row[data-path="/README.txt"]').waitFor();
    await files.getByLabel('Files of').selectOption('Root filesystem');
    await files.locator('.row[data-path="/small"]').click();
    await page.locator('vm-text-editor').getByText('a small file').waitFor();
    await page.keyboard.press('x');
    for (const name of ['New file', 'Upload files', 'Rename', 'Delete', 'Save'])
      expect(await page.getByRole('button', { name, exact: true }).count(), name).to.equal(0);
    await visit.drop(files.locator('.area'), [join(PAGE_DIRECTORY, 'index.html')]);

    // Its packs come one after the other, when the test lets them.
    const waiting: (() => void)[] = [];
    let isOpen = false;
    answer = (request, response) => {
      if (isOpen || !request.url!.endsWith('.pack')) return false;
      waiting.push(() => {
        request.url = request.url!.replace('/some/where/', '/');
        guest.serve(request, response);
      });
      return true;
    };
    const before = packs().length;
    await files.locator('.row[data-path="/small"]').press('Escape');
    await files.getByRole('button', { name: 'Download all' }).click();
    await files.getByText(/Downloading [\d.]+ [KM]?B of [\d.]+ MB/).waitFor();
    await files.getByRole('button', { name: 'Cancel' }).click();
    await files.getByText(/Downloading/).waitFor({ state: 'detached' });

    await files.locator('.row[data-path="/large"]').click();
    const download = visit.download(() => files.getByRole('button', { name: 'Download large' }).click());
    await visit.until(async () => waiting.length > 0, 'nothing was fetched');
    waiting.shift()!();
    await files
      .getByText(/Fetching [\d.]+ [KM]?B of 3\.1 MB/)
      .first()
      .waitFor();
    expect(packs().length).to.be.above(before);
    isOpen = true;
    for (const go of waiting) go();
    const saved = createHash('md5').update(await readFile(await (await download).path()));
    expect(saved.digest('hex')).to.equal(MD5);
    await files.getByText(/Binary file: the first 512 bytes/).waitFor();
    await files.getByText(/Fetching/).waitFor({ state: 'detached' });
    await files.locator('.row[data-path="/large"]').press('Escape');
    const all = await visit.download(() => files.getByRole('button', { name: 'Download all' }).click());
    expect(all.suggestedFilename()).to.equal('root.tar');
    const unpacked = join(guest.directory, 'unpacked');
    await mkdir(unpacked);
    execFileSync('tar', ['-xf', await all.path(), '-C', unpacked, 'large', 'small', 'bin']);
    expect(await readFile(join(unpacked, 'small'), 'utf8')).to.equal('a small file\n');
    expect(
      createHash('md5')
        .update(await readFile(join(unpacked, 'large')))
        .digest('hex'),
    ).to.equal(MD5);
    expect((await stat(join(unpacked, 'bin/busybox'))).size).to.be.above(100_000);

    // What the guest does there is to be seen, and is no event of the shared folder.
    await page.evaluate(() => {
      const told: unknown[] = [];
      Object.assign(globalThis, { told });
      document.querySelector('virtiofs-vm')!.addEventListener('fileschange', () => told.push(1));
    });
    await visit.run('echo mine > /mine');
    await files.locator('.row[data-path="/mine"]').click();
    await page.locator('vm-text-editor').getByText('mine').waitFor();
    expect(await page.evaluate(() => (globalThis as unknown as { told: unknown[] }).told.length)).to.equal(0);
    expect(await visit.run('ls / | grep -c index')).to.equal('0');
    await visit.picture('root-files');
    await files.getByLabel('Find files by name').fill('arg');
    await files.locator('.row[data-path="/large"]').waitFor();
    await files.getByLabel('Files of').selectOption('Shared folder');
    await files.locator('.row[data-path="/README.txt"]').waitFor();
    expect(await files.getByLabel('Find files by name').inputValue()).to.equal('');
    expect(await page.locator('.problem').allInnerTexts()).to.deep.equal([]);
  });

  it('shows the requests of its device, and pauses that', async () => {
    const visit = await site.open();
    const { page } = visit;
    await visit.ready();
    await page.getByRole('tab', { name: 'Inspector' }).click();
    const inspector = page.locator('vm-inspector');
    const opcode = (name: string) => inspector.locator('.row .opcode').getByText(name, { exact: true }).first();
    await inspector.getByLabel('Device of').selectOption('Root filesystem');
    await visit.run('echo mine > /mine; echo yours > yours');
    await opcode('CREATE').waitFor();
    await inspector.locator('.row').filter({ hasText: '"mine" in /' }).first().waitFor();
    expect(await inspector.getByText('"yours"').count()).to.equal(0);
    await visit.picture('root-requests');
    await inspector.getByRole('tab', { name: 'Session' }).click();
    await visit.run('exec 5<>/mine');
    await inspector.locator('td.path').getByText('/mine').first().waitFor();
    await inspector.getByRole('tab', { name: 'Device', exact: true }).click();
    await inspector.getByText('“root” on PCI').waitFor();

    await inspector.getByRole('tab', { name: 'Step' }).click();
    await inspector.getByText(/before the next request to the root filesystem/).waitFor();
    await inspector.getByRole('button', { name: 'Pause before the next request' }).click();
    await page.getByText('device is paused: requests to its root filesystem wait').waitFor();
    await inspector.getByRole('button', { name: 'Type it for me' }).click();
    await inspector.getByRole('heading', { name: /The driver has written a [A-Z]+ request/ }).waitFor();
    // The other device goes on, and a rewind lets this one go on as well.
    await page.evaluate(() => document.querySelector('virtiofs-vm')!.vm!.fs.write('/more', 'more'));
    await inspector.getByLabel('Device of').selectOption('Shared folder');
    await inspector.getByRole('button', { name: 'Pause before the next request' }).waitFor();
    await page.getByRole('tab', { name: 'Timeline' }).click();
    await page.getByRole('button', { name: 'Snapshot now' }).click();
    await page.getByRole('button', { name: 'Rewind to', exact: false }).first().click();
    await page.getByText(/requests to its root filesystem wait/).waitFor({ state: 'detached' });
    expect(await visit.run('cat /mine')).to.equal('mine');

    // A fork has a root, and a choice, of its own.
    await page.getByRole('button', { name: 'Fork', exact: true }).click();
    await page.getByRole('button', { name: 'Folder of its own' }).click();
    await visit.ready(1);
    await page.getByRole('tab', { name: 'Inspector' }).click();
    await visit.terminal(1).locator('.screens').click();
    await inspector.getByRole('tab', { name: 'Requests' }).click();
    await inspector.getByLabel('Device of').selectOption('Root filesystem');
    await visit.run('echo theirs > /theirs', 1);
    await inspector.locator('.row').filter({ hasText: '"theirs" in /' }).first().waitFor();
    await visit.terminal(0).locator('.screens').click();
    expect(await inspector.getByLabel('Device of').inputValue()).to.equal('');
    await page.getByRole('button', { name: 'Close guest 2' }).click();
    await visit.terminal(1).waitFor({ state: 'detached' });
    expect(await page.locator('.problem').allInnerTexts()).to.deep.equal([]);
  });

  it('does not start without its image, says why, and starts when it is there', async () => {
    answer = (_, response) => {
      response.writeHead(404).end();
      return true;
    };
    const visit = await site.open();
    await visit.page.getByText(/root\.image: the server answers 404 .*publish it again/).waitFor();
    const again = visit.page.getByRole('button', { name: 'Try again' });
    await again.waitFor();
    answer = () => false;
    await again.click();
    expect(await visit.run('cat /small')).to.equal('a small file');
    visit.forgive();
  });

  it('says that it opens its root, as long as that takes', async () => {
    const held: (() => void)[] = [];
    answer = (request, response) => {
      held.push(() => {
        request.url = request.url!.replace('/some/where/', '/');
        guest.serve(request, response);
      });
      return true;
    };
    const visit = await site.open();
    await visit.page.getByText('Opening its root filesystem').waitFor();
    answer = () => false;
    for (const go of held) go();
    expect(await visit.run('cat /small')).to.equal('a small file');
  });

  it('waits for the network when it opens', async () => {
    let broken = 2;
    answer = (request) => {
      if (broken-- <= 0) return false;
      request.socket.destroy();
      return true;
    };
    const visit = await site.open();
    expect(await visit.run('cat /small')).to.equal('a small file');
    expect(broken).to.be.below(0);
    expect(await visit.page.locator('.problem').allInnerTexts()).to.deep.equal([]);
    visit.forgive();
  });
});
