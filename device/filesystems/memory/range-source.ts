import { copyOf } from '../../bytes.ts';
import { S_IFDIR, S_IFMT, S_IFREG } from '../../fs/constants.ts';
import type { AbsentBytes } from '../../fs/origin.ts';
import { firstRowOf } from './added-entries.ts';
import type { CheckedRange } from './check-range.ts';
import { PAGES_PER_CHUNK } from './chunk.ts';
import { Content } from './content.ts';
import { Inode } from './inode.ts';
import type { InodeTable } from './inode-table.ts';
import type { Range } from './range.ts';
import { MODE } from './record.ts';
import { Xattrs } from './xattrs.ts';

/** What a checked range says of its inodes, which are made of it when somebody asks for them. */
export class RangeSource {
  readonly #table: InodeTable;
  readonly #range: CheckedRange;

  constructor(table: InodeTable, range: CheckedRange) {
    this.#table = table;
    this.#range = range;
  }

  /** The inode whose record begins at `at`; `before` where that can be it. A directory has no name yet. Changes nothing of what is counted. */
  make(range: Range, at: number, before?: Inode): Inode {
    const { words, special, symlinks, directories } = this.#range;
    const ino = words[at]!;
    const type = words[at + MODE]! & S_IFMT;
    const row = firstRowOf(special.ino, ino);
    const generation = row < 0 ? 1 : special.generation[row]!;
    const isSame = before?.generation === generation && before.type === type;
    const inode = isSame ? before : new Inode(range, generation);
    inode.place(range, at);
    inode.load({
      rdev: row < 0 ? 0 : special.rdev[row]!,
      linkable: row >= 0 && special.linkable[row] === 1,
      xattrs: this.#xattrs(ino),
    });
    inode.embody(this.#table, type === S_IFREG ? this.#content(ino) : symlinks.targets[firstRowOf(symlinks.ino, ino)]);
    if (type === S_IFDIR) inode.directory!.nextCookie = directories.nextCookie[firstRowOf(directories.ino, ino)]!;
    else this.#name(inode, ino);
    return inode;
  }

  #name(inode: Inode, ino: number): void {
    const { entries } = this.#range;
    for (let row = firstRowOf(entries.ino, ino); entries.ino[row] === ino; row++) {
      const dir = this.#table.inode(entries.dir[row]!)!;
      const entry = inode.named(dir, entries.names.at(row));
      if (entry !== inode) dir.directory!.link(entries.cookie[row]!, entry);
    }
  }

  #content(ino: number): Content | undefined {
    const { files, chunks } = this.#range;
    const row = firstRowOf(files.ino, ino);
    if (row < 0) return undefined;
    let at = 0;
    for (let n = 0; n < row; n++) at += files.chunks[n]!;
    const own: { at: number; map: number; bytes: Uint8Array | AbsentBytes }[] = [];
    for (const end = at + files.chunks[row]!; at < end; at++)
      own.push({ at: chunks.index[at]! * PAGES_PER_CHUNK, map: chunks.map[at]!, bytes: chunks.bytes[at]! });
    const content = new Content(this.#table.space);
    content.load(files.size[row]!, own);
    return content;
  }

  #xattrs(ino: number): Xattrs | undefined {
    const { xattrs } = this.#range;
    let row = firstRowOf(xattrs.ino, ino);
    if (row < 0) return undefined;
    const all = new Xattrs();
    for (; xattrs.ino[row] === ino; row++) all.set(xattrs.names[row]!, copyOf(xattrs.values[row]!));
    return all;
  }
}
