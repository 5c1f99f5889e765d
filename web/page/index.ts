import './virtiofs-vm.ts';

export * from '../embed/vm.ts';
