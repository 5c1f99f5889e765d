import { VmError } from './errors.ts';
import type { Machine } from './machine.ts';
import type { Share } from './share.ts';

/** Mounts a share in the guest, at `path` or its own mount point, which is made. Returns the path. @throws VmError `image` or `share`. */
export async function mountShare(machine: Pick<Machine, 'exec'>, share: Share, path?: string): Promise<string> {
  const target = path ?? share.mountPoint;
  if (target === share.mountPoint && share.isRoot) return target;
  const result = await machine.exec([
    '/bin/sh',
    '-c',
    'mkdir -p "$2" && mount -t virtiofs "$1" "$2"',
    'sh',
    share.tag,
    target,
  ]);
  if (result.code === 0) return target;
  const { stdout } = await machine.exec('cat /proc/filesystems');
  if (!/\bvirtiofs\b/.test(stdout)) {
    throw new VmError(
      'image',
      "the guest's kernel has no virtio-fs: give its modules with --modules DIR (`modules`), load virtio_pci, fuse and virtiofs, or boot the image that guest-images/ builds",
    );
  }
  throw new VmError(
    'share',
    `the guest could not mount ${JSON.stringify(share.tag)} at ${target}: ${result.stderr.trim()}`,
  );
}
