import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Download, Locator } from 'playwright-core';
import { BytesSink, BytesSource } from '../../device/bytes.ts';
import { INIT_NEWEST } from '../../device/conformance/message.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { loadCodec, MemoryFileSystem, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { Vm } from '../../harness/node/vm.ts';
import { call } from '../support/fuse-call.ts';
import { useWebSite, type Visit } from './support.ts';

const VIEWS = ['Requests', 'Step', 'Queues', 'Latency', 'Device', 'Session'] as const;

describe('the page: inspector', () => {
  const site = useWebSite();

  const panel = ({ page }: Visit): Locator => page.locator('vm-inspector');
  const rows = (visit: Visit): Locator => panel(visit).locator('vm-requests .row');
  const banner = ({ page }: Visit): Locator => page.getByText('device is paused: requests');
  const button = (visit: Visit, name: string | RegExp): Locator =>
    panel(visit).getByRole('button', typeof name === 'string' ? { name, exact: true } : { name });
  const fact = (visit: Visit, name: string): Locator => panel(visit).locator('dt', { hasText: name }).locator('+ dd');

  async function show(visit: Visit, view: (typeof VIEWS)[number] = 'Requests'): Promise<Visit> {
    await visit.ready();
    await visit.page.getByRole('tab', { name: 'Inspector', exact: true }).click();
    await panel(visit).getByRole('tab', { name: view, exact: true }).click();
    await panel(visit).locator(`vm-${view.toLowerCase()}`).waitFor();
    return visit;
  }

  /** What the log's rows say, once it has a request like that. */
  async function logWith(visit: Visit, text: RegExp): Promise<string[]> {
    await rows(visit).filter({ hasText: text }).first().waitFor();
    return (await rows(visit).allInnerTexts()).map((row) => row.replace(/\s+/g, ' '));
  }

  describe('requests', () => {
    it('are there as they come, decoded, with errors', async () => {
      const visit = await show(await site.open());
      await visit.page.getByText('No requests yet').waitFor();
      await visit.run('cat README.txt');
      const log = await logWith(visit, /RELEASE/);
      const at = (text: RegExp) => log.findIndex((row) => text.test(row));
      expect(at(/LOOKUP "README.txt" in \/ \d+ B/)).to.be.at.least(0);
      expect(at(/OPEN \/README.txt 32 B/)).to.be.greaterThan(at(/LOOKUP/));
      expect(at(/READ \/README.txt, offset 0, size \d+ \d+ B/)).to.be.greaterThan(at(/OPEN/));
      await visit.run('cat nothere');
      await logWith(visit, /LOOKUP\s+"nothere" in \/\s+ENOENT/);
      await visit.picture('inspector-requests');
    });

    it('can be filtered by text, opcode and errors, and cleared', async () => {
      const visit = await show(await site.open());
      await visit.run('cat README.txt docs/*; cat nothere');
      await logWith(visit, /nothere/);
      // The filter works beside the page: what it leaves comes a moment later.
      const leaves = (text: RegExp, isRight: (row: string) => boolean) =>
        visit.until(async () => (await logWith(visit, text)).every(isRight), `not only ${text} is left`);
      await button(visit, 'Errors').click();
      await leaves(/nothere/, (row) => /\bE[A-Z]+\b/.test(row.replace(/^\d+ [A-Z]+/, '')));
      await button(visit, 'Errors').click();
      await panel(visit).getByRole('combobox', { name: 'Opcode' }).selectOption('READ');
      await leaves(/READ/, (row) => / READ /.test(row));
      expect((await logWith(visit, /READ/)).length).to.be.greaterThan(1);
      await panel(visit).getByRole('searchbox').fill('readme');
      await leaves(/README/, (row) => row.includes('README.txt'));
      await panel(visit).getByRole('searchbox').fill('nobody has this');
      await visit.page.getByText('No request matches').waitFor();
      await button(visit, 'Clear the log').click();
      await visit.page.getByText('No requests yet').waitFor();
    });

    it('are drawn as far as they can be seen, and stay still for who looks back, while thousands come', async () => {
      const visit = await show(await site.open());
      const list = panel(visit).getByRole('listbox', { name: 'Requests' });
      const numbers = async () => (await panel(visit).locator('vm-requests .row .number').allInnerTexts()).map(Number);
      const drawn = await panel(visit)
        .locator('vm-requests')
        .evaluateHandle((element) => {
          const counts = { draws: 0, frames: 0 };
          const count = () => {
            counts.frames++;
            requestAnimationFrame(count);
          };
          requestAnimationFrame(count);
          let last = -1;
          new MutationObserver(() => {
            // All that one draw changes is told at once, so two in a frame are two calls.
            if (last === counts.frames) counts.draws++;
            last = counts.frames;
          }).observe(element.shadowRoot!, { childList: true, subtree: true, characterData: true });
          return counts;
        });
      await panel(visit).getByLabel('Requests that are kept').selectOption('5,000');
      await visit.run('n=0; while [ $n -lt 900 ]; do echo $n > many; n=$((n + 1)); done; cat nothere');
      await logWith(visit, /nothere/);
      await panel(visit)
        .getByText(/^[2-5],\d\d\d requests/)
        .waitFor();
      const { height } = (await list.boundingBox())!;
      expect((await numbers()).length).to.be.within(Math.floor(height / 22), 4 * Math.ceil(height / 22));
      expect(await drawn.evaluate(({ draws }) => draws)).to.equal(0);
      await list.evaluate((element) => element.scrollTo(0, element.scrollHeight / 2));
      await button(visit, 'Follow').waitFor();
      const lookedAt = async () => {
        const { y } = (await list.boundingBox())!;
        const boxes = await rows(visit).evaluateAll((elements) =>
          elements.map((element) => ({ top: element.getBoundingClientRect().top, text: element.textContent })),
        );
        return boxes.find(({ top }) => top >= y)?.text;
      };
      await visit.until(async () => (await lookedAt()) !== undefined, 'nothing where the visitor looks');
      const before = await lookedAt();
      await visit.run('cat README.txt; cat nothere either');
      await panel(visit).getByRole('searchbox').fill('op:LOOKUP file:nothere error');
      await panel(visit)
        .getByText(/^1 of [\d,]+ requests/)
        .waitFor();
      await panel(visit).getByRole('searchbox').fill('');
      await visit.until(async () => (await lookedAt()) !== undefined, 'nothing where the visitor looks');
      await button(visit, 'Follow').click();
      await logWith(visit, /either/);
      expect(before).to.not.equal(await lookedAt());
      await visit.picture('inspector-many');
    });

    it('have the columns that the visitor chooses, also in later visits', async () => {
      const visit = await show(await site.open());
      const heads = () => panel(visit).locator('vm-requests .head > span').allInnerTexts();
      await visit.run('cat README.txt');
      await logWith(visit, /README/);
      expect(await heads()).to.deep.equal(['#', 'Opcode', 'About', 'Reply', 'Time']);
      await panel(visit).getByText('Columns', { exact: true }).click();
      for (const name of ['Number', 'Time in the device'])
        await panel(visit).getByLabel(name, { exact: true }).uncheck();
      for (const name of ['Process', 'Node']) await panel(visit).getByLabel(name, { exact: true }).check();
      await visit.picture('columns');
      const chosen = ['Opcode', 'Node', 'Process', 'About', 'Reply'];
      expect(await heads()).to.deep.equal(chosen);
      expect(Number(await rows(visit).first().locator('.pid').innerText())).to.be.above(0);
      await visit.page.reload();
      await show(visit);
      await visit.run('cat README.txt');
      await logWith(visit, /README/);
      expect(await heads()).to.deep.equal(chosen);
    });

    it('are copied as tests that the device passes', async () => {
      const visit = await show(await site.open());
      await visit.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
      await visit.run('rmdir docs');
      await logWith(visit, /RMDIR/);
      await rows(visit).filter({ hasText: 'RMDIR' }).click();
      await button(visit, 'Copy as a test').click();
      await button(visit, 'Copied').waitFor();
      const text = await visit.page.evaluate(() => navigator.clipboard.readText());
      expect(text).to.match(/^it\("answers RMDIR, \\"docs\\" in \/, as request \d+ was"/);
      const session = new FuseSession({ filesystem: new MemoryFileSystem() });
      call(session, 'INIT', 0, INIT_NEWEST);
      const { nodeid } = call(session, 'MKDIR', 1, { mode: 0o755 }, 'docs').out;
      call(session, 'MKDIR', Number(nodeid), { mode: 0o755 }, 'more');
      const titles: string[] = [];
      const it = (title: string, test: () => void) => {
        titles.push(title);
        test();
      };
      new Function('it', 'session', 'BytesSource', 'BytesSink', 'expect', text)(
        it,
        session,
        BytesSource,
        BytesSink,
        expect,
      );
      expect(titles).to.have.length(1);
    });

    it('have their bytes, whose fields are lit up both ways, and the buffers that they are in', async () => {
      const visit = await show(await site.open());
      await visit.run('cat README.txt');
      await rows(visit)
        .filter({ hasText: /LOOKUP\s+"README.txt"/ })
        .click();
      const request = panel(visit).locator('vm-hex').first();
      const lit = async () => (await request.locator('.byte.lit').allInnerTexts()).join(' ');
      await request.getByRole('option', { name: 'opcode 1 LOOKUP' }).hover();
      expect(await lit()).to.equal('01 00 00 00');
      await request.getByRole('option', { name: 'name "README.txt"' }).hover();
      expect(await lit()).to.equal('52 45 41 44 4d 45 2e 74 78 74 00');
      await request.locator('.byte').nth(4).hover();
      expect(await request.locator('[aria-selected=true]').innerText()).to.match(/opcode/);
      await request.getByRole('listbox').focus();
      await visit.page.keyboard.press('Home');
      await visit.page.keyboard.press('ArrowDown');
      // The mouse rests, and its place is another's.
      const top = async () => (await request.locator('.byte').first().boundingBox())!.y;
      const at = await top();
      await visit.page.mouse.wheel(0, 120);
      await visit.until(async () => (await top()) < at, 'nothing scrolls');
      await visit.page.waitForTimeout(500);
      expect(await request.locator('[aria-selected=true]').innerText()).to.match(/opcode/);
      // It is asked for again until its interrupt is known.
      await panel(visit)
        .locator('vm-request-detail')
        .evaluate(async (view: HTMLElement & { detail: object; updateComplete: Promise<unknown> }) => {
          view.detail = structuredClone(view.detail);
          await view.updateComplete;
        });
      expect(await request.locator('[aria-selected=true]').innerText()).to.match(/opcode/);
      const buffer = panel(visit).getByRole('list', { name: 'Buffers of the request' }).getByRole('button').first();
      await buffer.hover();
      expect(await request.locator('.byte.in-range').allInnerTexts()).to.have.length(
        Number(/(\d+) bytes/.exec((await buffer.getAttribute('aria-label'))!)![1]),
      );
      const answer = panel(visit).locator('vm-hex').nth(1);
      expect(await answer.getByRole('option').allInnerTexts()).to.satisfy((fields: string[]) =>
        fields.some((field) => /attr.size\s+\d+/.test(field)),
      );
      const columns = await answer
        .getByRole('group')
        .evaluateAll((structs) =>
          structs.map(
            (struct) => new Set([...struct.children].map((row) => Math.round(row.getBoundingClientRect().left))).size,
          ),
        );
      expect(columns.length, 'structs of the reply').to.be.at.least(2);
      expect(columns, 'columns that each struct is in, its heading too').to.deep.equal(columns.map(() => 1));
      await visit.picture('inspector-request');
      const number = async () =>
        Number((await panel(visit).locator('vm-request-detail .title .muted').innerText()).replace(/\D/g, ''));
      const before = await number();
      await panel(visit).getByRole('listbox', { name: 'Requests' }).focus();
      await visit.page.keyboard.press('ArrowDown');
      await visit.until(async () => (await number()) === before + 1, 'the next request was not chosen');
      await panel(visit).getByRole('list', { name: 'Buffers of the request' }).getByRole('button').first().focus();
      await visit.page.keyboard.press('Escape');
      await panel(visit).locator('vm-request-detail').waitFor({ state: 'detached' });
      expect(
        await panel(visit)
          .getByRole('listbox', { name: 'Requests' })
          .evaluate((list) => list.matches(':focus')),
      ).to.equal(true);
    });

    it('go out as JSON and as a trace', async () => {
      const visit = await show(await site.open());
      await visit.run('cat README.txt');
      await logWith(visit, /RELEASE/);
      const save = (name: string): Promise<Download> => visit.download(() => button(visit, name).click());
      const json = await save('JSON');
      expect(json.suggestedFilename()).to.equal('guest-requests.json');
      const { requests } = JSON.parse(await readFile(await json.path(), 'utf8')) as {
        requests: { opcode: string; request: string }[];
      };
      expect(requests.map(({ opcode }) => opcode)).to.include.members(['LOOKUP', 'OPEN', 'READ']);
      expect(requests[0]!.request).to.match(/^[0-9a-f]{80,}$/);
      const trace = await save('Perfetto');
      expect(trace.suggestedFilename()).to.equal('guest-trace.json');
      const { traceEvents } = JSON.parse(await readFile(await trace.path(), 'utf8')) as {
        traceEvents: { ph: string; name: string; ts: number; dur: number }[];
      };
      const slices = traceEvents.filter(({ ph }) => ph === 'X');
      expect(slices.map(({ name }) => name)).to.deep.equal(requests.map(({ opcode }) => opcode));
      expect(slices.every(({ ts, dur }) => ts > 0 && dur > 0)).to.equal(true);
    });

    it('are written down only while the inspector is on the page', async () => {
      const visit = await site.open();
      await visit.run('cat README.txt');
      await show(visit);
      await visit.page.getByText('No requests yet').waitFor();
      await visit.run('cat docs/*');
      await logWith(visit, /READ\s/);
    });
  });

  it('draws the virtqueues: rings, descriptors, indices, and what is in flight', async () => {
    const visit = await show(await site.open(), 'Queues');
    await fact(visit, 'Format').getByText('split, 1024 descriptors').waitFor();
    const idx = async () => Number(await fact(visit, 'avail.idx').innerText());
    const before = await idx();
    await visit.run('cat README.txt');
    await visit.until(async () => (await idx()) > before, 'avail.idx has not moved');
    expect(await panel(visit).locator('.strip').first().locator('.cell[data-changed]').count()).to.be.at.least(1);
    expect(
      await panel(visit).locator('.descriptors tr[data-inner]').count(),
      'entries of indirect tables',
    ).to.be.at.least(2);
    await panel(visit)
      .getByRole('img', { name: /^0 available, 0 in flight, of 1024/ })
      .waitFor();
    await visit.run('for n in 1 2; do (sleep 1000 | locker flock README.txt > /dev/null) & sleep 0.3; done; true');
    await panel(visit)
      .getByRole('img', { name: /^0 available, 1 in flight, of 1024/ })
      .waitFor();
    await panel(visit).getByRole('img', { name: '1 of 1024 descriptors in use' }).waitFor();
    const head = await fact(visit, 'In flight').innerText();
    await panel(visit)
      .getByRole('listbox', { name: 'Available ring' })
      .getByRole('option', { name: new RegExp(`: ${head}$`) })
      .last()
      .hover();
    await panel(visit).locator('.descriptors tr[data-lit]').getByText(head, { exact: true }).waitFor();
    expect(await panel(visit).locator('.cell[data-lit]').count()).to.equal(1);
    // The mouse rests on the last cell, and its place is another's.
    const ring = panel(visit).getByRole('listbox', { name: 'Available ring' });
    await ring.press('Home');
    const chosen = ring.getByRole('option', { selected: true });
    const first = await ring.getByRole('option').first().innerText();
    expect(await chosen.innerText()).to.equal(first);
    const top = async () => (await ring.boundingBox())!.y;
    const at = await top();
    await visit.page.mouse.wheel(0, 60);
    await visit.until(async () => (await top()) < at, 'nothing scrolls');
    await visit.page.waitForTimeout(500);
    expect(await chosen.innerText()).to.equal(first);
    await panel(visit).getByRole('listbox', { name: 'Used ring' }).getByRole('option').first().hover();
    expect(await panel(visit).locator('.cell[data-lit]').count(), 'both of one use').to.be.within(1, 2);
    await visit.picture('inspector-queues');
    await button(visit, 'hiprio').click();
    await fact(visit, 'In flight').getByText('none').waitFor();
  });

  it('draws packed rings, of a guest that came from Node; and goes on with another guest when that one is closed', async function () {
    // A guest is booted first, and its image may have to be made.
    const directory = await mkdtemp(join(tmpdir(), 'v86-virtiofs-inspector-'));
    try {
      const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
      const vm = await Vm.boot({ memory: 128, shares: [{ tag: 'share', locks: 'shared', offer: { packed: true } }] });
      try {
        await vm.mount();
        await vm.exec('echo packed > /mnt/share/file');
        await writeFile(
          join(directory, 'packed.layer'),
          Buffer.concat(await store.export((await vm.freeze(store, 'packed')).id)),
        );
      } finally {
        await vm.stop();
      }
      const visit = await site.open();
      await visit.ready();
      await visit.page.getByRole('tab', { name: 'Timeline' }).click();
      await visit.drop(visit.page.locator('vm-timeline').getByRole('list'), [join(directory, 'packed.layer')]);
      await visit.page.locator('vm-timeline').getByRole('button', { name: 'Fork from here: packed' }).click();
      await visit.ready(1);
      await visit.terminal(1).locator('.screens').click();
      await show(visit, 'Queues');
      await fact(visit, 'Format').getByText('packed, 1024 descriptors').waitFor();
      expect(await visit.run('cat file', 1)).to.equal('packed');
      const takes = Number((await fact(visit, 'device takes').innerText()).split(',')[0]);
      await visit.run('cat file', 1);
      await visit.until(
        async () => Number((await fact(visit, 'device takes').innerText()).split(',')[0]) > takes,
        'the device has taken nothing',
      );
      expect(await panel(visit).locator('.descriptors tr[data-changed]').count()).to.be.at.least(1);
      expect(await panel(visit).locator('.descriptors').innerText())
        .to.match(/AVAIL/)
        .and.match(/USED/)
        .and.match(/◂ device/);
      await panel(visit)
        .getByText(/The driver wants interrupts (for|only)/)
        .waitFor();
      await visit.picture('inspector-queues-packed');
      await visit.page.getByRole('button', { name: 'Close guest 2' }).click();
      await fact(visit, 'Format').getByText('split, 1024 descriptors').waitFor();
      const idx = Number(await fact(visit, 'avail.idx').innerText());
      await visit.run('cat README.txt');
      await visit.until(
        async () => Number(await fact(visit, 'avail.idx').innerText()) > idx,
        'the picture stands still',
      );
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('leads from a request to its chain', async () => {
    const visit = await show(await site.open());
    await visit.run(
      '(sleep 1000 | locker flock README.txt > /dev/null) & sleep 0.3; (sleep 1000 | locker flock README.txt > /dev/null) & sleep 0.3; true',
    );
    await rows(visit).filter({ hasText: 'waits' }).click();
    await button(visit, 'Show the queue').click();
    const head = await fact(visit, 'In flight').innerText();
    await panel(visit).locator('.descriptors tr[data-lit] td').first().getByText(head, { exact: true }).waitFor();
  });

  it('tells how long requests take, by opcode', async () => {
    const visit = await show(await site.open(), 'Latency');
    await visit.page.getByText('No requests yet').waitFor();
    await visit.run('for n in 1 2 3 4 5; do cat README.txt > /dev/null; done');
    const open = panel(visit)
      .locator('.opcode')
      .filter({ has: visit.page.getByText('OPEN', { exact: true }) });
    await open.getByText(/^5 · (\d|< )/).waitFor();
    expect(await open.getByRole('img').getAttribute('aria-label')).to.match(/^OPEN: \d up to [\d.]+ (µs|ms)/);
    await visit.picture('inspector-latency');
  });

  it('shows the device: status, features, capabilities, registers, interrupts', async () => {
    const visit = await show(await site.open(), 'Device');
    const device = panel(visit).locator('vm-device');
    await device.getByText('Device 1af4:105a').waitFor();
    await device.getByText('this project’s fast driver').waitFor();
    expect(
      await device.getByRole('list', { name: 'Device status' }).locator('[data-on]').allInnerTexts(),
    ).to.have.length(4);
    const row = async (text: string) =>
      (
        await device
          .getByRole('row')
          .filter({ has: visit.page.getByText(text, { exact: true }) })
          .innerText()
      ).replace(/\s+/g, ' ');
    expect(await row('VIRTIO_F_VERSION_1')).to.equal('32 VIRTIO_F_VERSION_1 offers accepts');
    expect(await row('VIRTIO_PCI_CAP_COMMON_CFG')).to.equal('0x48 VIRTIO_PCI_CAP_COMMON_CFG 0 0x00 0x3c');
    expect(await row('num_queues')).to.equal('num_queues 0x3 3');
    expect(await row('device_status')).to.equal('device_status 0xf 15');
    const kicks = async () => Number((await row('Kicks')).split(' ').at(-1));
    const before = await kicks();
    await visit.run('cat README.txt');
    await visit.until(async () => (await kicks()) > before, 'no kick was counted');
    await visit.picture('inspector-device');
  });

  it('shows the session: inodes, open files, directory streams, locks and who waits for them', async () => {
    const visit = await show(await site.open(), 'Session');
    await visit.run(
      'exec 5<README.txt 6>>new.txt 7<docs; for n in 1 2; do (sleep 1000 | locker flock README.txt > /dev/null) & sleep 0.3; done; true',
    );
    const table = async (name: string) =>
      (await panel(visit).getByRole('region', { name, exact: true }).getByRole('row').allInnerTexts())
        .slice(1)
        .map((row) => row.replace(/\s+/g, ' '));
    await panel(visit).getByRole('region', { name: 'Waiters' }).waitFor();
    expect(await table('Open files')).to.satisfy((files: string[]) =>
      files.some((file) => /\/new.txt O_WRONLY O_APPEND$/.test(file)),
    );
    expect(await table('Directory streams')).to.satisfy(
      (streams: string[]) => streams.length === 1 && / \/docs \d+$/.test(streams[0]!),
    );
    const [lock, ...locks] = await table('Locks');
    const [waiter] = await table('Waiters');
    expect(locks).to.deep.equal([]);
    expect(lock).to.match(/^flock write \/README.txt all \d+ Guest$/);
    expect(waiter).to.match(/^flock write \/README.txt all \d+ Guest$/);
    expect(waiter).to.not.equal(lock);
    expect(await table('Inode map')).to.satisfy((nodes: string[]) =>
      nodes.some((node) => /^\d+ \d+ \d+ \/README.txt$/.test(node)),
    );
    await visit.picture('inspector-session');
    await visit.run('killall locker; exec 5<&- 6>&- 7<&-');
    await visit.page.getByText('No request waits for a lock.').waitFor();
    await visit.page.getByText('Nothing is locked.').waitFor();
  });

  describe('step by step', () => {
    const step = (visit: Visit): Locator => panel(visit).locator('vm-step');
    const walking = (visit: Visit): Locator => step(visit).locator('.route [aria-current]');
    const title = (visit: Visit): Promise<string> => step(visit).getByRole('heading').innerText();

    async function pause(visit: Visit): Promise<Visit> {
      await show(visit, 'Step');
      await button(visit, 'Pause before the next request').click();
      await step(visit).getByText('The device waits for a request').waitFor();
      await banner(visit).waitFor();
      return visit;
    }

    /** Goes on until the request is through, and returns the steps' titles. */
    async function walk(visit: Visit): Promise<string[]> {
      const titles: string[] = [];
      for (;;) {
        titles.push(await title(visit));
        const stages = await step(visit).locator('.route li').allInnerTexts();
        const stage = stages.indexOf(await walking(visit).innerText()) + 1;
        await step(visit)
          .getByText(new RegExp(`^Stage ${stage} of ${stages.length}(, part \\d of \\d)?$`))
          .waitFor();
        const last = titles.at(-1);
        if (await button(visit, 'Next').isVisible()) await button(visit, 'Next').click();
        else if (await button(visit, 'Serve it').isVisible()) await button(visit, 'Serve it').click();
        else return titles;
        await visit.until(async () => (await title(visit)) !== last, `the step after “${last}” did not come`);
      }
    }

    const timeline = ({ page }: Visit): Locator => page.locator('vm-timeline');

    /** Takes a snapshot, and returns its row in the timeline, which is shown then. */
    async function takeSnapshot(visit: Visit): Promise<Locator> {
      await visit.page.getByRole('tab', { name: 'Timeline' }).click();
      await timeline(visit).getByLabel('Automatic').selectOption('never');
      await timeline(visit).getByLabel('Name of the snapshot').fill('paused');
      await timeline(visit).getByRole('button', { name: 'Snapshot now' }).click();
      const row = timeline(visit)
        .getByRole('listitem')
        .filter({ has: visit.page.locator('.name').getByText('paused', { exact: true }) });
      await row.waitFor();
      return row;
    }

    async function fork(visit: Visit, folder: string): Promise<void> {
      await timeline(visit).getByRole('button', { name: 'Fork', exact: true }).click();
      await visit.page.getByRole('dialog').getByRole('button', { name: folder }).click();
    }

    it('walks a request through the device, while the guest waits for it', async () => {
      const visit = await pause(await site.open());
      await visit.type('cat README.txt; echo through');
      await walking(visit).waitFor();
      expect(await title(visit)).to.match(/^The driver has written a (GETATTR|LOOKUP) request$/);
      expect(
        await step(visit)
          .getByText(/^virtio 1.3, section 2.7.4 Message Framing$/)
          .count(),
      ).to.equal(1);
      await button(visit, 'Next').click();
      await step(visit).getByRole('listbox', { name: 'Available ring' }).locator('.cell[data-new]').waitFor();
      await button(visit, 'Back').click();
      for (let n = 0; n < 4; n++) await button(visit, 'Next').click();
      expect(await step(visit).locator('.byte').count()).to.be.at.least(40);
      await step(visit).getByRole('option', { name: 'len' }).first().hover();
      expect(await step(visit).locator('.byte.lit').count()).to.equal(4);
      await visit.picture('inspector-step');
      const titles = await walk(visit);
      expect(titles.join('\n')).to.match(
        /Entry \d+: room for \d+ bytes\n[\s\S]*The message: (GETATTR|LOOKUP)\nThe filesystem answers\nThe chain is used at ring\[\d+\]\n(The device interrupts|No interrupt)$/,
      );
      expect(await visit.screen()).to.not.match(/^through/m);
      // Each further request of `cat`, until it has all that it needs.
      for (const requests: string[] = []; !/^through/m.test(await visit.screen()); ) {
        expect(requests).to.have.length.below(12);
        await button(visit, /^Next request|^Skip it/).click();
        await visit.until(
          async () => /^through/m.test(await visit.screen()) || (await walking(visit).isVisible()),
          'neither a request nor the end',
        );
        if (await walking(visit).isVisible()) requests.push(await title(visit));
      }
      await button(visit, /^Continue/).click();
      await banner(visit).waitFor({ state: 'detached' });
      expect(await visit.run('cat docs/* | wc -l')).to.match(/^\d+$/);
    });

    it('says what to type, types it, and goes with the arrow keys', async () => {
      const visit = await pause(await site.open());
      await visit.picture('inspector-step-waits');
      await button(visit, 'Type it for me').click();
      await walking(visit).waitFor();
      await visit.page.keyboard.press('Tab');
      await button(visit, 'Next').focus();
      const first = await title(visit);
      await visit.page.keyboard.press('ArrowRight');
      await visit.until(async () => (await title(visit)) !== first, 'the arrow led nowhere');
      await visit.page.keyboard.press('ArrowLeft');
      await visit.until(async () => (await title(visit)) === first, 'the arrow did not lead back');
      await visit.page.getByRole('status').getByRole('button', { name: 'Continue' }).click();
      await button(visit, 'Pause before the next request').waitFor();
      await visit.until(async () => /# $/.test(`${(await visit.screen()).trimEnd()} `), '`cat` has not ended');
    });

    it('lets the rest of the guest go on, and other views of the page; but not let it sleep', async () => {
      const visit = await pause(await site.open());
      await visit.page.getByRole('button', { name: 'Put the guest to sleep' }).click();
      await visit.page
        .getByRole('alert')
        .getByText(/device is paused, and a process that waits for it keeps the guest awake: continue first/)
        .waitFor();
      await visit.type("cat README.txt > /tmp/copy & echo al''ive");
      await visit.until(async () => /^alive/m.test(await visit.screen()), 'the shell has stopped');
      await visit.page.getByRole('tab', { name: 'Files' }).click();
      await visit.page.locator('vm-files .row[data-path="/README.txt"]').click();
      await banner(visit).waitFor();
      await visit.page.getByRole('status').getByRole('button', { name: 'Continue' }).click();
      expect(await visit.run('wait; wc -c < /tmp/copy')).to.match(/^[1-9]/);
    });

    it('ends with a rewind; a snapshot or a fork of a paused guest has its request, which is served there', async () => {
      const visit = await pause(await site.open());
      await visit.type("cat README.txt > /tmp/copy; echo cop''ied");
      await walking(visit).waitFor();
      const row = await takeSnapshot(visit);
      await fork(visit, 'Folder of its own');
      await visit.until(
        async () => /^copied/m.test(await visit.screen(1)),
        'the second guest’s request was not served',
      );
      expect(await visit.screen()).to.not.match(/^copied/m);
      await banner(visit).waitFor();
      await row.getByRole('button', { name: 'Rewind to' }).click();
      await banner(visit).waitFor({ state: 'detached' });
      await visit.until(
        async () => /^copied/m.test(await visit.screen()),
        'the request was not served after the rewind',
      );
    });

    it('is over after a reload, which serves what had waited; and a paused guest can be closed', async () => {
      const visit = await pause(await site.open());
      await visit.type("cat README.txt > /tmp/copy; echo cop''ied");
      await walking(visit).waitFor();
      await takeSnapshot(visit);
      await visit.page.reload();
      await visit.until(
        async () => /^copied/m.test(await visit.screen()),
        'the request was not served after the reload',
      );
      expect(await banner(visit).count()).to.equal(0);
      await visit.page.getByRole('tab', { name: 'Timeline' }).click();
      await fork(visit, 'Same folder');
      await visit.ready(1);
      await visit.terminal(1).locator('.screens').click();
      await pause(visit);
      await visit.type('cat README.txt', 1);
      await walking(visit).waitFor();
      await visit.page.getByRole('button', { name: 'Close guest 2' }).click();
      await banner(visit).waitFor({ state: 'detached' });
      expect(await visit.run('cat README.txt | wc -l')).to.match(/^[1-9]/);
    });
  });
});
