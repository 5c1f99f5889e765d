import type { NotYet } from '../../fs/not-yet.ts';
import type { Entry, Place } from '../memory/directory.ts';
import type { MemoryParts } from '../memory/filesystem.ts';
import type { Inode } from '../memory/inode.ts';
import type { InodeTable } from '../memory/inode-table.ts';
import type { Namespace } from '../memory/namespace.ts';
import type { Core, CoreLink, CoreNode, FanOut } from './core.ts';
import { LinkView } from './link-view.ts';
import { NodeView } from './node-view.ts';

type BufferClass = { from(bytes: ArrayBuffer): Uint8Array };

/** Makes memfs's `Node`s and `Link`s for what is in a filesystem in memory: one for each inode and each name that the host has looked at. */
export class Views {
  readonly table: InodeTable;
  readonly names: Namespace;
  readonly core: Core;
  readonly #nodes = new WeakMap<Inode, NodeView>();
  /** One, or several by {@link keyOf}. */
  readonly #links = new WeakMap<Inode, LinkView | Map<string, LinkView>>();
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
  /** What the last call lacked that is an error of EAGAIN for the host. */
  lacking: NotYet | undefined;

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
        this.dir = entry.dir;
        this.name = entry.name;
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
    return this.#find(entry.inode, entry) ?? this.#keep(new this.#link(this, entry));
  }

  #find(inode: Inode, place: Place): LinkView | undefined {
    const links = this.#links.get(inode);
    if (links instanceof Map) return links.get(keyOf(place));
    return links?.dir === place.dir && links.name === place.name ? links : undefined;
  }

  #keep(link: LinkView): LinkView {
    const { inode } = link;
    const links = this.#links.get(inode);
    if (links instanceof Map) links.set(keyOf(link), link);
    else if (links && links !== link) {
      const both = [links, link].map((each) => [keyOf(each), each] as const);
      this.#links.set(inode, new Map(both));
    } else this.#links.set(inode, link);
    return link;
  }

  /** `entry` was at `from`: who looks at it goes on with it. */
  move(from: Place, entry: Entry): void {
    const link = this.#find(entry.inode, from);
    if (!link) return;
    const links = this.#links.get(entry.inode);
    if (links instanceof Map) links.delete(keyOf(from));
    link.dir = entry.dir;
    link.name = entry.name;
    this.#keep(link);
  }

  linkOfDirectory(dir: Inode): LinkView {
    return dir === this.table.root || !dir.name ? (this.core.root as LinkView) : this.linkOf(dir);
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

  /** Turns a link that memfs made into a view. The root's names none. */
  adoptLink(link: CoreLink, { inode, dir, name }: Entry): void {
    const { changes } = link;
    for (const key of Object.keys(link)) delete (link as unknown as Record<string, unknown>)[key];
    const view = Object.assign(Object.setPrototypeOf(link, this.#link.prototype), {
      views: this,
      inode,
      dir: inode === this.table.root ? undefined : dir,
      name,
      fanOut: changes,
    });
    this.#keep(view as unknown as LinkView);
  }
}

function keyOf({ dir, name }: { dir: Inode | undefined; name: string }): string {
  return `${dir?.ino}/${name}`;
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
