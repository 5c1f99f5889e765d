import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { expect } from 'chai';
import {
  createFsFromVolume,
  loadCodec,
  MemoryFileSystem,
  MemoryStore,
  makeToken,
  type PortLike,
  portChannel,
  SnapshotStore,
  volumeOf,
} from '../../device/index.ts';
import { Vm } from '../../harness/index.ts';
import { loadArchive } from '../../harness/node/shares/archive.ts';
import { useCli } from '../support/cli.ts';
import { makeSmallRoot } from '../support/small-root.ts';

const TOKEN = makeToken();
/** Bytes that fit into the root. */
const SIZE = 16 << 20;
/** Says what it reads from a file of the root that has been removed, a line for each line that it is sent. */
const READER =
  'echo one > /file; echo two >> /file; exec 3< /file; rm /file; while read x; do read line <&3; echo "$line"; done';

describe('a guest with its root filesystem on a share', function () {
  this.timeout(300_000);
  const cli = useCli();
  const store = new MemoryStore();
  let snapshots: SnapshotStore;
  let directory: string;
  let vm: Vm;
  let base: string;
  const made: Vm[] = [];
  const keep = (machine: Vm) => (made.push(machine), machine);
  const ask = async (machine: Vm, command: string) => {
    const { code, stdout, stderr } = await machine.exec(command);
    expect(code, `${command}\n${stdout}${stderr}`).to.equal(0);
    return stdout;
  };

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'root-'));
    await makeSmallRoot(join(directory, 'root'));
    snapshots = await SnapshotStore.open(store, loadCodec());
    vm = await Vm.boot({ root: { source: join(directory, 'root'), size: SIZE }, shares: [{ tag: 'share' }] });
    await ask(vm, 'echo base > /base');
    base = (await vm.freeze(snapshots, 'base')).id;
  });
  afterEach(() => Promise.all(made.splice(0).map((machine) => machine.stop())));
  after(async () => {
    await vm?.stop();
    await rm(directory, { recursive: true });
  });

  it('has it at /, with what programs expect and nothing of ours', async () => {
    const mounts = await ask(vm, 'cat /proc/mounts');
    expect(mounts).to.match(/^root \/ virtiofs rw/m);
    for (const [type, path] of [
      ['proc', '/proc'],
      ['sysfs', '/sys'],
      ['devtmpfs', '/dev'],
      ['devpts', '/dev/pts'],
      ['tmpfs', '/run'],
    ])
      expect(mounts).to.include(` ${path} ${type} `);
    expect(mounts).not.to.match(/rootfs|\/mnt/);
    expect(await ask(vm, 'ls -A / | tr "\\n" " "')).to.equal(
      'base bin dev etc init lib mnt proc root run sbin sys tmp usr var ',
    );
    expect(await ask(vm, 'hostname')).to.equal('guest\n');
    expect(vm.share('root').skipped).to.deep.equal([]);
  });

  it('keeps what the guest does there, for the host to see, and the other way round', async () => {
    await ask(vm, 'mkdir -p /etc/made && echo guest > /etc/made/file');
    expect(vm.share('root').fs.readFileSync('/etc/made/file', 'utf8')).to.equal('guest\n');
    vm.share('root').fs.writeFileSync('/etc/made/new', 'host\n');
    expect(await ask(vm, 'cat /etc/made/new')).to.equal('host\n');
  });

  it('has its other shares before it', async () => {
    expect(vm.shares.map(({ tag }) => tag)).to.deep.equal(['share', 'root']);
    expect(await vm.mount('root')).to.equal('/');
    expect(await vm.mount()).to.equal('/mnt/share');
    await ask(vm, 'echo shared > /mnt/share/file');
    expect(vm.share().fs.readFileSync('/file', 'utf8')).to.equal('shared\n');
  });

  const ways: Record<string, () => Promise<Vm>> = {
    'thawed from a store': async () => {
      const { id } = await vm.freeze(snapshots);
      return Vm.thaw(snapshots, id);
    },
    'taken back in place': async () => {
      const { id } = await vm.freeze(snapshots);
      const other = await Vm.thaw(snapshots, base);
      await other.thaw(snapshots, id);
      return other;
    },
    'restored from a whole snapshot': async () => Vm.restore(await vm.save()),
    migrated: async () => {
      const { id } = await vm.freeze(snapshots);
      const source = keep(await Vm.thaw(snapshots, id));
      const { port1, port2 } = new MessageChannel();
      const served = Vm.takeOver(TOKEN).serve(portChannel(port2 as unknown as PortLike));
      await source.migrate(portChannel(port1 as unknown as PortLike), { token: TOKEN });
      port1.close();
      return (await served)!.vm;
    },
  };
  for (const [name, comeBack] of Object.entries(ways))
    it(`goes on, ${name}, with files of its root open`, async () => {
      const reader = vm.spawn(READER);
      let said = '';
      const line = (text: string) =>
        new Promise<void>((resolve) => {
          reader.onStdout = (data) => {
            said += Buffer.from(data).toString();
            if (said.endsWith(text)) resolve();
          };
        });
      const first = line('one\n');
      await reader.write(Buffer.from('x\n'));
      await first;
      const back = keep(await comeBack());
      const again = back.agent.attach(reader.id);
      const second = new Promise<string>((resolve) => {
        again.onStdout = (data) => resolve(Buffer.from(data).toString());
      });
      await again.write(Buffer.from('x\n'));
      expect(await second).to.equal('two\n');
      expect(await ask(back, 'cat /base; ls -A / | grep -c v86 || true')).to.equal('base\n0\n');
      reader.kill('SIGKILL');
      await reader.exited;
    });

  it('is forked into guests whose roots part, and goes back to where it was', async () => {
    const [one, two] = [keep(await Vm.thaw(snapshots, base)), keep(await Vm.thaw(snapshots, base))];
    await ask(one, 'echo one > /who; rm /base');
    await ask(two, 'echo two > /who');
    expect(await ask(one, 'cat /who; ls /base 2>&1 || true')).to.match(/^one\n.*No such file/);
    expect(await ask(two, 'cat /who /base')).to.equal('two\nbase\n');
    await one.thaw(snapshots, base);
    expect(await ask(one, 'cat /base; ls /who 2>&1 || true')).to.match(/^base\n.*No such file/);
  });

  it('boots again from its root, also one that came from a snapshot, whatever was done there', async () => {
    const machine = keep(await Vm.thaw(snapshots, base));
    await ask(machine, 'echo kept > /kept; mkdir /.v86-virtiofs; echo junk > /.v86-virtiofs/init; sync');
    await machine.reboot();
    expect(await ask(machine, 'cat /base /kept; ls -A / | grep -c v86 || true')).to.equal('base\nkept\n0\n');
  });

  it('crashes with a reason when there is no room to boot again @long', async () => {
    const machine = keep(await Vm.thaw(snapshots, base, { root: { size: SIZE } }));
    const { fs } = machine.share('root');
    const warnings: string[] = [];
    const listen = (warning: Error) => warnings.push(warning.message);
    process.on('warning', listen);
    try {
      for (let size = SIZE; size >= 1; size >>= 1)
        try {
          fs.writeFileSync(`/full-${size}`, Buffer.alloc(size, 1));
        } catch (error) {
          expect((error as NodeJS.ErrnoException).code).to.equal('ENOSPC');
        }
      // The programs that run are unlinked, and give their room back. Their names are new: no byte is left for one.
      for (const name of (fs.readdirSync('/') as string[]).filter((each) => each.startsWith('full-')))
        for (let length = 255; length > name.length; length--)
          try {
            fs.renameSync(`/${name}`, `/${name.padEnd(length, 'x')}`);
            break;
          } catch (error) {
            expect((error as NodeJS.ErrnoException).code).to.equal('ENOSPC');
          }
      const error = await machine.reboot().then(
        () => undefined,
        (reason: Error) => reason,
      );
      expect(error?.message).to.include('the guest has crashed');
      expect(warnings.join()).to.include("the guest can't boot from its root: ");
    } finally {
      process.off('warning', listen);
    }
  });

  it('is refused what a snapshot has by itself, and what makes no sense', async () => {
    const refused = async (promise: Promise<unknown>, message: string) =>
      expect(
        await promise.then(
          () => 'nothing was refused',
          (error: Error) => error.message,
        ),
      ).to.include(message);
    await refused(Vm.restore(await vm.save(), { root: directory }), 'leave `source` out');
    await refused(Vm.boot({ root: { source: directory, tag: 'a b' } }), "can't have the tag");
    await refused(Vm.boot({ root: { source: directory, init: '/sbin/init "x"' } }), "can't be process 1");
    await refused(Vm.boot({ root: directory, shares: [{ tag: 'root' }] }), 'two shares have the tag');
    await refused(Vm.boot({ root: join(directory, 'missing') }), 'missing');
    expect((await cli.run(['run', '--init', '/sbin/init', '--', 'true'])).stderr).to.include('give --root too');
  });

  it('runs commands, from an image that an archive has become, with another process 1, and saves what became of it @long', async () => {
    const [tar, image, saved] = ['root.tar', 'root.image', 'saved.tgz'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    vm.share('root').fs.writeFileSync('/bin/first', '#!/bin/sh\necho "$*" > /args\nexec sleep 100000\n');
    vm.share('root').fs.chmodSync('/bin/first', 0o755);
    await vm.share('root').save(tar);
    expect(await cli.run(['image', 'build', tar, image])).to.include({ code: 0 });
    const script = 'pwd; cat /base /args; tr "\\0" "\\n" < /proc/1/cmdline; echo saved > /saved';
    const ran = await cli.run([
      'run',
      '--root',
      `image:${image}`,
      '--init',
      '/bin/first a b=c',
      '--save',
      saved,
      '--',
      'sh',
      '-c',
      script,
    ]);
    expect(ran).to.deep.include({ code: 0, stdout: '/root\nbase\na b=c\nsleep\n100000\n' });
    const files = new MemoryFileSystem();
    await loadArchive(saved, files);
    expect(createFsFromVolume(volumeOf(files)).readFileSync('/saved', 'utf8')).to.equal('saved\n');
  });
});
