import { css, html, nothing, svg, type TemplateResult } from 'lit';
import type { DescriptorView, QueueView } from '../../protocol.ts';
import { hex } from './format.ts';
import { listTarget } from './list-keys.ts';
import { explained } from './spec.ts';

const U16 = 0xffff;
/** The dial, in units of its drawing. */
const RADIUS = 44;
const TURN = 2 * Math.PI;
/** The map of descriptors: columns, and the side of a square with the gap to the next. */
const COLUMNS = 64;
const PITCH = 7;
const SIDE = 6;

/** How a picture differs from the one before it: entries that have come to the rings, and descriptors that are others. */
export interface Changes {
  avail: number;
  used: number;
  descriptors: ReadonlySet<number>;
}

export const NO_CHANGES: Changes = { avail: 0, used: 0, descriptors: new Set() };

export function changesOf(before: QueueView | undefined, after: QueueView): Changes {
  if (before?.index !== after.index || !before.isEnabled) return NO_CHANGES;
  const was = new Map(before.descriptors.map((descriptor) => [descriptor.index, JSON.stringify(descriptor)]));
  return {
    avail: ((after.avail?.idx ?? 0) - (before.avail?.idx ?? 0)) & U16,
    used: ((after.used?.idx ?? 0) - (before.used?.idx ?? 0)) & U16,
    descriptors: new Set(
      after.descriptors
        .filter((descriptor) => was.get(descriptor.index) !== JSON.stringify(descriptor))
        .map(({ index }) => index),
    ),
  };
}

/** Descriptors of the chain that begins with `head`, as far as they are shown. */
export function chainOf({ descriptors, isPacked }: QueueView, head: number | undefined): Set<number> {
  const chain = new Set<number>();
  if (isPacked) return new Set(descriptors.filter(({ id }) => id === head).map(({ index }) => index));
  for (let next = head; next !== undefined && !chain.has(next); ) {
    chain.add(next);
    next = descriptors.find(({ index }) => index === next)?.next;
  }
  return chain;
}

/** The ring as a clock: where the driver and the device are, and what lies between them. */
export function dial({ size, device, avail, used, entries, isPacked }: QueueView): TemplateResult {
  const available = isPacked
    ? entries.filter((state) => state === 1).length
    : ((avail?.idx ?? 0) - (device?.next_avail ?? 0)) & U16;
  const inFlight = isPacked
    ? entries.filter((state) => state === 2).length
    : ((device?.next_avail ?? 0) - (used?.idx ?? 0)) & U16;
  const next = (device?.next_avail ?? 0) % size;
  const point = (place: number, radius: number) =>
    [Math.sin((TURN * place) / size) * radius, -Math.cos((TURN * place) / size) * radius]
      .map((n) => n.toFixed(2))
      .join(' ');
  const arc = (from: number, length: number, name: string) => {
    // One of many would be too thin to be seen; a whole turn has no two ends.
    const shown = Math.min(Math.max(length, size / 60), size * 0.999);
    return length
      ? svg`<path class=${name} d="M ${point(from, RADIUS)} A ${RADIUS} ${RADIUS} 0 ${shown > size / 2 ? 1 : 0} 1 ${point(from + shown, RADIUS)}" />`
      : nothing;
  };
  const hand = (place: number, name: string, from: number, to: number) =>
    svg`<path class=${`hand ${name}`} d="M ${point(place, from)} L ${point(place, to)}" />`;
  return html`<svg class="dial" viewBox="-60 -60 120 120" role="img" aria-label=${`${available} available, ${inFlight} in flight, of ${size}`}>
    ${svg`<circle r=${RADIUS} /><text y="-2">${inFlight}</text><text class="unit" y="11">in flight</text>`}
    ${arc(next - inFlight, inFlight, 'in-flight')}${arc(next, available, 'available')}
    ${hand(next + available, 'driver', RADIUS + 6, RADIUS + 14)}${hand(next, 'device', RADIUS - 6, RADIUS - 14)}${hand(next - inFlight, 'used', RADIUS - 8, RADIUS + 8)}
  </svg>`;
}

