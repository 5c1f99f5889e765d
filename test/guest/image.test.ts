import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sirv from 'sirv';
import { BytesSource } from '../../device/bytes.ts';
import { buildImage } from '../../device/image/build.ts';
import {
  imageFileSystem,
  loadCodec,
  MemoryFileSystem,
  MemoryStore,
  openImage,
  SnapshotStore,
} from '../../device/index.ts';
import { openImages } from '../../harness/node/images/image-leases.ts';
import { nodeFlate } from '../../harness/node/images/node-flate.ts';
import { DirectoryStore } from '../../harness/node/stores/directory-store.ts';
import { Vm } from '../../harness/node/vm.ts';
import { VmPool } from '../../harness/node/vm-pool.ts';
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
  /** Those that are answered 404. */
  let refuse = (_path: string) => false;

  before(async () => {
    place = mkdtempSync(join(tmpdir(), 'image-guest-'));
    await buildImage(sampleTree(), new DirectoryStore(join(place, 'www')), 'test.image', { flate: nodeFlate });
    const serve = sirv(join(place, 'www'), { dev: true });
    server = createServer((request, response) => {
      asked.push(request.url!);
      if (refuse(request.url!)) response.writeHead(404).end();
      else if (request.url!.endsWith('.pack') && broken-- > 0) request.socket.destroy();
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

  it('is opened once for all copies of a frozen guest, and is in what is exported whole @long', async () => {
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

  it('stays open for the machines of a pool, which come back to the snapshot again and again', async () => {
    const snapshots = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const vm = await Vm.boot({ shares: [{ tag: 'share', source: `image:${url}` }] });
    const cwd = await vm.mount();
    await vm.exec('echo more >> dir/other', { cwd });
    const { id } = await vm.freeze(snapshots);
    await vm.stop();
    expect(await openImages()).to.deep.equal([]);
    asked.length = 0;
    await using pool = new VmPool(snapshots, id, { images: [url] });
    for (let round = 0; round < 3; round++) {
      const taken = await pool.take();
      const said = await taken.exec('cat dir/other; ls dir; rm dir/text', { cwd });
      expect(said.stdout, `round ${round}`).to.equal('another text\nmore\nother\ntext\n');
      expect((await openImages()).length).to.equal(1);
      await pool.release(taken);
    }
    expect(asked.filter((path) => path.endsWith('.image')).length).to.be.at.most(1);
    await pool.close();
    expect(await openImages()).to.deep.equal([]);
  });

  it('goes back to what the image has, and what is open stays until it is closed', async () => {
    const vm = await Vm.boot({ shares: [{ tag: 'share', source: `image:${url}` }, { tag: 'plain' }] });
    try {
      const cwd = await vm.mount('share');
      await vm.exec('rm dir/text; echo changed > dir/other; mkdir new; echo open > new/file', { cwd });
      const holder = vm.spawn('exec 3<new/file; echo ready; read line; cat <&3', { cwd });
      await new Promise<void>((resolve) => {
        holder.onStdout = () => resolve();
      });
      const frozen = await vm.save();
      vm.share('share').reset();
      let said = '';
      holder.onStdout = (data) => void (said += new TextDecoder().decode(data));
      await holder.write('\n');
      holder.closeStdin();
      expect(await holder.exited, said).to.equal(0);
      expect(said).to.equal('open\n');
      await vm.exec(`umount ${cwd}`, { cwd: '/' });
      await vm.mount('share');
      const now = await vm.exec('ls; cat dir/other; wc -c < dir/text; echo again > dir/new; cat dir/new', { cwd });
      expect(now.stdout).to.equal('dir\nanother text\n200000\nagain\n');
      vm.share('share').reset();
      await vm.restore(frozen);
      expect((await vm.exec('cat dir/other new/file', { cwd })).stdout).to.equal('changed\nopen\n');
      expect(() => vm.share('plain').reset()).to.throw(/on no image/);
    } finally {
      await vm.stop();
    }
  });

  it('says what is wrong while a guest reads, and needs no server for what was read', async () => {
    const www = new DirectoryStore(join(place, 'www'));
    const files = new MemoryFileSystem();
    const content = randomBytes(100_000);
    const file = files.mknod(files.root, 'file', { mode: 0o100644, uid: 0, gid: 0 });
    files.write(file, 0, content.length, new BytesSource(content));
    const { files: names } = await buildImage(files, www, 'second.image', { flate: nodeFlate });
    const source = new URL('second.image', url).href;
    const md5 = createHash('md5').update(content).digest('hex');
    const cat = (...options: string[]) =>
      run(['run', ...options, '--share', `image:${source}`, '--', 'md5sum', 'file']);

    refuse = (path) => path.endsWith('.pack');
    const missing = await cat();
    expect(missing.code, missing.stderr).to.equal(1);
    expect(missing.stderr)
      .to.include('404')
      .and.to.match(/I\/O error|Input\/output error/);
    refuse = () => false;
    broken = Infinity;
    const gone = await cat('--image-patience', '0.2');
    expect(gone.code, gone.stderr).to.equal(1);
    expect(gone.stderr)
      .to.include("can't fetch")
      .and.to.match(/I\/O error|Input\/output error/);
    broken = 0;

    const store = ['--store', join(place, 'offline')];
    const frozen = await run([
      'freeze',
      ...store,
      '--name',
      'ready',
      '--share',
      `image:${source}`,
      '--',
      'md5sum',
      'file',
    ]);
    expect(frozen.stdout).to.include(md5);
    const read = ['--', 'sh', '-c', 'echo 3 > /proc/sys/vm/drop_caches; md5sum file'];
    const restore = () => run(['restore', ...store, '--image', source, 'ready', ...read]);
    asked.length = 0;
    refuse = () => true;
    const offline = await restore();
    expect(offline.stdout, offline.stderr).to.include(md5);
    expect(asked, 'nothing').to.deep.equal([]);
    refuse = () => false;
    for (const name of names) await www.remove(name);
    expect((await restore()).stdout, 'neither is the image there').to.include(md5);

    const moved = await run(['restore', ...store, '--image', url, 'ready', ...read]);
    expect(moved.code).to.equal(125);
    expect(moved.stderr).to.match(/test.image is another image now: it is [0-9a-f]{12}, and [0-9a-f]{12} is needed/);
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
