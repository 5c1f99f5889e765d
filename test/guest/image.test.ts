import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sirv from 'sirv';
import { buildImage } from '../../device/image/build.ts';
import { imageFileSystem, openImage } from '../../device/index.ts';
import { openImages } from '../../harness/node/images/image-leases.ts';
import { nodeFlate } from '../../harness/node/images/node-flate.ts';
import { DirectoryStore } from '../../harness/node/stores/directory-store.ts';
import { Vm } from '../../harness/node/vm.ts';
import { useCli } from '../support/cli.ts';
import { sampleTree } from '../support/images.ts';

describe('a share made of an image', function () {
  this.timeout(300_000);
  const { run } = useCli();
  let place: string;
  let server: Server;
  let url: string;
  const asked: string[] = [];
  /** Requests that are broken off. */
  let broken = 0;

  before(async () => {
    place = mkdtempSync(join(tmpdir(), 'image-guest-'));
    await buildImage(sampleTree(), new DirectoryStore(join(place, 'www')), 'test.image', { flate: nodeFlate });
    const serve = sirv(join(place, 'www'), { dev: true });
    server = createServer((request, response) => {
      asked.push(request.url!);
      if (request.url!.endsWith('.pack') && broken-- > 0) request.socket.destroy();
      else serve(request, response);
    }).listen(0);
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/test.image`;
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(place, { recursive: true, force: true });
  });

  it('has what is in it, from a web server whose answers break off, and takes changes', async () => {
    broken = 2;
    const vm = await Vm.boot({ shares: [{ tag: 'share', source: `image:${url}` }] });
    try {
      const cwd = await vm.mount();
      const { stdout } = await vm.exec('md5sum < dir/text; cat dir/other; stat -c %Y dir/other', { cwd });
      // Of `yes 'some text' | head -n 20000`.
      expect(stdout).to.equal(
        `${(await vm.exec("yes 'some text' | head -n 20000 | md5sum")).stdout}another text\n1700000000\n`,
      );
      await vm.exec('echo more >> dir/other && touch dir/new', { cwd });
      expect(vm.share().fs.readFileSync('/dir/other', 'utf8')).to.equal('another text\nmore\n');
      // Snapshots have what was changed: they name the image, and it is opened again where it is told.
      const snapshot = await vm.save();
      const refused = await Vm.restore(snapshot).catch((error: Error) => error.message);
      expect(refused).to.match(
        /share "share" of this guest is on the image [0-9a-f]{12}: say where that is, with --image/,
      );
      const [open] = await openImages();
      asked.length = 0;
      const resumed = await Vm.restore(snapshot, { images: [url] });
      try {
        expect((await resumed.exec('cat dir/other; ls dir', { cwd })).stdout).to.equal(
          'another text\nmore\nnew\nother\ntext\n',
        );
        expect(await openImages(), 'the same, for both').to.deep.equal([open]);
        expect(asked.filter((path) => path.endsWith('.image'))).to.deep.equal([]);
        await vm.stop();
        expect(await openImages()).to.deep.equal([open]);
        expect((await resumed.exec('wc -c < dir/text', { cwd })).stdout).to.equal('200000\n');
      } finally {
        await resumed.stop();
      }
    } finally {
      await vm.stop();
    }
    expect(await openImages(), 'closed with the last of them').to.deep.equal([]);
  });

  it('is open no more where a machine could not be made', async () => {
    const source = `image:${url}`;
    for (const options of [
      {
        shares: [
          { tag: 'one', source },
          { tag: 'two', source: `image:${url}.none` },
        ],
      },
      { shares: [{ tag: 'one', source }], kernel: join(place, 'none'), initrd: join(place, 'none') },
      { shares: [{ tag: 'one', source, size: 4096 }] },
    ]) {
      const refused = await Vm.boot(options).then(String, String);
      expect(refused).to.match(/Error/);
      expect(await openImages(), refused).to.deep.equal([]);
    }
  });

  it('is opened once for all copies of a frozen guest, and is in what is exported whole', async () => {
    const store = ['--store', join(place, 'store')];
    const command = (text: string) => ['--', 'sh', '-c', text];
    const froze = await run([
      'freeze',
      ...store,
      '--name',
      'ready',
      '--share',
      `image:${url}`,
      ...command('echo more >> dir/other; touch dir/new'),
    ]);
    expect(froze).to.include({ code: 0 });
    asked.length = 0;
    const forked = await run([
      'fork',
      ...store,
      '--copies',
      '3',
      '--image',
      url,
      'ready',
      ...command('tail -n 1 dir/text; cat dir/other'),
    ]);
    expect(forked.stdout.split('\n').filter((line) => / \| more$/.test(line)).length, forked.stderr).to.equal(3);
    expect(asked.filter((path) => path.endsWith('.image')).length).to.be.at.most(1);

    const file = join(place, 'whole.layer');
    const bare = await run(['export', ...store, '--whole', 'ready', file]);
    expect([bare.code, bare.stderr]).to.deep.equal([125, bare.stderr]);
    expect(bare.stderr).to.match(/on the image [0-9a-f]{12}: say where that is, with --image/);
    const warned = await run(['export', ...store, 'ready', `${file}.part`]);
    expect(warned.stderr).to.include('give --whole to have in it what that has');
    expect(warned).to.include({ code: 0 });
    expect(await run(['export', ...store, '--whole', '--image', url, 'ready', file])).to.include({ code: 0 });
    const other = ['--store', join(place, 'other')];
    expect(await run(['import', ...other, file])).to.include({ code: 0 });
    asked.length = 0;
    const restored = await run(['restore', ...other, 'ready', ...command('cat dir/other; wc -c < dir/text; ls dir')]);
    expect(restored.stdout, restored.stderr).to.equal('another text\nmore\n200000\nnew\nother\ntext\n');
    expect(asked).to.deep.equal([]);
  });

  it('of a program fetches what the guest reads, and resumes from snapshots that have only what was written', async () => {
    const open = () => openImage(new URL(url), { firstPause: 1 });
    const [image, again] = [await open(), await open()];
    const vm = await Vm.boot({ shares: [{ tag: 'share', filesystem: imageFileSystem(image) }] });
    try {
      const cwd = await vm.mount();
      await vm.exec('ls -lR', { cwd });
      expect(image.origin.counts.requests).to.equal(0);
      broken = 1;
      expect((await vm.exec('md5sum < dir/text', { cwd })).stdout).to.equal(
        (await vm.exec("yes 'some text' | head -n 20000 | md5sum")).stdout,
      );
      await vm.exec('echo more >> dir/other; echo new > new', { cwd });
      const snapshot = await vm.save();
      const refused = await Vm.restore(snapshot).catch((error: Error) => error.message);
      expect(refused).to.include(image.info.id.slice(0, 12));
      const resumed = await Vm.restore(snapshot, { shares: [{ tag: 'share', filesystem: imageFileSystem(again) }] });
      try {
        expect((await resumed.exec('cat dir/other new; wc -c < dir/text', { cwd })).stdout).to.equal(
          'another text\nmore\nnew\n200000\n',
        );
      } finally {
        await resumed.stop();
      }
    } finally {
      await vm.stop();
      image.origin.close();
      again.origin.close();
    }
  });

  it('says what is wrong, before anything runs', async () => {
    const attempt = async (args: string[], what: string) => {
      const { code, stderr } = await run(['run', ...args, '--', 'true']);
      expect(stderr).to.include(what);
      expect(code).to.equal(125);
    };
    await attempt(['--share', `image:${new URL('none.image', url).href}`], 'removed, or replaced by another one');
    await attempt(['--share', `image:${join(place, 'none')}`], "can't read");
    await attempt(['--share', `image:${url}`, '--live'], 'is of an image');
    await attempt(['--share', `image:${url}`, '--write-back'], 'images never change');
  });
});
