import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import { keyed } from 'lit/directives/keyed.js';
import { printable } from '../../../harness/machine/printable.ts';
import type { Connection, GuestView } from '../../embed/connection.ts';
import type { FileEntry, FileUse } from '../../protocol.ts';
import { controls } from '../styles.ts';
import { type Content, encodeText, loadBytes, loadContent } from './content.ts';
import { Drafts } from './drafts.ts';
import type { TextEditor } from './editor.ts';
import { factStyles, fileFacts } from './facts.ts';
import { type Fetched, fetchedStyles, fetching } from './fetched.ts';

/** Milliseconds. */
const USE_INTERVAL = 500;
export const ARCHIVE = /\.(tar|tar\.gz|tgz)$/i;

/** When the first text is to be seen. */
function loadEditor(): Promise<unknown> {
  return import('./editor.ts').catch(() => {
    throw new Error('The editor could not be fetched: check your network connection, and reload the page.');
  });
}

/**
 * One file: what it is, who holds it, and its content, to edit where that is text. Dispatches `chmod`, `unpack`,
 * and `drafts` when something became unsaved, or saved.
 */
export class FileViewer extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    entry: { attribute: false },
    isGone: { attribute: false },
    readonly: { type: Boolean },
    content: { state: true },
    isStale: { state: true },
    use: { state: true },
    wraps: { state: true },
    fetched: { state: true },
  };
  static override styles = [
    controls,
    factStyles,
    fetchedStyles,
    css`
    :host { display: flex; flex-direction: column; min-height: 0; }
    .title { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 8px; min-height: 46px; padding: 6px 10px; }
    .title .name { flex: 1 1 auto; display: flex; align-items: baseline; gap: 8px; min-width: 0; max-width: 100%; }
    .title .muted { flex: none; }
    .title strong { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .notice { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; padding: 6px 10px; background: var(--accent-soft); font-size: 13px; }
    .notice span { flex: 1 1 180px; }
    .why { margin: 0; padding: 6px 10px; font-size: 12.5px; color: var(--muted); border-bottom: 1px solid var(--border); }
    pre { flex: 1; min-height: 0; margin: 0; padding: 10px; border: 0; border-radius: 0; resize: none; overflow: auto; font-family: var(--mono); font-size: 12.5px; line-height: 1.5; background: var(--surface); tab-size: 4; white-space: pre; }
    pre.bytes { font-size: 11px; }
    .image { flex: 1; min-height: 0; overflow: auto; display: grid; place-items: center; padding: 10px; background: var(--raised); }
    .image img { max-width: 100%; }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  declare entry: FileEntry;
  /** The visitor only looks. */
  declare readonly: boolean;
  /** The file was deleted; `entry` is what it was last. */
  declare isGone: boolean;
  declare content: Content | undefined;
  /** The file has changed under the draft. */
  declare isStale: boolean;
  declare use: FileUse | undefined;
  /** Lines that are longer than the editor is wide. */
  declare wraps: boolean;
  /** Of content that is on its way. */
  declare fetched: Fetched | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    this.readonly = false;
    this.wraps = true;
  }

  get #drafts(): Drafts {
    return Drafts.of(this.guest);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#timer = setInterval(() => void this.#loadUse(), USE_INTERVAL);
    // It was taken out, and has no content any more.
    if (this.hasUpdated && !this.isGone) void this.#load();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#timer);
    this.#setContent(undefined);
  }

  override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has('entry') && !changed.has('guest') && !changed.has('isGone')) return;
    const { entry } = this;
    const before = changed.has('entry') ? (changed.get('entry') as FileEntry | undefined) : entry;
    const isSame = before?.path === entry.path && !changed.has('guest');
    if (isSame && before.version === entry.version && !changed.has('isGone')) return;
    if (!isSame) {
      this.isStale = false;
      this.fetched = undefined;
      this.#setContent(undefined);
    }
    if (!this.isGone) void this.#load();
    void this.#loadUse();
  }

  async #load(): Promise<void> {
    const { entry, guest } = this;
    const { path } = entry;
    const drafts = this.#drafts;
    if (entry.kind !== 'file') return this.#setContent(undefined);
    const isWanted = () => this.entry.path === path && this.guest === guest && this.isConnected;
    const onProgress = (bytes: number) => {
      if (isWanted()) this.fetched = { bytes, size: entry.size };
    };
    const content = await loadContent(guest.api.folder, entry, onProgress).catch((error: Error) => {
      // It may just have gone: the next listing tells.
      if (!/not there/.test(error.message)) this.connection.report(error.message);
    });
    if (isWanted()) this.fetched = undefined;
    if (!content) return;
    if (!isWanted()) {
      if (content.kind === 'image') URL.revokeObjectURL(content.url);
      return;
    }
    const draft = drafts.get(path);
    if (content.kind === 'text') void this.connection.attempt(loadEditor());
    const text = content.kind === 'text' ? content.text : undefined;
    if (draft && text === draft.text) drafts.delete(path);
    else if (draft && content.kind === 'text' && text === draft.base)
      drafts.set(path, { ...draft, version: content.version });
    this.isStale = drafts.has(path) && text !== draft!.base;
    this.#setContent(content);
    this.dispatchEvent(new Event('drafts'));
  }

  #setContent(content: Content | undefined): void {
    if (this.content?.kind === 'image') URL.revokeObjectURL(this.content.url);
    this.content = content;
  }

  async #loadUse(): Promise<void> {
    const { ino } = this.entry;
    const use = await this.guest.api.folder.use(ino).catch(() => undefined);
    if (this.entry.ino === ino && JSON.stringify(use) !== JSON.stringify(this.use)) this.use = use;
  }

  override render() {
    const { entry, content } = this;
    const draft = this.#drafts.get(entry.path);
    return html`
      <div class="title">
        <span class="name"><strong title=${printable(entry.path)}>${printable(entry.name)}</strong>${draft ? html`<span class="muted">not saved</span>` : nothing}</span>
        ${ARCHIVE.test(entry.name) && entry.kind === 'file' && !this.readonly ? html`<button @click=${() => this.dispatchEvent(new Event('unpack'))}>Unpack here</button>` : nothing}
        ${draft || content?.kind === 'text' ? html`<button aria-pressed=${this.wraps} title="Wrap long lines" @click=${() => (this.wraps = !this.wraps)}>Wrap</button>` : nothing}
        ${draft && (!this.isStale || this.isGone) ? html`<button @click=${() => this.#discard()}>Discard</button>` : nothing}
        ${draft ? html`<button class="primary" title="Save (Ctrl+S)" @click=${() => this.save()}>Save</button>` : nothing}
      </div>
      ${fileFacts(entry, this.use, this.readonly ? undefined : () => this.dispatchEvent(new Event('chmod')))}
      ${this.isGone ? html`<div class="notice" role="status"><span>The file was deleted. What you wrote is still here: Save makes the file again.</span></div>` : nothing}
      ${
        this.isStale && draft && !this.isGone
          ? html`<div class="notice" role="status"><span>The file has changed since you began to edit it. What you wrote is still here.</span>
        <button @click=${() => this.#keepBoth()}>Save mine as a copy</button>
        <button @click=${() => this.save(true)}>Overwrite</button>
        <button @click=${() => this.#discard()}>Discard</button></div>`
          : nothing
      }
      ${keyed(entry.path, this.#renderContent(draft?.text, content))}`;
  }

  #renderContent(draft: string | undefined, content: Content | undefined) {
    const {
      entry: { name, path, kind, target },
    } = this;
    if (kind === 'symlink') return html`<p class="empty">A link to ${printable(target!)}</p>`;
    if (draft !== undefined || content?.kind === 'text') {
      return html`<vm-text-editor .owner=${this.#drafts} .path=${path} .text=${draft ?? (content as { text: string }).text} .label=${`Content of ${printable(name)}`}
        .wraps=${this.wraps} .readonly=${this.readonly} @input=${this.#onInput} @save=${() => this.save()}></vm-text-editor>`;
    }
    switch (content?.kind) {
      case 'image':
        return html`<div class="image"><img src=${content.url} alt=${`Picture in ${printable(name)}`} @error=${this.#showBytes}></div>`;
      case 'head':
        return html`<p class="why">${content.why}</p><pre class=${content.isBytes ? 'bytes' : ''} tabindex="0" role="region" aria-label=${`Beginning of ${printable(name)}`}>${content.text}</pre>`;
      default:
        return this.fetched ? fetching(this.fetched, 'Fetching') : nothing;
    }
  }

  readonly #onInput = (event: Event): void => {
    const text = (event.target as TextEditor).value;
    const {
      entry: { path },
      content,
    } = this;
    const before =
      this.#drafts.get(path) ?? (content?.kind === 'text' ? { ...content, base: content.text } : undefined);
    if (!before) return;
    if (text === before.base && !this.isStale && !this.isGone) this.#forget(path);
    else this.#drafts.set(path, { text, base: before.base, version: before.version, lineEnd: before.lineEnd });
    this.#draftsChanged();
  };

  readonly #showBytes = async (): Promise<void> => {
    const { entry } = this;
    const content = await this.connection.attempt(loadBytes(this.guest.api.folder, entry));
    if (content && this.entry === entry) this.#setContent(content);
  };

  /** Writes the draft to its file; not over what someone else has written since, unless `isForced`. */
  async save(isForced = false): Promise<void> {
    const {
      entry: { path },
      guest,
      isGone,
    } = this;
    const drafts = this.#drafts;
    const draft = drafts.get(path);
    if (!draft) return;
    const saved = await this.connection.attempt(
      guest.api.folder
        .save(path, encodeText(draft.text, draft.lineEnd), isForced ? undefined : isGone ? '' : draft.version)
        .then((version) => ({ version })),
    );
    if (!saved) return;
    if (saved.version === undefined) {
      this.isStale = true;
      return;
    }
    const now = drafts.get(path);
    if (now?.text === draft.text) drafts.delete(path);
    else if (now) drafts.set(path, { ...now, base: draft.text, version: saved.version });
    if (this.entry.path !== path || this.guest !== guest) return;
    this.isStale = false;
    this.#setContent({ kind: 'text', text: draft.text, lineEnd: draft.lineEnd, version: saved.version });
    this.#draftsChanged();
  }

  async #keepBoth(): Promise<void> {
    const {
      entry: { path },
      guest: {
        api: { folder },
      },
    } = this;
    const draft = this.#drafts.get(path)!;
    const parent = path.slice(0, path.lastIndexOf('/')) || '/';
    const candidates = Array.from({ length: 100 }, (_, n) => `${this.entry.name}.mine${n ? `-${n + 1}` : ''}`);
    const taken = await this.connection.attempt(folder.existing(parent, candidates));
    const free = taken && candidates.find((name) => !taken.has(name));
    if (!free) return;
    const saved = await this.connection.attempt(
      folder.save(`${parent === '/' ? '' : parent}/${free}`, encodeText(draft.text, draft.lineEnd), ''),
    );
    if (saved !== undefined) this.#discard();
  }

  #discard(): void {
    this.#forget(this.entry.path);
    this.isStale = false;
    if (!this.isGone) void this.#load();
  }

  #forget(path: string): void {
    this.#drafts.delete(path);
    this.#draftsChanged();
  }

  #draftsChanged(): void {
    this.requestUpdate();
    this.dispatchEvent(new Event('drafts'));
  }
}

customElements.define('vm-file-viewer', FileViewer);
