import { filesystemOf, volumeOf } from '../../device/filesystems/memfs/volume.ts';
import { checkState } from '../../device/filesystems/memory/check-state.ts';
import * as errno from '../../device/fs/errno.ts';
import * as C from '../../device/fuse/constants.ts';
import { fuse_attr_out, fuse_dirent, fuse_entry_out, fuse_open_out } from '../../device/fuse/layouts.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { type MemoryFileSystem, Volume } from '../../device/index.ts';
import { type Answer, call } from './fuse-call.ts';

const ERRNO_NAMES = new Map(
  Object.entries(errno)
    .filter(([name, value]) => /^E[A-Z0-9]+$/.test(name) && typeof value === 'number')
    .map(([name, value]) => [value as unknown as number, name]),
);
const OPEN_FLAGS: Record<string, number> = {
  O_RDONLY: 0,
  O_WRONLY: 1,
  O_RDWR: 2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  O_TMPFILE: 0o20200000,
  O_DIRECT: 0o40000,
  O_NOATIME: 0o1000000,
};
const FALLOCATE: Record<string, number> = {
  0: 0,
  keep: 1,
  punch: 3,
  collapse: 8,
  zero: 16,
  'zero-keep': 17,
  insert: 32,
};
const TYPES: Record<string, number> = {
  fifo: 0o010000,
  char: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
};
const RENAME: Record<string, number> = { noreplace: 1, exchange: 2, 'noreplace-exchange': 3, whiteout: 4 };
const XATTR: Record<string, number> = { create: 1, replace: 2 };
const SEEK: Record<string, number> = { data: 3, hole: 4 };
const TIME_NAMES = ['atime', 'mtime', 'ctime'] as const;

interface Attr {
  ino: number;
  size: number;
  blocks: number;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  rdev: number;
  atime: number;
  mtime: number;
  ctime: number;
  atimensec: number;
  mtimensec: number;
  ctimensec: number;
}
interface Handle {
  nodeid: number;
  fh: number;
  flags: number;
}

class Refused extends Error {}

/** Does the steps of POSIX scenarios as Linux would ask a FUSE session to, root being the caller. */
export class PosixSession {
  session: FuseSession;
  filesystem: MemoryFileSystem;
  #top = 1;
  #umask = 0o022;
  #marked: Attr | undefined;
  readonly #handles = new Map<string, Handle>();
  readonly #directories = new Map<string, Handle>();
  readonly #known = new Map<string, { nodeid: number; generation: number }>();

  constructor() {
    this.filesystem = filesystemOf(new Volume());
    this.session = new FuseSession({ filesystem: this.filesystem });
    this.#ask(C.FUSE_INIT, 0, 7, 38, 0x20000, 0xffffffff & ~(1 << 29), 0, ...Array<number>(11).fill(0));
  }

  /** A directory of its own for a scenario, with nothing open. */
  begin(name: string): void {
    this.#handles.clear();
    this.#directories.clear();
    this.#umask = 0o022;
    this.#top = entry(this.#ask(C.FUSE_MKDIR, 1, 0o755, 0, name)).nodeid;
  }

  /** Goes on in another session on a copy of the files, as after a restore elsewhere. */
  moveElsewhere(): void {
    const saved = structuredClone({ files: this.filesystem.state(), session: this.session.state() });
    this.filesystem = filesystemOf(new Volume());
    this.filesystem.restore(checkState(saved.files));
    this.session = new FuseSession({ filesystem: this.filesystem });
    this.session.restore(FuseSession.checkState(saved.session, this.filesystem), () => undefined);
    this.filesystem.settle();
  }

  /** What comes of a step, as guest-images/src/posix.c tells it. */
  async step(text: string): Promise<string> {
    const [name, ...words] = text.split(' ') as [string, ...string[]];
    try {
      if (name.startsWith('host-')) return this.#onHost(name.slice('host-'.length), words);
      if (name === 'mark') return await this.#mark(words[0]!);
      return this.#do(name, words) ?? 'ok';
    } catch (error) {
      if (error instanceof Refused) return error.message;
      throw error;
    }
  }

