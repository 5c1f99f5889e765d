import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import type { MessageField } from '../../protocol.ts';
import { controls } from '../styles.ts';
import { listTarget } from './list-keys.ts';

/** Bytes of a line; fewer where there is no room. */
const COLUMNS = { wide: 16, narrow: 8 };
const WIDE = 460;
/** Fields that are listed: directories have hundreds. */
const MAX_FIELDS = 200;

/** Bytes in hexadecimal beside the fields that they are: what is pointed at in one is lit up in the other. */
export class HexView extends LitElement {
  static override properties = {
    label: {},
    bytes: { attribute: false },
    fields: { attribute: false },
    range: { attribute: false },
    marks: { attribute: false },
    columns: { state: true },
    current: { state: true },
  };
  static override styles = [
    controls,
    css`
    :host { display: block; font-size: 12.5px; }
    .lines { overflow-x: auto; padding: 6px 8px; border: 1px solid var(--border); border-radius: 6px; background: var(--raised); font-family: var(--mono); font-size: 12px; line-height: 1.6; }
    .line { display: flex; gap: 1ch; width: max-content; }
    .at { color: var(--muted); }
    .bytes { display: flex; }
    .byte { width: 2.7ch; text-align: center; cursor: default; border-radius: 2px; }
    .text { white-space: pre; display: flex; }
    .odd { background: var(--hover); }
    .none { color: var(--muted); }
    .in-range { box-shadow: inset 0 -2px var(--accent); }
    .marked { background: color-mix(in srgb, var(--warn) 30%, transparent); box-shadow: inset 0 -2px var(--warn); }
    .lit { background: var(--accent); color: var(--on-accent); }
    .fields { columns: 2; column-gap: 14px; margin: 6px 0 0; border-radius: 4px; }
    [role=group] { break-inside: avoid; }
    .struct { padding: 5px 4px 1px; font-weight: 600; }
    .field { display: flex; gap: 8px; padding: 1px 4px; border-radius: 3px; cursor: default; font-variant-numeric: tabular-nums; }
    .name { color: var(--muted); white-space: nowrap; }
    .value { flex: 1; text-align: right; overflow-wrap: anywhere; }
    .field[aria-selected=true], .field[aria-selected=true] .name { background: var(--accent); color: var(--on-accent); }
    :host([data-narrow]) .fields { columns: 1; }
  `,
  ];

