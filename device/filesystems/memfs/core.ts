/**
 * The parts of memfs 4.x below its public API that the filesystem stands on, as the package
 * `@jsonjoy.com/fs-core` has them. Checked by {@link coreOf}, because the host may bring any
 * version of memfs.
 */
export interface Core {
  root: CoreLink;
  inodes: Record<number, CoreNode>;
  fds: Record<number, CoreFile>;
  openFiles: number;
  readonly changes: FanOut;
  readonly process: { getuid?(): number; getgid?(): number };
  createNode(mode: number): CoreNode;
  deleteNode(node: CoreNode): void;
  createLink(parent?: CoreLink, name?: string, isDirectory?: boolean, mode?: number): CoreLink;
  mkdir(path: string, mode: number): void;
  mkdirp(path: string, mode: number): string | undefined;
  openLink(link: CoreLink, flags: number, resolveSymlinks?: boolean, filename?: string): CoreFile;
  closeFile(file: CoreFile): void;
  rename(from: string, to: string): void;
  reset(): void;
  getLinkOrThrow(path: string, syscall: string): CoreLink;
  getResolvedLinkOrThrow(path: string, syscall: string): CoreLink;
  getLinkParentAsDirOrThrow(path: string | string[], syscall: string): CoreLink;
  filenameToSteps(path: string): string[];
  link(from: string, to: string): void;
  unlink(path: string): void;
  rm(path: string, force?: boolean, recursive?: boolean): void;
  emit(event: unknown): void;
}

/** An inode. */
export interface CoreNode {
  readonly ino: number;
  mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly atime: Date;
  readonly mtime: Date;
  readonly ctime: Date;
  readonly btime: Date;
  readonly symlink?: string;
  readonly changes: FanOut;
  getBuffer(): Uint8Array;
  getSize(): number;
}

/** A name. */
export interface CoreLink {
  parent: CoreLink | undefined;
  name: string;
  readonly steps: string[];
  readonly children: ReadonlyMap<string, CoreLink>;
  readonly changes: FanOut;
  getNode(): CoreNode;
}

/** An open file of the host's. */
export interface CoreFile {
  readonly fd: number;
  readonly node: CoreNode;
  /** O_* of the host's `open`. */
  readonly flags: number;
  /** Where the next read or write begins. */
  position: number;
  read(...args: unknown[]): number;
  write(...args: unknown[]): number;
}

export interface FanOut {
  readonly listeners: ReadonlySet<unknown>;
  emit(event: unknown): void;
}

/** What memfs tells its watchers: `FsEventType`. */
export const CREATE = 0;
export const DELETE = 1;
export const MODIFY = 2;
export const ATTRIB = 3;
export const MOVE = 4;

const CORE_METHODS = [
  'createNode',
  'deleteNode',
  'createLink',
  'mkdir',
  'mkdirp',
  'openLink',
  'closeFile',
  'rename',
  'reset',
  'getLinkOrThrow',
  'getLinkParentAsDirOrThrow',
  'getResolvedLinkOrThrow',
  'filenameToSteps',
  'link',
  'unlink',
  'rm',
  'emit',
] as const;
const NODE_METHODS = [
  'getBuffer',
  'getSize',
  'setString',
  '_setBuf',
  'write',
  'read',
  'truncate',
  'makeSymlink',
  'isDirectory',
] as const;
const LINK_METHODS = ['createChild', 'deleteChild', 'getChild', 'getNode'] as const;

/** The inside of a memfs volume. @throws TypeError when it is not laid out as in the versions of memfs that are known here. */
export function coreOf(volume: object): Core {
  const core = (volume as { _core?: Partial<Core> })._core;
  const node = core?.root?.getNode?.();
  const missing =
    !core?.root || !node
      ? ['_core.root']
      : [
          ...CORE_METHODS.filter((name) => typeof core[name] !== 'function'),
          ...NODE_METHODS.filter((name) => typeof (node as unknown as Record<string, unknown>)[name] !== 'function'),
          ...LINK_METHODS.filter(
            (name) => typeof (core.root as unknown as Record<string, unknown>)[name] !== 'function',
          ),
          ...(core.changes?.listeners && node.changes?.listeners ? [] : ['changes']),
        ];
  if (missing.length) {
    throw new TypeError(
      `this is not a volume of memfs 4.80 or a compatible release: it lacks ${missing.join(', ')}; pass a \`Volume\` of the memfs that v86-virtiofs depends on`,
    );
  }
  return core as Core;
}