  #do(name: string, [a = '', b = '', c = '', d = '', e = '']: string[]): string | undefined {
    const handle = this.#handles.get(a);
    switch (name) {
      case 'umask':
        this.#umask = parseInt(a, 8);
        return;
      case 'mkdir':
        this.#ask(C.FUSE_MKDIR, ...this.#place(a, [this.#mode(b, '0755'), 0]));
        return;
      case 'create':
        this.#release(this.#create(a, 0o301, b));
        return;
      case 'mknod':
        this.#ask(
          C.FUSE_MKNOD,
          ...this.#place(a, [TYPES[b]! | this.#mode(c, '0644'), d ? makedev(Number(d), Number(e)) : 0, 0, 0]),
        );
        return;
      case 'symlink':
        this.#ask(C.FUSE_SYMLINK, ...this.#place(b, []), bytesOf(a));
        return;
      case 'link':
        this.#ask(C.FUSE_LINK, this.#parent(b), BigInt(this.#node(a)), leaf(b));
        return;
      case 'linkfd':
        this.#ask(C.FUSE_LINK, this.#parent(b), BigInt(handle!.nodeid), leaf(b));
        return;
      case 'unlink':
        this.#ask(C.FUSE_UNLINK, ...this.#place(a, []));
        return;
      case 'rmdir':
        this.#ask(C.FUSE_RMDIR, ...this.#place(a, []));
        return;
      case 'rename':
        this.#ask(C.FUSE_RENAME2, this.#parent(a), BigInt(this.#parent(b)), RENAME[c] ?? 0, 0, leaf(a), leaf(b));
        return;
      case 'readlink':
        return quote(this.#payload(this.#ask(C.FUSE_READLINK, this.#node(a))));
      case 'chmod':
        this.#setattr(this.#node(a), C.FATTR_MODE, { mode: parseInt(b, 8) });
        return;
      case 'fchmod':
        this.#setattr(handle!.nodeid, C.FATTR_MODE, { mode: parseInt(b, 8) });
        return;
      case 'chown':
        this.#setattr(this.#node(a), (b === '-1' ? 0 : C.FATTR_UID) | (c === '-1' ? 0 : C.FATTR_GID), {
          uid: Number(b) >>> 0,
          gid: Number(c) >>> 0,
        });
        return;
      case 'truncate':
        this.#resize(this.#node(a), b);
        return;
      case 'ftruncate':
        this.#resize(handle!.nodeid, b, handle!.fh);
        return;
      case 'utimens':
        this.#utimens(this.#node(a), b, c);
        return;
      case 'stat':
        return describe(this.#attr(this.#node(a)));
      case 'fstat':
        return describe(this.#attr(handle!.nodeid));
      case 'changed':
        return this.#changed(this.#attr(this.#node(a)));
      case 'open':
        this.#open(a, b, c, d);
        return;
      case 'close':
        this.#release(handle!);
        this.#handles.delete(a);
        return;
      case 'read':
        return quote(
          this.#payload(
            this.#ask(C.FUSE_READ, handle!.nodeid, BigInt(handle!.fh), BigInt(b), Number(c), 0, 0n, handle!.flags, 0),
          ),
        );
      case 'write':
        return this.#write(handle!, b, bytesOf(c).subarray(0, -1));
      case 'fallocate':
        return this.#fallocate(handle!, b, Number(c), Number(d));
      case 'seek':
        return String(
          this.#ask(C.FUSE_LSEEK, handle!.nodeid, BigInt(handle!.fh), BigInt(c), SEEK[b]!, 0).payload.getBigUint64(
            0,
            true,
          ),
        );
      case 'copy':
        return this.#copy(handle!, b, this.#handles.get(c)!, d, e);
      // ENOSYS is success, once and for all: fuse_fsync of Linux.
      case 'fsync':
        return answerOf(call(this.session, C.FUSE_FSYNC, handle!.nodeid, BigInt(handle!.fh), 0, 0)) === 'ENOSYS'
          ? undefined
          : 'not ENOSYS';
      case 'setxattr': {
        const value = bytesOf(c).subarray(0, -1);
        // xattr(7): the kernel takes no more.
        if (value.length > 65536) throw new Refused('E2BIG');
        this.#ask(C.FUSE_SETXATTR, this.#node(a), value.length, XATTR[d] ?? 0, bytesOf(b), value);
        return;
      }
      case 'getxattr':
        return quote(this.#payload(this.#ask(C.FUSE_GETXATTR, this.#node(a), Number(c || 65536), 0, bytesOf(b))));
      case 'removexattr':
        this.#ask(C.FUSE_REMOVEXATTR, this.#node(a), bytesOf(b));
        return;
      case 'listxattr':
        return list(split(this.#payload(this.#ask(C.FUSE_LISTXATTR, this.#node(a), 65536, 0))));
      case 'ls':
        return list(this.#entries(this.#opendir(this.#node(a))));
      case 'opendir':
        this.#directories.set(a, this.#opendir(this.#node(b)));
        return;
      case 'readdir':
        return list(this.#entries(this.#directories.get(a)!));
      case 'renamewhilelisted':
        return String(this.#renameWhileListed(a));
      case 'rewinddir':
        return;
      case 'know':
        this.#known.set(a, entry(this.#ask(C.FUSE_LOOKUP, this.#parent(b), leaf(b))));
        return;
      case 'openknown':
        this.#openKnown(a, this.#known.get(b)!, c);
        return;
      case 'dropcaches':
        this.#forget();
        return;
      default:
        throw new Error(`no such step: ${name}`);
    }
  }

  /** The same by memfs's `fs` API, in a session's top directory. */
  #onHost(name: string, [a = '', b = '']: string[]): string {
    const volume = volumeOf(this.filesystem);
    try {
      switch (name) {
        case 'mkdir':
          volume.mkdirSync(`/${a}`, { mode: 0o755 });
          break;
        case 'symlink':
          volume.symlinkSync(a, `/${b}`);
          break;
        case 'link':
          volume.linkSync(`/${a}`, `/${b}`);
          break;
        case 'unlink':
          volume.unlinkSync(`/${a}`);
          break;
        case 'rmdir':
          volume.rmdirSync(`/${a}`);
          break;
        case 'rename':
          volume.renameSync(`/${a}`, `/${b}`);
          break;
        default:
          throw new Error(`no such step: ${name}`);
      }
      return 'ok';
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (!code) throw error;
      return code;
    }
  }

  #ask(opcode: number, nodeid: number, ...body: (number | bigint | string | Uint8Array)[]): Answer {
    const answer = call(this.session, opcode, nodeid, ...body);
    if (answer.error) throw new Refused(answerOf(answer));
    return answer;
  }

  #payload({ payload }: Answer): Uint8Array {
    return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength).slice();
  }

  #node(path: string): number {
    if (path === '.') return this.#top;
    return path.split('/').reduce((dir, name) => entry(this.#ask(C.FUSE_LOOKUP, dir, bytesOf(name))).nodeid, this.#top);
  }

  #parent(path: string): number {
    const at = path.lastIndexOf('/');
    if (at < 0) return this.#top;
    const nodeid = this.#node(path.slice(0, at));
    // The kernel looks nothing up in what is no directory.
    if ((this.#attr(nodeid).mode & 0o170000) !== TYPES['directory']) throw new Refused('ENOTDIR');
    return nodeid;
  }

  /** Node id of the directory, then the message: `before`, and the name. */
  #place(path: string, before: number[]): [number, ...(number | Uint8Array)[]] {
    return [this.#parent(path), ...before, leaf(path)];
  }

  #mode(word: string, standard: string): number {
    return parseInt(word || standard, 8) & ~this.#umask;
  }

  #attr(nodeid: number): Attr {
    const { payload } = this.#ask(C.FUSE_GETATTR, nodeid, 0, 0, 0n);
    return fuse_attr_out.decode(payload, 0)['attr'] as Attr;
  }

  #setattr(
    nodeid: number,
    valid: number,
    {
      fh = 0,
      size = 0n,
      atime = [0n, 0],
      mtime = [0n, 0],
      mode = 0,
      uid = 0,
      gid = 0,
    }: {
      fh?: number;
      size?: bigint;
      atime?: [bigint, number];
      mtime?: [bigint, number];
      mode?: number;
      uid?: number;
      gid?: number;
    },
  ): void {
    this.#ask(
      C.FUSE_SETATTR,
      nodeid,
      valid,
      0,
      BigInt(fh),
      size,
      0n,
      atime[0],
      mtime[0],
      0n,
      atime[1],
      mtime[1],
      0,
      mode,
      0,
      uid,
      gid,
      0,
    );
  }

  #resize(nodeid: number, size: string, fh?: number): void {
    if (BigInt(size) < 0n) throw new Refused('EINVAL');
    this.#setattr(nodeid, C.FATTR_SIZE | (fh === undefined ? 0 : C.FATTR_FH), { size: BigInt(size), fh });
  }

  #utimens(nodeid: number, atime: string, mtime: string): void {
    if (atime === 'omit' && mtime === 'omit') return;
    const bits = (word: string, given: number, now: number) =>
      word === 'omit' ? 0 : word === 'now' ? given | now : given;
    const time = (word: string): [bigint, number] => {
      const [sec, nsec = '0'] = /^-?\d/.test(word) ? (word.split('.') as [string, string?]) : ['0'];
      return [BigInt.asUintN(64, BigInt(sec)), Number(nsec)];
    };
    this.#setattr(
      nodeid,
      bits(atime, C.FATTR_ATIME, C.FATTR_ATIME_NOW) | bits(mtime, C.FATTR_MTIME, C.FATTR_MTIME_NOW),
      { atime: time(atime), mtime: time(mtime) },
    );
  }

  async #mark(path: string): Promise<string> {
    this.#marked = this.#attr(this.#node(path));
    for (const now = Date.now(); Date.now() === now; ) await new Promise((resolve) => setTimeout(resolve, 1));
    return 'ok';
  }

  #changed(now: Attr): string {
    const before = this.#marked!;
    return (
      TIME_NAMES.filter((name) => now[name] !== before[name] || now[`${name}nsec`] !== before[`${name}nsec`]).join(
        '+',
      ) || 'none'
    );
  }

  #create(path: string, flags: number, mode: string): Handle {
    const { payload } = this.#ask(C.FUSE_CREATE, ...this.#placeOf(path, flags, mode));
    return { nodeid: entry({ payload }).nodeid, fh: opened(payload, fuse_entry_out.size), flags };
  }

  #placeOf(path: string, flags: number, mode: string): [number, ...(number | Uint8Array)[]] {
    return this.#place(path, [flags, this.#mode(mode, '0644') | TYPES['file']!, 0, 0]);
  }

  #open(name: string, path: string, words: string, mode: string): void {
    const flags = words.split('|').reduce((all, word) => all | OPEN_FLAGS[word]!, 0);
    if ((flags & OPEN_FLAGS['O_TMPFILE']!) === OPEN_FLAGS['O_TMPFILE']) {
      const { payload } = this.#ask(
        C.FUSE_TMPFILE,
        this.#node(path),
        flags,
        this.#mode(mode, '0644') | TYPES['file']!,
        0,
        0,
        '/',
      );
      this.#handles.set(name, { nodeid: entry({ payload }).nodeid, fh: opened(payload, fuse_entry_out.size), flags });
      return;
    }
    const isCreate = (flags & OPEN_FLAGS['O_CREAT']!) !== 0;
    const isThere = !isCreate || call(this.session, C.FUSE_LOOKUP, this.#parent(path), leaf(path)).error === 0;
    if (!isThere || flags & OPEN_FLAGS['O_EXCL']!) {
      this.#handles.set(name, this.#create(path, flags, mode));
      return;
    }
    const nodeid = this.#node(path);
    const { payload } = this.#ask(C.FUSE_OPEN, nodeid, flags & ~0o1300, 0);
    this.#handles.set(name, { nodeid, fh: opened(payload, 0), flags });
    if (flags & OPEN_FLAGS['O_TRUNC']!) this.#setattr(nodeid, C.FATTR_SIZE | C.FATTR_MTIME | C.FATTR_MTIME_NOW, {});
  }

  /** open_by_handle_at: "." of a node id, whether the kernel holds it or not. */
  #openKnown(name: string, { nodeid, generation }: { nodeid: number; generation: number }, words: string): void {
    const found = entry(this.#ask(C.FUSE_LOOKUP, nodeid, '.'));
    if (found.nodeid !== nodeid || found.generation !== generation) throw new Refused('ESTALE');
    const isDirectory = (this.#attr(nodeid).mode & 0o170000) === TYPES['directory'];
    const { payload } = this.#ask(isDirectory ? C.FUSE_OPENDIR : C.FUSE_OPEN, nodeid, OPEN_FLAGS[words]!, 0);
    this.#handles.set(name, { nodeid, fh: opened(payload, 0), flags: OPEN_FLAGS[words]! });
  }

  /** Every inode that is not in use. */
  #forget(): void {
    const { nodes } = this.session.state();
    const used = new Set([
      this.#top,
      ...[...this.#handles.values(), ...this.#directories.values()].map(({ nodeid }) => nodeid),
    ]);
    nodes.ino.forEach(
      (nodeid, n) => void (used.has(nodeid) || call(this.session, C.FUSE_FORGET, nodeid, BigInt(nodes.nlookup[n]!))),
    );
  }

  #release({ nodeid, fh, flags }: Handle): void {
    this.#ask(C.FUSE_RELEASE, nodeid, BigInt(fh), flags, 0, 0n);
  }

  #write({ nodeid, fh, flags }: Handle, at: string, bytes: Uint8Array): string {
    const { payload } = this.#ask(
      C.FUSE_WRITE,
      nodeid,
      BigInt(fh),
      at === '-' ? 0n : BigInt(at),
      bytes.length,
      0,
      0n,
      flags,
      0,
      bytes,
    );
    return String(payload.getUint32(0, true));
  }

  #fallocate({ nodeid, fh }: Handle, mode: string, at: number, length: number): undefined {
    if (at < 0 || length <= 0) throw new Refused('EINVAL');
    this.#ask(C.FUSE_FALLOCATE, nodeid, BigInt(fh), BigInt(at), BigInt(length), FALLOCATE[mode]!, 0);
  }

  #copy(from: Handle, at: string, to: Handle, toAt: string, length: string): string {
    const { payload } = this.#ask(
      C.FUSE_COPY_FILE_RANGE,
      from.nodeid,
      BigInt(from.fh),
      BigInt(at),
      BigInt(to.nodeid),
      BigInt(to.fh),
      BigInt(toAt),
      BigInt(length),
      0n,
    );
    return String(payload.getUint32(0, true));
  }

  #opendir(nodeid: number): Handle {
    return { nodeid, fh: opened(this.#ask(C.FUSE_OPENDIR, nodeid, 0, 0).payload, 0), flags: 0 };
  }

  #renameWhileListed(path: string): number {
    const { nodeid, fh } = this.#opendir(this.#node(path));
    return this.#entries({ nodeid, fh, flags: 0 }, (name) => {
      for (const [from, to] of [
        [name, Buffer.from('renamed')],
        [Buffer.from('renamed'), name],
      ] as const)
        this.#ask(
          C.FUSE_RENAME,
          nodeid,
          BigInt(nodeid),
          Buffer.concat([from, Buffer.of(0)]),
          Buffer.concat([to, Buffer.of(0)]),
        );
    }).length;
  }

  #entries({ nodeid, fh }: Handle, onName: (name: Uint8Array) => void = () => {}): Uint8Array[] {
    const names: Uint8Array[] = [];
    const isDot = (name: Uint8Array) => ['.', '..'].includes(new TextDecoder().decode(name));
    for (let offset = 0n; names.length < 100_000; ) {
      const bytes = this.#payload(this.#ask(C.FUSE_READDIR, nodeid, BigInt(fh), offset, 512, 0, 0n, 0, 0));
      if (!bytes.length) break;
      for (let from = 0; from < bytes.length; ) {
        const dirent = fuse_dirent.at(new DataView(bytes.buffer), from);
        const name = bytes.slice(from + fuse_dirent.size, from + fuse_dirent.size + dirent.namelen);
        if (!isDot(name)) names.push(name);
        offset = BigInt(dirent.off);
        from += Math.ceil((fuse_dirent.size + dirent.namelen) / 8) * 8;
        if (!isDot(name)) onName(name);
      }
    }
    return names;
  }
}

