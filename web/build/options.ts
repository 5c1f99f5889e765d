import { Option } from 'commander';

export function kernelOption(): Option {
  return new Option(
    '--kernel <which>',
    "the guest's kernel: a small one that is built first, in some minutes and once; or Debian's, which makes the download larger",
  )
    .choices(['minimal', 'stock'])
    .default('minimal')
    .env('V86_VIRTIOFS_KERNEL');
}

export function driverOption(): Option {
  return new Option('--driver <which>', "the guest's virtio-fs driver: the fast one, or the kernel's own")
    .choices(['fast', 'stock'])
    .default('fast')
    .env('V86_VIRTIOFS_DRIVER');
}
