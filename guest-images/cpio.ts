const S_IFCHR = 0o020000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

interface Entry {
  path: string;
  mode: number;
  content: Uint8Array;
  device: [number, number];
}

/** A cpio archive in the "newc" form that Linux unpacks as initramfs. Everything belongs to root, at time 0. */
export class CpioArchive {
  readonly #entries: Entry[] = [];

  directory(path: string, mode = 0o755): void {
    this.#add(path, S_IFDIR | mode);
  }

  /** Borrows `content` until {@link toBuffer}. */
  file(path: string, content: Uint8Array | string, mode = 0o644): void {
    this.#add(path, S_IFREG | mode, Buffer.from(content));
  }

  symlink(path: string, target: string): void {
    this.#add(path, S_IFLNK | 0o777, Buffer.from(target));
  }

  characterDevice(path: string, major: number, minor: number, mode: number): void {
    this.#add(path, S_IFCHR | mode, new Uint8Array(), [major, minor]);
  }

  #add(path: string, mode: number, content: Uint8Array = new Uint8Array(), device: [number, number] = [0, 0]): void {
    this.#entries.push({ path, mode, content, device });
  }

  toBuffer(): Buffer {
    const trailer: Entry = { path: 'TRAILER!!!', mode: 0, content: new Uint8Array(), device: [0, 0] };
    return Buffer.concat([...this.#entries, trailer].flatMap((entry, index) => record(entry, index)));
  }
}

function record({ path, mode, content, device }: Entry, index: number): Uint8Array[] {
  const name = Buffer.from(`${path}\0`);
  const links = (mode & S_IFDIR) === S_IFDIR ? 2 : 1;
  const fields = [index + 1, mode, 0, 0, links, 0, content.length, 0, 0, ...device, name.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return [header, name, padding(header.length + name.length), content, padding(content.length)];
}

function padding(length: number): Uint8Array {
  return new Uint8Array(-length & 3);
}
