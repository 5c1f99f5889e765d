import { expect } from 'chai';
import { VmError } from '../../harness/machine/errors.ts';
import { Vm } from '../../harness/node/vm.ts';
import type { VmOptions } from '../../harness/node/vm-options.ts';
import { useGuest } from '../support/guest.ts';

async function failure(action: Promise<unknown>): Promise<Error> {
  try {
    await action;
  } catch (error) {
    return error as Error;
  }
  throw new Error('this should have failed');
}

describe('what a machine is refused for', () => {
  const cases: { name: string; input: VmOptions; expect: RegExp }[] = [
    {
      name: 'a tag of 37 bytes',
      input: { shares: [{ tag: `${'ä'.repeat(18)}x` }] },
      expect: /37 bytes.*1 to 36.*shorter/,
    },
    { name: 'an empty tag', input: { shares: [{ tag: '' }] }, expect: /0 bytes.*1 to 36/ },
    {
      name: 'one tag twice',
      input: { shares: [{ tag: 'a' }, { tag: 'a' }] },
      expect: /two shares have the tag "a".*own/,
    },
    {
      name: 'two devices in one slot',
      input: {
        shares: [
          { tag: 'a', slot: 20 },
          { tag: 'b', slot: 20 },
        ],
      },
      expect: /slot 20 is taken.*choose/,
    },
    {
      name: 'a directory that is missing',
      input: { shares: [{ tag: 'a', source: '/no/such' }] },
      expect: /\/no\/such does not exist.*existing/,
    },
    {
      name: 'a file that is no archive',
      input: { shares: [{ tag: 'a', source: '/etc/passwd' }] },
      expect: /\/etc\/passwd is neither a directory nor/,
    },
    {
      name: 'an archive that is missing',
      input: { shares: [{ tag: 'a', source: '/no/such.tar.gz' }] },
      expect: /\/no\/such.tar.gz: .*ENOENT/,
    },
    { name: 'a kernel that is missing', input: { kernel: '/no/kernel', initrd: '/no/initrd' }, expect: /\/no\/kernel/ },
  ];
  for (const { name, input, expect: message } of cases) {
    it(name, async () =>
      expect(await failure(Vm.boot(input)))
        .to.have.property('message')
        .that.matches(message),
    );
  }
});

describe('a guest that does not do as it is told', () => {
  const guest = useGuest();

  it('a command that hangs ends in a timeout that shows the console', async () => {
    await guest.sh('echo the last words > /dev/console');
    const error = await failure(guest.vm.exec('sleep 1000', { timeoutMs: 500 }));
    expect(error).to.be.instanceOf(VmError).with.property('kind', 'timeout');
    expect(error.message).to.contain('sleep 1000').and.to.contain('the last words');
    expect((await guest.vm.exec('pidof sleep')).code, 'the command was killed').to.equal(1);
  });

  it('a tag that is on no device', async () => {
    const error = await failure(guest.vm.mount('nobody'));
    expect(error.message).to.match(/no share "nobody".*"share"/);
  });

  it('a mount in place of a file', async () => {
    const error = await failure(guest.vm.mount('share', '/etc/passwd/x'));
    expect(error).to.have.property('kind', 'share');
  });

  it('a command after the machine was stopped', async () => {
    const vm = await Vm.boot({ shares: [] });
    await vm.stop();
    await vm.stop();
    expect(await failure(vm.exec('true'))).to.have.property('kind', 'stopped');
  });

  it('a command that is waited for when the machine stops', async () => {
    const vm = await Vm.boot({ shares: [] });
    const waiting = failure(vm.exec('sleep 1000'));
    await vm.stop();
    expect(await waiting).to.have.property('kind', 'stopped');
  });
});
