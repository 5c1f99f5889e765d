/** Of a header of cpio's "newc" form. */
const HEADER_SIZE = 110;

export interface CpioEntry {
  path: string;
  /** Type and permission bits. */
  mode: number;
  /** Borrowed from the archive; the target of a symbolic link. */
  content: Buffer;
}

/** Reads an archive that `guest-images/cpio.ts` has made. */
export function* readCpio(archive: Buffer): Generator<CpioEntry> {
  const padded = (length: number) => (length + 3) & ~3;
  for (let at = 0; ; ) {
    const field = (index: number) =>
      Number.parseInt(archive.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16);
    const [mode, size, nameLength] = [field(1), field(6), field(11)];
    const path = archive.toString('utf8', at + HEADER_SIZE, at + HEADER_SIZE + nameLength - 1);
    if (path === 'TRAILER!!!') return;
    const start = at + padded(HEADER_SIZE + nameLength);
    yield { path, mode, content: archive.subarray(start, start + size) };
    at = start + padded(size);
  }
}