function answerOf({ error }: Answer): string {
  return ERRNO_NAMES.get(-error!) ?? `errno ${-error!}`;
}

function entry({ payload }: Pick<Answer, 'payload'>): { nodeid: number; generation: number } {
  return fuse_entry_out.decode(payload, 0) as { nodeid: number; generation: number };
}

function opened(payload: DataView, at: number): number {
  return (fuse_open_out.decode(payload, at) as { fh: number }).fh;
}

/** With its NUL. */
function bytesOf(word: string): Uint8Array {
  return Uint8Array.from([
    ...Buffer.from(
      word.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
      'latin1',
    ),
    0,
  ]);
}

function leaf(path: string): Uint8Array {
  return bytesOf(path.slice(path.lastIndexOf('/') + 1));
}

function split(bytes: Uint8Array): Uint8Array[] {
  return Buffer.from(bytes)
    .toString('latin1')
    .split('\0')
    .slice(0, -1)
    .map((name) => Buffer.from(name, 'latin1'));
}

function escaped(bytes: Uint8Array, plain: RegExp): string {
  return [...bytes]
    .map((byte) =>
      plain.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, '0')}`,
    )
    .join('');
}

function quote(bytes: Uint8Array): string {
  return `"${escaped(bytes, /[!-$&-~]/)}"`;
}

function list(names: Uint8Array[]): string {
  return `[${names
    .sort((a, b) => Buffer.compare(a, b))
    .map((name) => escaped(name, /[!-$&-+\-.-~]/))
    .join(',')}]`;
}

function makedev(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

function describe({ mode, nlink, uid, gid, size, rdev, blocks, atime, mtime, atimensec, mtimensec }: Attr): string {
  const type = Object.entries(TYPES).find(([, bits]) => bits === (mode & 0o170000))![0];
  const time = (sec: number, nsec: number) => `${sec}.${String(nsec).padStart(9, '0')}`;
  return [
    `type=${type}`,
    `mode=${(mode & 0o7777).toString(8).padStart(4, '0')}`,
    `nlink=${nlink}`,
    `uid=${uid | 0}`,
    `gid=${gid | 0}`,
    `size=${size}`,
    `rdev=${(rdev >>> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}`,
    `blocks=${blocks}`,
    `atime=${time(atime, atimensec)}`,
    `mtime=${time(mtime, mtimensec)}`,
  ].join(' ');
}
