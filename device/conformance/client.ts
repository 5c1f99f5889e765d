import { BytesSink, BytesSource } from '../bytes.ts';
import { S_IFDIR, S_IFMT } from '../fs/constants.ts';
import { errnoName } from '../fs/errno.ts';
import { FUSE_SETXATTR_EXT } from '../fuse/constants.ts';
import { fuse_dirent, fuse_direntplus, fuse_out_header } from '../fuse/layouts.ts';
import { DEFERRED } from '../fuse/request.ts';
import type { FuseSession } from '../fuse/session.ts';
import { answerOf, type Body, INIT, message, type OperationName, type Out } from './message.ts';
import { type Attr, bytesOf } from './words.ts';

/** What came of a request: what follows `fuse_out_header`, as bytes and as the operation's struct. */
interface Reply<O extends OperationName> {
  bytes: Uint8Array;
  out: Out<O>;
}

/** An entry of a directory as a list has it; node id and attributes are in READDIRPLUS only, and not of "." and "..". */
export interface Listed {
  name: Uint8Array;
  ino: number;
  /** `d_type`: the type bits of a mode, shifted by 12. */
  type: number;
  cookie: number;
  nodeid: number;
  attr: Attr | undefined;
}

const REPLY_ROOM = 70_000;
const DIRENT_ALIGN = 8;

/** The errno with which a request was refused is the message. */
export class Refused extends Error {}

let unique = 0n;

/** Asks a session as Linux would, root being the caller, and waits for each answer. */
export class Client {
  session: FuseSession;
  /** Node id of the directory in which paths begin. */
  top = 1;

  constructor(session: FuseSession) {
    this.session = session;
  }

  /** The first request: has to be made before all others. */
  async init(): Promise<void> {
    await this.ask('INIT', 0, { ...INIT, flags: INIT.flags & ~Number(FUSE_SETXATTR_EXT) });
  }

  /** @throws Refused for an errno. */
  async ask<O extends OperationName>(operation: O, nodeid: number, ...body: Body<O>): Promise<Reply<O>> {
    const sent = message(operation, { unique: (unique += 2n), nodeid }, ...body);
    const reply = new Uint8Array(REPLY_ROOM);
    const length = await new Promise<number>((resolve) => {
      const request = {
        source: new BytesSource(sent),
        sink: new BytesSink(reply),
        isAwaited: true,
        complete: resolve,
      };
      const length = this.session.handle(request);
      if (length !== DEFERRED) resolve(length);
    });
    const header = fuse_out_header.at(new DataView(reply.buffer), 0);
    if (header.error) throw new Refused(errnoName(-header.error));
    const bytes = reply.subarray(fuse_out_header.size, Math.max(fuse_out_header.size, length));
    return { bytes, out: answerOf(operation, new DataView(reply.buffer, fuse_out_header.size)) };
  }

  /** As {@link ask}, where a refusal is an answer: its errno's name, or `ok`. */
  async attempt<O extends OperationName>(operation: O, nodeid: number, ...body: Body<O>): Promise<string> {
    try {
      await this.ask(operation, nodeid, ...body);
      return 'ok';
    } catch (error) {
      if (error instanceof Refused) return error.message;
      throw error;
    }
  }

  async node(path: string): Promise<number> {
    let nodeid = this.top;
    if (path === '.') return nodeid;
    for (const name of path.split('/')) nodeid = (await this.ask('LOOKUP', nodeid, bytesOf(name))).out.nodeid;
    return nodeid;
  }

  /** The directory that the last name of `path` is in. */
  async parent(path: string): Promise<number> {
    const at = path.lastIndexOf('/');
    if (at < 0) return this.top;
    const nodeid = await this.node(path.slice(0, at));
    // The kernel looks nothing up in what is no directory.
    if (((await this.attr(nodeid)).mode & S_IFMT) !== S_IFDIR) throw new Refused('ENOTDIR');
    return nodeid;
  }

  async attr(nodeid: number): Promise<Attr> {
    return (await this.ask('GETATTR', nodeid)).out.attr;
  }

  /** Entries of an open directory after a cookie, as many as fit into `size` bytes. */
  async list(nodeid: number, fh: number, cookie: number, size: number, plus = false): Promise<Listed[]> {
    const { bytes } = await this.ask(plus ? 'READDIRPLUS' : 'READDIR', nodeid, { fh, offset: cookie, size });
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const header = plus ? fuse_direntplus.size : fuse_dirent.size;
    const entries: Listed[] = [];
    for (let at = 0; at < bytes.length; ) {
      const { entry_out, dirent } = plus
        ? fuse_direntplus.at(view, at)
        : { entry_out: undefined, dirent: fuse_dirent.at(view, at) };
      const name = bytes.slice(at + header, at + header + dirent.namelen);
      entries.push({
        name,
        ino: Number(dirent.ino),
        type: dirent.type,
        cookie: Number(dirent.off),
        nodeid: entry_out?.nodeid ?? 0,
        attr: entry_out?.nodeid ? entry_out.attr : undefined,
      });
      at += Math.ceil((header + dirent.namelen) / DIRENT_ALIGN) * DIRENT_ALIGN;
    }
    return entries;
  }
}

/** Whether a name is "." or "..". */
export function isDots({ name }: { name: Uint8Array }): boolean {
  return name.length <= 2 && name.every((byte) => byte === 0x2e);
}
