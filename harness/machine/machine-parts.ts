/** What a snapshot calls the parts of its machine: `devices` of a machine's configuration. */
export const ACPI = 'ACPI';
export const MINIMAL_KERNEL = 'minimal kernel';
export const SUSPEND_DRIVER = 'driver that can suspend';
export const NINEP = '9p host9p';
export const VIRTIO_NETWORK = 'network virtio';
/** Before the KiB of its VGA card's memory, where that is not v86's own choice. */
const VIDEO_MEMORY = 'video memory ';
const V86_VIDEO_MEMORY = 8192;
/** Before the tag of a share. */
export const VIRTIO_FS = 'virtio-fs ';

/** What a machine with `kib` KiB of video memory is called by, if by anything. */
export function namedVideoMemory(kib: number): string | undefined {
  return kib === V86_VIDEO_MEMORY ? undefined : `${VIDEO_MEMORY}${kib}`;
}

/** KiB of video memory of a machine with these parts. */
export function videoMemoryOf(devices: readonly string[]): number {
  const named = devices.find((device) => device.startsWith(VIDEO_MEMORY));
  return named === undefined ? V86_VIDEO_MEMORY : Number(named.slice(VIDEO_MEMORY.length));
}
