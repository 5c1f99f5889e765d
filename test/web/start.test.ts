import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { PAGE_DIRECTORY } from '../../web/build/serve.ts';
import type { GuestManifest } from '../../web/protocol.ts';
import { PANIC } from '../support/panic.ts';
import { INSECURE_HOST, useWebSite, type Visit } from './support.ts';

describe('the page: start and terminal', () => {
  const site = useWebSite();
  const state = ({ page }: Visit) => page.locator('.state').innerText();

  it('starts a guest from static files below any path, asks nobody else, and takes what is typed', async () => {
    const visit = await site.open();
    expect(await visit.run('uname -s; pwd')).to.equal('Linux\n/mnt/share');
    expect(await visit.run('grep virtiofs /proc/mounts')).to.match(/^share \/mnt\/share virtiofs rw/);
    expect(visit.strangers).to.deep.equal([]);
    await visit.picture('terminal');
  });

  it('runs on a page from neither https nor localhost, and says what that costs', async () => {
    const visit = await site.open({ host: INSECURE_HOST });
    expect(await visit.run('echo kept > f; cat f')).to.equal('kept');
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    await visit.page
      .getByRole('alert')
      .getByText(/keep files for pages from https or localhost only/)
      .waitFor();
    await visit.page.getByRole('button', { name: 'Snapshot now' }).click();
    await visit.page.locator('vm-timeline li[data-id]').filter({ hasText: 'Snapshot' }).waitFor();
    await visit.page.getByRole('button', { name: 'Move the guest' }).click();
    await visit.page.getByText(/move guests for pages from https or localhost only/).waitFor();
  });

  it('boots again when the guest reboots, and when it has halted and the visitor says so; its folder stays', async function () {
    const visit = await site.open();
    const again = visit.page.getByRole('button', { name: 'Start again' });
    await visit.run('echo stays > f; n=1');
    const look = async () => {
      // Until then the terminal is the one of before, with its prompt.
      await visit.page.locator('.standstill').waitFor({ state: 'detached' });
      return visit.run('cat f; echo ${n-none}; cut -d. -f1 /proc/uptime');
    };
    await visit.type('reboot');
    await visit.page.getByText(/is booting again/).waitFor();
    expect(await state(visit)).to.match(/^Booting/);
    expect(await look()).to.match(/^stays\nnone\n\d{1,2}$/);
    await visit.type('halt');
    await again.waitFor();
    expect(await state(visit)).to.match(/^Halted/);
    await again.click();
    expect(await look()).to.match(/^stays\nnone\n\d{1,2}$/);
    expect(await visit.page.locator('.problem').allInnerTexts()).to.deep.equal([]);
    await visit.type('halt -f');
    await again.waitFor();
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    await visit.page.getByRole('button', { name: /^Rewind to: Start/ }).click();
    await again.waitFor({ state: 'detached' });
    expect(await visit.run('cat f')).to.match(/No such file/);
  });

  it('says why a guest can’t boot again, and tries once more when the visitor says so', async function () {
    const visit = await site.open();
    await visit.run('echo stays > f');
    site.intercept = (request, response, next) =>
      request.url!.endsWith('guest.json') ? void response.writeHead(403).end() : next();
    await visit.type('reboot -f');
    await visit.page
      .getByText(/has halted, and can’t boot again: .*guest.json can’t be fetched: the server answers 403/)
      .waitFor();
    visit.complaints.length = 0;
    site.intercept = undefined;
    await visit.page.getByRole('button', { name: 'Start again' }).click();
    expect(await visit.run('cat f')).to.equal('stays');
  });

  it('says that the guest has crashed, and starts it again when the visitor says so', async function () {
    const visit = await site.open();
    await visit.run('echo stays > f');
    await visit.type(PANIC);
    await visit.page.getByText(/has crashed: its kernel panicked/).waitFor();
    expect(await state(visit)).to.match(/^Crashed/);
    await visit.page
      .locator('vm-terminals')
      .getByText(/has crashed\. Its folder/)
      .waitFor();
    visit.complaints.length = 0;
    await visit.page.getByRole('button', { name: 'Start again' }).click();
    expect(await visit.run('cat f')).to.equal('stays');
    expect(await state(visit)).to.match(/^Running/);
  });

  it('gives the guest the time of today', async () => {
    const visit = await site.open();
    const seconds = Number(await visit.run('date +%s'));
    expect(Math.abs(seconds - Date.now() / 1000)).to.be.below(120);
  });

  it('tells the guest how large the terminal is, and when that changes', async () => {
    const visit = await site.open();
    const size = async () => (await visit.run('stty size')).split(' ').map(Number) as [number, number];
    const [rows, columns] = await size();
    expect(columns).to.be.above(80);
    await visit.page.setViewportSize({ width: 800, height: 500 });
    await visit.until(async () => {
      const [fewer, narrower] = await size();
      return fewer < rows && narrower < columns;
    }, 'the size has not changed');
  });

  it('says that there is no network to who looks for one, once', async () => {
    const visit = await site.open();
    const tip = visit.page.getByText(/This guest has no network/);
    await visit.run('echo nothing yet');
    expect(await tip.count()).to.equal(0);
    expect(await visit.run('wget http://example.com')).to.match(/bad address 'example\.com'/);
    await tip.waitFor();
    await visit.picture('no-network');
    await visit.page.getByRole('button', { name: 'Dismiss' }).click();
    await visit.run('ping -c 1 10.0.0.1');
    expect(await tip.count()).to.equal(0);
    expect(visit.strangers).to.deep.equal([]);
  });

  it('has the keys that a phone’s keyboard lacks, for fingers', async () => {
    const context = await site.newProfile({ isMobile: true, hasTouch: true });
    const visit = await site.open({ context, width: 390, height: 780 });
    await visit.ready();
    const keys = visit.page.getByRole('toolbar', { name: 'Keys' });
    const press = (name: string) => keys.getByRole('button', { name, exact: true }).tap();
    for (const button of await keys.getByRole('button').all()) {
      const { width, height } = (await button.boundingBox())!;
      expect(Math.min(width, height)).to.be.at.least(44);
    }
    await visit.type('cat -v');
    await visit.page.keyboard.insertText('x');
    for (const name of ['Tab', 'Escape', 'Up', 'Left']) await press(name);
    await visit.page.keyboard.press('Enter');
    await visit.until(async () => /^x\s+\^\[\^\[\[A\^\[\[D$/m.test(await visit.screen()), 'the keys have not come');
    await visit.picture('keys-phone');
    await press('Ctrl');
    await visit.page.keyboard.insertText('c');
    expect(await visit.run('echo after')).to.equal('after');
    await press('Up');
    await visit.page.keyboard.press('Enter');
    await visit.until(async () => (await visit.screen()).match(/^after$/gm)!.length === 2, 'there is no history');
  });

  it('opens several shells, and closes them', async () => {
    const visit = await site.open();
    await visit.run('echo one');
    await visit.page.getByRole('button', { name: 'New shell' }).click();
    expect(await visit.run('echo $PPID; tty')).to.match(/pts/);
    await visit.page.getByRole('tab', { name: 'Shell 1' }).click();
    expect(await visit.screen()).to.match(/^one$/m);
    await visit.page.getByRole('button', { name: 'Close Shell 1' }).click();
    await visit.page.getByRole('tab', { name: 'Shell 1' }).waitFor({ state: 'detached' });
    await visit.page.getByRole('tab', { name: 'Shell 2' }).click();
    await visit.type('exit');
    await visit.page.getByText('The last shell has ended').waitFor();
  });

  it('is not left for a file that is let go where nothing takes it', async () => {
    const visit = await site.open();
    await visit.ready();
    const passes = await visit.terminal().evaluate((element) => {
      const drag = (type: string, add: (items: DataTransferItemList) => void) => {
        const dataTransfer = new DataTransfer();
        add(dataTransfer.items);
        return element.dispatchEvent(
          new DragEvent(type, { dataTransfer, bubbles: true, composed: true, cancelable: true }),
        );
      };
      return ['dragover', 'drop'].map((type) => [
        drag(type, (items) => items.add(new File(['text'], 'f'))),
        drag(type, (items) => items.add('text', 'text/plain')),
      ]);
    });
    expect(passes).to.deep.equal([
      [false, true],
      [false, true],
    ]);
    await visit.drop(visit.terminal(), [join(PAGE_DIRECTORY, 'index.html')]);
    expect(await visit.run('echo here')).to.equal('here');
  });

  it('takes much output without losing any', async () => {
    const visit = await site.open();
    expect(await visit.run('seq 1 20000 | tee /tmp/seq | tail -1; wc -c < /tmp/seq')).to.equal('20000\n108894');
    expect(await visit.run('seq 1 4000 | cat')).to.match(/^1\n2\n[\s\S]*\n4000$/);
  });

  describe('in a browser that lacks something', () => {
    const lacks = async (script: string, text: RegExp) => {
      const context = await site.newProfile();
      await context.addInitScript(script);
      const visit = await site.open({ context });
      await visit.page.getByRole('alert').getByText(text).waitFor();
      return visit;
    };

    it('says what it is, and what to do', async () => {
      await lacks(
        'delete globalThis.WebAssembly',
        /This browser can’t run the emulator: it has no WebAssembly with SIMD\. Chromium, Firefox and Safari of 2024/,
      );
      await lacks(
        'WebAssembly.validate = () => false; delete globalThis.DecompressionStream',
        /it has no WebAssembly with SIMD, no DecompressionStream\./,
      );
      await lacks(
        'const { Worker } = globalThis; globalThis.Worker = class { constructor() { throw new Error("no"); } }',
        /it has no module workers/,
      );
    });
  });

  describe('over a network or from a server that is not what it should be', function () {
    const isSnapshot = ({ url }: IncomingMessage) => /\.layer\.bin$/.test(url!);
    const told = (visit: Visit, text: RegExp) => visit.page.getByRole('alert').getByText(text).waitFor();
    /** Files of the guest by what they are. */
    const file = async (name: keyof GuestManifest['boot'] | 'snapshot') => {
      const { snapshot, boot } = JSON.parse(
        await readFile(join(PAGE_DIRECTORY, 'guest/guest.json'), 'utf8'),
      ) as GuestManifest;
      return readFile(join(PAGE_DIRECTORY, 'guest', { snapshot, ...boot }[name].file));
    };
    const bootsCold = async (visit: Visit) => {
      await told(visit, /boots from its kernel/);
      await visit.terminal().waitFor({ timeout: 120_000 });
      expect(await visit.run('cat README.txt | head -1; uname -s; echo new > f; cat f')).to.match(
        /^Welcome! This folder is shared[\s\S]*\nLinux\nnew$/,
      );
      visit.complaints.length = 0;
    };

    it('shows how far the download is, and goes on where it breaks', async () => {
      const snapshot = await file('snapshot');
      const asked: (string | undefined)[] = [];
      let breakOff = () => {};
      site.intercept = (request, response, next) => {
        if (!isSnapshot(request)) return next();
        asked.push(request.headers.range);
        if (asked.length > 1) return next();
        response.writeHead(200, { 'content-length': snapshot.length });
        response.write(snapshot.subarray(0, 2_000_000));
        breakOff = () => response.destroy();
      };
      const visit = await site.open();
      await visit.page.getByText(/2\.0 of \d\.\d MB/).waitFor();
      await visit.picture('start');
      breakOff();
      expect(await visit.run('echo there')).to.equal('there');
      expect(asked).to.deep.equal([undefined, 'bytes=2000000-']);
      visit.forgive();
    });

    it('begins anew where the server sends no parts, and needs no lengths', async () => {
      const snapshot = await file('snapshot');
      let count = 0;
      site.intercept = (request, response, next) => {
        if (!isSnapshot(request)) return next();
        response.writeHead(200);
        if (count++) response.end(snapshot);
        else response.write(snapshot.subarray(0, 1_000_000), () => response.destroy());
      };
      const visit = await site.open();
      expect(await visit.run('echo there')).to.equal('there');
      expect(count).to.equal(2);
      visit.forgive();
    });

    it('takes the snapshot from a server that has the browser unpack it', async () => {
      const snapshot = await file('snapshot');
      site.intercept = (request, response, next) => {
        if (!isSnapshot(request)) return next();
        response
          .writeHead(200, { 'content-encoding': 'gzip', 'content-type': 'application/octet-stream' })
          .end(snapshot);
      };
      const visit = await site.open();
      expect(await visit.run('echo there')).to.equal('there');
    });

    it('says so when the network stays away, and starts when it is back and the visitor asks', async () => {
      site.intercept = (request, response, next) => (request.url!.endsWith('guest.json') ? response.destroy() : next());
      const visit = await site.open();
      await told(visit, /guest\.json can’t be fetched \(.+\): check your network connection, and try again/);
      visit.complaints.length = 0;
      site.intercept = undefined;
      await visit.page.getByRole('button', { name: 'Try again' }).click();
      expect(await visit.run('echo there')).to.equal('there');
    });

    it('says so when the guest is not there, or of another version', async () => {
      site.intercept = (request, response, next) =>
        request.url!.endsWith('guest.json') ? response.writeHead(404).end() : next();
      const visit = await site.open();
      await told(
        visit,
        /guest\.json can’t be fetched: the server answers 404 .*\. Serve the directory dist\/page\/guest of the package v86-virtiofs there, or name the place where it is with `src`/,
      );
      site.intercept = (request, response, next) =>
        request.url!.endsWith('guest.json') ? response.end('{"version":99}') : next();
      await visit.page.reload();
      await told(
        visit,
        /of version 99, this page takes version 3: reload the page without the browser's cache, or deploy/,
      );
      visit.forgive();
    });

    it('shows what a guest that boots says, to who wants to see it', async () => {
      site.intercept = (request, response, next) =>
        request.url!.endsWith('.layer.bin') ? void response.writeHead(404).end() : next();
      const visit = await site.open();
      await visit.page.getByText('Boot log').click();
      await visit.page
        .getByRole('region', { name: 'Boot log' })
        .getByText(/Linux version/)
        .waitFor();
      await visit.picture('boot-log');
      await visit.ready();
      visit.forgive();
    });

    it('boots from the kernel when the snapshot is not there', async () => {
      site.intercept = (request, response, next) => (isSnapshot(request) ? response.writeHead(404).end() : next());
      await bootsCold(await site.open());
    });

    it('boots from the kernel when the snapshot is cut short', async () => {
      const snapshot = await file('snapshot');
      site.intercept = (request, response, next) =>
        isSnapshot(request) ? response.end(snapshot.subarray(0, 3_000_000)) : next();
      const visit = await site.open();
      await told(visit, /is truncated \(expected \d+ bytes, found 3000000\): deploy the page again/);
      await bootsCold(visit);
    });

    it('boots from the kernel when the snapshot is damaged, keeps nothing of it, and snapshots of that guest are kept', async () => {
      const snapshot = await file('snapshot');
      snapshot.fill(0x55, 2_000_000, 2_000_100);
      site.intercept = (request, response, next) => (isSnapshot(request) ? response.end(snapshot) : next());
      const visit = await site.open();
      await told(visit, /is damaged \(.+\): deploy the page again/);
      await bootsCold(visit);
      await visit.page.getByRole('tab', { name: 'Timeline' }).click();
      await visit.page.getByLabel('Name of the snapshot').fill('cold');
      await visit.page.getByRole('button', { name: 'Snapshot now' }).click();
      await visit.page.locator('vm-timeline').getByText('cold', { exact: true }).waitFor();
      await visit.page.reload();
      await visit.page.getByText(/resumed from/).waitFor();
      expect(await visit.run('cat f')).to.equal('new');
      expect(await visit.page.locator('vm-timeline').getByText('Start', { exact: true }).count()).to.equal(0);
    });

    it('boots from the kernel when the snapshot is of another emulator', async () => {
      const manifest = await readFile(join(PAGE_DIRECTORY, 'guest/guest.json'), 'utf8');
      site.intercept = (request, response, next) =>
        request.url!.endsWith('guest.json')
          ? response.end(manifest.replace(/"emulator": "[^"]+"/, '"emulator": "0.4.0"'))
          : next();
      const visit = await site.open();
      await told(visit, /v86 0\.4\.0, and this page has/);
      await bootsCold(visit);
    });
  });
});
