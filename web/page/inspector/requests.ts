import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import { live } from 'lit/directives/live.js';
import { repeat } from 'lit/directives/repeat.js';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { hasTerm, opcodeIn, withoutTerms, withTerm } from '../../protocol/request-filter.ts';
import type { RequestDetail, RequestPage, RequestRow } from '../../protocol.ts';
import { saveAs } from '../files/uploads.ts';
import { icon } from '../icons.ts';
import { Marks, markStyles } from '../marks.ts';
import { controls } from '../styles.ts';
import { isRoot } from '../which-device.ts';
import {
  type ColumnId,
  cellsOf,
  chosenColumns,
  columnChooser,
  columnStyles,
  gridOf,
  headOf,
  rememberColumns,
} from './columns.ts';
import { POLL_INTERVAL, Poll } from './poll.ts';
import './request-detail.ts';
import { viewStyles } from './styles.ts';

/** How many requests may be kept. */
const KEEP = [1000, 5000, 10_000] as const;
const SYNTAX =
  'All terms have to match: op:READ,WRITE, op:READ*, file:name, pid:42, node:3, queue:1, error, error:ENOENT, waits, or any other text. A minus before a term negates it.';
/** Where keys go to in the list. */
const STEPS: Record<string, number> = {
  ArrowDown: 1,
  ArrowUp: -1,
  PageDown: 10,
  PageUp: -10,
  Home: -Infinity,
  End: Infinity,
};
/** Rows that are taken to be seen in any case. */
const MIN_VISIBLE = 20;
/** Up to this width a list shows what tells most. CSS pixels. */
const NARROW = 420;
const ESSENTIAL: ReadonlySet<ColumnId> = new Set(['opcode', 'about', 'result']);
/** Pixels from its end at which a list still follows what comes. */
const NEAR = 40;

