/**
 * A file system as simple as it can be, to compare the real one with: plain objects, whole arrays of bytes,
 * link counts by counting. It understands the steps of device/conformance/README.md that random-steps.ts makes.
 */
interface Node {
  type: 'file' | 'directory' | 'symlink' | 'fifo' | 'char';
  mode: number;
  uid: number;
  gid: number;
  bytes: Uint8Array;
  target: string;
  entries: Map<string, Node>;
  xattrs: Map<string, string>;
  /** Made by O_TMPFILE, so that it may get its first name. */
  isNameless: boolean;
}

class Refused extends Error {}

function fail(name: string): never {
  throw new Refused(name);
}

function node(type: Node['type'], mode: number): Node {
  return {
    type,
    mode,
    uid: 0,
    gid: 0,
    bytes: new Uint8Array(0),
    target: '',
    entries: new Map(),
    xattrs: new Map(),
    isNameless: false,
  };
}

export class ModelFilesystem {
  /** As in a new memfs volume. */
  readonly root = node('directory', 0o777);
  readonly handles = new Map<string, { node: Node; appends: boolean }>();

  step(text: string): string {
    const [name, ...words] = text.split(' ') as [string, ...string[]];
    try {
      return this.#do(name, words) ?? 'ok';
    } catch (error) {
      if (error instanceof Refused) return error.message;
      throw error;
    }
  }

  #do(name: string, [a = '', b = '', c = '', d = '', e = '']: string[]): string | undefined {
    const isByHost = name.startsWith('host-');
    switch (name.replace(/^host-/, '')) {
      case 'mkdir':
        return this.#make(a, node('directory', 0o755), isByHost);
      case 'create':
        return this.#make(a, node('file', 0o644));
      case 'mknod':
        return this.#make(a, node('fifo', 0o600));
      case 'symlink':
        return this.#make(b, { ...node('symlink', 0o777), target: a }, isByHost);
      case 'link':
        return this.#link(this.#place(b), this.#find(a));
      case 'linkfd':
        return this.#link(this.#place(b), this.handles.get(a)!.node);
      case 'unlink':
        return this.#unlink(a);
      case 'rmdir':
        return this.#rmdir(a);
      case 'rename':
        return this.#rename(a, b, c);
      case 'chmod':
        this.#find(a).mode = parseInt(b, 8);
        return;
      case 'chown':
        return this.#chown(this.#find(a), Number(b), Number(c));
      case 'truncate':
        return this.#resize(this.#find(a), Number(b));
      case 'ftruncate':
        return this.#resize(this.handles.get(a)!.node, Number(b));
      case 'open':
        return this.#open(a, b, c);
      case 'close':
        this.handles.delete(a);
        return;
      case 'read':
        return `"${text(this.#file(this.handles.get(a)!.node).bytes.subarray(Number(b), Number(b) + Number(c)))}"`;
      case 'write':
        return this.#write(this.handles.get(a)!, b, c);
      case 'fallocate':
        return this.#fallocate(this.handles.get(a)!.node, b, Number(c), Number(d));
      case 'copy':
        return this.#copy(this.handles.get(a)!.node, Number(b), this.handles.get(c)!.node, Number(d), Number(e));
      case 'setxattr':
        return this.#setxattr(this.#find(a), b, c, d);
      case 'getxattr':
        return `"${this.#find(a).xattrs.get(b) ?? fail('ENODATA')}"`;
      case 'removexattr':
        if (!this.#find(a).xattrs.delete(b)) fail('ENODATA');
        return;
      case 'listxattr':
        return list([...this.#find(a).xattrs.keys()]);
      case 'ls':
        return list([...this.#directory(this.#find(a)).entries.keys()]);
      case 'readlink':
        return `"${this.#symlink(this.#find(a)).target}"`;
      case 'stat':
        return this.#stat(this.#find(a));
      case 'fstat':
        return this.#stat(this.handles.get(a)!.node);
      default:
        throw new Error(`no such step: ${name}`);
    }
  }

  /** Every path there is. */
  *paths(from = this.root, prefix = ''): Generator<string> {
    for (const [name, child] of from.entries) {
      yield prefix + name;
      yield* this.paths(child, `${prefix}${name}/`);
    }
  }

  #find(path: string): Node {
    if (path === '.') return this.root;
    return path.split('/').reduce((dir, name) => this.#directory(dir).entries.get(name) ?? fail('ENOENT'), this.root);
  }

  #directory(at: Node): Node {
    return at.type === 'directory' ? at : fail('ENOTDIR');
  }

  #file(at: Node): Node {
    return at.type === 'file' ? at : fail('EINVAL');
  }

  #symlink(at: Node): Node {
    return at.type === 'symlink' ? at : fail('EINVAL');
  }

  #place(path: string): [Map<string, Node>, string] {
    const at = path.lastIndexOf('/');
    return [this.#directory(at < 0 ? this.root : this.#find(path.slice(0, at))).entries, path.slice(at + 1)];
  }

  /** Names of a node. */
  #links(of: Node, dir = this.root): number {
    return [...dir.entries.values()].reduce((sum, child) => sum + (child === of ? 1 : 0) + this.#links(of, child), 0);
  }

  #make(path: string, made: Node, isByHost = false): undefined {
    const [entries, name] = this.#place(path);
    if (entries.has(name)) fail('EEXIST');
    if (!isByHost) this.#inherit(this.#find(path.slice(0, Math.max(0, path.lastIndexOf('/'))) || '.'), made);
    entries.set(name, made);
  }

