import { css, html, LitElement, nothing } from 'lit';
import { printable } from '../../../harness/machine/printable.ts';
import type { Connection } from '../../embed/connection.ts';
import { formatBytes } from '../../protocol/format.ts';
import type { Comparison, Listed, SnapshotView } from '../../protocol.ts';
import { dialogStyles } from '../dialog.ts';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';
import { labelOf } from './label.ts';

const PAGE_SIZE = 4096;

/** A dialog with what lies between two snapshots. */
export class CompareDialog extends LitElement {
  static override properties = {
    connection: { attribute: false },
    snapshots: { attribute: false },
    from: { state: true },
    to: { state: true },
    result: { state: true },
    problem: { state: true },
  };
  static override styles = [
    controls,
    dialogStyles,
    css`
    dialog { width: min(560px, calc(100vw - 24px)); max-height: min(640px, calc(100dvh - 24px)); padding: 0; }
    dialog[open] { display: flex; flex-direction: column; }
    header { display: flex; align-items: center; gap: 8px; padding: 12px 10px 0 20px; }
    header h2 { flex: 1; margin: 0; }
    .choice { display: grid; grid-template-columns: minmax(0, 1fr) auto minmax(0, 1fr); gap: 8px; align-items: end; padding: 12px 20px; }
    .choice label { margin: 0; font-size: 12.5px; color: var(--muted); }
    .choice select { width: 100%; color: var(--text); }
    .result { flex: 1; min-height: 180px; overflow: auto; padding: 0 20px 20px; border-top: 1px solid var(--border); outline-offset: -2px; }
    h3 { margin: 14px 0 4px; font-size: 13px; }
    ul { margin: 0; padding: 0; list-style: none; font-family: var(--mono); font-size: 12.5px; }
    li { padding: 1px 0; overflow-wrap: anywhere; }
    li b { display: inline-block; width: 2ch; }
    [data-mark='+'] b { color: var(--good); }
    [data-mark='−'] b { color: var(--bad); }
    [data-mark='~'] b { color: var(--warn); }
    .result p { margin: 0; font-size: 13px; }
    @media (max-width: 480px) { .choice { grid-template-columns: minmax(0, 1fr); } .choice > button { justify-self: start; } }
  `,
  ];

  declare connection: Connection;
  /** Newest first. */
  declare snapshots: readonly SnapshotView[];
  declare from: string;
  declare to: string;
  /** Undefined while it is made. */
  declare result: Comparison | undefined;
  declare problem: string;
  #before: Element | null = null;

  constructor() {
    super();
    this.from = this.to = this.problem = '';
    this.snapshots = [];
  }

  async show(from: string, to: string): Promise<void> {
    this.#before = (this.getRootNode() as ShadowRoot).activeElement;
    void this.#compare(from, to);
    await this.updateComplete;
    this.#dialog.showModal();
  }

  get #dialog(): HTMLDialogElement {
    return this.renderRoot.querySelector('dialog')!;
  }

  async #compare(from: string, to: string): Promise<void> {
    Object.assign(this, { from, to, result: undefined, problem: '' });
    try {
      const result = await this.connection.worker.timeline.compare(from, to);
      if (this.from === from && this.to === to) this.result = result;
    } catch (error) {
      if (this.from === from && this.to === to) this.problem = (error as Error).message;
    }
  }

  override render() {
    const { from, to } = this;
    const select = (label: string, chosen: string, choose: (id: string) => void) =>
      html`<label>${label}<select @change=${(event: Event) => choose((event.target as HTMLSelectElement).value)}>
        ${this.snapshots.map((snapshot) => html`<option value=${snapshot.id} ?selected=${snapshot.id === chosen}>${labelOf(snapshot)}</option>`)}</select></label>`;
    return html`<dialog aria-labelledby="title" @close=${this.#onClose}>${
      from
        ? html`
      <header><h2 id="title">Compare snapshots</h2>
        <button class="plain icon" aria-label="Close" title="Close" @click=${() => this.#dialog.close()}>${icon('close')}</button></header>
      <div class="choice">${select('From', from, (id) => void this.#compare(id, to))}
        <button class="plain icon" aria-label="Swap the two" title="Swap the two" @click=${() => this.#compare(to, from)}>${icon('swap')}</button>
        ${select('To', to, (id) => void this.#compare(from, id))}</div>
      <div class="result" role="region" tabindex="0" aria-label="Differences" aria-live="polite" aria-busy=${!this.result && !this.problem}>
        ${this.problem ? html`<h3>Not compared</h3><p class="bad">${printable(this.problem)}</p>` : this.result ? renderResult(this.result) : html`<p class="empty">Comparing</p>`}
      </div>`
        : nothing
    }</dialog>`;
  }

  readonly #onClose = (): void => {
    Object.assign(this, { from: '', to: '', result: undefined });
    if (this.#before instanceof HTMLElement) this.#before.focus();
  };
}

function renderResult({ pages, pageCount, folders, sessions }: Comparison) {
  return html`
    ${folders.map(
      ({ added, removed, changed, locked, unlocked }, n) => html`
      <h3>Files${folders.length > 1 ? ` of folder ${n + 1}` : nothing}</h3>
      ${list('No file differs.', ['+', added], ['−', removed], ['~', changed])}
      <h3>Locks</h3>
      ${list('No lock differs.', ['+', locked], ['−', unlocked])}`,
    )}
    ${sessions.map(
      ({ tag, nodes, opened, closed }) => html`
      <h3>Session${sessions.length > 1 ? ` of ${printable(tag)}` : nothing}</h3>
      ${list('The same files and directories are open.', ['+', opened], ['−', closed])}
      <p class="muted">The guest knows ${nodes[1]} ${nodes[1] === 1 ? 'inode' : 'inodes'}${nodes[0] === nodes[1] ? ', as before' : `, ${nodes[0]} before`}.</p>`,
    )}
    <h3>Memory</h3>
    <p>${pages ? `${pages.toLocaleString()} of ${pageCount.toLocaleString()} pages differ (${formatBytes(pages * PAGE_SIZE)}).` : 'No page differs.'}</p>`;
}

function list(none: string, ...marked: (readonly [mark: string, listed: Listed])[]) {
  if (!marked.some(([, { count }]) => count)) return html`<p class="muted">${none}</p>`;
  const words: Record<string, string> = { '+': 'added', '−': 'removed', '~': 'modified' };
  return html`<ul>${marked.map(
    ([mark, { count, first }]) => html`
    ${first.map((text) => html`<li data-mark=${mark}><b aria-hidden="true">${mark}</b><span class="visually-hidden">${words[mark]}: </span>${printable(text)}</li>`)}
    ${count > first.length ? html`<li class="muted">and ${count - first.length} more ${words[mark]}</li>` : nothing}`,
  )}</ul>`;
}

customElements.define('vm-compare', CompareDialog);
