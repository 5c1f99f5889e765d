import { css, html, type TemplateResult } from 'lit';
import type { RequestRow } from '../../protocol.ts';
import { formatClock, formatDuration } from './format.ts';
import { explained, type TermId, type Where } from './spec.ts';

export type ColumnId = 'number' | 'clock' | 'queue' | 'opcode' | 'node' | 'pid' | 'about' | 'result' | 'bytes' | 'time';

interface Column {
  id: ColumnId;
  label: string;
  /** Where its column has no room for that. */
  head?: string;
  /** What explains it, and where it is specified if not there. */
  term: TermId;
  where?: Where;
  /** As CSS has it for grids. */
  width: string;
  cell(row: RequestRow): unknown;
}

/** In the order in which they stand. */
const COLUMNS: readonly Column[] = [
  { id: 'number', label: 'Number', head: '#', term: 'request', width: '6ch', cell: ({ number }) => number },
  { id: 'clock', label: 'Time of day', term: 'request', width: '13ch', cell: ({ time }) => formatClock(time) },
  { id: 'queue', label: 'Queue', term: 'virtqueue', where: '5.11.2', width: '8ch', cell: ({ queue }) => queue },
  { id: 'opcode', label: 'Opcode', term: 'request', where: 'fuse_opcode', width: '12ch', cell: ({ opcode }) => opcode },
  { id: 'node', label: 'Node', term: 'node-id', width: '8ch', cell: ({ nodeid }) => nodeid },
  { id: 'pid', label: 'Process', term: 'request', width: '10ch', cell: ({ pid }) => pid },
  { id: 'about', label: 'About', term: 'request', width: 'minmax(0, 1fr)', cell: ({ about }) => about },
  { id: 'result', label: 'Reply', term: 'reply', width: '11ch', cell: resultOf },
  { id: 'bytes', label: 'Bytes', term: 'used-ring', width: '8ch', cell: ({ written }) => written ?? '' },
  {
    id: 'time',
    label: 'Time in the device',
    head: 'Time',
    term: 'interrupt',
    width: '8ch',
    cell: ({ written, duration }) => (written === undefined ? '' : formatDuration(duration)),
  },
];

const DEFAULT: readonly ColumnId[] = ['number', 'opcode', 'about', 'result', 'time'];
const REMEMBERED = 'v86-virtiofs columns';

function resultOf({ written, error }: RequestRow): TemplateResult {
  if (written === undefined) return html`<span class="warn">waits</span>`;
  if (error) return html`<span class="bad">${error}</span>`;
  return html`<span class="muted">${written ? `${written} B` : 'no reply'}</span>`;
}

/** What the visitor has chosen, in this visit or an earlier one. */
export function chosenColumns(): ReadonlySet<ColumnId> {
  let names: readonly string[] = DEFAULT;
  try {
    names = localStorage.getItem(REMEMBERED)?.split(' ') ?? DEFAULT;
  } catch {
    // Sandboxed frames have none.
  }
  return new Set(COLUMNS.map(({ id }) => id).filter((id) => names.includes(id)));
}

export function rememberColumns(columns: ReadonlySet<ColumnId>): void {
  try {
    localStorage.setItem(REMEMBERED, [...columns].join(' '));
  } catch {
    // As above.
  }
}

/** For the style of what has the rows. */
export function gridOf(columns: ReadonlySet<ColumnId>): string {
  return COLUMNS.filter(({ id }) => columns.has(id))
    .map(({ width }) => width)
    .join(' ');
}

export function cellsOf(columns: ReadonlySet<ColumnId>, row: RequestRow): unknown {
  return COLUMNS.filter(({ id }) => columns.has(id)).map(
    ({ id, cell }) => html`<span class=${id} title=${id === 'about' ? row.about : ''}>${cell(row)}</span> `,
  );
}

/** Above the rows. */
export function headOf(columns: ReadonlySet<ColumnId>): TemplateResult {
  return html`<div class="head">${COLUMNS.filter(({ id }) => columns.has(id)).map(({ id, label, head, term, where }) => html`<span class=${id} title=${label}>${explained(head ?? label, term, where)}</span>`)}</div>`;
}

/** A list of all columns to choose from. */
export function columnChooser(columns: ReadonlySet<ColumnId>, onChange: (columns: ReadonlySet<ColumnId>) => void) {
  const toggle = (id: ColumnId) => {
    const changed = new Set(columns);
    if (!changed.delete(id)) changed.add(id);
    // An empty row would say nothing.
    if (changed.size) onChange(new Set(COLUMNS.map((column) => column.id).filter((each) => changed.has(each))));
  };
  return html`<details class="columns"><summary>Columns</summary><fieldset><legend class="visually-hidden">Columns that are shown</legend>
    ${COLUMNS.map(({ id, label }) => html`<label><input type="checkbox" .checked=${columns.has(id)} @change=${() => toggle(id)}> ${label}</label>`)}</fieldset></details>`;
}

export const columnStyles = css`
  .row, .head { display: grid; grid-template-columns: var(--columns); gap: 8px; padding: 0 12px; font-variant-numeric: tabular-nums; }
  .row { position: absolute; inset-inline: 0; height: 22px; overflow: hidden; align-items: baseline; line-height: 22px; cursor: default; }
  .row > span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .row .number, .row .time, .row .clock, .row .queue, .row .node, .row .pid, .row .bytes { color: var(--muted); text-align: right; font-size: 12px; }
  .head { padding-block: 3px; color: var(--muted); white-space: nowrap; border-bottom: 1px solid var(--border); }
  .head > span { overflow: hidden; text-overflow: ellipsis; font-size: 12px; }
  .head > :not(.opcode, .about, .result) { text-align: right; }
  .columns { position: relative; }
  .columns fieldset { position: absolute; bottom: 100%; left: 0; z-index: 3; display: grid; gap: 2px; margin: 0 0 4px; padding: 8px 12px; border: 1px solid var(--border); border-radius: 8px; background: var(--surface); box-shadow: var(--shadow); white-space: nowrap; }
  .columns label { min-height: 24px; color: var(--text); }
  .columns input { min-height: 0; }
  @container (max-width: 420px) {
    .row { height: 32px; line-height: 32px; }
  }
`;