  /** What a set-gid directory hands down. */
  #inherit(dir: Node, made: Node): Node {
    if (!(dir.mode & 0o2000)) return made;
    made.gid = dir.gid;
    if (made.type === 'directory') made.mode |= 0o2000;
    return made;
  }

  #link([entries, name]: [Map<string, Node>, string], of: Node): undefined {
    if (of.type === 'directory') fail('EPERM');
    if (entries.has(name)) fail('EEXIST');
    if (!this.#links(of) && !of.isNameless) fail('ENOENT');
    of.isNameless = false;
    entries.set(name, of);
  }

  #unlink(path: string): undefined {
    const [entries, name] = this.#place(path);
    if ((entries.get(name) ?? fail('ENOENT')).type === 'directory') fail('EISDIR');
    entries.delete(name);
  }

  #rmdir(path: string): undefined {
    const [entries, name] = this.#place(path);
    if (this.#directory(entries.get(name) ?? fail('ENOENT')).entries.size) fail('ENOTEMPTY');
    entries.delete(name);
  }

  #rename(from: string, to: string, flag: string): undefined {
    const [entries, name] = this.#place(from);
    const [newEntries, newName] = this.#place(to);
    const moved = entries.get(name) ?? fail('ENOENT');
    const there = newEntries.get(newName);
    if (there && flag === 'noreplace') fail('EEXIST');
    if (!there && flag === 'exchange') fail('ENOENT');
    const isWithin = (map: Map<string, Node>, at: Node): boolean =>
      at.entries === map || [...at.entries.values()].some((child) => isWithin(map, child));
    if (isWithin(newEntries, moved)) fail('EINVAL');
    if (there && isWithin(entries, there)) fail(flag === 'exchange' ? 'EINVAL' : 'ENOTEMPTY');
    if (there === moved) return;
    if (flag === 'exchange') {
      entries.set(name, there!);
    } else {
      if (there && moved.type === 'directory') this.#directory(there);
      if (there?.type === 'directory' && moved.type !== 'directory') fail('EISDIR');
      if (there?.entries.size) fail('ENOTEMPTY');
      entries.delete(name);
      if (flag === 'whiteout') this.#make(from, node('char', 0));
    }
    newEntries.set(newName, moved);
  }

  #chown(at: Node, uid: number, gid: number): undefined {
    at.uid = uid;
    at.gid = gid;
    if (at.type === 'directory') return;
    at.mode &= ~0o4000;
    if (at.mode & 0o010) at.mode &= ~0o2000;
  }

  #resize(at: Node, size: number): undefined {
    if (at.type === 'directory') fail('EISDIR');
    this.#file(at);
    const bytes = new Uint8Array(size);
    bytes.set(at.bytes.subarray(0, size));
    at.bytes = bytes;
  }

  #open(name: string, path: string, flags: string): undefined {
    if (flags.includes('O_TMPFILE')) {
      this.handles.set(name, {
        node: this.#inherit(this.root, { ...node('file', 0o644), isNameless: true }),
        appends: false,
      });
      return;
    }
    const [entries, leaf] = this.#place(path);
    if (flags.includes('O_CREAT') && !entries.has(leaf)) this.#make(path, node('file', 0o644));
    const found = entries.get(leaf) ?? fail('ENOENT');
    if (found.type === 'directory') fail('EISDIR');
    if (flags.includes('O_TRUNC')) this.#resize(found, 0);
    this.handles.set(name, { node: found, appends: flags.includes('O_APPEND') });
  }

  #write({ node: at, appends }: { node: Node; appends: boolean }, where: string, what: string): string {
    this.#file(at);
    const position = appends ? at.bytes.length : Number(where);
    if (at.bytes.length < position + what.length) this.#resize(at, position + what.length);
    at.bytes.set(new TextEncoder().encode(what), position);
    return String(what.length);
  }

  #fallocate(at: Node, mode: string, from: number, length: number): undefined {
    if (at.type !== 'file') fail('ENODEV');
    const size = at.bytes.length;
    if (mode === 'collapse' || mode === 'insert') {
      if (from % 4096 || length % 4096) fail('EINVAL');
      if (mode === 'collapse' ? from + length >= size : from >= size) fail('EINVAL');
      const gap = mode === 'insert' ? new Uint8Array(length) : new Uint8Array(0);
      at.bytes = Uint8Array.from([
        ...at.bytes.subarray(0, from),
        ...gap,
        ...at.bytes.subarray(mode === 'insert' ? from : from + length),
      ]);
      return;
    }
    if (mode === 'punch' || mode.startsWith('zero'))
      at.bytes.fill(0, Math.min(from, size), Math.min(from + length, size));
    if ((mode === '0' || mode === 'zero') && from + length > size) this.#resize(at, from + length);
  }

  #copy(from: Node, at: number, to: Node, toAt: number, length: number): string {
    this.#file(from);
    this.#file(to);
    const bytes = from.bytes.slice(at, at + length);
    if (from === to && Math.abs(at - toAt) < Math.min(length, from.bytes.length - at)) fail('EINVAL');
    if (bytes.length && to.bytes.length < toAt + bytes.length) this.#resize(to, toAt + bytes.length);
    to.bytes.set(bytes, bytes.length ? toAt : 0);
    return String(bytes.length);
  }

  #setxattr(at: Node, name: string, value: string, flag: string): undefined {
    if (flag === 'create' && at.xattrs.has(name)) fail('EEXIST');
    if (flag === 'replace' && !at.xattrs.has(name)) fail('ENODATA');
    at.xattrs.set(name, value);
  }

  #stat(at: Node): string {
    const directories = [...at.entries.values()].filter(({ type }) => type === 'directory').length;
    const isLinked = at === this.root || this.#links(at) > 0;
    const nlink = at.type === 'directory' ? (isLinked ? 2 + directories : 0) : this.#links(at);
    const size = at.type === 'symlink' ? at.target.length : at.bytes.length;
    return [
      `type=${at.type}`,
      `mode=${at.mode.toString(8).padStart(4, '0')}`,
      `nlink=${nlink}`,
      `uid=${at.uid}`,
      `gid=${at.gid}`,
      ...(at.type === 'directory' ? [] : [`size=${size}`]),
    ].join(' ');
  }
}

function list(names: string[]): string {
  return `[${names.sort().join(',')}]`;
}

function text(bytes: Uint8Array): string {
  return [...bytes].map((byte) => (byte ? String.fromCharCode(byte) : '%00')).join('');
}
