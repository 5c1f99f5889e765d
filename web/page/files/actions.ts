import { proxy } from 'comlink';
import type { LitElement } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';
import type { DownloadProgress, FileEntry } from '../../protocol.ts';
import { ask } from '../dialog.ts';
import { Drafts } from './drafts.ts';
import { join, parentOf } from './paths.ts';
import { saveAs } from './uploads.ts';

interface Host extends LitElement {
  readonly connection: Connection;
  /** Whose files these are. */
  readonly place: GuestView;
}

/** What a visitor does with files that are there, with the questions that it takes. Each returns whether it was done. */
export class FileActions {
  readonly #host: Host;

  /** `host` shows the dialogs. */
  constructor(host: Host) {
    this.#host = host;
  }

  get #root(): ShadowRoot {
    return this.#host.shadowRoot!;
  }

  async #try(action: Promise<void>): Promise<boolean> {
    return (await this.#host.connection.attempt(action.then(() => true))) ?? false;
  }

  /** Returns the new one's path. */
  async make(kind: 'file' | 'directory', directory: string): Promise<string | undefined> {
    const name = await ask(this.#root, {
      title: `New ${kind === 'file' ? 'file' : 'folder'} in ${directory}`,
      action: 'Create',
      input: { label: 'Name', value: '' },
    });
    if (!name) return undefined;
    const path = join(directory, name);
    return (await this.#try(this.#host.place.api.folder.create(path, kind))) ? path : undefined;
  }

  /** Returns the new path. */
  async rename(entry: FileEntry): Promise<string | undefined> {
    const { place, connection } = this.#host;
    const name = await ask(this.#root, {
      title: `Rename ${entry.name}`,
      action: 'Rename',
      input: { label: 'New name', value: entry.name },
    });
    if (!name || name === entry.name) return undefined;
    const path = join(parentOf(entry.path), name);
    const drafts = Drafts.of(place);
    if (drafts.has(path)) {
      connection.report(
        `${path} was deleted, and what you wrote there is not saved yet: save or discard it first, or choose another name.`,
      );
      return undefined;
    }
    if (!(await this.#try(place.api.folder.rename(entry.path, path)))) return undefined;
    drafts.renamed(entry.path, path);
    return path;
  }

  async remove(entry: FileEntry): Promise<boolean> {
    const { place } = this.#host;
    const what = entry.kind === 'directory' ? 'the folder and all that is in it' : 'the file';
    const answer = await ask(this.#root, {
      title: `Delete ${entry.name}?`,
      text: `This deletes ${what}, for the guest too.`,
      action: 'Delete',
      isDangerous: true,
    });
    if (answer === undefined || !(await this.#try(place.api.folder.remove(entry.path)))) return false;
    Drafts.of(place).removed(entry.path);
    return true;
  }

  async chmod(entry: FileEntry): Promise<void> {
    const value = (entry.mode & 0o7777).toString(8).padStart(4, '0');
    const mode = await ask(this.#root, {
      title: `Mode of ${entry.name}`,
      action: 'Change',
      input: { label: 'Octal', value },
    });
    if (mode === undefined) return;
    const { place, connection } = this.#host;
    if (!/^[0-7]{1,4}$/.test(mode))
      return connection.report(`${mode} is not a mode: give up to four digits from 0 to 7, as 0644`);
    await this.#try(place.api.folder.chmod(entry.path, parseInt(mode, 8)));
  }

  /** Of everything, as an archive, without an entry. `onProgress` gets what is done until `signal` is aborted. */
  async download(
    entry: FileEntry | undefined,
    onProgress: (bytes: number, size: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { place, connection } = this.#host;
    const tell: DownloadProgress = async (bytes, size) => {
      if (!signal.aborted) onProgress(bytes, size);
      return !signal.aborted;
    };
    const cancelled = new Promise<undefined>((resolve) => signal.addEventListener('abort', () => resolve(undefined)));
    const done = place.api.folder.download(entry?.path ?? '/', proxy(tell));
    const blob = await connection.attempt(Promise.race([done, cancelled]));
    if (blob) saveAs(blob, entry && entry.kind !== 'directory' ? entry.name : `${entry?.name ?? place.tag}.tar`);
  }
}
