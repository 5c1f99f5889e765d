import { filesystemOf, volumeOf } from '../../device/filesystems/memfs/volume.ts';
import { checkState } from '../../device/filesystems/memory/check-state.ts';
import * as C from '../../device/fuse/constants.ts';
import { fuse_dirent, type fuse_setattr_in } from '../../device/fuse/layouts.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { type MemoryFileSystem, Volume } from '../../device/index.ts';
import { type Answer, call } from './fuse-call.ts';
import { type Body, INIT, type OperationName, type Values } from './fuse-message.ts';
import { stepOnHost } from './posix-host.ts';
import {
  type Attr,
  bytesOf,
  describe,
  errnoName,
  FALLOCATE,
  leaf,
  list,
  makedev,
  OPEN_FLAGS,
  quote,
  RENAME,
  SEEK,
  split,
  TIME_NAMES,
  TYPES,
  terminated,
  XATTR,
} from './posix-words.ts';

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
    this.#ask('INIT', 0, { ...INIT, flags: INIT.flags & ~(1 << 29) });
  }

  /** A directory of its own for a scenario, with nothing open. */
  begin(name: string): void {
    this.#handles.clear();
    this.#directories.clear();
    this.#umask = 0o022;
    this.#top = this.#ask('MKDIR', 1, { mode: 0o755 }, name).out.nodeid;
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
      if (name.startsWith('host-')) return stepOnHost(volumeOf(this.filesystem), name.slice('host-'.length), words);
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
        this.#ask('MKDIR', this.#parent(a), { mode: this.#mode(b, '0755') }, leaf(a));
        return;
      case 'create':
        this.#release(this.#create(a, 0o301, b));
        return;
      case 'mknod':
        this.#ask(
          'MKNOD',
          this.#parent(a),
          { mode: TYPES[b]! | this.#mode(c, '0644'), rdev: d ? makedev(Number(d), Number(e)) : 0 },
          leaf(a),
        );
        return;
      case 'symlink':
        this.#ask('SYMLINK', this.#parent(b), leaf(b), bytesOf(a));
        return;
      case 'link':
        this.#ask('LINK', this.#parent(b), { oldnodeid: this.#node(a) }, leaf(b));
        return;
      case 'linkfd':
        this.#ask('LINK', this.#parent(b), { oldnodeid: handle!.nodeid }, leaf(b));
        return;
      case 'unlink':
        this.#ask('UNLINK', this.#parent(a), leaf(a));
        return;
      case 'rmdir':
        this.#ask('RMDIR', this.#parent(a), leaf(a));
        return;
      case 'rename':
        this.#ask('RENAME2', this.#parent(a), { newdir: this.#parent(b), flags: RENAME[c] ?? 0 }, leaf(a), leaf(b));
        return;
      case 'readlink':
        return quote(this.#ask('READLINK', this.#node(a)).bytes);
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
      case 'read': {
        const { nodeid, fh, flags } = handle!;
        return quote(this.#ask('READ', nodeid, { fh, offset: BigInt(b), size: Number(c), flags }).bytes);
      }
      case 'write':
        return this.#write(handle!, b, bytesOf(c).subarray(0, -1));
      case 'fallocate':
        return this.#fallocate(handle!, b, Number(c), Number(d));
      case 'seek':
        return String(
          this.#ask('LSEEK', handle!.nodeid, { fh: handle!.fh, offset: BigInt(c), whence: SEEK[b]! }).out.offset,
        );
      case 'copy':
        return this.#copy(handle!, b, this.#handles.get(c)!, d, e);
      // ENOSYS is success, once and for all: fuse_fsync of Linux.
      case 'fsync': {
        const { error } = call(this.session, 'FSYNC', handle!.nodeid, { fh: handle!.fh });
        return errnoName(error) === 'ENOSYS' ? undefined : 'not ENOSYS';
      }
      case 'setxattr': {
        const value = bytesOf(c).subarray(0, -1);
        // xattr(7): the kernel takes no more.
        if (value.length > 65536) throw new Refused('E2BIG');
        this.#ask('SETXATTR', this.#node(a), { size: value.length, flags: XATTR[d] ?? 0 }, bytesOf(b), value);
        return;
      }
      case 'getxattr':
        return quote(this.#ask('GETXATTR', this.#node(a), { size: Number(c || 65536) }, bytesOf(b)).bytes);
      case 'removexattr':
        this.#ask('REMOVEXATTR', this.#node(a), bytesOf(b));
        return;
      case 'listxattr':
        return list(split(this.#ask('LISTXATTR', this.#node(a), { size: 65536 }).bytes));
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
        this.#known.set(a, this.#ask('LOOKUP', this.#parent(b), leaf(b)).out);
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

  #ask<O extends OperationName>(operation: O, nodeid: number, ...body: Body<O>): Answer<O> {
    const answer = call(this.session, operation, nodeid, ...body);
    if (answer.error) throw new Refused(errnoName(answer.error));
    return answer;
  }

  #node(path: string): number {
    if (path === '.') return this.#top;
    return path.split('/').reduce((dir, name) => this.#ask('LOOKUP', dir, bytesOf(name)).out.nodeid, this.#top);
  }

  #parent(path: string): number {
    const at = path.lastIndexOf('/');
    if (at < 0) return this.#top;
    const nodeid = this.#node(path.slice(0, at));
    // The kernel looks nothing up in what is no directory.
    if ((this.#attr(nodeid).mode & 0o170000) !== TYPES['directory']) throw new Refused('ENOTDIR');
    return nodeid;
  }

  #mode(word: string, standard: string): number {
    return parseInt(word || standard, 8) & ~this.#umask;
  }

  #attr(nodeid: number): Attr {
    return this.#ask('GETATTR', nodeid).out.attr;
  }

  #setattr(nodeid: number, valid: number, values: Values<(typeof fuse_setattr_in)['fields']>): void {
    this.#ask('SETATTR', nodeid, { valid, ...values });
  }

  #resize(nodeid: number, size: string, fh?: number): void {
    if (BigInt(size) < 0n) throw new Refused('EINVAL');
    this.#setattr(nodeid, C.FATTR_SIZE | (fh === undefined ? 0 : C.FATTR_FH), { size: BigInt(size), fh: fh ?? 0 });
  }

  #utimens(nodeid: number, atime: string, mtime: string): void {
    if (atime === 'omit' && mtime === 'omit') return;
    const bits = (word: string, given: number, now: number) =>
      word === 'omit' ? 0 : word === 'now' ? given | now : given;
    const time = (word: string) => (/^-?\d/.test(word) ? (word.split('.') as [string, string?]) : ['0']);
    const [[atimeSec, atimeNsec = '0'], [mtimeSec, mtimeNsec = '0']] = [time(atime), time(mtime)];
    this.#setattr(
      nodeid,
      bits(atime, C.FATTR_ATIME, C.FATTR_ATIME_NOW) | bits(mtime, C.FATTR_MTIME, C.FATTR_MTIME_NOW),
      {
        atime: BigInt(atimeSec!),
        mtime: BigInt(mtimeSec!),
        atimensec: Number(atimeNsec),
        mtimensec: Number(mtimeNsec),
      },
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
    return this.#make('CREATE', this.#parent(path), flags, mode, leaf(path));
  }

  #make(operation: 'CREATE' | 'TMPFILE', dir: number, flags: number, mode: string, name: Uint8Array): Handle {
    const body = { flags, mode: this.#mode(mode, '0644') | TYPES['file']! };
    const { entry, open } = this.#ask(operation, dir, body, name).out;
    return { nodeid: entry.nodeid, fh: open.fh, flags };
  }

  #open(name: string, path: string, words: string, mode: string): void {
    const flags = words.split('|').reduce((all, word) => all | OPEN_FLAGS[word]!, 0);
    if ((flags & OPEN_FLAGS['O_TMPFILE']!) === OPEN_FLAGS['O_TMPFILE']) {
      this.#handles.set(name, this.#make('TMPFILE', this.#node(path), flags, mode, bytesOf('/')));
      return;
    }
    const isCreate = (flags & OPEN_FLAGS['O_CREAT']!) !== 0;
    const isThere = !isCreate || call(this.session, 'LOOKUP', this.#parent(path), leaf(path)).error === 0;
    if (!isThere || flags & OPEN_FLAGS['O_EXCL']!) {
      this.#handles.set(name, this.#create(path, flags, mode));
      return;
    }
    const nodeid = this.#node(path);
    const { fh } = this.#ask('OPEN', nodeid, { flags: flags & ~0o1300 }).out;
    this.#handles.set(name, { nodeid, fh, flags });
    if (flags & OPEN_FLAGS['O_TRUNC']!) this.#setattr(nodeid, C.FATTR_SIZE | C.FATTR_MTIME | C.FATTR_MTIME_NOW, {});
  }

  /** open_by_handle_at: "." of a node id, whether the kernel holds it or not. */
  #openKnown(name: string, { nodeid, generation }: { nodeid: number; generation: number }, words: string): void {
    const found = this.#ask('LOOKUP', nodeid, '.').out;
    if (found.nodeid !== nodeid || found.generation !== generation) throw new Refused('ESTALE');
    const isDirectory = (this.#attr(nodeid).mode & 0o170000) === TYPES['directory'];
    const flags = OPEN_FLAGS[words]!;
    const { fh } = this.#ask(isDirectory ? 'OPENDIR' : 'OPEN', nodeid, { flags }).out;
    this.#handles.set(name, { nodeid, fh, flags });
  }

  /** Every inode that is not in use. */
  #forget(): void {
    const { nodes } = this.session.state();
    const used = new Set([
      this.#top,
      ...[...this.#handles.values(), ...this.#directories.values()].map(({ nodeid }) => nodeid),
    ]);
    nodes.ino.forEach(
      (nodeid, n) => void (used.has(nodeid) || call(this.session, 'FORGET', nodeid, { nlookup: nodes.nlookup[n]! })),
    );
  }

  #release({ nodeid, fh, flags }: Handle): void {
    this.#ask('RELEASE', nodeid, { fh, flags });
  }

  #write({ nodeid, fh, flags }: Handle, at: string, bytes: Uint8Array): string {
    const offset = at === '-' ? 0 : BigInt(at);
    return String(this.#ask('WRITE', nodeid, { fh, offset, size: bytes.length, flags }, bytes).out.size);
  }

  #fallocate({ nodeid, fh }: Handle, mode: string, at: number, length: number): undefined {
    if (at < 0 || length <= 0) throw new Refused('EINVAL');
    this.#ask('FALLOCATE', nodeid, { fh, offset: at, length, mode: FALLOCATE[mode]! });
  }

  #copy(from: Handle, at: string, to: Handle, toAt: string, length: string): string {
    const { out } = this.#ask('COPY_FILE_RANGE', from.nodeid, {
      fh_in: from.fh,
      off_in: BigInt(at),
      nodeid_out: to.nodeid,
      fh_out: to.fh,
      off_out: BigInt(toAt),
      len: BigInt(length),
    });
    return String(out.size);
  }

  #opendir(nodeid: number): Handle {
    return { nodeid, fh: this.#ask('OPENDIR', nodeid).out.fh, flags: 0 };
  }

  #renameWhileListed(path: string): number {
    const { nodeid, fh } = this.#opendir(this.#node(path));
    return this.#entries({ nodeid, fh, flags: 0 }, (name) => {
      for (const [from, to] of [
        [terminated(name), 'renamed'],
        ['renamed', terminated(name)],
      ] as const)
        this.#ask('RENAME', nodeid, { newdir: nodeid }, from, to);
    }).length;
  }

  #entries({ nodeid, fh }: Handle, onName: (name: Uint8Array) => void = () => {}): Uint8Array[] {
    const names: Uint8Array[] = [];
    const isDot = (name: Uint8Array) => ['.', '..'].includes(new TextDecoder().decode(name));
    for (let offset = 0n; names.length < 100_000; ) {
      const bytes = this.#ask('READDIR', nodeid, { fh, offset, size: 512 }).bytes;
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
