import { cacheDirectory } from './paths.ts';

/** The guest image can't be built. The message says why, and what to provide instead. */
export class GuestImageError extends Error {
  override readonly name = 'GuestImageError';
}

/** What to do on a machine that can't build the image. */
export function provideImage(): string {
  return `Provide a guest instead:
  --kernel FILE   a 32-bit Linux kernel with virtio-fs (bzImage or vmlinux)
  --initrd FILE   its initial RAM disk, with /sbin/agent of guest-images/ running on /dev/ttyS1
or run \`v86-virtiofs run -- true\` of this release on a Debian machine, and copy its ${cacheDirectory()} to the same place on this one.`;
}