/** The log of FUSE requests: filtered, exported, and one of them in full. */
export class RequestsView extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    log: { state: true },
    marks: { attribute: false },
    filter: { state: true },
    rate: { state: true },
    isLive: { state: true },
    selected: { state: true },
    detail: { state: true },
    columns: { state: true },
  };
  static override styles = [
    controls,
    viewStyles,
    markStyles,
    columnStyles,
    css`
    .toolbar input { flex: 1 1 90px; min-width: 70px; }
    .toolbar select { max-width: 120px; }
    .list { flex: 1; min-height: 90px; overflow: auto; outline-offset: -2px; padding: 4px 0; }
    .list[data-above] { flex: 0 1 auto; max-height: 40%; }
    .rows { position: relative; }
    .row:hover { background: var(--hover); }
    .row[aria-selected=true] { background: var(--accent-soft); box-shadow: inset 3px 0 var(--accent); }
    .row .opcode { font-family: var(--mono); font-size: 12px; font-weight: 600; }
    .row .result { font-size: 12px; }
    .note { padding: 4px 12px; font-size: 12px; color: var(--muted); border-top: 1px solid var(--border); display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: center; }
    .note .space { flex: 1; }
    .note label { display: inline-flex; align-items: center; gap: 4px; }
    .note select { min-height: 26px; padding: 2px 4px; font-size: 12px; }
    .note .rate { font-variant-numeric: tabular-nums; }
    .note button { min-height: 26px; padding: 2px 8px; font-size: 12px; }
    .empty { flex: 1; margin: 0; }
    vm-request-detail { border-top: 1px solid var(--border); }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  /** Undefined until the first look. */
  declare log: RequestPage | undefined;
  /** See `Marks`. */
  declare marks: readonly string[];
  declare filter: string;
  /** Requests in a second, of late. */
  declare rate: number;
  /** Follows what comes. */
  declare isLive: boolean;
  /** Number of a request. */
  declare selected: number | undefined;
  declare detail: RequestDetail | undefined;
  declare columns: ReadonlySet<ColumnId>;
  #last: { seen: number; at: number } | undefined;
  /** What the log was asked for last: asked for something else, it has to answer. */
  #asked = '';
  #rowHeight = 22;
  /** When the visitor scrolled last. */
  #scrollHeight = 0;
  readonly #poll = new Poll(this, (guest) => this.#look(guest));

  constructor() {
    super();
    this.filter = '';
    this.rate = 0;
    this.marks = [];
    new Marks(this);
    this.isLive = true;
    this.columns = chosenColumns();
  }

  /** At most once a frame. */
  protected override async scheduleUpdate(): Promise<void> {
    if (this.hasUpdated && !document.hidden) await new Promise((resolve) => requestAnimationFrame(resolve));
    await super.scheduleUpdate();
  }

  override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has('guest') || !changed.get('guest')) return;
    this.log = this.selected = this.detail = this.#last = undefined;
    this.isLive = true;
    this.#asked = '';
  }

  async #look(guest: GuestView): Promise<void> {
    const { inspector } = guest.api;
    const { filter, isLive } = this;
    const query = { filter, isLive, ...this.#window() };
    const asked = JSON.stringify(query);
    const version = asked === this.#asked ? (this.log?.version ?? -1) : -1;
    const log = await inspector.requests({ ...query, version });
    if (guest !== this.guest) return;
    this.#measure(log?.seen);
    if (!log) return;
    this.#asked = asked;
    this.log = log;
    // What the visitor has done meanwhile has another answer.
    if (filter !== this.filter || isLive !== this.isLive) void this.#poll.now();
    if (this.detail && this.detail.interrupt === undefined) await this.#select(this.detail.number);
  }

  #measure(seen: number | undefined): void {
    const at = performance.now();
    if (seen === undefined || !this.#last || seen < this.#last.seen) this.rate = 0;
    else this.rate = (1000 * (seen - this.#last.seen)) / (at - this.#last.at);
    this.#last = { seen: seen ?? this.#last?.seen ?? 0, at };
  }

  get #list(): HTMLElement {
    return this.renderRoot.querySelector('.list')!;
  }

  /** The rows to have: those that can be seen, and as many again before and after. */
  #window(): { from: number; count: number } {
    const { scrollTop, clientHeight } = this.#list;
    // It is hidden as long as it is empty.
    const visible = Math.max(MIN_VISIBLE, Math.ceil(clientHeight / this.#rowHeight));
    return { from: Math.max(0, Math.floor(scrollTop / this.#rowHeight) - visible), count: 3 * visible };
  }

  override updated(changed: PropertyValues<this>): void {
    this.style.setProperty('--columns', gridOf(this.#shown));
    const list = this.#list;
    this.#rowHeight = list.querySelector<HTMLElement>('.row')?.offsetHeight || this.#rowHeight;
    if (changed.has('log') && this.isLive) list.scrollTop = list.scrollHeight;
  }

  /** A narrow list has no room for all. */
  get #shown(): ReadonlySet<ColumnId> {
    return this.clientWidth > 0 && this.clientWidth <= NARROW
      ? new Set([...this.columns].filter((id) => ESSENTIAL.has(id)))
      : this.columns;
  }

  override render() {
    const { log, filter } = this;
    const { total = 0, matching = 0, limit = KEEP[0] } = log ?? {};
    const opcode = opcodeIn(filter);
    const onlyErrors = hasTerm(filter, 'error');
    const shown = log?.rows.length ?? 0;
    const isSample = matching > shown && this.rate * (POLL_INTERVAL / 1000) > shown;
    return html`
      <form class="toolbar" role="search" aria-label="Filter requests" @submit=${(event: Event) => event.preventDefault()}>
        <input type="search" name="text" aria-label="Filter" aria-describedby="syntax" title=${SYNTAX} placeholder="op:READ file:x error" autocomplete="off" spellcheck="false"
          .value=${live(filter)} @input=${(event: Event) => this.#setFilter((event.target as HTMLInputElement).value)}>
        <select name="opcode" aria-label="Opcode" @change=${(event: Event) => this.#setOpcode((event.target as HTMLSelectElement).value)}>
          <option value="">All opcodes</option>
          ${[...new Set([...(log?.opcodes ?? []), ...(opcode ? [opcode] : [])])].sort().map((name) => html`<option value=${name} ?selected=${name === opcode}>${name}</option>`)}
        </select>
        <button type="button" aria-pressed=${onlyErrors} @click=${() => this.#setFilter(onlyErrors ? withoutTerms(filter, (term) => term === 'error') : withTerm(filter, 'error'))}>Errors</button>
        <button type="button" class="plain icon" aria-label="Clear the log" title="Clear the log" @click=${this.#clear}>${icon('trash')}</button>
        <span id="syntax" class="visually-hidden">${SYNTAX}</span>
      </form>
      ${matching ? headOf(this.#shown) : nothing}
      <div class="list" data-mark="requests" role="listbox" tabindex="0" ?hidden=${!matching} ?data-above=${this.detail} aria-label="Requests, newest last" aria-activedescendant=${log?.rows.some(({ number }) => number === this.selected) ? `request-${this.selected}` : nothing}
          @keydown=${this.#onKey} @scroll=${this.#onScroll}>
        <div class="rows" role="presentation" style=${`height: ${matching * this.#rowHeight}px`}>
        ${repeat(
          log?.rows ?? [],
          (_, n) => n,
          (row, n) => this.#renderRow(row, log!.from + n),
        )}</div>
      </div>
      ${total ? nothing : html`<p class="empty">No requests yet. Type <span class="mono">${isRoot(this.guest) ? 'ls /usr/share' : 'cat README.txt'}</span> in the terminal.</p>`}
      ${total && !matching ? html`<p class="empty">No request matches. ${SYNTAX}</p>` : nothing}
      <div class="note"><span>${matching === total ? `${total.toLocaleString()} ${total === 1 ? 'request' : 'requests'}` : `${matching.toLocaleString()} of ${total.toLocaleString()} requests`}</span>
        <label>Keep the last <select aria-label="Requests that are kept" @change=${this.#keep}>${KEEP.map((count) => html`<option value=${count} ?selected=${count === limit}>${count.toLocaleString()}</option>`)}</select></label>
        ${this.rate >= 1 ? html`<span class="rate" title="The list is updated a few times a second, however many requests arrive">${Math.round(this.rate).toLocaleString()} a second${isSample ? ', showing a sample' : ''}</span>` : nothing}
        ${columnChooser(this.columns, (columns) => {
          this.columns = columns;
          rememberColumns(columns);
        })}
        ${this.isLive ? nothing : html`<button class="primary" @click=${this.#follow}>${icon('play')} Follow</button>`}
        <span class="space"></span>
        <button ?disabled=${!total} @click=${() => this.#export('json')}>${icon('download')} JSON</button>
        <button ?disabled=${!total} title="A trace for ui.perfetto.dev and about:tracing" @click=${() => this.#export('perfetto')}>${icon('download')} Perfetto</button></div>
      ${this.detail ? html`<vm-request-detail .marks=${this.marks} .detail=${this.detail} @close=${this.#close} @keydown=${(event: KeyboardEvent) => event.key === 'Escape' && this.#close()}></vm-request-detail>` : nothing}`;
  }

  #renderRow(row: RequestRow, index: number) {
    const { number, opcode } = row;
    return html`<div class="row" role="option" data-mark=${`opcode:${opcode}`} id=${`request-${number}`} aria-selected=${number === this.selected} aria-setsize=${this.log!.matching} aria-posinset=${index + 1}
      style=${`top: ${index * this.#rowHeight}px`} @click=${() => this.#select(number)}>${cellsOf(this.#shown, row)}</div>`;
  }

  #setFilter(filter: string): void {
    this.filter = filter;
    void this.#poll.now();
  }

  #setOpcode(opcode: string): void {
    const others = withoutTerms(this.filter, (term) => /^op:/i.test(term));
    this.#setFilter(opcode ? withTerm(others, `op:${opcode}`) : others);
  }

  readonly #keep = async (event: Event): Promise<void> => {
    const limit = Number((event.target as HTMLSelectElement).value);
    await this.connection.attempt(this.guest.api.inspector.keep(limit));
    await this.#poll.now();
  };

  readonly #follow = (): void => {
    this.isLive = true;
    void this.#poll.now();
  };

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
    const by = STEPS[event.key];
    if (by === undefined) return;
    event.preventDefault();
    void this.connection.attempt(this.#move(by));
  };

  async #move(by: number): Promise<void> {
    const from = Math.abs(by) === Infinity ? undefined : this.selected;
    const step = from === undefined ? -Math.sign(by) * (Math.abs(by) === Infinity ? 1 : -1) : by;
    const target = await this.guest.api.inspector.seek(this.filter, from, step);
    if (!target) return;
    await this.#select(target.number);
    const list = this.#list;
    const top = target.index * this.#rowHeight;
    list.scrollTop = Math.max(Math.min(list.scrollTop, top), top + this.#rowHeight - list.clientHeight);
    await this.#poll.now();
  }

  readonly #onScroll = (event: Event): void => {
    const { scrollHeight, scrollTop, clientHeight } = event.target as HTMLElement;
    const isLive = scrollHeight - scrollTop - clientHeight < NEAR;
    // A list that is shorter now has its end there by itself.
    const isOther = scrollHeight !== this.#scrollHeight;
    this.#scrollHeight = scrollHeight;
    if (isLive && (this.isLive || isOther)) return;
    this.isLive = isLive;
    void this.#poll.now();
  };

  readonly #clear = async (): Promise<void> => {
    await this.connection.attempt(this.guest.api.inspector.clear());
    this.isLive = true;
    this.selected = this.detail = undefined;
    await this.#poll.now();
  };

  async #export(format: 'json' | 'perfetto'): Promise<void> {
    const blob = await this.connection.attempt(this.guest.api.inspector.export(format));
    if (blob) saveAs(blob, `${this.guest.name.replaceAll(' ', '-')}-${format === 'json' ? 'requests' : 'trace'}.json`);
  }
}

customElements.define('vm-requests', RequestsView);
