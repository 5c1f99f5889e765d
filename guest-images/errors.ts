/** The guest image can't be built. The message says why, and what to provide instead. */
export class GuestImageError extends Error {
  override readonly name = 'GuestImageError';
}

export const PROVIDE_IMAGE = `Provide a guest instead:
  --kernel FILE   a 32-bit Linux kernel (bzImage) with virtio-fs
  --initrd FILE   its initial RAM disk, with /sbin/agent of guest-images/ running on /dev/ttyS1
  --bios FILE     SeaBIOS (bios.bin, with vgabios.bin beside it), for --boot bios only
or copy build/guest/ from a machine that has built it.`;
