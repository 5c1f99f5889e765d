// Tests a module of the kernel; KERNEL, MODULES and INITRD name another kernel: node --import tsx --test examples/testing/module.test.ts
import { test } from 'node:test';
import { baseMachine, check } from 'v86-virtiofs/testing';

const base = baseMachine({
  kernel: process.env['KERNEL'],
  modules: process.env['MODULES'],
  initrd: process.env['INITRD'],
  prepare: 'modprobe overlay; cd /tmp; mkdir lower upper work merged; echo below > lower/file',
});

test(
  'overlay leaves the lower file as it is, and can be loaded again',
  base.test(async (vm) => {
    const mount = 'mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none merged';
    const use = `${mount} && echo above > merged/file && cat lower/file upper/file && umount merged && rmmod overlay`;
    for (let n = 0; n < 3; n++)
      check.output(await vm.exec(`modprobe overlay && ${use}`, { cwd: '/tmp' }), 'below\nabove\n');
    await check.kernelLog(vm);
  }),
);
