// A base machine that several processes need at once: test/guest/tools/testing.test.ts starts them.

import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { baseMachine, check } from 'v86-virtiofs/testing';

const base = baseMachine({
  store: join(tmpdir(), 'at-once'),
  prepare: async (vm) => {
    console.log('prepared by', process.pid);
    await vm.exec('echo 1 > /mnt/share/file');
  },
});

test(
  'has it',
  base.test((vm) => check.file(vm.share(), '/file', '1\n')),
);
