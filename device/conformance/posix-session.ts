import { S_IFMT } from '../fs/constants.ts';
import * as C from '../fuse/constants.ts';
import type { fuse_setattr_in } from '../fuse/layouts.ts';
import { Client, isDots, Refused } from './client.ts';
import type { Values } from './message.ts';
import {
  type Attr,
  bytesOf,
  describe,
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
} from './words.ts';

interface Handle {
  nodeid: number;
  fh: number;
  flags: number;
}

/** Does the steps of POSIX scenarios. */
export class PosixSession extends Client {
  /** Milliseconds that two times of a file have to be apart to differ. */
  granularity = 1;
  #umask = 0o022;
  #marked: Attr | undefined;
  readonly #handles = new Map<string, Handle>();
  readonly #directories = new Map<string, Handle>();
  readonly #known = new Map<string, { nodeid: number; generation: number }>();

  /** A directory of its own for a scenario, with nothing open. */
  async begin(name: string): Promise<void> {
    this.#handles.clear();
    this.#directories.clear();
    this.#umask = 0o022;
    this.top = (await this.ask('MKDIR', 1, { mode: 0o755 }, name)).out.nodeid;
  }

  /** What comes of a step, as guest-images/src/posix.c tells it. */
  async step(text: string): Promise<string> {
    const [name, ...words] = text.split(' ') as [string, ...string[]];
    try {
      return (await this.#do(name, words)) ?? 'ok';
    } catch (error) {
      if (error instanceof Refused) return error.message;
      throw error;
    }
  }

  async #do(name: string, [a = '', b = '', c = '', d = '', e = '']: string[]): Promise<string | undefined> {
    const handle = this.#handles.get(a);
    switch (name) {
      case 'umask':
        this.#umask = parseInt(a, 8);
        return;
      case 'mkdir':
        await this.ask('MKDIR', await this.parent(a), this.#modeAndUmask(b, '0755'), leaf(a));
        return;
      case 'create':
        await this.#release(await this.#create(a, 0o301, b));
        return;
      case 'mknod':
        await this.ask(
          'MKNOD',
          await this.parent(a),
          { ...this.#modeAndUmask(c, '0644', TYPES[b]), rdev: d ? makedev(Number(d), Number(e)) : 0 },
          leaf(a),
        );
        return;
      case 'symlink':
        await this.ask('SYMLINK', await this.parent(b), leaf(b), bytesOf(a));
        return;
      case 'link':
        await this.ask('LINK', await this.parent(b), { oldnodeid: await this.node(a) }, leaf(b));
        return;
      case 'linkfd':
        await this.ask('LINK', await this.parent(b), { oldnodeid: handle!.nodeid }, leaf(b));
        return;
      case 'unlink':
        await this.ask('UNLINK', await this.parent(a), leaf(a));
        return;
      case 'rmdir':
        await this.ask('RMDIR', await this.parent(a), leaf(a));
        return;
      case 'rename':
        await this.ask(
          'RENAME2',
          await this.parent(a),
          { newdir: await this.parent(b), flags: RENAME[c] ?? 0 },
          leaf(a),
          leaf(b),
        );
        return;
      case 'readlink':
        return quote((await this.ask('READLINK', await this.node(a))).bytes);
      case 'chmod':
        await this.#setattr(await this.node(a), C.FATTR_MODE, { mode: parseInt(b, 8) });
        return;
      case 'fchmod':
        await this.#setattr(handle!.nodeid, C.FATTR_MODE, { mode: parseInt(b, 8) });
        return;
      case 'chown':
        await this.#setattr(await this.node(a), (b === '-1' ? 0 : C.FATTR_UID) | (c === '-1' ? 0 : C.FATTR_GID), {
          uid: Number(b) >>> 0,
          gid: Number(c) >>> 0,
        });
        return;
      case 'truncate':
        await this.#resize(await this.node(a), b);
        return;
      case 'ftruncate':
        await this.#resize(handle!.nodeid, b, handle!.fh);
        return;
      case 'utimens':
        await this.#utimens(await this.node(a), b, c);
        return;
      case 'mark':
        this.#marked = await this.attr(await this.node(a));
        await this.#tick();
        return;
      case 'stat':
        return describe(await this.attr(await this.node(a)));
      case 'fstat':
        return describe(await this.attr(handle!.nodeid));
      case 'changed':
        return this.#changed(await this.attr(await this.node(a)));
      case 'open':
        this.#handles.set(a, await this.#open(b, c, d));
        return;
      case 'close':
        await this.#release(handle!);
        this.#handles.delete(a);
        return;
      case 'read': {
        const { nodeid, fh, flags } = handle!;
        return quote((await this.ask('READ', nodeid, { fh, offset: BigInt(b), size: Number(c), flags })).bytes);
      }
      case 'write':
        return await this.#write(handle!, b, bytesOf(c).subarray(0, -1));
      case 'fallocate':
        return await this.#fallocate(handle!, b, Number(c), Number(d));
      case 'seek':
        return String(
          (await this.ask('LSEEK', handle!.nodeid, { fh: handle!.fh, offset: BigInt(c), whence: SEEK[b]! })).out.offset,
        );
      case 'copy':
        return await this.#copy(handle!, b, this.#handles.get(c)!, d, e);
      case 'fsync': {
        const result = await this.attempt('FSYNC', handle!.nodeid, { fh: handle!.fh });
        // ENOSYS is success, once and for all: fuse_fsync of Linux.
        return result === 'ENOSYS' ? 'ok' : result;
      }
      case 'setxattr': {
        const value = bytesOf(c).subarray(0, -1);
        // xattr(7): the kernel takes no more.
        if (value.length > 65536) throw new Refused('E2BIG');
        await this.ask('SETXATTR', await this.node(a), { size: value.length, flags: XATTR[d] ?? 0 }, bytesOf(b), value);
        return;
      }
      case 'getxattr':
        return quote((await this.ask('GETXATTR', await this.node(a), { size: Number(c || 65536) }, bytesOf(b))).bytes);
      case 'removexattr':
        await this.ask('REMOVEXATTR', await this.node(a), bytesOf(b));
        return;
      case 'listxattr':
        return list(split((await this.ask('LISTXATTR', await this.node(a), { size: 65536 })).bytes));
      case 'ls':
        return list(await this.#names(a));
      case 'opendir':
        this.#directories.set(a, await this.#opendir(await this.node(b)));
        return;
      case 'readdir':
        return list(await this.#entries(this.#directories.get(a)!));
      case 'renamewhilelisted':
        return String(await this.#renameWhileListed(a));
      case 'rewinddir':
        return;
      case 'know':
        this.#known.set(a, (await this.ask('LOOKUP', await this.parent(b), leaf(b))).out);
        return;
      case 'openknown':
        this.#handles.set(a, await this.#openKnown(this.#known.get(b)!, c));
        return;
      case 'dropcaches':
        await this.#forget();
        return;
      default:
        throw new Error(`no such step: ${name}`);
    }
  }

  /** The mode of something new, and the umask where the kernel leaves that to us (FUSE_DONT_MASK). */
  #modeAndUmask(word: string, standard: string, type = 0): { mode: number; umask: number } {
    const mode = type | parseInt(word || standard, 8);
    const isMasked = !(this.session.negotiated!.flags & C.FUSE_DONT_MASK);
    return { mode: isMasked ? mode & ~this.#umask : mode, umask: this.#umask };
  }

  async #setattr(nodeid: number, valid: number, values: Values<(typeof fuse_setattr_in)['fields']>): Promise<void> {
    await this.ask('SETATTR', nodeid, { valid, ...values });
  }

  async #resize(nodeid: number, size: string, fh?: number): Promise<void> {
    if (BigInt(size) < 0n) throw new Refused('EINVAL');
    const valid = C.FATTR_SIZE | (fh === undefined ? 0 : C.FATTR_FH);
    await this.#setattr(nodeid, valid, { size: BigInt(size), fh: fh ?? 0 });
  }

  async #utimens(nodeid: number, atime: string, mtime: string): Promise<void> {
    if (atime === 'omit' && mtime === 'omit') return;
    const bits = (word: string, given: number, now: number) =>
      word === 'omit' ? 0 : word === 'now' ? given | now : given;
    const time = (word: string) => (/^-?\d/.test(word) ? (word.split('.') as [string, string?]) : ['0']);
    const [[atimeSec, atimeNsec = '0'], [mtimeSec, mtimeNsec = '0']] = [time(atime), time(mtime)];
    await this.#setattr(
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

  /** Until a file that is changed has another time. */
  async #tick(): Promise<void> {
    for (const now = Date.now(); Date.now() < now + this.granularity; )
      await new Promise((resolve) => setTimeout(resolve, 1));
  }

