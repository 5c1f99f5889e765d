/** Bytes as a visitor reads them. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['KB', 'MB', 'GB'];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** What a sentence calls a guest, by its name: "the guest", or "Guest 2". */
export function called(name: string): string {
  return name === 'guest' ? 'the guest' : titled(name);
}

/** The same, where a sentence begins. */
export function calledFirst(name: string): string {
  return called(name).replace(/^t/, 'T');
}

/** As a title: "Guest", or "Guest 2". */
export function titled(name: string): string {
  return `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}
