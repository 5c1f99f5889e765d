import type { Volume } from 'memfs';
import { ContentNotHere } from '../memory/fetched-content.ts';
import type { Core, CoreFile } from './core.ts';
import type { NodeView } from './node-view.ts';
import type { Views } from './views.ts';

/** What of a volume's API uses the content of files and calls back: all else that does, promises and streams, is made of these. */
const METHODS = ['readFile', 'read', 'readv', 'writeFile', 'write', 'writev', 'truncate', 'ftruncate'] as const;

type Callback = (error: (Error & { code?: string }) | null, ...results: unknown[]) => void;

/**
 * What of a volume's API need not answer at once fetches what it lacks, and does it again. What copies whole files takes what is in their place away first: it
 * has all that it takes before it begins.
 */
export function fetchFirst(volume: Volume, core: Core, views: Views): void {
  copyWhole(volume, new Sources(core, views));
  for (const name of METHODS) {
    const method = volume[name] as (...args: unknown[]) => void;
    const late = (...args: unknown[]) => {
      const callback = args.pop();
      if (typeof callback !== 'function') return method.call(volume, ...args, callback);
      const file = name.endsWith('v') ? core.fds[args[0] as number] : undefined;
      new Attempts((done) => method.call(volume, ...args, done), callback as Callback, views, file).begin();
    };
    Object.assign(volume, { [name]: late });
  }
}

type CopyOptions = { filter?: (from: string, to: string) => unknown; dereference?: boolean };
/** Those of memfs's calls that copy whole files, as far as they are used here. */
interface Copies {
  copyFile(from: unknown, to: unknown, ...rest: unknown[]): void;
  copyFileSync(from: unknown, ...rest: unknown[]): void;
  cp(from: unknown, to: unknown, ...rest: unknown[]): void;
  cpSync(from: unknown, to: unknown, options?: CopyOptions): void;
  openAsBlob(path: unknown, ...rest: unknown[]): Promise<Blob>;
}

function copyWhole(volume: Volume, sources: Sources): void {
  const { copyFile, copyFileSync, cp, cpSync, openAsBlob } = volume as unknown as Copies;
  const late: Copies = {
    copyFile(from, to, ...rest) {
      const callback = rest.at(-1);
      if (typeof callback !== 'function') return copyFile(from, to, ...rest);
      void sources.hold(from).then(
        (release) => {
          copyFile(from, to, ...rest.slice(0, -1), (...results: unknown[]) => {
            release();
            (callback as Callback)(...(results as Parameters<Callback>));
          });
        },
        (error: Error) => (callback as Callback)(error),
      );
    },
    copyFileSync(from, ...rest) {
      sources.check(from);
      copyFileSync(from, ...rest);
    },
    cp(from, to, ...rest) {
      const callback = rest.pop();
      const [options] = rest as [CopyOptions | undefined];
      if (typeof callback !== 'function' || !isCopyOptions(options)) return cp(from, to, ...rest, callback);
      let release = () => {};
      const filter = async (source: string, target: string) => {
        release();
        release = () => {};
        const isTaken = options?.filter ? await options.filter(source, target) : true;
        if (isTaken) release = await sources.hold(source, options?.dereference);
        return isTaken;
      };
      cp(from, to, { ...options, filter }, (error: Error | null) => {
        release();
        (callback as Callback)(error);
      });
    },
    cpSync(from, to, options) {
      if (!isCopyOptions(options)) return cpSync(from, to, options);
      const filter = (source: string, target: string) => {
        const isTaken = options?.filter ? options.filter(source, target) : true;
        if (isTaken === true) sources.check(source, options?.dereference);
        return isTaken;
      };
      cpSync(from, to, { ...options, filter });
    },
    async openAsBlob(path, ...rest) {
      const release = await sources.hold(path);
      try {
        return await openAsBlob(path, ...rest);
      } finally {
        release();
      }
    },
  };
  Object.assign(volume, late);
}

/** Others are for memfs to refuse. */
function isCopyOptions(options: unknown): options is CopyOptions | undefined {
  if (options === undefined) return true;
  const { filter } = (options ?? {}) as CopyOptions;
  return typeof options === 'object' && options !== null && (filter === undefined || typeof filter === 'function');
}

/** Files that are to be copied. */
class Sources {
  readonly #core: Core;
  readonly #views: Views;

  constructor(core: Core, views: Views) {
    this.#core = core;
    this.#views = views;
  }

  /** Fetches all of a file, which is here until the function is called that this resolves to. What is not a file has nothing to fetch. */
  async hold(path: unknown, follows = true): Promise<() => void> {
    const wanted = [...(this.#find(path, follows)?.inode.written?.chunks() ?? [])].flatMap(
      ({ origin }) => origin ?? [],
    );
    return wanted.length ? this.#views.table.space.fetched!.hold(wanted) : () => {};
  }

  /** @throws Error EAGAIN unless all of a file is here, for what is done at once. */
  check(path: unknown, follows = true): void {
    const node = this.#find(path, follows);
    const chunks = node?.inode.written?.chunks();
    if (chunks) node!.use('copyfile', () => this.#views.table.space.fetched!.need(chunks));
  }

  /** Undefined for what is not there: whoever copies it says so. */
  #find(path: unknown, follows: boolean): NodeView | undefined {
    const name = path instanceof URL ? decodeURIComponent(path.pathname) : String(path);
    try {
      const link = follows
        ? this.#core.getResolvedLinkOrThrow(name, 'copyfile')
        : this.#core.getLinkOrThrow(name, 'copyfile');
      return link.getNode() as NodeView;
    } catch {
      return undefined;
    }
  }
}

/** One call of the host's, done again until all that it takes is here. */
class Attempts {
  readonly #action: (done: Callback) => void;
  readonly #callback: Callback;
  readonly #views: Views;
  readonly #file: CoreFile | undefined;
  readonly #position: number | undefined;
  readonly #held: (() => void)[] = [];

  /** `file`: what is read or written in several parts, which may have begun when it fails. */
  constructor(action: (done: Callback) => void, callback: Callback, views: Views, file: CoreFile | undefined) {
    this.#views = views;
    this.#action = action;
    this.#callback = callback;
    this.#file = file;
    this.#position = file?.position;
  }

  begin(): void {
    this.#action((error, ...results) => {
      // It calls back at once when it fails.
      const { lacking } = this.#views;
      if (error?.code === 'EAGAIN' && lacking instanceof ContentNotHere) void this.#fetch(lacking);
      else this.#end(error, ...results);
    });
  }

  async #fetch({ hold }: ContentNotHere): Promise<void> {
    try {
      this.#held.push(await hold());
    } catch (error) {
      this.#end(error as Error);
      return;
    }
    if (this.#file) this.#file.position = this.#position!;
    this.begin();
  }

  #end(error: Error | null, ...results: unknown[]): void {
    for (const release of this.#held) release();
    this.#callback(error, ...results);
  }
}
