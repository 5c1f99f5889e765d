import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadCodec, MemoryStore, makeToken, SnapshotStore } from '../../device/index.ts';
import { Vm } from '../../harness/node/vm.ts';
import type { VmOptions } from '../../harness/node/vm-options.ts';
import { useCli } from '../support/cli.ts';
import { useWebSite, type Visit } from './support.ts';

const README = join(import.meta.dirname, '../../web/share/README.txt');
/** A guest with the page's kernel whose driver suspends. */
const CAN_SLEEP: VmOptions = {
  kernel: process.env['V86_VIRTIOFS_KERNEL'] === 'stock' ? 'stock' : 'minimal',
  driver: 'fast',
};

describe('the page: moving, and sleep', () => {
  const site = useWebSite();
  const cli = useCli();
  const directory = mkdtempSync(join(tmpdir(), 'move-'));
  after(() => rmSync(directory, { recursive: true }));

  const dialog = ({ page }: Visit) => page.getByRole('dialog', { name: /^Move/ });
  async function openDialog(visit: Visit): Promise<void> {
    await visit.page.getByRole('button', { name: 'Move the guest', exact: true }).click();
    await dialog(visit).waitFor();
  }
  async function linkOf(visit: Visit): Promise<string> {
    await openDialog(visit);
    return dialog(visit).getByLabel('Link for the other tab').inputValue();
  }
  const give = async (visit: Visit, label: string, address: string) => {
    await dialog(visit).getByLabel(label).fill(address);
    await dialog(visit).getByLabel(label).press('Enter');
  };
  const told = ({ page }: Visit, text: RegExp) => page.getByRole('alert').getByText(text).waitFor();
  /** Something running, a deleted file that is open, a lock, and a variable. */
  const BEGIN =
    'yes deleted | head -n 99 > f; exec 5<f; rm f; n=42; (sleep 10000 | locker flock README.txt > /dev/null) & (while :; do i=$((i+1)); echo $i > new; mv new count; sleep 0.1; done) & true';
  /** A line of the file each time: a reload may go on before the one that was read last, or after it. */
  const GOES_ON =
    'read -r line <&5; echo $line; echo $n; a=$(cat count); sleep 1; [ $(cat count) -gt $a ] && echo counts; locker flock README.txt try < /dev/null | cut -d: -f1';
  const WENT_ON = 'deleted\n42\ncounts\nfailed';

  it('moves the guest to another tab, with all that runs and is open, its shells and its timeline', async () => {
    const context = await site.newProfile();
    const first = await site.open({ context });
    await first.run(BEGIN);
    await first.page.getByRole('tab', { name: 'Timeline' }).click();
    await first.page.getByLabel('Name of the snapshot').fill('before');
    await first.page.getByRole('button', { name: 'Snapshot now' }).click();
    await first.page.locator('vm-timeline li[data-id]').filter({ hasText: 'before' }).waitFor();
    const link = await linkOf(first);
    await first.picture('move');
    const states = await first.page.locator('.state').evaluateHandle((status) => {
      const seen: string[] = [];
      const look = () => seen.push(status.textContent!);
      new MutationObserver(look).observe(status, { characterData: true, childList: true, subtree: true });
      return seen;
    });
    const second = await site.open({ context, path: link.slice(site.url.length) });
    await first.page.getByText('guest runs in another tab now').waitFor();
    const seen = await states.evaluate((all) => all.map((text) => /^[A-Z][a-z]+( away)?/.exec(text)?.[0]));
    expect(seen).to.include.members(['Moving', 'Moved away']);
    expect(await second.run(GOES_ON)).to.equal(WENT_ON);
    expect(await second.screen()).to.contain('locker flock');
    await second.page.getByRole('tab', { name: 'Timeline' }).click();
    await second.page.locator('vm-timeline li[data-id]').filter({ hasText: 'before' }).waitFor();
    await second.page.getByText(/kept in this browser/).waitFor();
    await second.page.reload();
    await second.page.getByText(/resumed from/).waitFor();
    // It may have been between a line and its Enter.
    await second.type('');
    expect(await second.run(GOES_ON)).to.equal(WENT_ON);
    await first.picture('moved');
    await first.page.getByRole('button', { name: 'New guest' }).click();
    expect(await first.run('echo ${n-none}')).to.equal('none');
  });

  it('opens a link that somebody has used already, and says so', async () => {
    const context = await site.newProfile();
    const first = await site.open({ context });
    await first.run('n=1');
    const path = (await linkOf(first)).slice(site.url.length);
    const second = await site.open({ context, path });
    expect(await second.run('echo $n')).to.equal('1');
    const third = await site.open({ context, path });
    await told(third, /no tab of this browser has a machine for this link/);
    await third.page.getByText('No guest runs here').waitFor();
    await third.page.getByRole('button', { name: 'New guest' }).click();
    expect(await third.run('echo ${n-none}')).to.equal('none');
    expect(await second.run('echo $n')).to.equal('1');
  });

  it('stays when the other tab is closed on the way', async () => {
    const context = await site.newProfile();
    const first = await site.open({ context });
    await first.run(BEGIN);
    await first.run('dd if=/dev/urandom of=big bs=1M count=10 2>/dev/null');
    const path = (await linkOf(first)).slice(site.url.length);
    const second = await site.open({ context, path });
    await dialog(first)
      .getByText(/On its way/)
      .waitFor();
    await second.page.close();
    await dialog(first).getByRole('button', { name: 'Cancel' }).click();
    expect(await first.run(GOES_ON)).to.equal(WENT_ON);
  });

  it('stays while another guest has its folder, and says so', async () => {
    const visit = await site.open();
    await visit.ready();
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    await visit.page.getByRole('button', { name: 'Fork', exact: true }).click();
    await visit.page.getByRole('dialog').getByRole('button', { name: 'Same folder' }).click();
    await visit.ready(1);
    await openDialog(visit);
    await dialog(visit).getByText('guest 2 has the same folder, which would change under it').waitFor();
    expect(await dialog(visit).getByLabel('Link for the other tab').count()).to.equal(0);
    expect(await dialog(visit).getByLabel('Where a guest comes from').count()).to.equal(1);
  });

  it('moves to Node, where a command sees it, and back', async function () {
    const visit = await site.open();
    await visit.run(BEGIN);
    const server = cli.start([
      'serve',
      '--incoming',
      'ws:0',
      '--to',
      'ws:0',
      '--store',
      directory,
      '--',
      'sh',
      '-c',
      'wc -c < README.txt; echo from Node > node; ps | grep -c "[l]ocker flock"',
    ]);
    const [, there] = await server.says(/waiting on (ws:\S+)\n/);
    await openDialog(visit);
    await give(visit, 'Where the guest moves to', there!.replace(/#.*/, `#${makeToken()}`));
    await dialog(visit)
      .getByText(/different token|hung up/)
      .waitFor();
    await give(visit, 'Where the guest moves to', there!);
    await visit.page.getByText(/guest runs at ws:\/\/localhost:\d+ now/).waitFor();
    const [, back] = await server.says(/waiting on[\s\S]*waiting on (ws:\S+)\n/);
    await visit.page.getByLabel(/From Node/).fill(back!);
    await visit.page.getByRole('button', { name: 'Take over' }).click();
    expect(await visit.run(GOES_ON)).to.equal(WENT_ON);
    expect(await visit.run('cat node')).to.equal('from Node');
    const { code, stdout, stderr } = await server.ended;
    expect({ code, stdout }, stderr).to.deep.equal({ code: 0, stdout: `${statSync(README).size}\n1\n` });
  });

  it('takes a guest over from Node beside its own, and says when nobody is there', async () => {
    const frozen = await cli.run([
      'freeze',
      '--store',
      directory,
      '--name',
      'node',
      '--memory',
      '128',
      '--',
      'sh',
      '-c',
      'echo from Node > file',
    ]);
    expect(frozen.code, frozen.stderr).to.equal(0);
    const source = cli.start(['migrate', 'node', '--store', directory, '--to', 'ws:0']);
    const [, address] = await source.says(/waiting on (ws:\S+)\n/);
    const visit = await site.open();
    await openDialog(visit);
    await give(visit, 'Where a guest comes from', 'localhost:7000');
    await dialog(visit)
      .getByText(/is not the address of a machine/)
      .waitFor();
    await give(visit, 'Where a guest comes from', `ws://localhost:1#${makeToken()}`);
    await dialog(visit)
      .getByText(/no reply from ws:\/\/localhost:1/)
      .waitFor();
    visit.complaints.length = 0;
    await give(visit, 'Where a guest comes from', address!);
    expect(await visit.run('cat file', 1)).to.equal('from Node');
    expect(await visit.run('ls file')).to.match(/No such file/);
    expect(await source.ended).to.deep.include({ code: 0 });
  });

  it('lets its guest sleep, with what runs and is open, and wakes it', async () => {
    const visit = await site.open();
    await visit.run(BEGIN);
    await visit.page.getByRole('button', { name: 'Put the guest to sleep' }).click();
    const asleep = visit.page.getByText('guest is asleep. Its files stay open');
    await asleep.waitFor();
    await visit.page
      .locator('.state')
      .getByText(/^Asleep/)
      .waitFor();
    await visit.page.getByRole('button', { name: 'Wake', exact: true }).click();
    await asleep.waitFor({ state: 'detached' });
    expect(await visit.run(GOES_ON)).to.equal(WENT_ON);
    await visit.page
      .locator('.state')
      .getByText(/^Running/)
      .waitFor();
  });

  it('offers no sleep for a guest without ACPI, which nothing would wake', async function () {
    this.timeout(300_000);
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const vm = await Vm.boot({ ...CAN_SLEEP, memory: 128, shares: [{ tag: 'share', locks: 'shared' }] });
    const file = join(directory, 'awake.layer');
    try {
      await vm.mount('share');
      writeFileSync(file, Buffer.concat(await store.export((await vm.freeze(store, 'awake')).id)));
    } finally {
      await vm.stop();
    }
    const visit = await site.open();
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    await visit.drop(visit.page.locator('vm-timeline').getByRole('list'), [file]);
    await visit.page.getByRole('button', { name: 'Fork from here: awake' }).click();
    await visit.ready(1);
    expect(await visit.page.getByRole('button', { name: 'Put the guest to sleep' }).count()).to.equal(1);
    expect(await visit.page.getByRole('button', { name: 'Put Guest 2 to sleep' }).count()).to.equal(0);
  });

  it('takes a guest that sleeps, keeps it asleep, and wakes it', async function () {
    this.timeout(300_000);
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const vm = await Vm.boot({ ...CAN_SLEEP, acpi: true, memory: 128, shares: [{ tag: 'share', locks: 'shared' }] });
    try {
      await vm.mount('share');
      await vm.suspend();
      writeFileSync(
        join(directory, 'asleep.layer'),
        Buffer.concat(await store.export((await vm.freeze(store, 'asleep')).id)),
      );
    } finally {
      await vm.stop();
    }
    const visit = await site.open();
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    await visit.drop(visit.page.locator('vm-timeline').getByRole('list'), [join(directory, 'asleep.layer')]);
    await visit.page.getByRole('button', { name: 'Fork from here: asleep' }).click();
    const asleep = visit.page.getByText('guest 2 is asleep. Its files stay open');
    const wakeUp = async () => {
      await asleep.waitFor();
      await visit.page.getByRole('button', { name: 'Wake', exact: true }).click();
      await asleep.waitFor({ state: 'detached' });
    };
    await wakeUp();
    await visit.run('echo kept > f; exec 5<f; rm f', 1);
    await visit.page.getByRole('button', { name: 'Put Guest 2 to sleep' }).click();
    await asleep.waitFor();
    await visit.picture('sleep');
    await wakeUp();
    expect(await visit.run('cat <&5; dmesg | grep -c "PM: suspend exit"', 1)).to.equal('kept\n2');
  });
});