/** Every descriptor of the queue, by what it is doing. */
export function descriptorMap({ size, entries }: QueueView, chain: ReadonlySet<number>): TemplateResult {
  const columns = Math.min(COLUMNS, size);
  const squares = (which: (index: number) => boolean) =>
    Array.from({ length: size }, (_, n) => n)
      .filter(which)
      .map((n) => `M ${(n % columns) * PITCH} ${Math.floor(n / columns) * PITCH} h ${SIDE} v ${SIDE} h -${SIDE} z`)
      .join('');
  const busy = entries.filter((state) => state !== 0).length;
  return html`<svg class="map" viewBox=${`0 0 ${columns * PITCH - 1} ${Math.ceil(size / columns) * PITCH - 1}`} style=${`max-width: ${columns * (PITCH + 1)}px`} role="img" aria-label=${`${busy} of ${size} descriptors in use`}>
    ${svg`<path class="free" d=${squares((n) => entries[n] === 0)} /><path class="available" d=${squares((n) => entries[n] === 1)} />
      <path class="in-flight" d=${squares((n) => entries[n] === 2)} /><path class="lit" d=${squares((n) => chain.has(n))} />`}</svg>`;
}

/** One use of a chain: drivers take the same descriptors again and again. */
export interface Use {
  /** Head, or id. */
  head: number;
  /** How often it was used since. */
  age: number;
}

interface Cell extends Use {
  /** Its place in the ring. */
  at: number;
  text: string;
  isNew: boolean;
}

interface StripOptions {
  /** How many of the last are others than before. */
  changed: number;
  lit?: Use | undefined;
  onLit?: (use: Use | undefined) => void;
}

/** The last entries of a ring. */
function strip(label: string, cells: Cell[], { changed, lit, onLit = () => {} }: StripOptions): TemplateResult {
  const current = cells.findIndex(({ head, age }) => head === lit?.head && age === lit.age);
  const onKey = (event: KeyboardEvent) => {
    const target = listTarget(event, cells.length, current < 0 ? undefined : current);
    if (target !== undefined) onLit(cells[target]);
  };
  // What the keys have chosen stays lit up when it moves under a mouse that rests.
  const onLeave = ({ currentTarget }: Event) => {
    if (!(currentTarget as Element).matches(':focus')) onLit(undefined);
  };
  const id = (n: number) => `${label.replaceAll(' ', '-')}-${n}`;
  return html`<div class="strip" role="listbox" aria-orientation="horizontal" tabindex="0" aria-label=${label} aria-activedescendant=${current < 0 ? nothing : id(current)}
      @keydown=${onKey} @mouseleave=${onLeave} @blur=${() => onLit(undefined)}>
    ${cells.map(
      (
        { at, text, isNew },
        n,
      ) => html`<span class="cell" role="option" id=${id(n)} aria-selected=${n === current} ?data-new=${isNew}
      ?data-lit=${n === current} ?data-changed=${n >= cells.length - changed} @mousemove=${() => onLit(cells[n])}><small>${at}</small><span class="visually-hidden">: </span>${text}${isNew ? html`<span class="visually-hidden">, not taken yet</span>` : nothing}</span>`,
    )}
  </div>`;
}

export function availStrip({ avail }: QueueView, options: StripOptions): TemplateResult {
  const { ring } = avail!;
  const cells = ring.map(({ at, head, isNew }, n) => ({
    at,
    head,
    isNew,
    text: String(head),
    age: ring.slice(n + 1).filter((later) => later.head === head).length,
  }));
  return strip('Available ring', cells, options);
}

export function usedStrip({ avail, used, inFlight }: QueueView, options: StripOptions): TemplateResult {
  const { ring } = used!;
  const isOut = (id: number) => inFlight.includes(id) || avail!.ring.some(({ head, isNew }) => isNew && head === id);
  const cells = ring.map(({ at, id, len }, n) => ({
    at,
    head: id,
    isNew: false,
    text: `${id}, ${len}`,
    age: ring.slice(n + 1).filter((later) => later.id === id).length + Number(isOut(id)),
  }));
  return strip('Used ring', cells, options);
}

