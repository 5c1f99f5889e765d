import type { MemoryFileSystem } from '../../device/index.ts';

const numbers = new WeakMap<MemoryFileSystem, number>();
let count = 0;

/** By which the page tells folders apart: copies of one have its uuid too. */
export function numberOf(folder: MemoryFileSystem): number {
  if (!numbers.has(folder)) numbers.set(folder, ++count);
  return numbers.get(folder)!;
}
