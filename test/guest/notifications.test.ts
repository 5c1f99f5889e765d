import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore, Volume } from '../../device/index.ts';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { defaultKernel } from '../../harness/node/image.ts';
import { Vm } from '../../harness/node/vm.ts';
import { runShell, useGuest } from '../support/guest.ts';
import { HonestGuest } from '../support/honest-guest.ts';
import { pipe, TOKEN } from '../support/migrations.ts';

const NOTIFICATIONS = 1;

/** After the guest has been told what there is room for. */
const soon = () => Promise.resolve();

describe('notifications, with the fast driver', function () {
  this.timeout(600_000);
  const machine = { driver: 'fast', kernel: defaultKernel() } as const;
  before(() => ensureGuestImage(machine));

  describe('of what the host changes', () => {
    const log = { tag: 'log', cache: 'never' as const };
    const guest = useGuest({ ...machine, shares: [{ tag: 'share' }, log] });
    const host = () => guest.vm.share('share').fs;
    const requests = () => guest.vm.share('share').device.transport.statistics.reduce((sum, q) => sum + q.requests, 0);

    it('show names, content and attributes at the next command, whatever the guest remembers', async () => {
      const { sh } = guest;
      host().mkdirSync('/dir');
      host().writeFileSync('/dir/file', 'one\n');
      const look = 'cat dir/file; ls dir; [ -e dir/new ] && echo new; stat -c %a dir/file';
      expect(await sh(`${look} || true`)).to.equal('one\nfile\n666\n');
      host().writeFileSync('/dir/file', 'two\n');
      expect(await sh(look), 'rewritten').to.equal('two\nfile\n666\n');
      host().writeFileSync('/dir/new', '');
      host().chmodSync('/dir/file', 0o600);
      expect(await sh(look), 'a new name after it was missed').to.equal('two\nfile\nnew\nnew\n600\n');
      host().renameSync('/dir/new', '/dir/file');
      expect(await sh(`${look} || true`), 'renamed over').to.equal('file\n666\n');
      host().unlinkSync('/dir/file');
      expect(await guest.shFails('cat dir/file')).to.match(/No such file/);
      host().rmdirSync('/dir');
      host().writeFileSync('/dir', 'a file now\n');
      expect(await sh('cat dir')).to.equal('a file now\n');
    });

    it('let the guest remember for good: what it knows costs no request, seconds later either', async () => {
      host().writeFileSync('/known', 'known\n');
      const look = 'cat known; stat -c %s known; [ -e unknown ] || echo none';
      await guest.sh(look);
      await guest.sh('sleep 2.1');
      const before = requests();
      expect(await guest.sh(look)).to.equal('known\n6\nnone\n');
      // OPEN and RELEASE: content, attributes and names are known.
      expect(requests() - before).to.be.lessThanOrEqual(2);
    });

    it('find what the guest has renamed, which it asks for once more after the next one', async () => {
      const look = async (path: string) => {
        const before = requests();
        const seen = await guest.sh(`stat -c %s ${path} 2>&1 || true`);
        return { seen, requests: requests() - before };
      };
      host().writeFileSync('/renamed-1', 'content');
      host().writeFileSync('/other', '');
      await guest.sh('cat renamed-1 other; mv renamed-1 renamed-2; stat renamed-2');
      expect(await look('renamed-2')).to.deep.equal({ seen: '7\n', requests: 0 });
      host().writeFileSync('/other', 'changed');
      expect((await look('renamed-2')).requests).to.be.greaterThan(0);
      expect(await look('renamed-2')).to.deep.equal({ seen: '7\n', requests: 0 });
      await guest.sh('mv renamed-2 renamed-3; stat renamed-3');
      host().renameSync('/renamed-3', '/renamed-4');
      expect((await look('renamed-3')).seen).to.match(/No such file/);
      expect((await look('renamed-4')).seen).to.equal('7\n');
    });

    it('reach who has the file open or mapped', async () => {
      host().writeFileSync('/open', 'aaaa\n');
      const reader = guest.vm.spawn(
        [
          '/bin/sh',
          '-c',
          'exec 3<open; cat open >/dev/null; echo ready; read -r x; cat <&3; stat -Lc %s /proc/self/fd/3',
        ],
        { cwd: '/mnt/share' },
      );
      let said = '';
      const ready = new Promise<void>((resolve) => {
        reader.onStdout = (bytes) => {
          said += new TextDecoder().decode(bytes);
          if (said.includes('ready')) resolve();
        };
      });
      await ready;
      host().writeFileSync('/open', 'changed\n');
      await reader.write('\n');
      expect(await reader.exited).to.equal(0);
      expect(said).to.equal('ready\nchanged\n8\n');
    });

    it('show 60 random changes in a row, each at the next system call', async () => {
      for (const name of host().readdirSync('/') as string[]) host().rmSync(`/${name}`, { recursive: true });
      const honest = await HonestGuest.start(guest.vm);
      await honest.seesEdits(60, 1);
      await honest.stop();
    });

    it('lose nothing in a storm that the guest has no room for', async () => {
      const names = Array.from({ length: 3000 }, (_, n) => `s${n}`);
      for (const name of names.slice(0, 100)) host().writeFileSync(`/${name}`, 'old\n');
      await guest.sh('cat s? s?? >/dev/null; ls -l >/dev/null');
      for (const name of names) host().writeFileSync(`/${name}`, 'new\n');
      expect(await guest.sh('cat s? s?? | sort | uniq -c')).to.match(/^\s*100 new\n$/);
      for (const name of names) host().unlinkSync(`/${name}`);
      expect(await guest.sh('ls | grep -c "^s[0-9]" || true')).to.equal('0\n');
      expect(guest.vm.share('share').device.session.state(), 'all of it was told').not.to.have.property('notices');
    });

    it('never wait for a request that holds what they need', async () => {
      const { transport } = guest.vm.share('share').device;
      host().writeFileSync('/slow', 'one\n');
      await guest.sh('cat slow');
      host().writeFileSync('/slow', 'two\n');
      await soon();
      transport.hold();
      const held = [
        guest.vm.exec('cat slow; touch made', { cwd: '/mnt/share' }),
        guest.vm.exec('ls -l; mkdir dir-made', { cwd: '/mnt/share' }),
      ];
      await guest.vm.exec('true');
      for (let n = 0; n < 100; n++) host().writeFileSync(`/held-${n}`, '');
      host().writeFileSync('/slow', 'three\n');
      await guest.vm.exec('true');
      transport.release();
      expect((await held[0]!).stdout).to.equal('three\n');
      expect((await held[1]!).code).to.equal(0);
      expect(await guest.sh('ls -d held-* made dir-made | wc -l')).to.equal('102\n');
    });

    it('come again after unmounting and mounting, and are for nobody between', async () => {
      await guest.vm.exec('umount /mnt/share', { cwd: '/' });
      for (let n = 0; n < 100; n++) host().writeFileSync(`/between-${n}`, '');
      await guest.vm.exec('mount -t virtiofs share /mnt/share', { cwd: '/' });
      host().writeFileSync('/again', 'one\n');
      expect(await guest.sh('cat again')).to.equal('one\n');
      host().writeFileSync('/again', 'two\n');
      expect(await guest.sh('cat again')).to.equal('two\n');
      expect((await guest.vm.exec('dmesg | grep -E "BUG|WARN|Oops|virtio-fs:" || true')).stdout).to.equal('');
    });
  });

  describe('of what another guest changes', () => {
    const volume = new Volume();
    const shares = [{ tag: 'share', volume }];
    const [one, two] = [useGuest({ ...machine, shares }), useGuest({ ...machine, shares })];

    it('show it at the next command, in both directions', async () => {
      await one.sh('mkdir -p both; echo one > both/file');
      expect(await two.sh('cat both/file; ls both; [ -e both/other ] || echo none')).to.equal('one\nfile\nnone\n');
      await one.sh('echo two > both/file; mv both/file both/other');
      expect(await two.sh('cat both/other; ls both')).to.equal('two\nother\n');
      await two.sh('echo three >> both/other; chmod 600 both/other; ln both/other both/more');
      expect(await one.sh('cat both/more; stat -c "%a %h" both/other')).to.equal('two\nthree\n600 2\n');
      await two.sh('rm -r both');
      expect(await one.shFails('ls both')).to.match(/No such file/);
    });

    it('say that everything is out of date when one of them is set back', async () => {
      await one.sh('echo before > set-back');
      const snapshot = await one.vm.save();
      await two.sh('echo after > set-back; cat set-back; [ -e later ] || touch later');
      expect(await one.sh('cat set-back')).to.equal('after\n');
      await one.vm.restore(snapshot);
      expect(await two.sh('cat set-back; [ -e later ] || echo gone')).to.equal('before\ngone\n');
      expect(await one.sh('cat set-back; [ -e later ] || echo gone')).to.equal('before\ngone\n');
    });
  });

  describe('that wait', () => {
    const guest = useGuest({ ...machine, shares: [{ tag: 'share' }] });
    const look = 'cat w0 w150; [ -e new ] && echo new';

    /** Leaves changes of 200 files that the guest knows waiting for room. */
    async function leaveWaiting(vm: Vm, text: string): Promise<() => void> {
      const { fs, device } = vm.share();
      for (let n = 0; n < 200; n++) fs.writeFileSync(`/w${n}`, 'old\n');
      fs.rmSync('/new', { force: true });
      expect(await runShell(vm, `cat w* | sort -u; ${look} || true`)).to.equal('old\nold\nold\n');
      device.transport.hold();
      for (let n = 0; n < 200; n++) fs.writeFileSync(`/w${n}`, `${text}\n`);
      fs.writeFileSync('/new', '');
      await soon();
      expect(device.session.state().notices?.inodes.length).to.be.greaterThan(100);
      expect(device.transport.queues[NOTIFICATIONS]!.inFlight.size).to.equal(0);
      return () => device.transport.release();
    }

    it('go with snapshots, to new machines and back', async () => {
      const release = await leaveWaiting(guest.vm, 'waiting');
      const snapshot = await guest.vm.save();
      release();
      expect(await guest.sh(look)).to.equal('waiting\nwaiting\nnew\n');
      const other = await Vm.restore(snapshot);
      try {
        expect(await runShell(other, look)).to.equal('waiting\nwaiting\nnew\n');
        other.share().fs.writeFileSync('/w0', 'later\n');
        expect(await runShell(other, look)).to.equal('later\nwaiting\nnew\n');
      } finally {
        await other.stop();
      }
      guest.vm.share().fs.writeFileSync('/w0', 'present\n');
      expect(await guest.sh(look)).to.equal('present\nwaiting\nnew\n');
      await guest.vm.restore(snapshot);
      expect(await guest.sh(look)).to.equal('waiting\nwaiting\nnew\n');
    });

    it('go with layered snapshots and forks', async () => {
      const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
      const release = await leaveWaiting(guest.vm, 'layered');
      const { id } = await guest.vm.freeze(store);
      release();
      const forks = [await Vm.thaw(store, id), await Vm.thaw(store, id)];
      try {
        for (const fork of forks) expect(await runShell(fork, look)).to.equal('layered\nlayered\nnew\n');
      } finally {
        for (const fork of forks) await fork.stop();
      }
      guest.vm.share().fs.writeFileSync('/w0', 'present\n');
      expect(await guest.sh(look)).to.equal('present\nlayered\nnew\n');
      await guest.vm.thaw(store, id);
      expect(await guest.sh(look)).to.equal('layered\nlayered\nnew\n');
    });

    it('go with a migration', async () => {
      const release = await leaveWaiting(guest.vm, 'moved');
      const [here, there] = pipe();
      const [, successor] = await Promise.all([
        guest.vm.migrate(here, { token: TOKEN }),
        Vm.takeOver(TOKEN).serve(there),
      ]);
      release();
      const { vm } = successor!;
      try {
        expect(await runShell(vm, look)).to.equal('moved\nmoved\nnew\n');
        vm.share().fs.writeFileSync('/w0', 'later\n');
        expect(await runShell(vm, look)).to.equal('later\nmoved\nnew\n');
      } finally {
        await vm.stop();
      }
    });
  });
});
