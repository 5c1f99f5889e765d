import { expect } from 'chai';
import { KERNEL_CMDLINE, kernelCmdline } from '../../../../harness/machine/boot/cmdline.ts';

describe('kernelCmdline', () => {
  it('has the defaults alone when nothing is added', () => {
    expect(kernelCmdline()).to.equal(KERNEL_CMDLINE);
    expect(KERNEL_CMDLINE).to.match(/^console=ttyS0 .*\binitcall_blacklist=\w+(,\w+)+$/);
  });

  it('puts more words behind', () => {
    expect(kernelCmdline('init=/bin/sh lsm=')).to.equal(`${KERNEL_CMDLINE} init=/bin/sh lsm=`);
  });

  it('lets another initcall_blacklist take the place of its own, which the kernel would add to', () => {
    const line = kernelCmdline('initcall_blacklist=none');
    expect(line.match(/initcall_blacklist/g)).to.have.length(1);
    expect(line.endsWith(' initcall_blacklist=none')).to.equal(true);
  });
});
