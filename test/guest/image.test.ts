import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sirv from 'sirv';
import { buildImage } from '../../device/image/build.ts';
import { imageFileSystem, openImage } from '../../device/index.ts';
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
      await vm.exec('echo more >> dir/other && rm dir/text', { cwd });
      expect(vm.share().fs.readFileSync('/dir/other', 'utf8')).to.equal('another text\nmore\n');
      // Snapshots have it all: they need no image.
      const resumed = await Vm.restore(await vm.save());
      try {
        expect((await resumed.exec('cat dir/other', { cwd })).stdout).to.equal('another text\nmore\n');
      } finally {
        await resumed.stop();
      }
    } finally {
      await vm.stop();
    }
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
    await attempt(['--share', `image:${join(place, 'none')}`], "can't be shared: can't read");
    await attempt(['--share', `image:${url}`, '--live'], 'is of an image');
    await attempt(['--share', `image:${url}`, '--write-back'], 'images never change');
  });
});
