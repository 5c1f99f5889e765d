/** What became of a tree on its way in or out. */
export interface TreeReport {
  /** Entries of all types. */
  files: number;
  /** Of content. */
  bytes: number;
  /** What could not be taken along, and why. 10,000 entries at most; the last one counts the rest. */
  skipped: Skipped[];
}

/** An entry that was left out. */
export interface Skipped {
  path: string;
  reason: string;
}

/** Called from time to time with what is done so far: entries, and bytes of content. */
export type TreeProgress = (files: number, bytes: number) => void;

/** What one report lists: a guest can make a million entries that can't be taken along. */
const MAX_LISTED = 10_000;

export function emptyTreeReport(): TreeReport {
  return { files: 0, bytes: 0, skipped: [] };
}

/** Adds to a list; what is beyond its limit is counted in the last entry, whose path is `…`. */
export function note(list: Skipped[], path: string, reason: string): void {
  if (list.length < MAX_LISTED) {
    list.push({ path, reason });
    return;
  }
  if (list.length === MAX_LISTED) list.push({ path: '…', reason: '0 more entries that are not listed' });
  const last = list.at(-1)!;
  last.reason = `${parseInt(last.reason, 10) + 1} more entries that are not listed`;
}

/** `1.5 GiB`, in the largest unit that fits. */
export function formatBytes(bytes: number): string {
  const units = ['MiB', 'GiB', 'TiB', 'PiB'];
  if (bytes < 1024 ** 2) return `${Math.round(bytes / 1024)} KiB`;
  const unit = Math.min(units.length, Math.floor(Math.log2(bytes) / 10) - 1) - 1;
  return `${(bytes / 1024 ** (unit + 2)).toFixed(1)} ${units[unit]}`;
}
