import { BytesSink, BytesSource } from '../../bytes.ts';
import { fromMilliseconds, toMilliseconds } from '../../fs/clock.ts';
import { S_IALLUGO, S_IFLNK, S_IFMT } from '../../fs/constants.ts';
import { EISDIR, ENXIO, FsError } from '../../fs/errno.ts';
import type { Timespec } from '../../fs/filesystem.ts';
import { changeAttributes } from '../memory/attributes.ts';
import type { Content } from '../memory/content.ts';
import type { Entry } from '../memory/directory.ts';
import type { MemoryParts } from '../memory/filesystem.ts';
import type { Inode } from '../memory/inode.ts';
import type { InodeTable } from '../memory/inode-table.ts';
import type { Namespace } from '../memory/namespace.ts';
import { inodeCost } from '../memory/space.ts';
import { checkNode, checkTime } from '../memory/values.ts';
import { Children } from './children.ts';
import type { Core, CoreLink, CoreNode, FanOut } from './core.ts';
import { forHost } from './host-error.ts';

/** Largest file that the host can have as one Buffer. */
const MAX_BUFFER = 2 ** 31 - 1;
const NO_CHILDREN: ReadonlyMap<string, LinkView> = new Map();

type BufferClass = { from(bytes: ArrayBuffer): Uint8Array };

