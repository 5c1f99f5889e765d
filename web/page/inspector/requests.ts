import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { Connection, GuestView } from '../../embed/connection.ts';
import type { RequestDetail, RequestRow } from '../../protocol.ts';
import { saveAs } from '../files/uploads.ts';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';
import { formatDuration } from './format.ts';
import { listTarget } from './list-keys.ts';
import { Poll } from './poll.ts';
import './request-detail.ts';
import { viewStyles } from './styles.ts';

/** Rows on the page; more are there for filters to find. */
const MAX_ROWS = 250;
/** Pixels from its end at which a list still follows what comes. */
const NEAR = 40;

/** The log of FUSE requests: filtered, exported, and one of them in full. */
export class RequestsView extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    rows: { state: true },
    opcode: { state: true },
    text: { state: true },
    onlyErrors: { state: true },
    selected: { state: true },
    detail: { state: true },
  };
  static override styles = [
    controls,
    viewStyles,
    css`
    .toolbar input { flex: 1 1 90px; min-width: 70px; }
    .toolbar select { max-width: 120px; }
    .list { flex: 1; min-height: 90px; overflow: auto; outline-offset: -2px; padding: 4px 0; }
    .list[data-above] { flex: 0 1 auto; max-height: 40%; }
    .row { display: grid; grid-template-columns: 5ch 12ch minmax(0, 1fr) auto 8ch; gap: 8px; align-items: baseline; padding: 1px 12px; cursor: default; font-variant-numeric: tabular-nums; }
    .row:hover { background: var(--hover); }
    .row[aria-selected=true] { background: var(--accent-soft); box-shadow: inset 3px 0 var(--accent); }
    .row .number, .row .time { color: var(--muted); text-align: right; font-size: 12px; white-space: nowrap; }
    .row .opcode { font-family: var(--mono); font-size: 12px; font-weight: 600; overflow: hidden; text-overflow: ellipsis; }
    .row .about { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .row .result { white-space: nowrap; font-size: 12px; }
    .note { padding: 4px 12px; font-size: 12px; color: var(--muted); border-top: 1px solid var(--border); display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: center; }
    .note .space { flex: 1; }
    .note button { min-height: 26px; padding: 2px 8px; font-size: 12px; }
    .empty { flex: 1; margin: 0; }
    vm-request-detail { border-top: 1px solid var(--border); }
    @container (max-width: 420px) {
      .row { grid-template-columns: 11ch minmax(0, 1fr) auto; padding: 5px 12px; }
      .row .number, .row .time { display: none; }
    }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  declare rows: readonly RequestRow[];
  /** '' for all. */
  declare opcode: string;
  declare text: string;
  declare onlyErrors: boolean;
  /** Number of a request. */
  declare selected: number | undefined;
  declare detail: RequestDetail | undefined;
  #seen = -1;
  #follows = true;
  readonly #poll = new Poll(this, (guest) => this.#look(guest));

  constructor() {
    super();
    this.rows = [];
    this.opcode = this.text = '';
    this.onlyErrors = false;
  }

  override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has('guest') || !changed.get('guest')) return;
    this.rows = [];
    this.#seen = -1;
    this.selected = this.detail = undefined;
  }

  async #look(guest: GuestView): Promise<void> {
    const news = await guest.api.inspector.requests(this.#seen);
    if (!news || guest !== this.guest) return;
    this.#seen = news.version;
    this.rows = news.rows;
    if (this.detail && this.detail.interrupt === undefined) await this.#select(this.detail.number);
  }

  override updated(changed: PropertyValues<this>): void {
    if (!changed.has('rows') || !this.#follows) return;
    const list = this.renderRoot.querySelector('.list')!;
    list.scrollTop = list.scrollHeight;
  }

  get #matching(): RequestRow[] {
    const text = this.text.trim().toLowerCase();
    return this.rows.filter(
      ({ opcode, about, error, pid, nodeid }) =>
        (!this.opcode || opcode === this.opcode) &&
        (!this.onlyErrors || error !== '') &&
        (!text ||
          [opcode, about, error, `pid ${pid}`, `node ${nodeid}`].some((part) => part.toLowerCase().includes(text))),
    );
  }

  override render() {
    const matching = this.#matching;
    const shown = matching.slice(-MAX_ROWS);
    const opcodes = [
      ...new Set([...this.rows.map(({ opcode }) => opcode), ...(this.opcode ? [this.opcode] : [])]),
    ].sort();
    return html`
      <form class="toolbar" role="search" aria-label="Filter requests" @submit=${(event: Event) => event.preventDefault()}>
        <input type="search" name="text" aria-label="Filter by name, error, process or node" placeholder="Filter" autocomplete="off" spellcheck="false"
          .value=${this.text} @input=${(event: Event) => (this.text = (event.target as HTMLInputElement).value)}>
        <select name="opcode" aria-label="Opcode" @change=${(event: Event) => (this.opcode = (event.target as HTMLSelectElement).value)}>
          <option value="">All opcodes</option>
          ${opcodes.map((opcode) => html`<option value=${opcode} ?selected=${opcode === this.opcode}>${opcode}</option>`)}
        </select>
        <button type="button" aria-pressed=${this.onlyErrors} @click=${() => (this.onlyErrors = !this.onlyErrors)}>Errors</button>
        <button type="button" class="plain icon" aria-label="Clear the log" title="Clear the log" @click=${this.#clear}>${icon('trash')}</button>
      </form>
      <div class="list" role="listbox" tabindex="0" ?hidden=${!shown.length} ?data-above=${this.detail} aria-label="Requests, newest last" aria-activedescendant=${this.selected === undefined ? nothing : `request-${this.selected}`}
          @keydown=${this.#onKey} @scroll=${this.#onScroll}>
        ${repeat(
          shown,
          ({ number }) => number,
          (row) => this.#renderRow(row),
        )}
      </div>
      ${this.rows.length ? nothing : html`<p class="empty">No requests yet. Type <span class="mono">cat README.txt</span> in the terminal.</p>`}
      ${this.rows.length && !shown.length ? html`<p class="empty">No request matches.</p>` : nothing}
      <div class="note"><span>${matching.length === this.rows.length ? `${this.rows.length} requests` : `${matching.length} of ${this.rows.length} requests`}${
        shown.length < matching.length ? `, the last ${shown.length} shown` : ''
      }</span>
        <span class="space"></span>
        <button ?disabled=${!this.rows.length} @click=${() => this.#export('json')}>${icon('download')} JSON</button>
        <button ?disabled=${!this.rows.length} title="For ui.perfetto.dev and about:tracing" @click=${() => this.#export('perfetto')}>${icon('download')} Perfetto trace</button></div>
      ${this.detail ? html`<vm-request-detail .detail=${this.detail} @close=${this.#close} @keydown=${(event: KeyboardEvent) => event.key === 'Escape' && this.#close()}></vm-request-detail>` : nothing}`;
  }

  #renderRow({ number, opcode, about, error, written, duration }: RequestRow) {
    const result =
      written === undefined
        ? html`<span class="warn">waits</span>`
        : error
          ? html`<span class="bad">${error}</span>`
          : html`<span class="muted">${written ? `${written} B` : 'no answer'}</span>`;
    return html`<div class="row" role="option" id=${`request-${number}`} aria-selected=${number === this.selected} @click=${() => this.#select(number)}>
      <span class="number">${number}</span> <span class="opcode">${opcode}</span> <span class="about" title=${about}>${about}</span>
      <span class="result">${result}</span> <span class="time">${written === undefined ? '' : formatDuration(duration)}</span></div>`;
  }

  async #select(number: number): Promise<void> {
    const { guest } = this;
    this.selected = number;
    const detail = await this.connection.attempt(guest.api.inspector.request(number));
    if (this.selected === number && this.guest === guest) this.detail = detail;
  }

  readonly #close = (): void => {
    this.selected = this.detail = undefined;
    this.renderRoot.querySelector<HTMLElement>('.list')!.focus();
  };

  readonly #onKey = (event: KeyboardEvent): void => {
    const shown = this.#matching.slice(-MAX_ROWS);
    const current = shown.findIndex(({ number }) => number === this.selected);
    const target = listTarget(event, shown.length, current < 0 ? undefined : current);
    if (target === undefined) return;
    void this.#select(shown[target]!.number);
    void this.updateComplete.then(() =>
      this.renderRoot.querySelector('.row[aria-selected=true]')?.scrollIntoView({ block: 'nearest' }),
    );
  };

  readonly #onScroll = (event: Event): void => {
    const { scrollHeight, scrollTop, clientHeight } = event.target as HTMLElement;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR;
  };

  readonly #clear = async (): Promise<void> => {
    await this.connection.attempt(this.guest.api.inspector.clear());
    this.selected = this.detail = undefined;
    await this.#poll.now();
  };

  async #export(format: 'json' | 'perfetto'): Promise<void> {
    const blob = await this.connection.attempt(this.guest.api.inspector.export(format));
    if (blob) saveAs(blob, `${this.guest.name.replaceAll(' ', '-')}-${format === 'json' ? 'requests' : 'trace'}.json`);
  }
}

customElements.define('vm-requests', RequestsView);
