import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { Vm } from '../../harness/node/vm.ts';
import type { Connection } from '../../web/embed/connection.ts';
import { useWebSite, type Visit } from './support.ts';
import { idle, panel, pressIn, rows, show, take } from './timeline-panel.ts';

describe('the page: timeline', () => {
  const site = useWebSite();
  let directory: string;
  before(() => void (directory = mkdtempSync(join(tmpdir(), 'v86-virtiofs-timeline-'))));
  after(() => rmSync(directory, { recursive: true, force: true }));

  async function press(visit: Visit, name: string, button: string): Promise<void> {
    await rows(visit, name).getByRole('button', { name: button }).click();
    await idle(visit);
  }

  const told = ({ page }: Visit, text: RegExp) => page.getByRole('alert').getByText(text).waitFor();

  it('takes a guest back, with its files, shells and what is open, and forth again', async () => {
    const visit = await show(await site.open());
    await visit.run('echo one > f; exec 5<f; rm f; echo kept > g');
    await take(visit, 'before');
    expect(await rows(visit, 'before').innerText()).to.match(
      /Current position, [\d.]+ [KM]B added, paused for [\d.]+ ms/,
    );
    await visit.run('cat <&5; rm g; echo later > h');
    await take(visit, 'after');
    await press(visit, 'before', 'Rewind to');
    await visit.page.getByRole('tab', { name: 'Shell 1' }).waitFor();
    expect(await visit.screen()).to.not.match(/later/);
    expect(await visit.run('cat <&5; cat g; ls h')).to.match(/^one\nkept\nls: h: No such file/);
    await press(visit, 'after', 'Rewind to');
    expect(await visit.run('cat h; ls g')).to.match(/^later\nls: g: No such file/);
    await visit.picture('timeline');
  });

  it('goes on after a reload where the last snapshot was taken, without fetching the guest again', async () => {
    const visit = await show(await site.open());
    await visit.run('echo deleted > f; exec 5<f; rm f; n=42');
    await take(visit, 'mark');
    const fetched: string[] = [];
    visit.page.on('request', (request) => fetched.push(request.url()));
    await visit.page.reload();
    expect(await visit.run('cat <&5; echo $n')).to.equal('deleted\n42');
    await visit.page.getByText(/resumed from/).waitFor();
    expect(fetched.filter((url) => url.includes('.layer'))).to.deep.equal([]);
    await show(visit);
    await rows(visit, 'mark').getByText('Current position').waitFor();
    await rows(visit, 'Start').waitFor();
  });

  it('renames a snapshot, which stays what it was, also over a reload', async () => {
    const visit = await show(await site.open());
    await visit.run('echo then > f');
    await take(visit, 'a name');
    await visit.run('echo now > f');
    await pressIn(rows(visit, 'a name'), 'Rename');
    await visit.page.getByRole('dialog').getByLabel('Name').fill('another');
    await visit.page.getByRole('dialog').getByRole('button', { name: 'Rename' }).click();
    await rows(visit, 'another').waitFor();
    expect(await rows(visit, 'a name').count()).to.equal(0);
    await visit.page.reload();
    await show(visit);
    await press(visit, 'another', 'Rewind to');
    expect(await visit.run('cat f')).to.equal('then');
  });

  it('goes on with all guests after a reload, and says which one it can’t', async () => {
    const visit = await show(await site.open());
    await visit.run('echo one > f');
    for (const folder of ['Folder of its own', 'Same folder']) {
      await panel(visit).getByRole('button', { name: 'Fork', exact: true }).click();
      await visit.page.getByRole('dialog').getByRole('button', { name: folder }).click();
      await idle(visit);
    }
    await visit.ready(2);
    await visit.run('echo two > f; exec 5<f; rm f', 1);
    await visit.page.locator('vm-terminals').nth(1).locator('.screens').click();
    await take(visit, 'second');
    await visit.run('echo three > g', 2);
    await visit.page.locator('vm-terminals').first().locator('.screens').click();
    await take(visit, 'first');
    await visit.page.reload();
    await told(visit, /Guest 3 had the folder of another guest, and was not kept over the reload: fork that one again/);
    expect(await visit.run('cat f g')).to.equal('one\nthree');
    expect(await visit.run('cat <&5', 1)).to.equal('two');
    await visit.page.getByText('guest 2, folder of its own').waitFor();
  });

  it('takes snapshots by itself, and says what each costs', async () => {
    const visit = await show(await site.open());
    await panel(visit).getByLabel('Automatic').selectOption('every 5 s');
    await rows(visit, 'Automatic').first().waitFor();
    await visit.run('echo automatic > f');
    await visit.until(async () => (await rows(visit, 'Automatic').count()) >= 3, 'no three automatic snapshots');
    expect(await rows(visit, 'Automatic').first().innerText()).to.match(/\d KB added, paused for/);
    await visit.page.reload();
    expect(await visit.run('cat f')).to.equal('automatic');
  });

  it('forks a guest with a folder of its own, side by side', async () => {
    const visit = await show(await site.open());
    await visit.run('echo both > f');
    await panel(visit).getByRole('button', { name: 'Fork', exact: true }).click();
    await visit.page.getByRole('dialog').getByRole('button', { name: 'Folder of its own' }).click();
    await visit.ready(1);
    expect(await visit.run('cat f; echo second > f; cat f', 1)).to.equal('both\nsecond');
    expect(await visit.run('cat f')).to.equal('both');
    await visit.page.getByText('guest, folder of its own').waitFor();
    await visit.picture('fork');
    await visit.page.getByRole('button', { name: 'Close guest 2' }).click();
    await visit.terminal(1).waitFor({ state: 'detached' });
    expect(await visit.run('cat f')).to.equal('both');
  });

  it('makes no more guests than there may be, also when they are asked for at the same moment', async () => {
    const visit = await site.open();
    await visit.run('true');
    const made = await visit.page.evaluate(async () => {
      const {
        connection: { worker },
      } = document.querySelector('virtiofs-vm')!.vm as unknown as { connection: Connection };
      const forks = () => Promise.allSettled(Array.from({ length: 5 }, () => worker.fork({ guest: 1, folder: 'own' })));
      const first = await forks();
      const ids = first.flatMap((fork) => (fork.status === 'fulfilled' ? [fork.value.id] : []));
      for (const id of ids) await worker.close(id, false);
      const second = await forks();
      return [first, second].map((all) =>
        all.map((fork) => (fork.status === 'fulfilled' ? 'made' : String(fork.reason))),
      );
    });
    for (const outcomes of made) {
      expect(outcomes.filter((outcome) => outcome === 'made')).to.have.length(3);
      for (const outcome of outcomes) expect(outcome).to.match(/^made$|there are 4 guests already/);
    }
  });

  it('forks a guest that shares the folder: changes and locks are seen on both sides', async () => {
    const visit = await show(await site.open());
    await visit.run('(sleep 1000 | locker flock README.txt > /dev/null) 2> /dev/null & true');
    await panel(visit).getByRole('button', { name: 'Fork', exact: true }).click();
    await visit.page.getByRole('dialog').getByRole('button', { name: 'Same folder' }).click();
    await told(visit, /1 of Guest 2's locks stay with the guest that has them already/);
    await visit.ready(1);
    await visit.run('echo from the first > f');
    expect(await visit.run('cat f; killall locker; locker flock README.txt try < /dev/null', 1)).to.match(
      /^from the first\n[\s\S]*failed: /,
    );
    await visit.run('killall locker');
    expect(await visit.run('locker flock README.txt try < /dev/null', 1)).to.match(/^locked/);
    await visit.page.getByText('guest 2, folder shared with the guest').waitFor();
    await visit.run('true');
    await press(visit, 'Start', 'Rewind to');
    await told(visit, /Guest 2 has the same folder, which would change under it: close it first/);
    await visit.page.getByRole('tab', { name: 'Files' }).click();
    await visit.page.locator('vm-files .row[data-path="/f"]').waitFor();
  });

  it('begins a second guest from an earlier moment', async () => {
    const visit = await show(await site.open());
    await visit.run('echo then > f');
    await take(visit, 'then');
    await visit.run('echo now > f');
    await press(visit, 'then', 'Fork from here');
    expect(await visit.run('cat f', 1)).to.equal('then');
    expect(await visit.run('cat f')).to.equal('now');
  });

  it('gives a snapshot to Node, and takes one from there', async () => {
    const visit = await show(await site.open());
    await visit.run('echo from the page > f; exec 5<f; rm f; (read line <&5; echo "$line" > g; sleep 1000) & true');
    await take(visit, 'moving');
    const download = await visit.download(() => pressIn(rows(visit, 'moving'), 'Export'));
    expect(download.suggestedFilename()).to.equal('moving.layer');
    const exported = join(directory, 'moving.layer');
    await download.saveAs(exported);
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const vm = await Vm.thaw(store, await store.import(await readFile(exported)));
    try {
      expect(
        (await vm.exec('cat /mnt/share/g; echo from Node > /mnt/share/h; ps | grep -c "[s]leep 1000"')).stdout,
      ).to.equal('from the page\n1\n');
      const parts = await store.export((await vm.freeze(store, 'from Node')).id);
      await writeFile(join(directory, 'node.layer'), Buffer.concat(parts));
    } finally {
      await vm.stop();
    }
    await visit.drop(panel(visit).getByRole('list'), [join(directory, 'node.layer')]);
    await press(visit, 'from Node', 'Rewind to');
    expect(await visit.run('cat h; ps | grep -c "[s]leep 1000"')).to.equal('from Node\n1');
  });

  it('takes a machine of another size as a second guest only', async () => {
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const vm = await Vm.boot({ memory: 96, shares: [{ tag: 'other' }] });
    try {
      await vm.mount();
      await vm.exec('echo small > /mnt/other/f');
      writeFileSync(
        join(directory, 'small.layer'),
        Buffer.concat(await store.export((await vm.freeze(store, 'small')).id)),
      );
    } finally {
      await vm.stop();
    }
    const visit = await show(await site.open());
    await visit.drop(panel(visit).getByRole('list'), [join(directory, 'small.layer')]);
    await press(visit, 'small', 'Rewind to');
    await told(visit, /another machine: its memory is 96, this guest's 128; open it as a second guest/);
    await press(visit, 'small', 'Fork from here');
    expect(await visit.run('pwd; cat f', 1)).to.equal('/mnt/other\nsmall');
  });

  describe('when something is wrong, says so and loses nothing', () => {
    it('a file that is no snapshot, one that is cut off, and one of a newer version', async () => {
      const visit = await show(await site.open());
      await take(visit, 'good');
      const download = await visit.download(() => pressIn(rows(visit, 'good'), 'Export'));
      await download.saveAs(join(directory, 'good.layer'));
      const good = await readFile(join(directory, 'good.layer'));
      const newer = Buffer.from(good);
      newer.writeUInt32LE(99, 8);
      for (const [name, content, message] of [
        [
          'notes.txt',
          'no snapshot at all, but long enough to have a head',
          /notes\.txt can’t be imported: .*not a snapshot|notes\.txt can’t be imported: /,
        ],
        ['cut.layer', good.subarray(0, good.length - 1000), /cut\.layer can’t be imported: .*truncated/],
        ['newer.layer', newer, /newer\.layer can’t be imported: .*version/],
      ] as const) {
        writeFileSync(join(directory, name), content);
        await visit.drop(panel(visit).getByRole('list'), [join(directory, name)]);
        await told(visit, message);
        await idle(visit);
      }
      expect(await visit.run('echo still here')).to.equal('still here');
    });

    it('a browser that keeps no files', async () => {
      const context = await site.newProfile();
      // As private windows of some browsers do. Workers have a global object of their own.
      await context.route('**/*.js', async (route) => {
        const response = await route.fetch();
        const refuse =
          'StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException("not in private windows", "SecurityError"));';
        await route.fulfill({ response, body: `${refuse}\n${await response.text()}` });
      });
      const visit = await show(await site.open({ context }));
      await told(
        visit,
        /this browser keeps no files for this page: not in private windows; snapshots will be lost with the page, export those that matter/,
      );
      await panel(visit)
        .getByText(
          /this browser keeps no files for this page: not in private windows; snapshots will be lost with the page, export those that matter/,
        )
        .waitFor();
      await visit.run('echo before > f');
      await take(visit, 'mark');
      await visit.run('echo after > f');
      await press(visit, 'mark', 'Rewind to');
      expect(await visit.run('cat f')).to.equal('before');
    });

    it('a second tab, which keeps nothing, while the first goes on', async () => {
      const context = await site.newProfile();
      const first = await show(await site.open({ context }));
      await take(first, 'mine');
      const second = await show(await site.open({ context }));
      await told(
        second,
        /Another tab has this page’s snapshots open, so the snapshots of this tab won’t be saved: export what matters, or close the other tab and reload/,
      );
      await panel(second)
        .getByText(/Another tab has this page’s snapshots open/)
        .waitFor();
      await second.run('echo lost > f');
      await take(second, 'theirs');
      await second.page.close();
      await take(first, 'mine too');
      await first.page.reload();
      await show(first);
      await rows(first, 'mine too').waitFor();
      expect(await rows(first, 'theirs').count()).to.equal(0);
    });

    it('no room: the snapshot is refused, the guest goes on, and with room again it works', async () => {
      const visit = await show(await site.open());
      await take(visit, 'fits');
      const session = await visit.page.context().newCDPSession(visit.page);
      const { origin } = new URL(site.url);
      await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1_000_000 });
      await visit.run('dd if=/dev/urandom of=big bs=1M count=3 2>/dev/null');
      await panel(visit).getByRole('button', { name: 'Snapshot now' }).click();
      await told(visit, /there is no room for the snapshot: .*remove snapshots, or export them first/);
      await panel(visit).getByLabel('Automatic').selectOption('every 5 s');
      await told(visit, /The automatic snapshots are off: there is no room/);
      expect(await panel(visit).getByLabel('Automatic').inputValue()).to.equal('0');
      await session.send('Storage.overrideQuotaForOrigin', { origin });
      await idle(visit);
      await take(visit, 'fits again');
      await visit.page.reload();
      expect(await visit.run('wc -c < big')).to.equal('3145728');
    });

    it('no room for the guest itself: it runs, and what is not kept is told', async () => {
      const page = await (await site.newProfile()).newPage();
      await (await page.context().newCDPSession(page)).send('Storage.overrideQuotaForOrigin', {
        origin: new URL(site.url).origin,
        quotaSize: 1_000_000,
      });
      const visit = await site.open({ context: page.context() });
      await told(
        visit,
        /Snapshots of this visit won’t be saved: there is no room for the snapshot: .*remove snapshots, or export them first/,
      );
      await show(visit);
      await visit.run('echo before > f');
      await take(visit, 'mark');
      await visit.run('echo after > f');
      await press(visit, 'mark', 'Rewind to');
      expect(await visit.run('cat f')).to.equal('before');
    });

    it('a tab that is closed while it saves keeps what was finished', async () => {
      const context = await site.newProfile();
      const visit = await show(await site.open({ context }));
      await visit.run('echo finished > f');
      await take(visit, 'finished');
      await visit.run('dd if=/dev/urandom of=big bs=1M count=30 2>/dev/null');
      await panel(visit).getByRole('button', { name: 'Snapshot now' }).click();
      await visit.page.close();
      const again = await site.open({ context });
      expect(await again.run('cat f')).to.equal('finished');
      await show(again);
      await rows(again, 'finished').waitFor();
    });

    it('a kept file that is damaged is shown, costs nothing else, and is left alone until it is removed', async () => {
      const visit = await show(await site.open());
      await take(visit, 'whole');
      // Not one that has no icon: the browser would look for it, and complain, at any time.
      site.intercept = (request, response, next) => {
        if (!request.url!.endsWith('/blank')) return next();
        response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><link rel="icon" href="data:,">');
      };
      await visit.page.goto(`${site.url}blank`);
      await visit.page.evaluate(async () => {
        const kept = await (await navigator.storage.getDirectory()).getDirectoryHandle('v86-virtiofs');
        const file = await kept.getFileHandle('torn.layer', { create: true });
        const writable = await file.createWritable();
        await writable.write('damaged');
        await writable.close();
      });
      visit.complaints.length = 0;
      await visit.page.goto(site.url);
      await show(visit);
      await panel(visit)
        .getByText(/torn\.layer is truncated/)
        .waitFor();
      await rows(visit, 'whole').waitFor();
      await take(visit, 'beside');
      await visit.page.reload();
      await show(visit);
      await rows(visit, 'beside').waitFor();
      await panel(visit).getByRole('button', { name: 'Remove: damaged snapshot' }).click();
      await visit.page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
      await panel(visit)
        .getByText(/torn\.layer is truncated/)
        .waitFor({ state: 'detached' });
      await panel(visit).getByRole('button', { name: 'Remove all' }).click();
      await visit.page.getByRole('dialog').getByRole('button', { name: 'Remove all' }).click();
      await idle(visit);
      await visit.page.reload();
      await show(visit);
      await take(visit, 'new');
      await visit.page.reload();
      await show(visit);
      await rows(visit, 'new')
        .waitFor({ timeout: 5000 })
        .catch(async () => {
          throw new Error(await panel(visit).innerText());
        });
    });
  });
});
