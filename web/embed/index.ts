import '../page/virtiofs-vm.ts';

export * from './vm.ts';
