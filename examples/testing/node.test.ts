// node --import tsx --test examples/testing/node.test.ts
import { test } from 'node:test';
import { baseMachine, check } from 'v86-virtiofs/testing';

const base = baseMachine({ prepare: 'echo 0 > count' });

test(
  'counts',
  base.test(async (vm) => {
    const result = await vm.exec('echo $(($(cat count) + 1)) | tee count', { cwd: '/mnt/share' });
    check.output(result, '1\n');
    check.file(vm.share(), '/count', '1\n');
  }),
);
