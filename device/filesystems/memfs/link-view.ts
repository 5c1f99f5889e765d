import type { Inode } from '../memory/inode.ts';
import { Children } from './children.ts';
import type { Core, FanOut } from './core.ts';
import { forHost } from './host-error.ts';
import type { NodeView } from './node-view.ts';
import type { Views } from './views.ts';

const NO_CHILDREN: ReadonlyMap<string, LinkView> = new Map();

/** memfs's `Link`: a name, as the host's `fs` sees it. */
export class LinkView {
  declare readonly views: Views;
  /** Where it is now, or was last; the root is nowhere. */
  declare dir: Inode | undefined;
  declare name: string;
  /** What it named when it was made, and goes on naming. */
  declare readonly inode: Inode;
  declare fanOut: FanOut | undefined;

  /** Made for those who listen. */
  get changes(): FanOut {
    return (this.fanOut ??= new this.views.FanOut());
  }

  get vol(): Core {
    return this.views.core;
  }

  get parent(): LinkView | undefined {
    return this.dir && this.views.linkOfDirectory(this.dir);
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

  /** memfs asks for no name where a path has none. */
  getChild(name: string | undefined): LinkView | undefined {
    const entry = this.inode.directory?.get(name ?? '');
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
