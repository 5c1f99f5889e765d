import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import { printable } from '../../../harness/machine/printable.ts';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { formatBytes } from '../../protocol/format.ts';
import type { FileEntry, Listing, NewFile, SpaceInfo } from '../../protocol.ts';
import { ask, dialogStyles } from '../dialog.ts';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';
import { Drafts } from './drafts.ts';
import { chosenFiles, droppedFiles } from './dropped.ts';
import { join, nameOf, parentOf } from './paths.ts';
import { fileTree, treeStyles } from './tree.ts';
import { saveAs, Uploads } from './uploads.ts';
import './viewer.ts';

/** The shared folder: a tree that follows what the guest does, and one file of it. */
export class FilesPanel extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    version: { attribute: false },
    lists: { state: true },
    space: { state: true },
    expanded: { state: true },
    selected: { state: true },
    dropTarget: { state: true },
  };
  static override styles = [
    controls,
    dialogStyles,
    treeStyles,
    css`
    :host { display: flex; flex-direction: column; min-height: 0; container-type: inline-size; }
    .area { flex: 1 1 45%; min-height: 120px; overflow: auto; outline-offset: -3px; }
    .area[data-drop] { outline: 2px dashed var(--accent); background: var(--accent-soft); }
    vm-file-viewer { flex: 1 1 55%; min-height: 0; border-top: 1px solid var(--border); }
    vm-file-viewer[data-kind=directory] { flex: none; }
    .upload { padding: 6px 10px; border-top: 1px solid var(--border); }
    .upload progress { width: 100%; }
    .orphans { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; padding: 6px 10px; background: var(--accent-soft); font-size: 13px; }
    .hint { padding: 10px; margin: 0; text-align: center; font-size: 12.5px; color: var(--muted); }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  declare version: number;
  declare lists: ReadonlyMap<string, Listing>;
  declare space: SpaceInfo | undefined;
  declare expanded: ReadonlySet<string>;
  /** Path. */
  declare selected: string | undefined;
  declare dropTarget: string | undefined;
  #seen: { guest: GuestView; version: number } | undefined;
  /** As it was last, for when it goes. */
  #shown: FileEntry | undefined;
  #refreshing: 'no' | 'yes' | 'again' = 'no';
  readonly #uploads = new Uploads(this, () => this.#refresh());

  constructor() {
    super();
    this.lists = new Map();
    this.expanded = new Set(['/']);
  }

  override willUpdate(_: PropertyValues): void {
    const { guest } = this;
    if (this.#seen?.guest === guest && this.#seen.version === guest.filesVersion) return;
    if (this.#seen?.guest !== guest) this.selected = this.#shown = undefined;
    this.#seen = { guest, version: guest.filesVersion };
    void this.#refresh();
  }

  /** One listing at a time: what changes meanwhile is in the next one. */
  async #refresh(): Promise<void> {
    if (this.#refreshing !== 'no') {
      this.#refreshing = 'again';
      return;
    }
    do {
      this.#refreshing = 'yes';
      const {
        guest,
        guest: {
          api: { folder },
        },
      } = this;
      const paths = new Set([...this.expanded, ...Drafts.of(guest).paths.map(parentOf)]);
      const [lists, space] =
        (await this.connection.attempt(Promise.all([folder.list([...paths]), folder.space()]))) ?? [];
      if (!lists || guest !== this.guest) continue;
      this.lists = lists;
      this.space = space;
    } while ((this.#refreshing as string) === 'again');
    this.#refreshing = 'no';
  }

  #find(path: string | undefined): FileEntry | undefined {
    return path === undefined
      ? undefined
      : this.lists.get(parentOf(path))?.entries.find((entry) => entry.path === path);
  }

  /** What is selected; with unsaved edits that may be a file that is gone. */
  #select(): { entry: FileEntry; isGone: boolean } | undefined {
    const entry = this.#find(this.selected);
    if (entry) {
      this.#shown = entry;
      return { entry, isGone: false };
    }
    if (this.selected === undefined || !Drafts.of(this.guest).has(this.selected)) return undefined;
    const shown =
      this.#shown?.path === this.selected ? this.#shown : { ...GONE, path: this.selected, name: nameOf(this.selected) };
    return { entry: shown, isGone: true };
  }

  /** Where new files go: the selected directory, or the one of the selected file. */
  get #directory(): string {
    const entry = this.#find(this.selected);
    if (!entry) return '/';
    return entry.kind === 'directory' ? entry.path : parentOf(entry.path);
  }

  override render() {
    const drafts = Drafts.of(this.guest);
    const { entry, isGone } = this.#select() ?? {};
    const existing = isGone ? undefined : entry;
    const orphans = drafts.paths.filter((path) => path !== this.selected && !this.#find(path));
    return html`
      <div class="toolbar" role="toolbar" aria-label="Shared folder">
        <button class="plain icon" aria-label="New file" title="New file" @click=${() => this.#make('file')}>${icon('file')}</button>
        <button class="plain icon" aria-label="New folder" title="New folder" @click=${() => this.#make('directory')}>${icon('newFolder')}</button>
        <button class="plain icon" aria-label="Upload files" title="Upload files" @click=${() => this.#choose('files')}>${icon('upload')}</button>
        <button class="plain icon" aria-label="Upload a folder" title="Upload a folder" @click=${() => this.#choose('folder')}>${icon('folder')}</button>
        <span class="space"></span>
        <button class="plain icon" aria-label=${existing ? `Download ${printable(existing.name)}` : 'Download all'} title=${existing && existing.kind !== 'directory' ? 'Download' : 'Download as a tar file'}
          @click=${() => this.#download(existing)}>${icon('download')}</button>
        <button class="plain icon" aria-label="Rename" title="Rename (F2)" ?disabled=${!existing} @click=${() => this.#rename(existing!)}>${icon('rename')}</button>
        <button class="plain icon" aria-label="Delete" title="Delete (Del)" ?disabled=${!existing} @click=${() => this.#remove(existing!)}>${icon('trash')}</button>
        <input type="file" id="files" multiple hidden aria-label="Files to upload" @change=${this.#onChosen}>
        <input type="file" id="folder" webkitdirectory hidden aria-label="Folder to upload" @change=${this.#onChosen}>
      </div>
      ${orphans.length ? html`<div class="orphans" role="status">Not saved, and deleted: ${orphans.map((path) => html`<button @click=${() => (this.selected = path)}>${printable(path)}</button>`)}</div>` : nothing}
      <div class="area" ?data-drop=${this.dropTarget === '/'} @dragover=${this.#onDragOver} @dragleave=${this.#onDragLeave} @drop=${this.#onDrop}>
        ${fileTree({
          lists: this.lists,
          expanded: this.expanded,
          selected: this.selected,
          dropTarget: this.dropTarget,
          isUnsaved: (path) => drafts.has(path),
          onSelect: (target) => (this.selected = target?.path),
          onToggle: (path) => this.#toggle(path),
          onRename: (target) => void this.#rename(target),
          onRemove: (target) => void this.#remove(target),
        })}
        <p class="hint">${this.guest.mountPoint} in the guest${this.space ? html`, ${formatBytes(this.space.used)} of ${formatBytes(this.space.size)} used` : nothing}. Drop files and folders here.</p>
      </div>
      ${this.#uploads.render()}
      ${
        entry
          ? html`<vm-file-viewer data-kind=${entry.kind} .connection=${this.connection} .guest=${this.guest} .entry=${entry} .isGone=${isGone}
        @chmod=${() => this.#chmod(entry)} @unpack=${() => this.#uploads.unpackFile(entry.path)} @drafts=${() => this.requestUpdate()}></vm-file-viewer>`
          : nothing
      }`;
  }

  #toggle(path: string): void {
    const expanded = new Set(this.expanded);
    if (!expanded.delete(path)) expanded.add(path);
    this.expanded = expanded;
    void this.#refresh();
  }

  async #make(kind: 'file' | 'directory'): Promise<void> {
    const directory = this.#directory;
    const name = await ask(this.shadowRoot!, {
      title: `New ${kind === 'file' ? 'file' : 'folder'} in ${directory}`,
      action: 'Create',
      input: { label: 'Name', value: '' },
    });
    if (!name) return;
    const path = join(directory, name);
    if (!(await this.#try(this.guest.api.folder.create(path, kind)))) return;
    this.expanded = new Set([...this.expanded, directory]);
    await this.#refresh();
    this.selected = path;
  }

  async #rename(entry: FileEntry): Promise<void> {
    const name = await ask(this.shadowRoot!, {
      title: `Rename ${entry.name}`,
      action: 'Rename',
      input: { label: 'New name', value: entry.name },
    });
    if (!name || name === entry.name) return;
    const path = join(parentOf(entry.path), name);
    const drafts = Drafts.of(this.guest);
    if (drafts.has(path))
      return this.connection.report(
        `${path} was deleted, and what you wrote there is not saved yet: save or discard it first, or choose another name.`,
      );
    if (!(await this.#try(this.guest.api.folder.rename(entry.path, path)))) return;
    drafts.renamed(entry.path, path);
    if (this.expanded.has(entry.path)) this.expanded = new Set([...this.expanded, path]);
    await this.#refresh();
    this.selected = path;
  }

  async #remove(entry: FileEntry): Promise<void> {
    const what = entry.kind === 'directory' ? 'the folder and all that is in it' : 'the file';
    const answer = await ask(this.shadowRoot!, {
      title: `Delete ${entry.name}?`,
      text: `This deletes ${what}, for the guest too.`,
      action: 'Delete',
      isDangerous: true,
    });
    if (answer === undefined || !(await this.#try(this.guest.api.folder.remove(entry.path)))) return;
    Drafts.of(this.guest).removed(entry.path);
    await this.#refresh();
    this.renderRoot.querySelector<HTMLElement>('.row[tabindex="0"]')?.focus();
  }

  async #chmod(entry: FileEntry): Promise<void> {
    const value = (entry.mode & 0o7777).toString(8).padStart(4, '0');
    const mode = await ask(this.shadowRoot!, {
      title: `Mode of ${entry.name}`,
      action: 'Change',
      input: { label: 'Octal', value },
    });
    if (mode === undefined) return;
    if (!/^[0-7]{1,4}$/.test(mode))
      return this.connection.report(`${mode} is not a mode: give up to four digits from 0 to 7, as 0644`);
    await this.#try(this.guest.api.folder.chmod(entry.path, parseInt(mode, 8)));
  }

  async #download(entry: FileEntry | undefined): Promise<void> {
    const { folder } = this.guest.api;
    const blob = await this.connection.attempt(folder.download(entry?.path ?? '/'));
    if (blob) saveAs(blob, entry && entry.kind !== 'directory' ? entry.name : `${entry?.name ?? this.guest.tag}.tar`);
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
    const row = event
      .composedPath()
      .find((element) => element instanceof HTMLElement && element.dataset['path'] !== undefined) as
      | HTMLElement
      | undefined;
    const entry = this.#find(row?.dataset['path']);
    if (!entry) return '/';
    return entry.kind === 'directory' ? entry.path : parentOf(entry.path);
  }

  async #put(directory: string, files: NewFile[]): Promise<void> {
    await this.#uploads.add(directory, files);
    this.expanded = new Set([...this.expanded, directory]);
    await this.#refresh();
  }
}

/** Of a file that was gone before it was shown. */
const GONE: Omit<FileEntry, 'name' | 'path'> = {
  kind: 'file',
  size: 0,
  mode: 0o100000,
  uid: 0,
  gid: 0,
  ino: 0,
  nlink: 0,
  mtime: 0,
  version: '',
};

customElements.define('vm-files', FilesPanel);
