import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import { proxy } from 'comlink';
import type { FileEntry, NewFile } from '../../protocol.ts';
import type { Connection, GuestView } from '../connection.ts';
import { ask, dialogStyles } from '../dialog.ts';
import { formatBytes } from '../format.ts';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';
import { chosenFiles, droppedFiles } from './dropped.ts';
import { fileTree, treeStyles } from './tree.ts';
import './viewer.ts';

/** The shared folder: a tree that follows what the guest does, and one file of it. */
export class FilesPanel extends LitElement {
  static override properties = {
    connection: { attribute: false }, guest: { attribute: false }, version: { attribute: false },
    lists: { state: true }, expanded: { state: true }, selected: { state: true }, dropTarget: { state: true }, upload: { state: true },
  };
  static override styles = [controls, dialogStyles, treeStyles, css`
    :host { display: flex; flex-direction: column; min-height: 0; container-type: inline-size; }
    .area { flex: 1 1 45%; min-height: 120px; overflow: auto; outline-offset: -3px; }
    .area[data-drop] { outline: 2px dashed var(--accent); background: var(--accent-soft); }
    vm-file-viewer { flex: 1 1 55%; min-height: 0; border-top: 1px solid var(--border); }
    .upload { padding: 6px 10px; border-top: 1px solid var(--border); }
    .upload progress { width: 100%; }
    .hint { padding: 10px; text-align: center; font-size: 12.5px; color: var(--muted); }
  `];

  declare connection: Connection;
  declare guest: GuestView;
  declare version: number;
  declare lists: ReadonlyMap<string, FileEntry[]>;
  declare expanded: ReadonlySet<string>;
  /** Path. */
  declare selected: string | undefined;
  declare dropTarget: string | undefined;
  declare upload: { done: number; total: number } | undefined;
  #seen: { guest: GuestView; version: number } | undefined;

  constructor() {
    super();
    this.lists = new Map();
    this.expanded = new Set(['/']);
  }

  override willUpdate(_: PropertyValues): void {
    const { guest } = this;
    if (this.#seen?.guest === guest && this.#seen.version === guest.filesVersion) return;
    if (this.#seen?.guest !== guest) this.selected = undefined;
    this.#seen = { guest, version: guest.filesVersion };
    void this.#refresh();
  }

  async #refresh(): Promise<void> {
    const { guest } = this;
    const lists = await this.connection.attempt(guest.api.folder.list([...this.expanded]));
    if (lists && guest === this.guest) this.lists = lists;
  }

  get #entry(): FileEntry | undefined {
    return this.#find(this.selected);
  }

