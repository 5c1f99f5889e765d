// NODE_OPTIONS=--experimental-vm-modules jest --transform '{}' examples/testing/jest.test.mjs
import { expect, test } from '@jest/globals';
import { baseMachine } from 'v86-virtiofs/testing';
import 'v86-virtiofs/testing/jest';

const base = await baseMachine({ prepare: 'echo 0 > count' }).ready();

test(
  'counts',
  base.test(async (vm) => {
    expect(await vm.exec('echo 1 | tee count', { cwd: '/mnt/share' })).toHaveOutput('1\n');
    expect(vm.share()).toHaveFile('/count', '1\n');
  }),
);