/** Makes memfs's `Node`s and `Link`s for what is in a filesystem in memory: one for each inode and each name that the host has looked at. */
export class Views {
  readonly table: InodeTable;
  readonly names: Namespace;
  readonly core: Core;
  readonly #nodes = new WeakMap<Inode, NodeView>();
  readonly #links = new WeakMap<Entry, LinkView>();
  readonly #node: new (
    views: Views,
    inode: Inode,
  ) => NodeView;
  readonly #link: new (
    views: Views,
    entry: Entry,
  ) => LinkView;
  readonly FanOut: new () => FanOut;
  readonly Buffer: BufferClass;

  /** `core`: as memfs made it, to learn its classes from. */
  constructor({ table, names }: MemoryParts, core: Core) {
    this.table = table;
    this.names = names;
    this.core = core;
    const node = core.root.getNode();
    this.#node = graft(
      Object.getPrototypeOf(node),
      NodeView.prototype,
      function (this: Mutable<NodeView>, views: Views, inode: Inode) {
        this.views = views;
        this.inode = inode;
        this.fanOut = undefined;
      },
    );
    this.#link = graft(
      Object.getPrototypeOf(core.root),
      LinkView.prototype,
      function (this: Mutable<LinkView>, views: Views, entry: Entry) {
        this.views = views;
        this.entry = entry;
        this.inode = entry.inode;
        this.fanOut = undefined;
      },
    );
    this.FanOut = node.changes.constructor as new () => FanOut;
    this.Buffer = node.getBuffer().constructor as unknown as BufferClass;
  }

  nodeOf(inode: Inode): NodeView {
    let node = this.#nodes.get(inode);
    if (!node) this.#nodes.set(inode, (node = new this.#node(this, inode)));
    return node;
  }

  linkOf(entry: Entry): LinkView {
    let link = this.#links.get(entry);
    if (!link) this.#links.set(entry, (link = new this.#link(this, entry)));
    return link;
  }

  /** `to` names what `from` did: who looks at it goes on with it. */
  move(from: Entry, to: Entry): void {
    const link = this.#links.get(from);
    this.#links.delete(from);
    this.#name(to, link);
  }

  exchange(a: Entry, b: Entry): void {
    const [linkOfA, linkOfB] = [this.#links.get(a), this.#links.get(b)];
    this.#name(a, linkOfB);
    this.#name(b, linkOfA);
  }

  #name(entry: Entry, link: LinkView | undefined): void {
    if (!link) return void this.#links.delete(entry);
    this.#links.set(entry, link);
    link.entry = entry;
  }

  linkOfDirectory(dir: Inode): LinkView {
    return dir === this.table.root || !dir.entry ? (this.core.root as LinkView) : this.linkOf(dir.entry);
  }

  /** Turns a node that memfs made into the view of `inode`; whoever holds it goes on with it. */
  adoptNode(node: CoreNode, inode: Inode): void {
    const { changes } = node;
    for (const key of Object.keys(node)) delete (node as unknown as Record<string, unknown>)[key];
    const view = Object.assign(Object.setPrototypeOf(node, this.#node.prototype), {
      views: this,
      inode,
      fanOut: changes,
    });
    this.#nodes.set(inode, view as unknown as NodeView);
  }

  /** Turns a link that memfs made into a view: of the root without `entry`. */
  adoptLink(link: CoreLink, inode: Inode, entry?: Entry): void {
    const { changes } = link;
    for (const key of Object.keys(link)) delete (link as unknown as Record<string, unknown>)[key];
    const view = Object.assign(Object.setPrototypeOf(link, this.#link.prototype), {
      views: this,
      inode,
      entry,
      fanOut: changes,
    });
    if (entry) this.#links.set(entry, view as unknown as LinkView);
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A class with the members of `own`, over those of memfs's class, so that `instanceof` and all else of memfs goes on. */
function graft<Args extends unknown[], T>(
  base: object,
  own: object,
  init: (this: T, ...args: Args) => void,
): new (
  ...args: Args
) => T {
  const { constructor: _, ...members } = Object.getOwnPropertyDescriptors(own) as PropertyDescriptorMap;
  init.prototype = Object.create(base, members);
  return init as unknown as new (
    ...args: Args
  ) => T;
}

/** memfs's `Node`: an inode, as the host's `fs` sees and changes it. */
export class NodeView {
  declare readonly views: Views;
  declare readonly inode: Inode;
  declare fanOut: FanOut | undefined;

  /** Made for who listens. */
  get changes(): FanOut {
    return (this.fanOut ??= new this.views.FanOut());
  }

  get ino(): number {
    return this.inode.ino;
  }

  get mode(): number {
    return this.inode.mode;
  }

  get rdev(): number {
    return this.inode.rdev;
  }

  get symlink(): string | undefined {
    return this.inode.target;
  }

  get nlink(): number {
    return this.inode.nlink;
  }

  /** memfs counts in its own way; the tree counts names. */
  set nlink(_value: number) {
    this.changed();
  }

  get uid(): number {
    return this.inode.uid;
  }

  set uid(uid: number) {
    this.chown(uid, -1);
  }

  get gid(): number {
    return this.inode.gid;
  }

  set gid(gid: number) {
    this.chown(-1, gid);
  }

  get perm(): number {
    return this.inode.mode & ~S_IFMT;
  }

  set perm(perm: number) {
    this.chmod(perm);
  }

  get atime(): Date {
    return new Date(toMilliseconds(this.inode.atime));
  }

  set atime(date: Date) {
    this.inode.atime = timeOf(date);
  }

  get mtime(): Date {
    return new Date(toMilliseconds(this.inode.mtime));
  }

  set mtime(date: Date) {
    this.inode.mtime = timeOf(date);
    this.changed();
  }

  get ctime(): Date {
    return new Date(toMilliseconds(this.inode.ctime));
  }

  set ctime(_date: Date) {
    this.changed();
  }

  get btime(): Date {
    return new Date(toMilliseconds(this.inode.btime));
  }

  set btime(date: Date) {
    this.inode.btime = timeOf(date);
  }

  getSize(): number {
    return this.inode.size;
  }

  getBuffer(): Uint8Array {
    const size = this.inode.written?.size ?? 0;
    if (size > MAX_BUFFER)
      throw Object.assign(new RangeError(`File size (${size}) is greater than 2 GiB`), {
        code: 'ERR_FS_FILE_TOO_LARGE',
      });
    const buffer = this.views.Buffer.from(new ArrayBuffer(size));
    this.inode.written?.read(0, size, new BytesSink(buffer), 0);
    return buffer;
  }

  _setBuf(bytes: Uint8Array): void {
    const content = this.contentFor('write');
    forHost('write', undefined, undefined, () => {
      content.truncate(0);
      content.write(0, bytes.length, new BytesSource(bytes));
    });
    this.touch();
  }

  write(buffer: Uint8Array, offset = 0, length = buffer.length, position = 0): number {
    const bytes = buffer.subarray(offset, Math.min(offset + length, buffer.length));
    const count = forHost('write', undefined, undefined, () =>
      this.contentFor('write').write(position, bytes.length, new BytesSource(bytes)),
    );
    if (count > 0) this.touch();
    return count;
  }

  read(buffer: ArrayBufferView, offset = 0, length = buffer.byteLength, position = 0): number {
    if (this.inode.isDirectory)
      forHost('read', undefined, undefined, () => {
        throw FsError.of(EISDIR);
      });
    const bytes = new Uint8Array(
      buffer.buffer,
      buffer.byteOffset + offset,
      Math.min(length, buffer.byteLength - offset),
    );
    this.atime = new Date();
    return this.inode.written?.read(position, bytes.length, new BytesSink(bytes), 0) ?? 0;
  }

  truncate(length = 0): void {
    forHost('ftruncate', undefined, undefined, () => this.contentFor('ftruncate').truncate(Math.max(0, length)));
    this.touch();
  }

  chmod(perm: number): void {
    changeAttributes(this.views.table, this.inode, { mode: perm & S_IALLUGO });
  }

  /** chown(2): -1 leaves what is there. */
  chown(uid: number, gid: number): void {
    forHost('chown', undefined, undefined, () =>
      changeAttributes(this.views.table, this.inode, { ...(uid !== -1 && { uid }), ...(gid !== -1 && { gid }) }),
    );
  }

  touch(): void {
    const { inode } = this;
    inode.mtime = inode.ctime = this.views.table.now();
    this.fanOut?.emit(['modify']);
  }

  /** memfs makes a regular file first. */
  makeSymlink(target: string): void {
    const { inode, views } = this;
    forHost('symlink', target, undefined, () => {
      try {
        checkNode(S_IFLNK, 0, target);
        views.table.space.takeMetadata(inodeCost(S_IFLNK, target) - inodeCost(inode.mode, undefined));
      } catch (error) {
        views.names.remove(inode.entry!);
        throw error;
      }
    });
    inode.written?.clear();
    inode.mode = S_IFLNK | 0o777;
    inode.target = target;
  }

  // The host owns the volume: guests' permission bits do not bind it.

  canRead(): boolean {
    return true;
  }

  canWrite(): boolean {
    return true;
  }

  canExecute(): boolean {
    return true;
  }

  changed(): void {
    this.inode.ctime = this.views.table.now();
  }

  /** What can be written: of a FIFO or device here, nothing. */
  contentFor(syscall: string): Content {
    return (
      this.inode.content ??
      forHost(syscall, undefined, undefined, () => {
        throw FsError.of(this.inode.isDirectory ? EISDIR : ENXIO);
      })
    );
  }
}

function timeOf(date: Date): Timespec {
  return forHost('utime', undefined, undefined, () => checkTime(fromMilliseconds(date.getTime())));
}

/** memfs's `Link`: a name, as the host's `fs` sees it. */
export class LinkView {
  declare readonly views: Views;
  /** What names it now; the root has none. */
  declare entry: Entry | undefined;
  /** What it named when it was made, and goes on naming. */
  declare readonly inode: Inode;
  declare fanOut: FanOut | undefined;

  /** Made for who listens. */
  get changes(): FanOut {
    return (this.fanOut ??= new this.views.FanOut());
  }

  get vol(): Core {
    return this.views.core;
  }

  get parent(): LinkView | undefined {
    return this.entry && this.views.linkOfDirectory(this.entry.dir);
  }

  get name(): string {
    return this.entry?.name ?? '';
  }

  get node(): NodeView {
    return this.views.nodeOf(this.inode);
  }

  get ino(): number {
    return this.inode.ino;
  }

  get steps(): string[] {
    const steps: string[] = [];
    for (let at: LinkView | undefined = this; at; at = at.parent) steps.push(at.name);
    return steps.reverse();
  }

  getParentPath(): string {
    return this.parent?.steps.join('/') || '/';
  }

  get children(): ReadonlyMap<string, LinkView> {
    const { directory } = this.inode;
    return directory ? new Children(this.views, directory) : NO_CHILDREN;
  }

  get length(): number {
    return this.inode.directory?.length ?? 0;
  }

  getNode(): NodeView {
    return this.node;
  }

  getName(): string {
    return this.name;
  }

  getChild(name: string): LinkView | undefined {
    const entry = this.inode.directory?.get(name);
    return entry && this.views.linkOf(entry);
  }

  /** memfs has no name for what is to be in the place of the root. */
  createChild(name = '', node = this.views.core.createNode(0o100666) as unknown as NodeView): LinkView {
    const { views } = this;
    const entry = forHost('open', [...this.steps, name].join('/'), undefined, () =>
      views.names.attach(node.inode, this.inode, name),
    );
    const link = views.linkOf(entry);
    this.fanOut?.emit(['child:add', link, this]);
    return link;
  }

  deleteChild(link: LinkView): void {
    const entry = this.inode.directory?.get(link.name);
    if (!entry || this.views.linkOf(entry) !== link) return;
    this.views.names.remove(entry);
    this.fanOut?.emit(['child:del', link, this]);
  }
}
