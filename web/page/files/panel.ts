import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import { live } from 'lit/directives/live.js';
import { printable } from '../../../harness/machine/printable.ts';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { formatBytes } from '../../protocol/format.ts';
import type { FileEntry, Listing, NewFile, SpaceInfo } from '../../protocol.ts';
import { dialogStyles } from '../dialog.ts';
import { icon } from '../icons.ts';
import { Marks, markStyles } from '../marks.ts';
import { controls } from '../styles.ts';
import { Drafts } from './drafts.ts';
import { chosenFiles, droppedFiles } from './dropped.ts';
import { GONE, nameOf, parentOf } from './paths.ts';
import { type Order, type SortKey, type TreeRow, treeRows } from './rows.ts';
import { fileTree, treeStyles } from './tree.ts';
import { Uploads } from './uploads.ts';
import './viewer.ts';
import { chosenDevice, deviceChoice, isRoot } from '../which-device.ts';
import { FileActions } from './actions.ts';
import { type Fetched, fetchedStyles, fetching } from './fetched.ts';

/** Properties that rows come from. */
const SHAPING = ['lists', 'expanded', 'order', 'found'] as const;
/** Rows that are drawn before and after those that can be seen. */
const MARGIN = 20;
/** Pixels that are taken to be seen in any case. */
const MIN_HEIGHT = 600;
/** Milliseconds for a look at the folder, from which on it is not looked at again at once. */
const SLOW = 50;

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
    filter: { state: true },
    found: { state: true },
    readonly: { type: Boolean },
    order: { state: true },
    dropTarget: { state: true },
    fetched: { state: true },
    marks: { attribute: false },
  };
  static override styles = [
    controls,
    dialogStyles,
    treeStyles,
    fetchedStyles,
    markStyles,
    css`
    :host { display: flex; flex-direction: column; min-height: 0; container-type: inline-size; }
    .area { flex: 1 1 45%; min-height: 120px; overflow: auto; outline-offset: -3px; }
    .area[data-drop] { outline: 2px dashed var(--accent); background: var(--accent-soft); }
    vm-file-viewer { flex: 1 1 55%; min-height: 0; border-top: 1px solid var(--border); }
    vm-file-viewer[data-kind=directory] { flex: none; }
    .find { flex: 0 1 150px; min-width: 70px; }
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
  /** What is looked for in names; '' for nothing. */
  declare filter: string;
  declare found: Listing | undefined;
  /** The visitor only looks. */
  declare readonly: boolean;
  declare order: Order;
  declare dropTarget: string | undefined;
  /** Of a download. */
  declare fetched: Fetched | undefined;
  /** See `Marks`. */
  declare marks: readonly string[];
  #rows: readonly TreeRow[] = [];
  #rowHeight = 28;
  #seen: { place: GuestView; version: number } | undefined;
  /** What is being saved: one thing at a time. */
  #download: AbortController | undefined;
  /** As it was last, for when it goes. */
  #shown: FileEntry | undefined;
  #refreshing: 'no' | 'yes' | 'again' = 'no';
  readonly #uploads = new Uploads(this, () => this.#refresh());
  readonly #actions = new FileActions(this);

  constructor() {
    super();
    this.lists = new Map();
    this.expanded = new Set(['/']);
    this.filter = '';
    this.readonly = false;
    this.order = { key: 'name', isDown: false };
    this.marks = [];
    new Marks(this);
  }

  override willUpdate(changed: PropertyValues<this>): void {
    if (SHAPING.some((name) => changed.has(name)))
      this.#rows = this.found
        ? treeRows(new Map([['/', this.found]]), new Set(), this.order)
        : treeRows(this.lists, this.expanded, this.order);
    const { place } = this;
    const seen = this.#seen;
    if (seen?.place === place && seen.version === place.filesVersion) return;
    if (seen?.place !== place) this.selected = this.#shown = undefined;
    if (seen && isRoot(seen.place) !== isRoot(place)) {
      this.lists = new Map();
      this.expanded = new Set(['/']);
      this.#setFilter('');
    }
    this.#seen = { place, version: place.filesVersion };
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
      const { place } = this;
      const { folder } = place.api;
      const began = performance.now();
      const { filter } = this;
      const paths = new Set([...this.expanded, ...Drafts.of(place).paths.map(parentOf)]);
      const [lists, space, found] =
        (await this.connection.attempt(
          Promise.all([folder.list([...paths]), folder.space(), filter ? folder.find(filter) : undefined]),
        )) ?? [];
      if (!lists || place !== this.place) continue;
      this.lists = lists;
      this.space = space;
      if (filter === this.filter) this.found = found;
      // What takes long is not done all the time.
      const took = performance.now() - began;
      if (took > SLOW) await new Promise((resolve) => setTimeout(resolve, 4 * took));
    } while ((this.#refreshing as string) === 'again');
    this.#refreshing = 'no';
  }

  /** Whose files are shown. */
  get place(): GuestView {
    return chosenDevice(this.guest);
  }

  /** A root is to be looked at: its guest would not notice a change. */
  get isReadonly(): boolean {
    return this.readonly || isRoot(this.place);
  }

  #find(path: string | undefined): FileEntry | undefined {
    if (path === undefined) return undefined;
    const isIt = (entry: FileEntry) => entry.path === path;
    return this.lists.get(parentOf(path))?.entries.find(isIt) ?? this.found?.entries.find(isIt);
  }

  get #area(): HTMLElement | null {
    return this.renderRoot.querySelector('.area');
  }

  /** The rows to draw: those that can be seen, and some before and after. */
  get #window(): { from: number; to: number } {
    const { scrollTop = 0, clientHeight = 0 } = this.#area ?? {};
    const from = Math.floor(scrollTop / this.#rowHeight) - MARGIN;
    const to = Math.ceil((scrollTop + Math.max(clientHeight, MIN_HEIGHT)) / this.#rowHeight) + MARGIN;
    return { from: Math.max(0, from), to: Math.min(to, this.#rows.length) };
  }

  override updated(_: PropertyValues): void {
    const height = this.renderRoot.querySelector<HTMLElement>('.row')?.offsetHeight;
    if (!height || height === this.#rowHeight) return;
    this.#rowHeight = height;
    this.requestUpdate();
  }

  async #go(index: number): Promise<void> {
    const entry = this.#rows[index]?.entry;
    if (!entry) return;
    this.selected = entry.path;
    const area = this.#area!;
    const head = this.renderRoot.querySelector<HTMLElement>('.tree-head')!.offsetHeight;
    const top = index * this.#rowHeight;
    area.scrollTop = Math.max(Math.min(area.scrollTop, top), top + head + this.#rowHeight - area.clientHeight);
    const find = () => this.renderRoot.querySelector<HTMLElement>(`.row[data-path="${CSS.escape(entry.path)}"]`);
    // At once where it is drawn: the next key is its own.
    if (!find()) await this.updateComplete;
    find()?.focus({ preventScroll: true });
  }

  #sort(key: SortKey): void {
    const isDown = this.order.key === key ? !this.order.isDown : key !== 'name';
    this.order = { key, isDown };
  }

  #setFilter(filter: string): void {
    this.filter = filter;
    if (!filter) this.found = undefined;
    void this.#refresh();
  }

  /** What is selected; with unsaved edits that may be a file that is gone. */
  #select(): { entry: FileEntry; isGone: boolean } | undefined {
    const entry = this.#find(this.selected);
    if (entry) {
      this.#shown = entry;
      return { entry, isGone: false };
    }
    if (this.selected === undefined || !Drafts.of(this.place).has(this.selected)) return undefined;
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
    const { place, isReadonly } = this;
    const name = isRoot(place) ? 'Root filesystem' : 'Shared folder';
    const drafts = Drafts.of(place);
    const { entry, isGone } = this.#select() ?? {};
    const existing = isGone ? undefined : entry;
    const orphans = drafts.paths.filter((path) => path !== this.selected && !this.#find(path));
    return html`
      <div class="toolbar" role="toolbar" aria-label=${name}>
        ${
          isReadonly
            ? nothing
            : html`<button class="plain icon" aria-label="New file" title="New file" @click=${() => this.#make('file')}>${icon('file')}</button>
        <button class="plain icon" aria-label="New folder" title="New folder" @click=${() => this.#make('directory')}>${icon('newFolder')}</button>
        <button class="plain icon" aria-label="Upload files" title="Upload files" @click=${() => this.#choose('files')}>${icon('upload')}</button>
        <button class="plain icon" aria-label="Upload a folder" title="Upload a folder" @click=${() => this.#choose('folder')}>${icon('uploadFolder')}</button>`
        }
        ${deviceChoice(this.guest, 'Files of', () => this.requestUpdate())}
        <input type="search" class="find" aria-label="Find files by name" placeholder="Find" autocomplete="off" spellcheck="false" .value=${live(this.filter)} @input=${(event: Event) => this.#setFilter((event.target as HTMLInputElement).value)}>
        <span class="space"></span>
        <button class="plain icon" aria-label=${existing ? `Download ${printable(existing.name)}` : 'Download all'} title=${existing && existing.kind !== 'directory' ? 'Download' : 'Download as a tar file'}
          ?disabled=${this.#download !== undefined} @click=${() => this.#save(existing)}>${icon('download')}</button>
        ${
          isReadonly
            ? nothing
            : html`<button class="plain icon" aria-label="Rename" title="Rename (F2)" ?disabled=${!existing} @click=${() => this.#rename(existing!)}>${icon('rename')}</button>
        <button class="plain icon" aria-label="Delete" title="Delete (Del)" ?disabled=${!existing} @click=${() => this.#remove(existing!)}>${icon('trash')}</button>`
        }
        <input type="file" id="files" multiple hidden aria-label="Files to upload" @change=${this.#onChosen}>
        <input type="file" id="folder" webkitdirectory hidden aria-label="Folder to upload" @change=${this.#onChosen}>
      </div>
      ${orphans.length ? html`<div class="orphans" role="status">Not saved, and deleted: ${orphans.map((path) => html`<button @click=${() => (this.selected = path)}>${printable(path)}</button>`)}</div>` : nothing}
      <div class="area" ?data-drop=${this.dropTarget === '/'} @scroll=${() => this.requestUpdate()} @dragover=${this.#onDragOver} @dragleave=${this.#onDragLeave} @drop=${this.#onDrop}>
        ${fileTree({
          label: name,
          rows: this.#rows,
          ...this.#window,
          rowHeight: this.#rowHeight,
          order: this.order,
          isFlat: this.found !== undefined,
          expanded: this.expanded,
          selected: this.selected,
          dropTarget: this.dropTarget,
          isUnsaved: (path) => drafts.has(path),
          onSort: (key) => this.#sort(key),
          onSelect: (target) => (this.selected = target?.path),
          onGo: (index) => void this.#go(index),
          onToggle: (path) => this.#toggle(path),
          onRename: (target) => isReadonly || void this.#rename(target),
          onRemove: (target) => isReadonly || void this.#remove(target),
        })}
        ${this.found?.entries.length === 0 ? html`<p class="empty">No file has “${printable(this.filter)}” in its name.</p>` : nothing}
        <p class="hint">${place.mountPoint} in the guest${this.space ? html`, ${formatBytes(this.space.used)} of ${formatBytes(this.space.size)} used` : nothing}.${this.#renderHint()}</p>
      </div>
      ${this.#uploads.render()}
      ${this.fetched ? fetching(this.fetched, 'Downloading', () => this.#download?.abort()) : nothing}
      ${
        entry
          ? html`<vm-file-viewer data-kind=${entry.kind} .connection=${this.connection} .guest=${place} .entry=${entry} .isGone=${isGone} ?readonly=${isReadonly}
        @chmod=${() => this.#actions.chmod(entry)} @unpack=${() => this.#uploads.unpackFile(entry.path)} @drafts=${() => this.requestUpdate()}></vm-file-viewer>`
          : nothing
      }`;
  }

  #renderHint() {
    if (isRoot(this.place))
      return ' To change it, use the terminal. Content that has not been used yet is fetched when you open a file.';
    return `${this.readonly ? '' : ' Drop files and folders here.'} The terminal shows the rest of the guest’s files, which are not shared.`;
  }

  #toggle(path: string): void {
    const expanded = new Set(this.expanded);
    if (!expanded.delete(path)) expanded.add(path);
    this.expanded = expanded;
    void this.#refresh();
  }

  async #make(kind: 'file' | 'directory'): Promise<void> {
    const directory = this.#directory;
    const path = await this.#actions.make(kind, directory);
    if (path === undefined) return;
    this.expanded = new Set([...this.expanded, directory]);
    await this.#refresh();
    this.selected = path;
  }

  async #rename(entry: FileEntry): Promise<void> {
    const path = await this.#actions.rename(entry);
    if (path === undefined) return;
    if (this.expanded.has(entry.path)) this.expanded = new Set([...this.expanded, path]);
    await this.#refresh();
    this.selected = path;
  }

  async #remove(entry: FileEntry): Promise<void> {
    if (!(await this.#actions.remove(entry))) return;
    await this.#refresh();
    this.renderRoot.querySelector<HTMLElement>('.row[tabindex="0"]')?.focus();
  }

  async #save(entry: FileEntry | undefined): Promise<void> {
    const download = new AbortController();
    this.#download = download;
    this.requestUpdate();
    const show = (bytes: number, size: number) => (this.fetched = { bytes, size });
    await this.#actions.download(entry, show, download.signal);
    this.fetched = this.#download = undefined;
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
    if (this.isReadonly || !event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
    this.dropTarget = this.#targetOf(event);
  };

  readonly #onDragLeave = (event: DragEvent): void => {
    if (!(event.currentTarget as HTMLElement).contains(event.relatedTarget as Node | null)) this.dropTarget = undefined;
  };

  readonly #onDrop = async (event: DragEvent): Promise<void> => {
    event.preventDefault();
    if (this.isReadonly) return;
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

customElements.define('vm-files', FilesPanel);
