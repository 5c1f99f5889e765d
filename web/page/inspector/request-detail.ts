import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import type { RequestDetail } from '../../protocol.ts';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';
import { formatClock, formatDuration, hex } from './format.ts';
import './hex.ts';
import { explained } from './spec.ts';
import { viewStyles } from './styles.ts';
import { testCaseOf } from './test-case.ts';

/** Buffers that are listed of a chain: a large WRITE has hundreds. */
const MAX_BUFFERS = 24;

interface Part {
  address: number;
  length: number;
  /** Bytes before it in its half of the chain: the message, or the room for the reply. */
  offset: number;
}

/** One request in full: where it was in guest RAM, its bytes and fields, and its reply. Dispatches `close` and `queue`. */
export class RequestDetailView extends LitElement {
  static override properties = {
    detail: { attribute: false },
    marks: { attribute: false },
    pointed: { state: true },
    isCopied: { state: true },
  };
  static override styles = [
    controls,
    viewStyles,
    css`
    .title { display: flex; align-items: center; gap: 8px; min-height: 40px; padding: 4px 6px 4px 12px; }
    .title .space { flex: 1; }
    .link { min-height: 24px; margin-left: 6px; padding: 0 8px; font-size: 12px; }
    .buffers { display: flex; flex-wrap: wrap; gap: 4px; margin: 0 0 8px; padding: 0; list-style: none; }
    .buffers button { min-height: 24px; padding: 1px 8px; font: 12px var(--mono); }
    .buffers button[data-on] { border-color: var(--accent); box-shadow: inset 0 -2px var(--accent); }
  `,
  ];

  declare detail: RequestDetail;
  /** See `HexView`. */
  declare marks: readonly string[] | undefined;
  declare isCopied: boolean;
  /** The buffer that is pointed at. */
  declare pointed: { half: 'request' | 'reply'; part: Part } | undefined;

  override willUpdate(changed: PropertyValues<this>): void {
    if (changed.has('detail') && changed.get('detail')?.number !== this.detail.number) {
      this.pointed = undefined;
      this.isCopied = false;
    }
  }

  override render() {
    const {
      number,
      opcode,
      about,
      time,
      nodeid,
      pid,
      unique,
      queue,
      id,
      isPacked,
      error,
      written,
      duration,
      interrupt,
    } = this.detail;
    const answered = written === undefined ? 'waits' : error || (written ? `${written} bytes` : 'no reply');
    return html`
      <div class="title"><strong class="mono">${explained(opcode, 'request', `FUSE_${opcode}`)}</strong><span class="muted">request ${number}</span><span class="space"></span>
        <button class="link" title="The request and its reply, as a test in TypeScript" @click=${this.#copyTest}>${this.isCopied ? 'Copied' : 'Copy as a test'}</button>
        <button class="plain icon" aria-label="Close" @click=${() => this.dispatchEvent(new Event('close'))}>${icon('close')}</button></div>
      <div class="scroll" role="region" tabindex="0" aria-label=${`Request ${number}, ${opcode}`}>
        <section><dl class="facts">
          ${about ? html`<dt>${explained('About', 'request', `FUSE_${opcode}`)}</dt><dd>${about}</dd>` : nothing}
          <dt>${explained('From', 'request')}</dt><dd>process ${pid}, node ${nodeid}, unique ${unique}</dd>
          <dt>${explained('At', 'kick')}</dt><dd>${formatClock(time)}</dd>
          <dt>${explained('Reply', 'reply')}</dt><dd class=${error ? 'bad' : ''}>${answered}${
            written === undefined
              ? nothing
              : html`<span class="muted">, after ${formatDuration(duration)} in the device${
                  interrupt === 'raised'
                    ? ', told by an interrupt'
                    : interrupt === 'suppressed'
                      ? ', without an interrupt'
                      : ''
                }</span>`
          }</dd>
          <dt>${explained('Chain', 'chain')}</dt><dd>${isPacked ? 'buffer id' : 'descriptor'} ${id} of queue ${queue}
            <button class="link" @click=${() => this.#showQueue(queue, id)}>Show the queue</button></dd>
        </dl></section>
        ${this.#renderHalf('request')}${this.#renderHalf('reply')}
      </div>`;
  }

  #renderHalf(half: 'request' | 'reply') {
    const { detail, pointed } = this;
    const [bytes, fields] =
      half === 'request' ? [detail.request, detail.requestFields] : [detail.reply, detail.replyFields];
    const parts = partsOf(detail, half === 'reply');
    const whole = half === 'request' ? parts.reduce((sum, { length }) => sum + length, 0) : (detail.written ?? 0);
    const label = half === 'request' ? 'Request' : 'Reply';
    if (!parts.length) return nothing;
    return html`<section>
      <h2>${explained(label, half)}<span class="muted">${half === 'request' ? 'read by the device' : 'written by the device'}, ${whole} bytes${bytes.length < whole ? `, the first ${bytes.length} shown` : ''}</span></h2>
      <ul class="buffers" aria-label=${`Buffers of the ${label.toLowerCase()}`}>${parts.slice(0, MAX_BUFFERS).map(
        (part) => html`<li><button ?data-on=${pointed?.part.address === part.address && pointed.half === half}
        @mouseenter=${() => (this.pointed = { half, part })} @mouseleave=${() => (this.pointed = undefined)} @focus=${() => (this.pointed = { half, part })} @blur=${() => (this.pointed = undefined)}
        aria-label=${`Buffer at ${hex(part.address)}, ${part.length} bytes`}>${hex(part.address)} + ${part.length}</button></li>`,
      )}
        ${parts.length > MAX_BUFFERS ? html`<li class="muted">and ${parts.length - MAX_BUFFERS} more</li>` : nothing}</ul>
      ${bytes.length ? html`<vm-hex .marks=${this.marks ?? []} .label=${label} .bytes=${bytes} .fields=${fields} .range=${pointed?.half === half ? pointed.part : undefined}></vm-hex>` : nothing}
    </section>`;
  }

  readonly #copyTest = async (): Promise<void> => {
    await navigator.clipboard.writeText(testCaseOf(this.detail));
    this.isCopied = true;
  };

  #showQueue(index: number, id: number): void {
    this.dispatchEvent(new CustomEvent('queue', { detail: { index, id }, bubbles: true, composed: true }));
  }
}

function partsOf({ buffers }: RequestDetail, isWritable: boolean): Part[] {
  let offset = 0;
  return buffers
    .filter(({ writable }) => writable === isWritable)
    .map(({ address, length }) => {
      const part = { address, length, offset };
      offset += length;
      return part;
    });
}

customElements.define('vm-request-detail', RequestDetailView);
