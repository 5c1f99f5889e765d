import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import type { FileEntry, FileUse } from '../../protocol.ts';
import type { Connection, GuestView } from '../connection.ts';
import { formatBytes, formatMode, formatOwner, formatTime } from '../format.ts';
import { controls } from '../styles.ts';

/** Bytes of a text that can be edited, and of any other file that are looked at. */
const EDIT_LIMIT = 1 << 20;
const IMAGE_LIMIT = 16 << 20;
const HEX_BYTES = 512;
const USE_INTERVAL = 1000;

const IMAGES: Record<string, string> = {
  png: 'image/png', jpg: 'image/jpeg', jpeg: 'image/jpeg', gif: 'image/gif', webp: 'image/webp', svg: 'image/svg+xml', bmp: 'image/bmp', ico: 'image/x-icon', avif: 'image/avif',
};
const ARCHIVE = /\.(tar|tar\.gz|tgz)$/i;

type Content = { kind: 'text'; text: string } | { kind: 'image'; url: string } | { kind: 'bytes'; bytes: Uint8Array };

/** One file: what it is, who holds it, and its content, to edit where that is text. */
export class FileViewer extends LitElement {
  static override properties = {
    connection: { attribute: false }, guest: { attribute: false }, entry: { attribute: false },
    content: { state: true }, draft: { state: true }, isStale: { state: true }, use: { state: true },
  };
  static override styles = [controls, css`
    :host { display: flex; flex-direction: column; min-height: 0; }
    .title { display: flex; align-items: center; gap: 8px; padding: 8px 10px; border-bottom: 1px solid var(--border); }
    .title strong { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .title .space { flex: 1; }
    .facts { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 0; padding: 6px 10px; font-size: 12px; border-bottom: 1px solid var(--border); }
    .facts div { display: flex; gap: 5px; }
    .facts dt { color: var(--muted); }
    .facts dd { margin: 0; }
    .notice { display: flex; gap: 8px; align-items: center; padding: 6px 10px; background: var(--accent-soft); font-size: 13px; }
    .notice span { flex: 1; }
    textarea, pre { flex: 1; min-height: 0; margin: 0; padding: 10px; border: 0; border-radius: 0; resize: none; overflow: auto; font-family: var(--mono); font-size: 12.5px; line-height: 1.5; background: var(--surface); tab-size: 4; white-space: pre; }
    textarea:focus-visible { outline-offset: -2px; }
    .image { flex: 1; min-height: 0; overflow: auto; display: grid; place-items: center; padding: 10px; background: var(--raised); }
    .image img { max-width: 100%; }
  `];

  declare connection: Connection;
  declare guest: GuestView;
  declare entry: FileEntry;
  declare content: Content | undefined;
  /** What the visitor has made of the text, and not saved. */
  declare draft: string | undefined;
  /** The file has changed under the draft. */
  declare isStale: boolean;
  declare use: FileUse | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  override connectedCallback(): void {
    super.connectedCallback();
    this.#timer = setInterval(() => void this.#loadUse(), USE_INTERVAL);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#timer);
    this.#setContent(undefined);
  }

