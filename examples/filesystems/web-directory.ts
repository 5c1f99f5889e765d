// A read-only filesystem: a directory of a web server, whose files are fetched when a guest reads them.
import {
  type Attr,
  type ByteSink,
  type DirectoryEntry,
  type Entry,
  ERRNO,
  type FileSystem,
  FsError,
  type Inode,
  makeAttr,
  type OpenDirectory,
} from 'v86-virtiofs';

/** Of each name a file's size in bytes, or the index of another directory. */
export interface Index {
  [name: string]: number | Index;
}

const DIRECTORY = 0o040555;
const FILE = 0o100444;

/** A file or directory. What is beyond `Inode` is for the filesystem itself. */
class Node implements Inode {
  readonly ino: number;
  readonly generation = 0; // no number is ever used again
  readonly url: string;
  readonly parent: Node;
  readonly children = new Map<string, Node>(); // empty for a file
  readonly attr: Attr;
  content?: Promise<Uint8Array>; // of a file that has been read

  constructor(ino: number, url: string, what: number | Index, parent?: Node) {
    this.ino = ino;
    this.url = url;
    this.parent = parent ?? this;
    this.attr = makeAttr(typeof what === 'number' ? { ino, mode: FILE, size: what } : { ino, mode: DIRECTORY });
  }
}

export class WebDirectory implements FileSystem {
  readonly root: Node;
  readonly #nodes: Node[] = [];

  constructor(url: string, index: Index) {
    this.root = this.#add(url, index); // its number is 1
  }

  /** The directory at `url`, which has its index in `index.json`. */
  static async open(url: string): Promise<WebDirectory> {
    const response = await fetch(`${url}/index.json`);
    if (!response.ok) throw new Error(`${response.url}: ${response.status} ${response.statusText}`);
    return new WebDirectory(url, (await response.json()) as Index);
  }

  #add(url: string, what: number | Index, parent?: Node): Node {
    const node = new Node(this.#nodes.length + 1, url, what, parent);
    this.#nodes.push(node);
    if (typeof what === 'object')
      for (const [name, child] of Object.entries(what))
        node.children.set(name, this.#add(`${url}/${encodeURIComponent(name)}`, child, node));
    return node;
  }

  inode(ino: number): Node | undefined {
    return this.#nodes[ino - 1];
  }

  lookup(dir: Node, name: string): Entry | undefined {
    const inode = name === '..' ? dir.parent : dir.children.get(name);
    return inode && { inode, attr: inode.attr };
  }

  getattr(inode: Node): Attr {
    return inode.attr;
  }

  opendir(dir: Node): OpenDirectory {
    const named: [string, Node][] = [['.', dir], ['..', dir.parent], ...dir.children];
    const entries = named.map(([name, inode], n): DirectoryEntry => {
      return { name, inode, mode: inode.attr.mode, attr: inode.attr, cookie: n + 1 };
    });
    return { end: entries.length + 1, read: (cookie) => entries.slice(cookie) };
  }

  async read(inode: Node, offset: number, length: number, sink: ByteSink, position: number): Promise<number> {
    inode.content ??= download(inode);
    const part = (await inode.content).subarray(offset, offset + length);
    return sink.writeAt(position, part, 0, part.length);
  }
}

async function download(inode: Node): Promise<Uint8Array> {
  try {
    const response = await fetch(inode.url);
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (response.ok && bytes.length === inode.attr.size) return bytes;
    throw FsError.of(ERRNO.EIO);
  } catch {
    delete inode.content; // the next read tries again
    throw FsError.of(ERRNO.EIO);
  }
}
