import { cacheDirectory } from './paths.ts';

/** The guest image can't be built. The message says why, and what to provide instead. */
export class GuestImageError extends Error {
  override readonly name = 'GuestImageError';
}

/** Names where a guest image is that was built before: a directory, or a .tar.gz file or URL. */
export const GUEST_VARIABLE = 'V86_VIRTIOFS_GUEST';

/** What to do on a machine that can't build the image. */
export function provideImage(): string {
  return `Provide a guest instead:
  --kernel FILE   a 32-bit Linux kernel with virtio-fs (bzImage or vmlinux)
  --initrd FILE   its initial RAM disk, with /sbin/agent of guest-images/ running on /dev/ttyS1
or take the one that belongs to this release: ${GUEST_VARIABLE} names its file v86-virtiofs-guest.tar.gz or its URL, with the file .sha256 beside it;
or run \`v86-virtiofs run -- true\` of this release on a Debian machine, and copy its ${cacheDirectory()} to the same place on this one.`;
}