  #changed(now: Attr): string {
    const before = this.#marked!;
    const changed = TIME_NAMES.filter(
      (name) => now[name] !== before[name] || now[`${name}nsec`] !== before[`${name}nsec`],
    );
    return changed.join('+') || 'none';
  }

  async #create(path: string, flags: number, mode: string): Promise<Handle> {
    return this.#make('CREATE', await this.parent(path), flags, mode, leaf(path));
  }

  async #make(
    operation: 'CREATE' | 'TMPFILE',
    dir: number,
    flags: number,
    mode: string,
    name: Uint8Array,
  ): Promise<Handle> {
    const body = { flags, ...this.#modeAndUmask(mode, '0644', TYPES['file']) };
    const { entry, open } = (await this.ask(operation, dir, body, name)).out;
    return { nodeid: entry.nodeid, fh: open.fh, flags };
  }

  async #open(path: string, words: string, mode: string): Promise<Handle> {
    const flags = words.split('|').reduce((all, word) => all | OPEN_FLAGS[word]!, 0);
    if ((flags & OPEN_FLAGS['O_TMPFILE']!) === OPEN_FLAGS['O_TMPFILE'])
      return this.#make('TMPFILE', await this.node(path), flags, mode, bytesOf('/'));
    const isCreate = (flags & OPEN_FLAGS['O_CREAT']!) !== 0;
    const isThere = !isCreate || (await this.attempt('LOOKUP', await this.parent(path), leaf(path))) === 'ok';
    if (!isThere || flags & OPEN_FLAGS['O_EXCL']!) return this.#create(path, flags, mode);
    const nodeid = await this.node(path);
    const { fh } = (await this.ask('OPEN', nodeid, { flags: flags & ~0o1300 })).out;
    // Not FATTR_MTIME: that is for callers that truncate, see update_mtime of Linux's fuse/dir.c.
    if (flags & OPEN_FLAGS['O_TRUNC']!) await this.#setattr(nodeid, C.FATTR_SIZE, {});
    return { nodeid, fh, flags };
  }

  /** open_by_handle_at: "." of a node id, whether the kernel holds it or not. */
  async #openKnown({ nodeid, generation }: { nodeid: number; generation: number }, words: string): Promise<Handle> {
    const found = (await this.ask('LOOKUP', nodeid, '.')).out;
    if (found.nodeid !== nodeid || found.generation !== generation) throw new Refused('ESTALE');
    const isDirectory = ((await this.attr(nodeid)).mode & S_IFMT) === TYPES['directory'];
    const flags = OPEN_FLAGS[words]!;
    const { fh } = (await this.ask(isDirectory ? 'OPENDIR' : 'OPEN', nodeid, { flags })).out;
    return { nodeid, fh, flags };
  }

  /** Every inode that is not in use. */
  async #forget(): Promise<void> {
    const { ino, nlookup } = this.session.state().nodes;
    const open = [...this.#handles.values(), ...this.#directories.values()];
    const used = new Set([this.top, ...open.map(({ nodeid }) => nodeid)]);
    for (const [n, nodeid] of ino.entries())
      if (!used.has(nodeid)) await this.ask('FORGET', nodeid, { nlookup: nlookup[n]! });
  }

  async #release({ nodeid, fh, flags }: Handle): Promise<void> {
    await this.ask('RELEASE', nodeid, { fh, flags });
  }

  async #write({ nodeid, fh, flags }: Handle, at: string, bytes: Uint8Array): Promise<string> {
    const offset = at === '-' ? 0 : BigInt(at);
    const { out } = await this.ask('WRITE', nodeid, { fh, offset, size: bytes.length, flags }, bytes);
    return String(out.size);
  }

  async #fallocate({ nodeid, fh }: Handle, mode: string, at: number, length: number): Promise<undefined> {
    if (at < 0 || length <= 0) throw new Refused('EINVAL');
    await this.ask('FALLOCATE', nodeid, { fh, offset: at, length, mode: FALLOCATE[mode]! });
  }

  async #copy(from: Handle, at: string, to: Handle, toAt: string, length: string): Promise<string> {
    const { out } = await this.ask('COPY_FILE_RANGE', from.nodeid, {
      fh_in: from.fh,
      off_in: BigInt(at),
      nodeid_out: to.nodeid,
      fh_out: to.fh,
      off_out: BigInt(toAt),
      len: BigInt(length),
    });
    return String(out.size);
  }

  async #opendir(nodeid: number): Promise<Handle> {
    return { nodeid, fh: (await this.ask('OPENDIR', nodeid)).out.fh, flags: 0 };
  }

  async #names(path: string): Promise<Uint8Array[]> {
    const directory = await this.#opendir(await this.node(path));
    const names = await this.#entries(directory);
    await this.ask('RELEASEDIR', directory.nodeid, { fh: directory.fh });
    return names;
  }

  async #renameWhileListed(path: string): Promise<number> {
    const directory = await this.#opendir(await this.node(path));
    const { nodeid } = directory;
    const names = await this.#entries(directory, async (name) => {
      for (const [from, to] of [
        [terminated(name), 'renamed'],
        ['renamed', terminated(name)],
      ] as const)
        await this.ask('RENAME', nodeid, { newdir: nodeid }, from, to);
    });
    return names.length;
  }

  async #entries({ nodeid, fh }: Handle, onName?: (name: Uint8Array) => Promise<void>): Promise<Uint8Array[]> {
    const names: Uint8Array[] = [];
    for (let cookie = 0; names.length < 100_000; ) {
      const listed = await this.list(nodeid, fh, cookie, 512);
      if (!listed.length) break;
      cookie = listed.at(-1)!.cookie;
      for (const entry of listed) {
        if (isDots(entry)) continue;
        names.push(entry.name);
        await onName?.(entry.name);
      }
    }
    return names;
  }
}
