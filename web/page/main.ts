import './virtiofs-vm.ts';