interface TableOptions {
  /** Those that are lit up. */
  chain?: ReadonlySet<number>;
  changes?: Changes;
  /** The one that the device has come to. */
  place?: number | undefined;
  /** They are entries of an indirect table. */
  isInner?: boolean;
}

export function descriptorTable(
  { descriptors, entries, isPacked }: Pick<QueueView, 'descriptors' | 'entries' | 'isPacked'>,
  { chain, changes, place, isInner = false }: TableOptions,
): TemplateResult {
  const states = ['', 'available', 'in flight'];
  const row = (
    { index, addr, len, flags, next, id }: DescriptorView,
    inTable: boolean,
  ) => html`<tr ?data-inner=${inTable} ?data-lit=${!inTable && chain?.has(index)} ?data-changed=${!inTable && changes?.descriptors.has(index)}>
    <td>${inTable ? nothing : html`<span class="dot" data-state=${entries[index]!} title=${states[entries[index]!]!}></span>`}${index}${!inTable && index === place ? html` <span class="muted">◂ device</span>` : nothing}</td>
    <td class="mono">${hex(addr)}</td><td class="number">${len}</td><td class="flags mono">${flags.join(' ')}</td><td class="number">${inTable && isPacked ? '' : (next ?? id ?? '')}</td></tr>`;
  return html`<table class="descriptors"><tr>${['#', 'addr', 'len', 'flags', isPacked ? 'id' : 'next'].map((name) => html`<th class=${/len|id|next/.test(name) ? 'number' : ''}>${explained(name, 'descriptor', isPacked ? '2.8' : '2.7.5')}</th>`)}</tr>
    ${descriptors.map((descriptor) => html`${row(descriptor, isInner)}${descriptor.table?.map((inner) => row(inner, true))}`)}</table>`;
}

export const ringStyles = css`
  .dial { width: 128px; height: 128px; flex: none; }
  .dial circle { fill: none; stroke: var(--hover); stroke-width: 9; }
  .dial path { fill: none; stroke-width: 9; }
  .dial text { text-anchor: middle; font: 600 18px var(--sans); fill: var(--text); }
  .dial .unit { font: 10px var(--sans); fill: var(--muted); }
  path.available { stroke: var(--accent); }
  path.in-flight { stroke: var(--warn); }
  .dial .hand { stroke-width: 3; stroke-linecap: round; }
  .dial .driver, .key .driver { stroke: var(--accent); background: var(--accent); }
  .dial .device, .key .device { stroke: var(--good); background: var(--good); }
  .dial .used, .key .used { stroke: var(--text); background: var(--text); stroke-width: 2; }
  .key i { display: inline-block; width: 10px; height: 10px; margin-right: 6px; border-radius: 2px; }
  .map { display: block; width: 100%; }
  .map path { stroke: none; }
  .map .free { fill: var(--hover); }
  .map .available { fill: var(--accent); }
  .map .in-flight { fill: var(--warn); }
  .map .lit { fill: none; stroke: var(--text); stroke-width: 1; }
  .strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(46px, 1fr)); gap: 3px; border-radius: 4px; }
  .cell { position: relative; display: flex; flex-direction: column; align-items: center; padding: 1px 2px 2px; border: 1px solid var(--border); border-radius: 4px; background: var(--surface); font: 12px var(--mono); cursor: default; white-space: nowrap; }
  .cell small { font: 10px var(--sans); color: var(--muted); }
  .cell[data-new] { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
  .cell[data-changed] { background: var(--accent-soft); }
  .cell[data-lit], .descriptors tr[data-lit] { outline: 2px solid var(--text); outline-offset: -1px; }
  .descriptors tr[data-changed] td { background: var(--accent-soft); }
  .descriptors tr[data-inner] td { border-top-style: dotted; color: var(--muted); }
  .descriptors tr[data-inner] td:first-child { padding-left: 26px; }
  .descriptors .flags { font-size: 11.5px; }
  .descriptors td:first-child { padding-left: 4px; }
  .dot { display: inline-block; width: 8px; height: 8px; margin-right: 6px; border-radius: 50%; background: var(--hover); }
  .dot[data-state='1'] { background: var(--accent); }
  .dot[data-state='2'] { background: var(--warn); }
`;
