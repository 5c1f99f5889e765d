/** Of a header of cpio's "newc" form. */
const HEADER_SIZE = 110;

export interface CpioEntry {
  path: string;
  /** Type and permission bits. */
  mode: number;
  /** Borrowed from the archive; the target of a symbolic link. */
  content: Buffer;
}

/** Reads an archive of the "newc" form, up to where it ends, or is not one. */
export function* readCpio(archive: Buffer): Generator<CpioEntry> {
  const padded = (length: number) => length + (-length & 3);
  for (let at = 0; /^07070[12]$/.test(archive.toString('latin1', at, at + 6)); ) {
    const field = (index: number) =>
      Number.parseInt(archive.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16);
    const [mode, size, nameLength] = [field(1), field(6), field(11)];
    const path = archive.toString('utf8', at + HEADER_SIZE, at + HEADER_SIZE + nameLength - 1);
    if (path === 'TRAILER!!!' || !(nameLength > 0 && size >= 0)) return;
    const start = at + padded(HEADER_SIZE + nameLength);
    yield { path, mode, content: archive.subarray(start, start + size) };
    at = start + padded(size);
  }
}
