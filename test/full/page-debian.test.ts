import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { Vm } from '../../harness/node/vm.ts';
import { PAGE_DIRECTORY } from '../../web/build/serve.ts';
import { useWebSite, type Visit } from '../web/support.ts';
import { TOURS } from '../web/tours.ts';

const ROOT = join(import.meta.dirname, '../..');
const LONG = 600_000;
/** Takes gcc some seconds, which is long enough to be frozen in. */
const SOURCE = [
  ...Array.from({ length: 300 }, (_, n) => `int f${n}(int x) { return x * ${n} + ${n % 7}; }`),
  'int main(void) { return f199(1) - 202; }',
].join('\n');
const BEGIN = `printf %s ${Buffer.from(SOURCE).toString('base64')} | base64 -d > /root/many.c; cd /root; md5sum < many.c; (gcc -O2 -o many many.c && ./many; echo done $? > /root/sum) & true`;
const END = 'until [ -s /root/sum ]; do sleep 0.2; done; cat /root/sum';

describe('the page: Debian', function () {
  this.timeout(3 * LONG);
  const site = useWebSite();
  let directory: string;

  before(async () => {
    execFileSync('npm', ['run', '--silent', 'build:debian'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
    directory = await mkdtemp(join(tmpdir(), 'page-debian-'));
  });
  after(() => rm(directory, { recursive: true }));

  const timeline = (visit: Visit) => visit.page.locator('vm-timeline');
  /** Takes a snapshot, and saves it as a file. */
  async function exportNow(visit: Visit, name: string): Promise<string> {
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    await visit.page.getByLabel('Name of the snapshot').fill(name);
    await visit.page.getByRole('button', { name: 'Snapshot now' }).click();
    const row = timeline(visit).locator('li[data-id]').filter({ hasText: name });
    await row.waitFor();
    await row.getByRole('button', { name: /^More/ }).click();
    const download = await visit.download(() => row.getByRole('button', { name: /^Export/ }).click());
    const path = join(directory, `${name}.layer`);
    await download.saveAs(path);
    return path;
  }

  it('has the programs that people look for', async () => {
    const visit = await site.open();
    expect(await visit.run('echo $BASH_VERSION; python3 -c "print(6*7)"; sqlite3 :memory: "select 1+1"')).to.match(
      /^5\..*\n42\n2$/,
    );
    for (const program of ['gcc', 'make', 'git', 'nano', 'vim', 'strace', 'tmux', 'curl'])
      expect(await visit.run(`${program} ${program === 'tmux' ? '-V' : '--version'} | head -1`)).to.match(/\d/);
  });

  for (const [tour, follow] of Object.entries(TOURS))
    it(`shows a first visitor something: “${tour}”`, async () => {
      const visit = await site.open();
      await visit.ready();
      await follow(visit, (name) => visit.picture(`debian-${name.replaceAll(' ', '-')}`));
    });

  it('is frozen in the middle of gcc, goes on in Node, and back in the page', async () => {
    const visit = await site.open();
    await visit.run(BEGIN);
    await visit.until(async () => /cc1/.test(await visit.run('pgrep -l cc1')), 'gcc does not run');
    const exported = await exportNow(visit, 'gcc');
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const images = [join(PAGE_DIRECTORY, 'debian/debian.image')];
    const vm = await Vm.thaw(store, await store.import(await readFile(exported)), { images });
    let layer: string;
    try {
      expect((await vm.exec('pgrep -c cc1; cat /root/sum 2>/dev/null')).stdout).to.equal('1\n');
      const { id } = await vm.freeze(store, 'from Node');
      layer = join(directory, 'node.layer');
      await writeFile(layer, Buffer.concat(await store.export(id)));
      expect((await vm.exec(END, { timeoutMs: LONG })).stdout).to.equal('done 0\n');
    } finally {
      await vm.stop();
    }
    await visit.drop(timeline(visit).getByRole('list'), [layer]);
    await visit.page.getByRole('button', { name: 'Rewind to: from Node' }).click();
    await visit.page.getByRole('button', { name: 'Undo' }).waitFor();
    expect(await visit.run('ls /root/sum 2>&1; pgrep -c cc1')).to.match(/No such file.*\n1$/);
    await visit.type(`${END} | tr d D`);
    const end = Date.now() + LONG;
    while (!/^Done 0$/m.test(await visit.screen())) {
      if (Date.now() > end) throw new Error('gcc has not ended');
      await visit.page.waitForTimeout(500);
    }
  });
});
