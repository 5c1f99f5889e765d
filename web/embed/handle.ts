import type { Remote } from 'comlink';
import type {
  ExecOptions,
  ExecResult,
  FileEntry,
  FolderApi,
  SnapshotView,
  TimelineApi,
  VmEvents,
} from '../protocol.ts';
import { Connection, type GuestView } from './connection.ts';
import type { Beginning } from './links.ts';
import type { GuestOptions, SharedFolder, Vm } from './vm.ts';

interface HandleOptions extends GuestOptions, Beginning {}

/** {@link Vm} over a connection: what it is asked goes to the first guest. */
export class Handle implements Vm {
  connection!: Connection;
  ready!: Promise<void>;
  readonly fs: SharedFolder = new HostFolder(this);
  readonly #onDestroy: () => void;
  /** Those who wait for an answer. A promise that all of them race would keep their answers until the end. */
  readonly #asking = new Set<(reason: Error) => void>();
  /** Why nothing is answered any more. */
  #end: Error | undefined;
  readonly #listeners = new Set<{ event: string; hear: (event: CustomEventInit) => void }>();

  constructor(options: HandleOptions, onDestroy: () => void = () => {}) {
    this.#onDestroy = onDestroy;
    this.start(options);
  }

  /** Once more, where it came to nothing. */
  start({ src = 'guest/', root, snapshot, files, command, store, from, isOfLink = false }: HandleOptions): void {
    this.connection?.stop();
    const connection = new Connection();
    this.connection = connection;
    this.#end = undefined;
    for (const { event, hear } of this.#listeners) connection.addEventListener(event, hear);
    connection.ended.catch((reason: Error) => {
      if (connection !== this.connection) return;
      this.#end = reason;
      for (const reject of this.#asking) reject(reason);
    });
    const url = (relative: string) => new URL(relative, document.baseURI).href;
    this.ready = connection.start(
      {
        base: url(src),
        ...(root && { root: url(root) }),
        ...(snapshot && { snapshot: url(snapshot), isOfLink }),
        store,
        from,
      },
      (guest) => prepare(guest, files && url(files), command),
    );
    // Whoever asks is told.
    this.ready.catch(() => {});
  }

  get mountPoint(): string {
    return this.connection.guests[0]?.mountPoint ?? '';
  }

  /** What a guest answers, if it does before the end. */
  ask<T>(question: (guest: GuestView) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#end) return reject(this.#end);
      this.#asking.add(reject);
      const answer = this.ready.then(() => {
        const [guest] = this.connection.guests;
        if (!guest) throw new Error('no guest runs here any more: it has moved');
        return question(guest);
      });
      void answer.then(resolve, reject).finally(() => this.#asking.delete(reject));
    });
  }

  exec(command: string | string[], options: ExecOptions = {}): Promise<ExecResult> {
    return this.ask(({ api }) => api.exec(command, options));
  }

  snapshot(name = ''): Promise<string> {
    return this.ask(({ id }) => this.#timeline.take(id, name));
  }

  async snapshots(): Promise<SnapshotView[]> {
    return (await this.ask(() => this.#timeline.view())).snapshots;
  }

  async rewind(id: string): Promise<void> {
    await this.ask((guest) => this.#timeline.rewind(guest.id, id, false));
  }

  async export(id: string): Promise<Blob> {
    return (await this.ask(() => this.#timeline.export(id))).blob;
  }

  import(file: Blob): Promise<string> {
    return this.ask(() => this.#timeline.import(file));
  }

  removeSnapshot(id: string): Promise<void> {
    return this.ask(() => this.#timeline.remove(id));
  }

  on<E extends keyof VmEvents>(event: E, listener: (detail: VmEvents[E]) => void): () => void {
    const heard = { event, hear: ({ detail }: CustomEventInit) => listener(detail as VmEvents[E]) };
    this.#listeners.add(heard);
    this.connection.addEventListener(event, heard.hear);
    return () => {
      this.#listeners.delete(heard);
      this.connection.removeEventListener(event, heard.hear);
    };
  }

  destroy(): void {
    this.connection.stop();
    this.#onDestroy();
  }

  get #timeline(): Remote<TimelineApi> {
    return this.connection.worker.timeline;
  }
}

/** Gives a new guest its first files, from a tar archive, and its first command. */
async function prepare(guest: GuestView, files: string | undefined, command: string | undefined): Promise<void> {
  if (files) await unpackFrom(files, guest);
  const [shell] = guest.shells;
  if (command && shell) void guest.api.shells.type(shell.id, `${command}\n`);
}

async function unpackFrom(url: string, guest: GuestView): Promise<void> {
  const failed = (reason: string) => new Error(`the guest’s files, ${url}, can’t be fetched: ${reason}`);
  const response = await fetch(url).catch((error: Error) => {
    throw failed(error.message);
  });
  if (!response.ok) throw failed(`the server answers ${response.status}`);
  const { skipped } = await guest.api.folder.unpack('/', await response.blob());
  if (skipped.length) throw new Error(`${url} was unpacked, ${leftOut(skipped)}`);
}

function leftOut(skipped: readonly { path: string; reason: string }[]): string {
  return `except for ${skipped.map(({ path, reason }) => `${path}: ${reason}`).join('; ')}`;
}

class HostFolder implements SharedFolder {
  readonly #vm: Handle;

  constructor(vm: Handle) {
    this.#vm = vm;
  }

  #ask<T>(question: (folder: Remote<FolderApi>) => Promise<T>): Promise<T> {
    return this.#vm.ask(({ api }) => question(api.folder));
  }

  async list(path = '/'): Promise<FileEntry[]> {
    const listing = (await this.#ask((folder) => folder.list([path], Infinity))).get(path);
    if (!listing) throw new Error(`${path} is not a directory`);
    return listing.entries;
  }

  stat(path: string): Promise<FileEntry | undefined> {
    return this.#ask((folder) => folder.stat(path));
  }

  async read(path: string): Promise<Uint8Array> {
    return (await this.#ask((folder) => folder.read(path, Infinity))).bytes;
  }

  async readText(path: string): Promise<string> {
    return new TextDecoder().decode(await this.read(path));
  }

  write(path: string, content: string | Uint8Array | Blob): Promise<void> {
    const blob = content instanceof Blob ? content : new Blob([content as string | Uint8Array<ArrayBuffer>]);
    return this.#ask(async (folder) => void (await folder.put('/', [{ path, content: blob }])));
  }

  makeDirectory(path: string): Promise<void> {
    return this.#ask(async (folder) => void (await folder.put('/', [{ path }])));
  }

  rename(path: string, newPath: string): Promise<void> {
    return this.#ask((folder) => folder.rename(path, newPath));
  }

  remove(path: string): Promise<void> {
    return this.#ask((folder) => folder.remove(path));
  }

  async unpack(archive: Blob, directory = '/'): Promise<void> {
    const { skipped } = await this.#ask((folder) => folder.unpack(directory, archive));
    if (skipped.length) throw new Error(`the archive was unpacked, ${leftOut(skipped)}`);
  }

  pack(directory = '/'): Promise<Blob> {
    return this.#ask((folder) => folder.download(directory));
  }

  watch(path: string, listener: (entry: FileEntry | undefined) => void): () => void {
    let last = this.stat(path);
    const look = () => {
      const before = last;
      last = before.then(async (old) => {
        const entry = await this.stat(path);
        if (entry?.version !== old?.version && isWatching) listener(entry);
        return entry;
      });
      last.catch(() => {});
    };
    let isWatching = true;
    last.catch(() => {});
    const stop = this.#vm.on('fileschange', look);
    return () => {
      isWatching = false;
      stop();
    };
  }
}
