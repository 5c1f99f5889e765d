import { S_IALLUGO, S_IFMT, S_IFREG } from '../../fs/constants.ts';
import { EBADF, EISDIR, ENOTDIR, FsError } from '../../fs/errno.ts';
import type { Entry, Place } from '../memory/directory.ts';
import type { MemoryParts } from '../memory/filesystem.ts';
import type { Inode } from '../memory/inode.ts';
import type { MemoryObserver } from '../memory/inode-table.ts';
import { ATTRIB, type Core, CREATE, DELETE, MODIFY, MOVE } from './core.ts';
import { forHost } from './host-error.ts';
import type { LinkView } from './link-view.ts';
import type { NodeView } from './node-view.ts';
import type { Views } from './views.ts';

/** Of open(2), as memfs has them everywhere. */
const O_ACCMODE = 3;
const O_RDONLY = 0;
const O_WRONLY = 1;

/** Makes memfs work on a filesystem, and its watchers hear of what guests do there. */
export function connect({ table, names }: MemoryParts, core: Core, views: Views): void {
  core.inodes = {};
  core.createNode = (mode) => {
    const owner = { uid: core.process.getuid?.() ?? 0, gid: core.process.getgid?.() ?? 0 };
    return views.nodeOf(
      forHost('open', undefined, undefined, () => table.allocate(mode & S_IFMT ? mode : mode | S_IFREG, owner)),
    );
  };
  // memfs takes type bits for granted that come with a mode of the host's.
  const { mkdir, mkdirp, createLink } = core;
  core.mkdir = (path, mode) => mkdir.call(core, path, mode & S_IALLUGO);
  core.mkdirp = (path, mode) => mkdirp.call(core, path, mode & S_IALLUGO);
  core.createLink = (parent, name, isDirectory, mode) =>
    createLink.call(core, parent, name, isDirectory, mode === undefined ? mode : mode & S_IALLUGO);
  // The filesystem frees an inode itself, with its last name or its last user.
  core.deleteNode = (node) => (node as NodeView).fanOut?.emit(['delete']);

  core.rename = (from, to) => {
    const link = core.getLinkOrThrow(from, 'rename') as LinkView;
    const newDir = core.getLinkParentAsDirOrThrow(to, 'rename') as LinkView;
    const { parent } = link;
    const newName = core.filenameToSteps(to).at(-1) ?? '';
    forHost('rename', from, to, () =>
      names.rename((parent ?? link).node.inode, link.name, newDir.node.inode, newName, 0, { uid: 0, gid: 0 }),
    );
  };

  // memfs takes a link for no directory here.
  core.getLinkParentAsDirOrThrow = (path, syscall) => {
    const steps = Array.isArray(path) ? path : core.filenameToSteps(path);
    const link = core.getResolvedLinkOrThrow(`/${steps.slice(0, -1).join('/')}`, syscall) as LinkView;
    if (!link.node.inode.isDirectory) refuse(ENOTDIR, syscall, String(path));
    return link;
  };
  const { link, rm, unlink } = core;
  core.link = (from, to) => {
    const parent = core.getLinkParentAsDirOrThrow(to, 'link');
    link(from, [...parent.steps, core.filenameToSteps(to).at(-1)].join('/'));
  };
  core.unlink = (path) => {
    if ((core.getLinkOrThrow(path, 'unlink') as LinkView).node.inode.isDirectory) refuse(EISDIR, 'unlink', path);
    unlink(path);
  };
  // memfs removes what a link names instead of the link.
  core.rm = (path, force, recursive) => {
    if (isSymlink(core, path)) unlink(path);
    else rm(path, force, recursive);
  };

  const { openLink, closeFile } = core;
  for (const file of Object.values(core.fds)) table.retain((file.node as NodeView).inode);
  core.openLink = (...args) => {
    const file = openLink.apply(core, args);
    table.retain((file.node as NodeView).inode);
    const access = file.flags & O_ACCMODE;
    if (access === O_RDONLY) file.write = () => refuse(EBADF, 'write');
    if (access === O_WRONLY) file.read = () => refuse(EBADF, 'read');
    return file;
  };
  core.closeFile = (file) => {
    if (core.fds[file.fd] !== file) return;
    closeFile.call(core, file);
    table.release((file.node as NodeView).inode);
  };

  // In the middle of a change nobody may make another one, which would count as the guest's own besides.
  const { emit } = core;
  core.emit = (event) => {
    if (core.changes.listeners.size) queueMicrotask(() => emit.call(core, event));
  };

  core.reset = () => {
    disconnectFiles(core);
    for (const entry of table.root.directory!.entries()) names.remove(entry);
  };

  table.observe(new Watchers(core, views));
}

function refuse(errno: number, syscall: string, path?: string): never {
  return forHost(syscall, path, undefined, () => {
    throw FsError.of(errno);
  });
}

function isSymlink(core: Core, path: string): boolean {
  try {
    return (core.getLinkOrThrow(path, 'lstat') as LinkView).node.inode.target !== undefined;
  } catch {
    return false;
  }
}

/** Closes what the host has open. */
function disconnectFiles(core: Core): void {
  for (const file of Object.values(core.fds)) core.closeFile(file);
}

/** Tells memfs's watchers what guests do. */
class Watchers implements MemoryObserver {
  readonly #core: Core;
  readonly #views: Views;

  constructor(core: Core, views: Views) {
    this.#core = core;
    this.#views = views;
  }

  created(entry: Entry): void {
    this.#tell(CREATE, entry);
  }

  deleting(entry: Entry): void {
    this.#tell(DELETE, entry);
  }

  moved(from: Place, entry: Entry): void {
    this.#views.move(from, entry);
    this.#tellMove(from, entry);
  }

  exchanged(a: Entry, b: Entry): void {
    this.moved(b, a);
    this.moved(a, b);
  }

  /** What the host has open is of another time. */
  restoring(): void {
    disconnectFiles(this.#core);
  }

  #tellMove(from: Place, entry: Entry): void {
    if (this.#watched) this.#tell(MOVE, entry, [...this.#views.linkOfDirectory(from.dir).steps, from.name]);
  }

  modified(inode: Inode): void {
    this.#changed(MODIFY, inode);
  }

  attributesChanged(inode: Inode): void {
    this.#changed(ATTRIB, inode);
  }

  get #watched(): boolean {
    return this.#core.changes.listeners.size > 0;
  }

  #changed(type: number, inode: Inode): void {
    const { entry } = inode;
    if (entry) this.#tell(type, entry);
  }

  #tell(type: number, entry: Entry, oldSteps?: string[]): void {
    if (!this.#watched) return;
    const link = this.#views.linkOf(entry);
    this.#core.emit({ type, steps: link.steps, node: link.node, link, oldSteps });
  }
}
