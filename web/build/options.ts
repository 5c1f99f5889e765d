import { Command, Option } from 'commander';
import type { GuestImageOptions } from '../../guest-images/build.ts';

const KERNEL = new Option(
  '--kernel <which>',
  "the guest's kernel: a small one that is built first, in some minutes and once; or Debian's, which makes the download larger",
)
  .choices(['minimal', 'stock'])
  .default('minimal')
  .env('V86_VIRTIOFS_KERNEL');

const DRIVER = new Option('--driver <which>', "the guest's virtio-fs driver: the fast one, or the kernel's own")
  .choices(['fast', 'stock'])
  .default('fast')
  .env('V86_VIRTIOFS_DRIVER');

/** What the command line of a build, `npm run NAME`, says of the guest. */
export function guestOptions(name: string): Required<Pick<GuestImageOptions, 'kernel' | 'driver'>> {
  return new Command(name).addOption(KERNEL).addOption(DRIVER).parse().opts();
}
