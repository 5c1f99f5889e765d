/** `struct virtio_pci_common_cfg`, 4.1.4.3: 64-bit fields as their two halves. */
export const COMMON_CFG = [
  { name: 'device_feature_select', offset: 0x00, size: 4 },
  { name: 'device_feature', offset: 0x04, size: 4 },
  { name: 'driver_feature_select', offset: 0x08, size: 4 },
  { name: 'driver_feature', offset: 0x0c, size: 4 },
  { name: 'config_msix_vector', offset: 0x10, size: 2 },
  { name: 'num_queues', offset: 0x12, size: 2 },
  { name: 'device_status', offset: 0x14, size: 1 },
  { name: 'config_generation', offset: 0x15, size: 1 },
  { name: 'queue_select', offset: 0x16, size: 2 },
  { name: 'queue_size', offset: 0x18, size: 2 },
  { name: 'queue_msix_vector', offset: 0x1a, size: 2 },
  { name: 'queue_enable', offset: 0x1c, size: 2 },
  { name: 'queue_notify_off', offset: 0x1e, size: 2 },
  { name: 'queue_desc_lo', offset: 0x20, size: 4 },
  { name: 'queue_desc_hi', offset: 0x24, size: 4 },
  { name: 'queue_driver_lo', offset: 0x28, size: 4 },
  { name: 'queue_driver_hi', offset: 0x2c, size: 4 },
  { name: 'queue_device_lo', offset: 0x30, size: 4 },
  { name: 'queue_device_hi', offset: 0x34, size: 4 },
  { name: 'queue_notify_data', offset: 0x38, size: 2 },
  { name: 'queue_reset', offset: 0x3a, size: 2 },
] as const;

export type CommonField = (typeof COMMON_CFG)[number];
export type CommonFieldName = CommonField['name'];

/** The field at each byte. */
const AT: readonly (CommonField | undefined)[] = COMMON_CFG.flatMap((field) =>
  Array.from({ length: field.size }, () => field),
);

export function commonFieldAt(offset: number): CommonField | undefined {
  return AT[offset];
}

/** Reads `width` bytes from `offset` on, whatever fields they are of; each field is asked once. */
export function readFields(offset: number, width: number, get: (name: CommonFieldName) => number): number {
  const exact = AT[offset];
  if (exact?.offset === offset && exact.size === width) return get(exact.name);
  let value = 0;
  for (let byte = 0; byte < width; ) {
    const field = AT[offset + byte];
    if (!field) break;
    const from = offset + byte - field.offset;
    const count = Math.min(field.size - from, width - byte);
    value += (Math.floor(get(field.name) / 2 ** (8 * from)) % 2 ** (8 * count)) * 2 ** (8 * byte);
    byte += count;
  }
  return value;
}

/** Writes `width` bytes from `offset` on; a field that is written in part keeps its other bytes. */
export function writeFields(
  offset: number,
  width: number,
  value: number,
  get: (name: CommonFieldName) => number,
  set: (name: CommonFieldName, value: number) => void,
): void {
  for (let byte = 0; byte < width; ) {
    const field = AT[offset + byte];
    if (!field) return;
    const from = offset + byte - field.offset;
    const count = Math.min(field.size - from, width - byte);
    const part = Math.floor(value / 2 ** (8 * byte)) % 2 ** (8 * count);
    if (count === field.size) {
      set(field.name, part);
    } else {
      const old = get(field.name);
      const unit = 2 ** (8 * from);
      set(field.name, old + (part - (Math.floor(old / unit) % 2 ** (8 * count))) * unit);
    }
    byte += count;
  }
}
