import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { expect } from 'chai';
import { BytesSource } from '../../device/bytes.ts';
import { buildImage } from '../../device/image/build.ts';
import { type OpenImage, openImage } from '../../device/image/open.ts';
import {
  imageFileSystem,
  loadCodec,
  MemoryFileSystem,
  MemoryStore,
  makeToken,
  type PortLike,
  portChannel,
  SnapshotStore,
} from '../../device/index.ts';
import { Vm } from '../../harness/index.ts';
import { loadingHostTree } from '../../harness/node/shares/host-tree.ts';
import { inSlices } from '../../harness/node/shares/slices.ts';
import { DirectoryStore } from '../../harness/node/stores/directory-store.ts';
import { useCli } from '../support/cli.ts';
import { ImageServer } from '../support/image-server.ts';
import { makeSmallRoot } from '../support/small-root.ts';

const TOKEN = makeToken();
/** Bytes of a file that nobody needs to boot. */
const LARGE = 3 << 20;

describe('a guest whose root is an image', function () {
  this.timeout(300_000);
  const cli = useCli();
  let directory: string;
  let location: string;
  let server: ImageServer;
  let image: OpenImage;
  let snapshots: SnapshotStore;
  let vm: Vm;
  let base: string;
  let expected: string;
  const made: Vm[] = [];
  const keep = (machine: Vm) => (made.push(machine), machine);
  const ask = async (machine: Vm, command: string) => {
    const { code, stdout, stderr } = await machine.exec(command, { timeoutMs: 120_000 });
    expect(code, `${command}\n${stdout}${stderr}`).to.equal(0);
    return stdout;
  };
  const refusal = (promise: Promise<unknown>) =>
    promise.then(
      () => 'nothing was refused',
      (error: Error) => error.message,
    );
  /** One that gets the image's content from the server. */
  const thaw = async (id: string, { origin } = image) =>
    keep(await Vm.thaw(snapshots, id, { root: { filesystem: new MemoryFileSystem({ origin }) } }));

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'root-image-'));
    await makeSmallRoot(join(directory, 'root'));
    const files = new MemoryFileSystem();
    await inSlices(loadingHostTree(join(directory, 'root'), files));
    const large = files.mknod(files.root, 'large', { mode: 0o100644, uid: 0, gid: 0 });
    const bytes = new Uint8Array(LARGE).map((_, n) => Math.imul(n, 2654435761) >>> 13);
    expected = createHash('md5').update(bytes).digest('hex');
    files.write(large, 0, bytes.length, new BytesSource(bytes));
    const published = new Map<string, Uint8Array>();
    const store = new DirectoryStore(directory);
    await buildImage(
      files,
      {
        async write(name, parts) {
          published.set(name, Buffer.concat(parts));
          await store.write(name, parts);
        },
      },
      'root.image',
    );
    location = join(directory, 'root.image');
    server = await ImageServer.start(published);
    image = await openImage(server.url('root.image'));
    snapshots = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const root = new MemoryFileSystem({ origin: image.origin });
    root.restore(root.checkState(image.state));
    vm = await Vm.boot({ root: { filesystem: root } });
    base = (await vm.freeze(snapshots, 'base')).id;
  });
  afterEach(async () => {
    server.answer = () => false;
    await Promise.all(made.splice(0).map((machine) => machine.stop()));
  });
  after(async () => {
    await vm?.stop();
    await server?.stop();
    await rm(directory, { recursive: true });
  });

  it('boots without what it does not read, and reads the rest when it is asked for', async () => {
    expect(await ask(vm, 'cat /proc/mounts')).to.match(/^root \/ virtiofs rw/m);
    expect(server.sent).to.be.below(LARGE);
    const machine = await thaw(base);
    expect(await ask(machine, 'md5sum < /large')).to.include(expected);
    expect(server.sent).to.be.above(LARGE / 4);
  });

  it('is frozen without its image, and told which one it needs', async () => {
    await ask(vm, 'echo mine > /mine; head -c 100000 /large > /part');
    const { id } = await vm.freeze(snapshots);
    expect(snapshots.info(id).machine).to.have.property('devices').that.includes(`image ${image.info.id} root`);
    expect(await refusal(Vm.thaw(snapshots, id)))
      .to.include(image.info.id.slice(0, 12))
      .and.to.include('--image');
    expect(await refusal(Vm.thaw(snapshots, base, { images: [join(directory, 'missing.image')] }))).to.include(
      'missing',
    );
    const back = keep(await Vm.thaw(snapshots, id, { images: [location] }));
    expect(await ask(back, 'cat /mine; md5sum < /large')).to.match(new RegExp(`^mine\n${expected}`));
    const saved = keep(await Vm.restore(await vm.save(), { images: [location] }));
    expect(await ask(saved, 'cat /mine; cmp -n 100000 /part /large')).to.equal('mine\n');
  });

  it('goes on with a READ that waits, frozen, forked and migrated', async () => {
    // Nothing is in memory of it.
    const machine = await thaw(base, await openImage(server.url('root.image')));
    let release = () => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    const asked = new Promise<void>((resolve) => {
      server.answer = (_, response) => {
        resolve();
        void released.then(() => response.destroy());
        return true;
      };
    });
    machine.spawn('md5sum < /large > /sum; while [ ! -e /never ]; do sleep 1; done');
    await asked;
    const { id } = await machine.freeze(snapshots);
    const { port1, port2 } = new MessageChannel();
    const served = Vm.takeOver(TOKEN, { images: [location] }).serve(portChannel(port2 as unknown as PortLike));
    await machine.migrate(portChannel(port1 as unknown as PortLike), { token: TOKEN });
    port1.close();
    server.answer = () => false;
    release();
    const machines = [
      keep((await served)!.vm),
      await thaw(id),
      keep(await Vm.thaw(snapshots, id, { images: [location] })),
    ];
    for (const one of machines)
      expect(await ask(one, 'while [ ! -s /sum ]; do sleep 0.1; done; cat /sum')).to.include(expected);
  });

  it('is profiled: what is read comes with the head, of a boot and of a frozen guest @long', async () => {
    const store = ['--store', join(directory, 'profiled')];
    const profile = async (name: string, command: string, ...more: string[]) => {
      const words = [
        'image',
        'profile',
        '--json',
        ...more,
        '-o',
        join(directory, name),
        location,
        '--',
        'sh',
        '-c',
        command,
      ];
      const done = await cli.run(words);
      return { ...done, text: done.stdout.slice(done.stdout.indexOf('{')) };
    };
    const boot = await profile('boot.image', 'head -c 100000 /large | wc -c');
    expect(boot).to.include({ code: 0 });
    expect(boot.stdout).to.match(/^100000\n/);
    expect(JSON.parse(boot.text)).to.include({ id: image.info.id, leftOut: 0 });
    server.files.set('boot.image', await readFile(join(directory, 'boot.image')));
    server.log.length = 0;
    const again = await openImage(server.url('boot.image'));
    const root = imageFileSystem(again);
    const machine = keep(await Vm.boot({ root: { filesystem: root } }));
    expect(await ask(machine, 'head -c 100000 /large | wc -c')).to.equal('100000\n');
    // How far the shell on the console has come by then differs.
    const { bytes } = again.origin.counts;
    expect(again.info.firstBytes).to.be.above(400_000);
    expect(bytes - again.info.firstBytes, server.log.join()).to.be.below(200_000);
    expect(server.log[0]).to.equal('boot.image');
    again.origin.close();

    expect(await cli.run(['freeze', ...store, '--name', 'ready', '--root', `image:${location}`])).to.include({
      code: 0,
    });
    const thawed = await profile('thawed.image', 'tail -c 100000 /large | wc -c', ...store, '--at', 'ready');
    expect(thawed).to.include({ code: 0 });
    const [cold, warm] = [boot, thawed].map(({ text }) => JSON.parse(text) as { bytes: number });
    expect(warm!.bytes).to.be.below(cold!.bytes);
    const restored = await cli.run([
      'restore',
      ...store,
      '--image',
      join(directory, 'thawed.image'),
      'ready',
      '--',
      'md5sum',
      '/large',
    ]);
    expect(restored.stdout).to.include(expected);

    const failed = await profile('failed.image', 'exit 3');
    expect(failed).to.include({ code: 3 });
    expect(failed.stderr).to.include('failed.image stays as it is');
    expect(existsSync(join(directory, 'failed.image'))).to.equal(false);
    const nowhere = await cli.run(['image', 'profile', server.url('root.image').href, '--', 'true']);
    expect(nowhere).to.include({ code: 125 });
    expect(nowhere.stderr).to.include('give --output FILE');
  });

  it('runs from the command line, and is restored there @long', async () => {
    const store = ['--store', join(directory, 'store')];
    const frozen = await cli.run([
      'freeze',
      ...store,
      '--name',
      'ready',
      '--root',
      `image:${location}`,
      '--',
      'sh',
      '-c',
      'echo here > /here',
    ]);
    expect(frozen).to.include({ code: 0 });
    const bare = await cli.run(['restore', ...store, 'ready', '--', 'true']);
    expect(bare.code).to.equal(125);
    expect(bare.stderr).to.include('--image IMAGE');
    const restored = await cli.run([
      'restore',
      ...store,
      '--image',
      location,
      'ready',
      '--',
      'sh',
      '-c',
      'cat /here; md5sum < /large',
    ]);
    expect(restored.stdout).to.match(new RegExp(`^here\n${expected}`));
  });
});