  declare label: string;
  declare bytes: Uint8Array;
  declare fields: readonly MessageField[];
  /** Bytes that something else on the page is about. */
  declare range: { offset: number; length: number } | undefined;
  /** Names of fields, as `field:NAME`, that a lesson speaks of. */
  declare marks: readonly string[];
  declare columns: number;
  /** Index of the field that is lit up. */
  declare current: number | undefined;
  #fieldOf: Int16Array = new Int16Array(0);
  readonly #size = new ResizeObserver(([entry]) => {
    const isWide = entry!.contentRect.width >= WIDE;
    this.columns = isWide ? COLUMNS.wide : COLUMNS.narrow;
    this.toggleAttribute('data-narrow', entry!.contentRect.width < WIDE * 0.8);
  });

  constructor() {
    super();
    this.label = '';
    this.marks = [];
    this.columns = COLUMNS.narrow;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#size.observe(this);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#size.disconnect();
  }

  override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has('bytes') && !changed.has('fields')) return;
    // The same message may come again, with what else is known of the request.
    if (`${changed.get('bytes')}` !== `${this.bytes}`) this.current = undefined;
    this.#fieldOf = new Int16Array(this.bytes.length).fill(-1);
    this.fields.forEach(({ offset, length }, n) => this.#fieldOf.fill(n, offset, offset + length));
  }

  override render() {
    const { bytes, columns, fields, label, current } = this;
    const lines = Array.from({ length: Math.ceil(bytes.length / columns) }, (_, n) => n * columns);
    const shown = fields.slice(0, MAX_FIELDS);
    return html`
      <div class="lines" role="region" tabindex="0" aria-label=${`Bytes: ${label}`} @mouseleave=${this.#onLeave}>${lines.map((start) => this.#renderLine(start))}</div>
      ${
        shown.length
          ? html`<div class="fields" role="listbox" tabindex="0" aria-label=${`Fields: ${label}`} aria-activedescendant=${current === undefined ? nothing : `field-${current}`} @keydown=${this.#onKey}
          @mouseleave=${this.#onLeave} @focus=${() => (this.current ??= 0)} @blur=${() => (this.current = undefined)}>
        ${structsOf(shown).map(
          ([first, end]) => html`<div role="group" aria-label=${shown[first]!.struct || nothing}>
          ${shown[first]!.struct ? html`<div class="struct" aria-hidden="true">${shown[first]!.struct}</div>` : nothing}
          ${shown.slice(first, end).map((field, n) => this.#renderField(field, first + n))}</div>`,
        )}
      </div>${fields.length > shown.length ? html`<p class="muted">and ${fields.length - shown.length} more fields</p>` : nothing}`
          : nothing
      }`;
  }

  #renderField({ name, value }: MessageField, n: number) {
    return html`<div role="option" class=${this.#isMarked(n) ? 'field marked' : 'field'} id=${`field-${n}`} aria-selected=${n === this.current} @mousemove=${() => (this.current = n)}><span class="name">${name}</span> <span class="value">${value}</span></div>`;
  }

  #isMarked(field: number): boolean {
    return this.marks.length > 0 && this.marks.includes(`field:${this.fields[field]!.name}`);
  }

  #renderLine(start: number) {
    const { bytes, columns } = this;
    const part = [...bytes.subarray(start, start + columns)];
    const missing = columns - part.length;
    return html`<div class="line"><span class="at">${start.toString(16).padStart(3, '0')}</span>
      <span class="bytes">${part.map((byte, n) => this.#renderByte(start + n, byte.toString(16).padStart(2, '0')))}${Array.from({ length: missing }, () => html`<span class="byte"></span>`)}</span>
      <span class="text">${part.map((byte, n) => this.#renderByte(start + n, byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·'))}</span></div>`;
  }

  #renderByte(at: number, text: string) {
    const field = this.#fieldOf[at]!;
    const { range } = this;
    const classes = [
      field < 0 ? 'none' : field % 2 ? 'odd' : '',
      field >= 0 && field === this.current ? 'lit' : '',
      field >= 0 && this.#isMarked(field) ? 'marked' : '',
      range && at >= range.offset && at < range.offset + range.length ? 'in-range' : '',
    ]
      .filter(Boolean)
      .join(' ');
    return html`<span class=${text.length > 1 ? `byte ${classes}` : classes} @mousemove=${() => (this.current = field < 0 ? undefined : field)}>${text}</span>`;
  }

  /** What the keys have chosen stays lit up: when all scrolls, a mouse that rests leaves too, and enters what comes under it. */
  readonly #onLeave = (): void => {
    if (!this.renderRoot.querySelector('.fields:focus')) this.current = undefined;
  };

  readonly #onKey = (event: KeyboardEvent): void => {
    const target = listTarget(event, Math.min(this.fields.length, MAX_FIELDS), this.current);
    if (target === undefined) return;
    this.current = target;
    void this.updateComplete.then(() =>
      this.renderRoot.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' }),
    );
  };
}

/** Where each struct's fields begin and end, and those of what is in no struct. Of several alike, each is one. */
function structsOf(fields: readonly MessageField[]): [first: number, end: number][] {
  const starts: number[] = [];
  for (const [n, { struct, name }] of fields.entries()) {
    const start = fields[starts.at(-1) ?? -1];
    if (struct !== start?.struct || name === start.name) starts.push(n);
  }
  return starts.map((start, n) => [start, starts[n + 1] ?? fields.length]);
}

customElements.define('vm-hex', HexView);