  #find(path: string | undefined): FileEntry | undefined {
    return path === undefined ? undefined : this.lists.get(parentOf(path))?.find((entry) => entry.path === path);
  }

  /** Where new files go: the selected directory, or the one of the selected file. */
  get #directory(): string {
    const entry = this.#entry;
    if (!entry) return '/';
    return entry.kind === 'directory' ? entry.path : parentOf(entry.path);
  }

  override render() {
    const entry = this.#entry;
    return html`
      <div class="toolbar" role="toolbar" aria-label="Shared folder">
        <button class="plain icon" aria-label="New file" title="New file" @click=${() => this.#make('file')}>${icon('file')}</button>
        <button class="plain icon" aria-label="New folder" title="New folder" @click=${() => this.#make('folder')}>${icon('newFolder')}</button>
        <button class="plain icon" aria-label="Upload files" title="Upload files" @click=${() => this.#choose('files')}>${icon('upload')}</button>
        <button class="plain icon" aria-label="Upload a folder" title="Upload a folder" @click=${() => this.#choose('folder')}>${icon('folder')}</button>
        <span class="space"></span>
        <button class="plain icon" aria-label="Download" title=${entry?.kind === 'directory' ? 'Download as tar' : 'Download'} ?disabled=${!entry} @click=${() => this.#download(entry!)}>${icon('download')}</button>
        <button class="plain icon" aria-label="Rename" title="Rename (F2)" ?disabled=${!entry} @click=${() => this.#rename(entry!)}>${icon('rename')}</button>
        <button class="plain icon" aria-label="Delete" title="Delete (Del)" ?disabled=${!entry} @click=${() => this.#remove(entry!)}>${icon('trash')}</button>
        <input type="file" id="files" multiple hidden aria-label="Files to upload" @change=${this.#onChosen}>
        <input type="file" id="folder" webkitdirectory hidden aria-label="Folder to upload" @change=${this.#onChosen}>
      </div>
      <div class="area" ?data-drop=${this.dropTarget === '/'} @dragover=${this.#onDragOver} @dragleave=${this.#onDragLeave} @drop=${this.#onDrop}>
        ${fileTree({
          lists: this.lists, expanded: this.expanded, selected: this.selected, dropTarget: this.dropTarget,
          onSelect: ({ path }) => (this.selected = path),
          onToggle: (path) => this.#toggle(path),
          onRename: (target) => void this.#rename(target),
          onRemove: (target) => void this.#remove(target),
        })}
        <p class="hint">${this.guest.mountPoint} in the guest. Drop files and folders here.</p>
      </div>
      ${this.upload ? html`<div class="upload" role="status">Copying ${formatBytes(this.upload.done)} of ${formatBytes(this.upload.total)}
        <progress max=${this.upload.total || 1} value=${this.upload.done} aria-label="Copying"></progress></div>` : nothing}
      ${entry && entry.kind !== 'directory' ? html`<vm-file-viewer .connection=${this.connection} .guest=${this.guest} .entry=${entry} @chmod=${() => this.#chmod(entry)}></vm-file-viewer>` : nothing}`;
  }

  #toggle(path: string): void {
    const expanded = new Set(this.expanded);
    if (!expanded.delete(path)) expanded.add(path);
    this.expanded = expanded;
    void this.#refresh();
  }

  async #make(what: 'file' | 'folder'): Promise<void> {
    const directory = this.#directory;
    const name = await ask(this.renderRoot, { title: `New ${what} in ${directory}`, action: 'Create', input: { label: 'Name', value: '' } });
    if (!name) return;
    const path = join(directory, name);
    const { folder } = this.guest.api;
    if ((await folder.existing(directory, [name])).length) return this.connection.report(`${path} is there already: choose another name`);
    if (!(await this.#try(what === 'file' ? folder.write(path, new Uint8Array(0)) : folder.makeDirectory(path)))) return;
    this.expanded = new Set([...this.expanded, directory]);
    await this.#refresh();
    this.selected = path;
  }

  async #rename(entry: FileEntry): Promise<void> {
    const name = await ask(this.renderRoot, { title: `Rename ${entry.name}`, action: 'Rename', input: { label: 'New name', value: entry.name } });
    if (!name || name === entry.name) return;
    const path = join(parentOf(entry.path), name);
    if (!(await this.#try(this.guest.api.folder.rename(entry.path, path)))) return;
    await this.#refresh();
    this.selected = path;
  }

  async #remove(entry: FileEntry): Promise<void> {
    const what = entry.kind === 'directory' ? 'the folder and all that is in it' : 'the file';
    const answer = await ask(this.renderRoot, { title: `Delete ${entry.name}?`, text: `This deletes ${what}, for the guest too.`, action: 'Delete', isDangerous: true });
    if (answer !== undefined) await this.#try(this.guest.api.folder.remove(entry.path));
  }

  async #chmod(entry: FileEntry): Promise<void> {
    const value = (entry.mode & 0o7777).toString(8).padStart(4, '0');
    const mode = await ask(this.renderRoot, { title: `Mode of ${entry.name}`, action: 'Change', input: { label: 'Octal', value } });
    if (mode === undefined) return;
    if (!/^[0-7]{1,4}$/.test(mode)) return this.connection.report(`${mode} is no mode: give up to four digits from 0 to 7, as 0644`);
    await this.#try(this.guest.api.folder.chmod(entry.path, parseInt(mode, 8)));
  }

  async #download(entry: FileEntry): Promise<void> {
    const blob = await this.connection.attempt(this.guest.api.folder.download(entry.path));
    if (blob) saveAs(blob, entry.kind === 'directory' ? `${entry.name}.tar` : entry.name);
  }

  async #try(action: Promise<void>): Promise<boolean> {
    return (await this.connection.attempt(action.then(() => true))) ?? false;
  }

  #choose(id: 'files' | 'folder'): void {
    this.renderRoot.querySelector<HTMLInputElement>(`#${id}`)!.click();
  }

  readonly #onChosen = (event: Event): void => {
    const input = event.target as HTMLInputElement;
    void this.#put(this.#directory, chosenFiles(input));
    input.value = '';
  };

  readonly #onDragOver = (event: DragEvent): void => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
    this.dropTarget = this.#targetOf(event);
  };

  readonly #onDragLeave = (event: DragEvent): void => {
    if (!(event.currentTarget as HTMLElement).contains(event.relatedTarget as Node | null)) this.dropTarget = undefined;
  };

  readonly #onDrop = async (event: DragEvent): Promise<void> => {
    event.preventDefault();
    const directory = this.#targetOf(event);
    this.dropTarget = undefined;
    const files = await this.connection.attempt(droppedFiles(event.dataTransfer!));
    if (files) await this.#put(directory, files);
  };

  #targetOf(event: DragEvent): string {
    const row = event.composedPath().find((element) => element instanceof HTMLElement && element.dataset['path'] !== undefined) as HTMLElement | undefined;
    const entry = this.#find(row?.dataset['path']);
    if (!entry) return '/';
    return entry.kind === 'directory' ? entry.path : parentOf(entry.path);
  }

  async #put(directory: string, files: NewFile[]): Promise<void> {
    if (!files.length) return;
    const { folder } = this.guest.api;
    const existing = (await this.connection.attempt(folder.existing(directory, files.map(({ path }) => path)))) ?? [];
    if (existing.length) {
      const text = `${existing.slice(0, 3).join(', ')}${existing.length > 3 ? ` and ${existing.length - 3} more` : ''} in ${directory}`;
      const answer = await ask(this.renderRoot, { title: existing.length === 1 ? 'Replace the file?' : `Replace ${existing.length} files?`, text, action: 'Replace', isDangerous: true });
      if (answer === undefined) return;
    }
    const total = files.reduce((sum, { content }) => sum + content.size, 0);
    this.upload = { done: 0, total };
    await this.#try(folder.put(directory, files, proxy((done) => void (this.upload = { done, total }))));
    this.upload = undefined;
    this.expanded = new Set([...this.expanded, directory]);
    await this.#refresh();
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}

function join(directory: string, name: string): string {
  return directory === '/' ? `/${name}` : `${directory}/${name}`;
}

/** Hands a file to the browser's downloads. */
export function saveAs(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

customElements.define('vm-files', FilesPanel);
