// Tests that fail, in any runner: test/guest/tools/testing.test.ts looks at what that says.
import { baseMachine } from 'v86-virtiofs/testing';
import { PANIC } from '../panic.ts';

type Define = (name: string, test: () => Promise<void>) => unknown;

const { it } = globalThis as { it?: Define };
const define: Define = it ?? (await import('node:test')).test;
const base = await baseMachine({ prepare: 'echo 0 > count; echo prepared > /dev/console' }).ready();

define(
  'fails',
  base.test(async (vm) => {
    await vm.exec('echo of this test > /dev/console; echo 1 > count; cat nothing', { cwd: '/mnt/share' });
    throw new TypeError('count is wrong');
  }),
);
define(
  'takes too long',
  base.test((vm) => vm.exec('sleep 1000'), { timeoutMs: 300 }),
);
define(
  'panics',
  base.test((vm) => vm.exec(PANIC)),
);
