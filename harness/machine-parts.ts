/** What a snapshot calls the parts of its machine: `devices` of a machine's configuration. */
export const ACPI = 'ACPI';
export const MINIMAL_KERNEL = 'minimal kernel';
export const SUSPEND_DRIVER = 'driver that can suspend';
export const NINEP = '9p host9p';
export const VIRTIO_NETWORK = 'network virtio';
/** Before the tag of a share. */
export const VIRTIO_FS = 'virtio-fs ';
