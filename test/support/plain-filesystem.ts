import type { ByteSink, ByteSource } from '../../device/bytes.ts';
import { makeAttr } from '../../device/fs/attr.ts';
import { O_EXCL, S_IFDIR, S_IFMT, S_IFREG } from '../../device/fs/constants.ts';
import * as E from '../../device/fs/errno.ts';
import type {
  Attr,
  DirectoryEntry,
  Entry,
  FileSystem,
  Inode,
  NewNode,
  OpenDirectory,
  SetAttr,
} from '../../device/fs/filesystem.ts';

class Node implements Inode {
  readonly ino: number;
  readonly generation = 0;
  readonly names: Map<string, Node> | undefined;
  parent: Node;
  bytes = new Uint8Array();
  isGone = false;

  constructor(ino: number, parent: Node | undefined, isDirectory: boolean) {
    this.ino = ino;
    this.parent = parent ?? this;
    this.names = isDirectory ? new Map() : undefined;
  }

  get attr(): Attr {
    return makeAttr({
      ino: this.ino,
      mode: this.names ? S_IFDIR | 0o755 : S_IFREG | 0o644,
      size: this.bytes.length,
    });
  }
}

/** Files and directories, and nothing that has to be declared. */
export class PlainFileSystem implements FileSystem {
  readonly root = new Node(1, undefined, true);
  #last = 1;

  lookup(dir: Node, name: string): Entry | undefined {
    const inode = name === '..' ? dir.parent : namesOf(dir).get(name);
    return inode && { inode, attr: inode.attr };
  }

  getattr(inode: Node): Attr {
    return inode.attr;
  }

  setattr(inode: Node, { size, ...rest }: SetAttr): Attr {
    if (size !== undefined) resize(inode, size);
    else if (Object.values(rest).some(Boolean)) throw E.FsError.of(E.EPERM);
    return inode.attr;
  }

  mknod(dir: Node, name: string, { mode }: NewNode): Entry {
    if ((mode & S_IFMT) !== S_IFREG) throw E.FsError.of(E.EPERM);
    return this.#add(dir, name, false);
  }

  mkdir(dir: Node, name: string): Entry {
    return this.#add(dir, name, true);
  }

  #add(dir: Node, name: string, isDirectory: boolean): Entry {
    if (!name.isWellFormed()) throw E.FsError.of(E.EINVAL);
    if (namesOf(dir).has(name)) throw E.FsError.of(E.EEXIST);
    const inode = new Node(++this.#last, dir, isDirectory);
    namesOf(dir).set(name, inode);
    return { inode, attr: inode.attr };
  }

  unlink(dir: Node, name: string): void {
    const inode = find(dir, name);
    if (inode.names) throw E.FsError.of(E.EISDIR);
    remove(dir, name, inode);
  }

  rmdir(dir: Node, name: string): void {
    const inode = find(dir, name);
    if (namesOf(inode).size) throw E.FsError.of(E.ENOTEMPTY);
    remove(dir, name, inode);
  }

  rename(dir: Node, name: string, newDir: Node, newName: string, flags: number): void {
    if (flags) throw E.FsError.of(E.EINVAL);
    const inode = find(dir, name);
    const over = namesOf(newDir).get(newName);
    if (over === inode) return;
    for (let above = newDir; inode.names && above !== this.root; above = above.parent)
      if (above === inode) throw E.FsError.of(E.EINVAL);
    if (over && !over.names !== !inode.names) throw E.FsError.of(over.names ? E.EISDIR : E.ENOTDIR);
    if (over?.names?.size) throw E.FsError.of(E.ENOTEMPTY);
    if (over) remove(newDir, newName, over);
    namesOf(dir).delete(name);
    namesOf(newDir).set(newName, inode);
    inode.parent = newDir;
  }

  open(inode: Node, flags: number): void {
    if (inode.names && flags & 3) throw E.FsError.of(E.EISDIR);
  }

  create(dir: Node, name: string, _node: NewNode, flags: number): Entry {
    const found = this.lookup(dir, name);
    if (found && !(flags & O_EXCL)) return found;
    return this.#add(dir, name, false);
  }

  read(inode: Node, offset: number, length: number, sink: ByteSink, position: number): number {
    if (inode.isGone) throw E.FsError.of(E.ESTALE);
    const part = inode.bytes.subarray(offset, offset + length);
    return sink.writeAt(position, part, 0, part.length);
  }

  write(inode: Node, offset: number | 'end', length: number, source: ByteSource): number {
    const at = offset === 'end' ? inode.bytes.length : offset;
    if (at + length > inode.bytes.length) resize(inode, at + length);
    return source.read(inode.bytes, at, length);
  }

  opendir(dir: Node): OpenDirectory {
    const names = [...namesOf(dir)].map(([name, inode]) => [name, inode] as const);
    const entries = [['.', dir] as const, ['..', dir.parent] as const, ...names].map(
      ([name, inode], n): DirectoryEntry => ({ name, inode, mode: inode.attr.mode, cookie: n + 1, attr: inode.attr }),
    );
    return { end: entries.length + 1, read: (cookie) => entries.slice(cookie) };
  }
}

function namesOf(dir: Node): Map<string, Node> {
  if (!dir.names) throw E.FsError.of(E.ENOTDIR);
  if (dir.isGone) throw E.FsError.of(E.ENOENT);
  return dir.names;
}

function find(dir: Node, name: string): Node {
  const inode = namesOf(dir).get(name);
  if (!inode) throw E.FsError.of(E.ENOENT);
  return inode;
}

function remove(dir: Node, name: string, inode: Node): void {
  namesOf(dir).delete(name);
  inode.isGone = true;
}

function resize(inode: Node, size: number): void {
  if (inode.names) throw E.FsError.of(E.EISDIR);
  if (size > 1 << 30) throw E.FsError.of(E.EFBIG);
  const bytes = new Uint8Array(size);
  bytes.set(inode.bytes.subarray(0, size));
  inode.bytes = bytes;
}