  override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has('entry') && !changed.has('guest')) return;
    const before = changed.get('entry') as FileEntry | undefined;
    const { entry } = this;
    const isSameFile = before?.path === entry.path && !changed.has('guest');
    if (isSameFile && before!.mtime === entry.mtime && before!.size === entry.size && before!.ino === entry.ino) return;
    if (!isSameFile) {
      this.draft = undefined;
      this.#setContent(undefined);
    }
    if (this.draft === undefined) void this.#load();
    else this.isStale = true;
    void this.#loadUse();
  }

  async #load(): Promise<void> {
    const { entry: { path, size, kind, name }, guest: { api } } = this;
    this.isStale = false;
    this.draft = undefined;
    if (kind !== 'file') {
      this.#setContent(undefined);
      return;
    }
    const type = IMAGES[/[^.]*$/.exec(name)![0].toLowerCase()];
    const isImage = type !== undefined && size > 0 && size <= IMAGE_LIMIT;
    const bytes = await this.connection.attempt(api.folder.read(path, isImage ? IMAGE_LIMIT : EDIT_LIMIT));
    if (!bytes || this.entry.path !== path) return;
    if (isImage) {
      this.#setContent({ kind: 'image', url: URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>], { type })) });
      return;
    }
    const text = size <= EDIT_LIMIT ? asText(bytes) : undefined;
    this.#setContent(text === undefined ? { kind: 'bytes', bytes: bytes.subarray(0, HEX_BYTES) } : { kind: 'text', text });
  }

  #setContent(content: Content | undefined): void {
    if (this.content?.kind === 'image') URL.revokeObjectURL(this.content.url);
    this.content = content;
  }

  async #loadUse(): Promise<void> {
    const { ino } = this.entry;
    const use = await this.guest.api.folder.use(ino).catch(() => undefined);
    if (this.entry.ino === ino) this.use = use;
  }

  override render() {
    const { entry, content, draft, use } = this;
    const isDirty = draft !== undefined;
    return html`
      <div class="title">
        <strong title=${entry.path}>${entry.name}</strong>${isDirty ? html`<span class="muted">changed</span>` : nothing}
        <span class="space"></span>
        ${ARCHIVE.test(entry.name) ? html`<button @click=${() => this.#unpack()}>Unpack here</button>` : nothing}
        ${isDirty ? html`<button @click=${() => this.#load()}>Discard</button><button class="primary" @click=${() => this.save()}>Save</button>` : nothing}
      </div>
      <dl class="facts">
        ${fact('size', formatBytes(entry.size))}
        ${fact('mode', html`<button class="plain mono" style="min-height: 0; padding: 0 2px" title="Change the mode" @click=${() => this.dispatchEvent(new Event('chmod'))}>${formatMode(entry.mode)}</button>`)}
        ${fact('owner', `${formatOwner(entry.uid)}:${formatOwner(entry.gid)}`)}
        ${fact('inode', entry.ino)} ${fact('links', entry.nlink)} ${fact('changed', formatTime(entry.mtime))}
        ${use?.handles.length ? fact('open in', use.handles.map(({ guest, fh }) => `${guest} (fh ${fh})`).join(', ')) : nothing}
        ${use?.locks.map(({ guest, space, type, pid, start, end }) => fact('lock', `${type} ${space}, ${guest} pid ${pid}, ${start === 0 && end === undefined ? 'whole file' : `bytes ${start} to ${end ?? 'the end'}`}`))}
        ${use?.waiting.map(({ guest, pid, type }) => fact('waits for a lock', `${type}, ${guest} pid ${pid}`))}
      </dl>
      ${this.isStale ? html`<div class="notice" role="status"><span>The file has changed in the meantime.</span><button @click=${() => this.#load()}>Show it</button></div>` : nothing}
      ${this.#renderContent(content)}`;
  }

  #renderContent(content: Content | undefined) {
    if (this.entry.kind === 'symlink') return html`<p class="empty">A link to ${this.entry.target}</p>`;
    switch (content?.kind) {
      case 'text':
        return html`<textarea aria-label=${`Content of ${this.entry.name}`} spellcheck="false" autocapitalize="off" .value=${this.draft ?? content.text}
          @input=${(event: Event) => (this.draft = (event.target as HTMLTextAreaElement).value)} @keydown=${this.#onKey}></textarea>`;
      case 'image': return html`<div class="image"><img src=${content.url} alt=${this.entry.name}></div>`;
      case 'bytes': return html`<pre tabindex="0" aria-label=${`First bytes of ${this.entry.name}`}>${hexDump(content.bytes)}${this.entry.size > HEX_BYTES ? `\n… ${formatBytes(this.entry.size)} in all` : ''}</pre>`;
      default: return nothing;
    }
  }

  readonly #onKey = (event: KeyboardEvent): void => {
    if (event.key !== 's' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    void this.save();
  };

  async save(): Promise<void> {
    const { draft, entry: { path }, guest: { api } } = this;
    if (draft === undefined) return;
    const saved = await this.connection.attempt(api.folder.write(path, new TextEncoder().encode(draft)).then(() => true));
    if (!saved) return;
    if (this.draft === draft) this.draft = undefined;
    this.isStale = false;
    this.#setContent({ kind: 'text', text: draft });
  }

  async #unpack(): Promise<void> {
    const report = await this.connection.attempt(this.guest.api.folder.unpack(this.entry.path));
    for (const { path, reason } of report?.skipped ?? []) this.connection.report(`${path} was not unpacked: ${reason}`);
  }
}

function fact(name: string, value: unknown) {
  return html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
}

/** The bytes as text, or undefined when they are none. */
function asText(bytes: Uint8Array): string | undefined {
  if (bytes.includes(0)) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** As `hexdump -C` shows it. */
export function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, '0')).join(' ').padEnd(47);
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex}  ${text}`);
  }
  return lines.join('\n');
}

customElements.define('vm-file-viewer', FileViewer);
