// Lets writes to a share fail on purpose: node --import tsx --test examples/testing/faults.test.ts
import { test } from 'node:test';
import { baseMachine, check } from 'v86-virtiofs/testing';

const base = baseMachine({ shares: [{ tag: 'share', faults: {} }] });

test(
  'cp says that the disk is full',
  base.test(async (vm) => {
    vm.share().device.session.faults!.add({ opcode: 'WRITE', path: '/copy', after: 2, fail: 'ENOSPC' });
    const result = await vm.exec('cp /bin/busybox /mnt/share/copy 2>&1');
    check.exitCode(result, 1);
    check.output(result, /No space left on device/);
  }),
);
