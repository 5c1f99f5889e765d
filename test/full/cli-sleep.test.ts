import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { Vm } from '../../harness/node/vm.ts';
import { useCli } from '../support/cli.ts';
import { machineOptions, SHOWN, showMachine } from '../support/cli-options.ts';

describe('a guest that is put to sleep and woken', function () {
  this.timeout(600_000);

  describe('from the command line', () => {
    let directory: string;
    before(async () => {
      await ensureGuestImage({ driver: 'fast' });
      directory = mkdtempSync(join(tmpdir(), 'cli-'));
    });
    after(() => rmSync(directory, { recursive: true }));

    const { run } = useCli();
    const cli = (command: string, ...args: string[]) => run([command, '--store', directory, ...args]);

    it('sleeps in a snapshot, and wakes in another process, twice, with a deleted file open', async () => {
      const slept = await cli(
        'suspend',
        '--name',
        'first',
        '--',
        'sh',
        '-c',
        'echo kept > f; exec 3<f; rm f; (sleep 2; cat <&3 > g; sleep 1000) &',
      );
      expect(slept.stderr).to.match(/asleep as first \(/);
      const woken = await cli(
        'wake',
        'first',
        '--name',
        'second',
        '--',
        'sh',
        '-c',
        'until [ -s g ]; do sleep 0.1; done; cat g; dmesg | grep -c "PM: suspend exit"',
      );
      expect(woken.stdout, woken.stderr).to.equal('kept\n1\n');
      const again = await cli(
        'wake',
        'second',
        '--',
        'sh',
        '-c',
        'cat g; dmesg | grep -c "PM: suspend exit"; grep virtiofs /proc/mounts',
      );
      expect(again.stdout, again.stderr).to.match(/^kept\n2\nshare \/mnt\/share virtiofs /);
    });
  });

  describe('with every option', () => {
    let directory: string;
    before(() => {
      directory = mkdtempSync(join(tmpdir(), 'cli-'));
    });
    after(() => rmSync(directory, { recursive: true }));
    const { run } = useCli();

    it('has what it was given, and its share is kept before it sleeps', async () => {
      const share = join(directory, 'share');
      mkdirSync(join(share, 'sub'), { recursive: true });
      const json = join(directory, 'share.json');
      const { code, stdout, stderr } = await run([
        'suspend',
        '--store',
        join(directory, 'store'),
        '--name',
        'asleep',
        ...machineOptions(share, json),
        '--no-cache',
        '--',
        'sh',
        '-c',
        `echo slept > ../file; ${showMachine}; exit 9`,
      ]);
      expect({ code, stdout }, stderr).to.deep.equal({ code: 9, stdout: `${SHOWN}\n` });
      expect(stderr).to.match(/guest \| [\s\S]*asleep as asleep/);
      expect(readFileSync(join(share, 'file'), 'utf8')).to.equal('slept\n');
      expect(JSON.parse(readFileSync(json, 'utf8'))).to.deep.equal({ '/file': 'slept\n', '/sub': null });
    });
  });

  it('is told why it does not, with the stock driver', async () => {
    const vm = await Vm.boot({ acpi: true, shares: [{ tag: 'share' }] });
    try {
      await vm.mount('share');
      expect(await vm.suspend().catch((error: Error) => error))
        .to.be.instanceOf(Error)
        .with.property('message')
        .that.matches(/did not go to sleep: .*Operation not supported.*driver "suspend"/);
      expect((await vm.exec('echo awake > /mnt/share/f; cat /mnt/share/f')).stdout).to.equal('awake\n');
    } finally {
      await vm.stop();
    }
  });
});
