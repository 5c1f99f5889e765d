import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { CpioArchive } from '../../guest-images/cpio.ts';
import type { GuestImage } from '../../guest-images/image.ts';
import { withMinimalKernel } from '../../guest-images/minimal-kernel.ts';
import { Vm } from '../../harness/node/vm.ts';
import { HonestGuest } from '../support/honest-guest.ts';
import { findQemu, Qemu } from '../support/qemu.ts';

const support = (name: string) => fileURLToPath(new URL(`../support/${name}`, import.meta.url));
const PROCESSORS = 4;
/** Of smp-guest.sh. */
const STAGES = ['words', 'turns', 'files', 'counting', 'signals', 'mounts', 'unbind', 'umount', 'all'];
/** In which the device falters, so that signals find somebody who waits. */
const FALTERING = 'signals';
/** Milliseconds: ten times as long as it takes. */
const HANGS = 1_500_000;
/** What lockdep and the other watchers of the kernel say. */
const COMPLAINT =
  /WARNING|BUG|INFO: |possible (circular|recursive|irq)|inconsistent|suspicious|corrupt|poison|Call Trace|hung|stall|turning off the locking/i;
const LOCKDEP = /Lock dependency validator/;
/** Makes, renames and removes until there is a `stop`. */
const WORK = `n=0
until [ -e stop ]; do
  echo $n >a; mv a b; read -r m <b; [ "$m" = $n ] || exit 1
  mkdir d; mv b d/c; rm -r d; n=$((n + 1))
done`;

describe('the fast driver on a kernel with preemption and lockdep', () => {
  let image: GuestImage;
  before(async function () {
    // It is built when this is first run.
    this.timeout(7_200_000);
    image = await withMinimalKernel(await ensureGuestImage(), { driver: 'fast', config: support('smp-kernel.config') });
  });

  describe('on four processors, in QEMU with virtiofsd, which answers later', function () {
    this.timeout(3_600_000);
    let roots: Awaited<ReturnType<typeof findQemu>>;
    let directory: string;

    before(async function () {
      try {
        roots = await findQemu();
      } catch (error) {
        console.log(`      SKIPPED: QEMU and virtiofsd can't be had here: ${(error as Error).message}`);
        this.skip();
      }
      directory = await mkdtemp(join(tmpdir(), 'smp-'));
      const overlay = new CpioArchive();
      overlay.file('smp-guest.sh', await readFile(support('smp-guest.sh')), 0o755);
      await writeFile(
        join(directory, 'initrd'),
        Buffer.concat([await readFile(image.plainInitrd), overlay.toBuffer()]),
      );
    });
    after(() => directory && rm(directory, { recursive: true }));

    for (const queueSize of [128, 8]) {
      it(`loses nothing, hangs nowhere, and breaks no rule of locking, with virtqueues of ${queueSize}`, async () => {
        const qemu = await Qemu.start(roots, {
          kernel: image.kernel,
          initrd: join(directory, 'initrd'),
          cmdline: 'rdinit=/smp-guest.sh panic=1 oops=panic',
          processors: PROCESSORS,
          shared: await mkdtemp(join(directory, 'shared-')),
          queueSize,
        });
        const said: string[] = [];
        const steady = new AbortController();
        let faltering: Promise<void> | undefined;
        // A guest that hangs says nothing more: which stage it was in is below.
        const watch = setTimeout(() => void qemu.stop(), HANGS);
        try {
          for await (const line of qemu.lines()) {
            said.push(line);
            if (line === `BEGIN ${FALTERING}`) faltering = qemu.falter(40, steady.signal);
            if (line.startsWith(`STAGE ${FALTERING} `)) steady.abort();
          }
        } finally {
          clearTimeout(watch);
          steady.abort();
          await faltering;
          await qemu.stop();
        }
        const told = said.slice(-60).join('\n');
        expect(said, told).to.include(`CPUS ${PROCESSORS}`);
        expect(
          said.filter((line) => line.startsWith('STAGE ')),
          told,
        ).to.deep.equal(STAGES.map((name) => `STAGE ${name} 0`));
        const kernel = said.filter((line) => line.startsWith('KERNEL '));
        const started = kernel.findIndex((line) => line.includes('Run /smp-guest.sh'));
        expect(kernel.join('\n')).to.match(LOCKDEP);
        expect(kernel.slice(started).filter((line) => COMPLAINT.test(line))).to.deep.equal([]);
      });
    }
  });

  describe('in v86, whose device tells of changes, and where a worker may come between any two instructions', function () {
    this.timeout(1_800_000);
    let vm: Vm;
    before(async () => {
      vm = await Vm.boot({
        kernel: image.vmlinux,
        initrd: image.plainInitrd,
        driver: 'stock',
        shares: [{ tag: 'share' }, { tag: 'log', cache: 'never' }],
      });
      for (const { tag } of vm.shares) await vm.mount(tag);
    });
    after(() => vm?.stop());

    it('shows 300 random changes in a row while others work, and breaks no rule of locking', async () => {
      const { fs } = vm.share('share');
      fs.mkdirSync('/work');
      const worker = vm.spawn(['/bin/sh', '-c', WORK], { cwd: '/mnt/share/work' });
      const honest = await HonestGuest.start(vm);
      await honest.seesEdits(300, 11);
      await honest.stop();
      await vm.exec('touch /mnt/share/work/stop');
      expect(await worker.exited).to.equal(0);
      const { stdout } = await vm.exec('dmesg');
      expect(stdout).to.match(LOCKDEP);
      expect(
        stdout
          .slice(stdout.indexOf('Run /init'))
          .split('\n')
          .filter((line) => COMPLAINT.test(line)),
      ).to.deep.equal([]);
    });
  });
});
