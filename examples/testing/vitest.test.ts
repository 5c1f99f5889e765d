// vitest run examples/testing/vitest.test.ts

import { baseMachine } from 'v86-virtiofs/testing';
import { expect, test } from 'vitest';
import 'v86-virtiofs/testing/vitest';

const base = await baseMachine({ prepare: 'echo 0 > count' }).ready();

test(
  'counts',
  base.test(async (vm) => {
    expect(await vm.exec('echo 1 | tee count', { cwd: '/mnt/share' })).toHaveOutput('1\n');
    expect(vm.share()).toHaveFile('/count', '1\n');
  }),
);
