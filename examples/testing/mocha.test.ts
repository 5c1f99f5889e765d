// mocha --node-option import=tsx examples/testing/mocha.test.ts
import { expect } from 'chai';
import { baseMachine } from 'v86-virtiofs/testing';
import 'v86-virtiofs/testing/chai';

const base = baseMachine({ prepare: 'echo 0 > count' });

it(
  'counts',
  base.test(async (vm) => {
    expect(await vm.exec('echo 1 | tee count', { cwd: '/mnt/share' })).to.have.output('1\n');
    expect(vm.share()).to.have.file('/count', '1\n');
  }),
);
