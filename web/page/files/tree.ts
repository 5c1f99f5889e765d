import { css, html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { printable } from '../../../harness/machine/printable.ts';
import { formatBytes } from '../../protocol/format.ts';
import type { FileEntry } from '../../protocol.ts';
import { formatDay, formatMode, formatOwner, formatTime } from '../format.ts';
import { icon } from '../icons.ts';
import { nameMark } from '../marks.ts';
import type { Order, SortKey, TreeRow } from './rows.ts';

export interface TreeModel {
  /** What it is a tree of. */
  label: string;
  rows: readonly TreeRow[];
  /** Indices of those that are to be drawn, and the height of each in pixels. */
  from: number;
  to: number;
  rowHeight: number;
  order: Order;
  /** What a filter has found: the names are paths. */
  isFlat: boolean;
  expanded: ReadonlySet<string>;
  selected: string | undefined;
  /** The directory that a drop would go to. */
  dropTarget: string | undefined;
  /** What was written in the editor is not saved. */
  isUnsaved(path: string): boolean;
  onSort(key: SortKey): void;
  /** Undefined: nothing. */
  onSelect(entry: FileEntry | undefined): void;
  /** Selects a row by its index, which may be out of sight, or not be there, and gives it the focus. */
  onGo(index: number): void;
  onToggle(path: string): void;
  onRename(entry: FileEntry): void;
  onRemove(entry: FileEntry): void;
}

const HEADS: { key: SortKey; label: string }[] = [
  { key: 'name', label: 'Name' },
  { key: 'size', label: 'Size' },
  { key: 'time', label: 'Modified' },
];
/** Rows that PageUp and PageDown pass. */
const PAGE = 10;

/** The tree, with the keys of the WAI-ARIA pattern, F2 and Delete. */
export function fileTree(model: TreeModel): TemplateResult {
  const { rows, from, to, rowHeight, order } = model;
  const current = Math.max(
    0,
    rows.findIndex(({ entry }) => entry?.path === model.selected),
  );
  // What has the focus stays, also when it is scrolled out of sight.
  const drawn = [...new Set([current, ...Array.from({ length: Math.max(0, to - from) }, (_, n) => from + n)])]
    .filter((n) => n < rows.length)
    .sort((a, b) => a - b);
  return html`<div class="tree-head" role="group" aria-label="Sort">${HEADS.map(
    ({ key, label }) =>
      html`<button class="plain ${key}" aria-pressed=${order.key === key} title=${`Sort by ${label.toLowerCase()}`} @click=${() => model.onSort(key)}>${label}${order.key === key ? html`<span aria-hidden="true">${order.isDown ? ' ↓' : ' ↑'}</span>` : nothing}</button>`,
  )}<span class="mode" aria-hidden="true">Mode</span><span class="owner" aria-hidden="true">Owner</span><span class="ino" aria-hidden="true">Inode</span></div>
  <div role="tree" aria-label=${model.label} class="tree" style=${`height: ${rows.length * rowHeight}px`}>
    ${repeat(
      drawn,
      (n) => rows[n]!.entry?.path ?? `${n}`,
      (n) => renderRow(model, n, n === current),
    )}
  </div>`;
}

function renderRow(model: TreeModel, n: number, isCurrent: boolean) {
  const { entry, level, position, count, more } = model.rows[n]!;
  const style = `--level: ${level}; top: ${n * model.rowHeight}px`;
  if (!entry)
    return html`<div class="more muted" role="treeitem" aria-level=${level} aria-disabled="true" style=${style}>and ${more.toLocaleString()} more: the filter finds them</div>`;
  const isDirectory = entry.kind === 'directory' && !model.isFlat;
  const isOpen = isDirectory && model.expanded.has(entry.path);
  return html`<div role="treeitem" class="row" style=${style} data-mark=${nameMark(entry.path)} data-path=${entry.path}
    aria-level=${level} aria-posinset=${position} aria-setsize=${count} aria-selected=${entry.path === model.selected}
    aria-expanded=${isDirectory ? isOpen : nothing} ?data-drop=${isDirectory && model.dropTarget === entry.path}
    tabindex=${isCurrent ? 0 : -1} draggable="false"
    @keydown=${(event: KeyboardEvent) => onKey(model, event, n)}
    @click=${() => {
      model.onSelect(entry);
      if (isDirectory) model.onToggle(entry.path);
    }}>
    <span class="name">
      <span class="twisty" ?data-open=${isOpen}>${isDirectory ? icon('chevron') : nothing}</span>
      ${icon(entry.kind === 'directory' ? 'folder' : entry.kind === 'symlink' ? 'link' : entry.kind === 'special' ? 'device' : 'file')}
      <span class="text" title=${printable(entry.name)}>${printable(model.isFlat ? entry.path.slice(1) : entry.name)}${entry.target === undefined ? nothing : html`<span class="muted"> → ${printable(entry.target)}</span>`}</span>
      ${model.isUnsaved(entry.path) ? html`<span class="unsaved" title="Not saved"><span class="visually-hidden">not saved</span></span>` : nothing}
    </span>
    <span class="size">${entry.kind === 'directory' ? nothing : formatBytes(entry.size)}</span>
    <span class="time" title=${formatTime(entry.mtime)}>${formatDay(entry.mtime)}</span>
    <span class="mode mono">${formatMode(entry.mode)}</span>
    <span class="owner">${formatOwner(entry.uid)}</span>
    <span class="ino mono">${entry.ino}</span>
  </div>`;
}

function onKey(model: TreeModel, event: KeyboardEvent, n: number): void {
  const { rows } = model;
  const { entry, level } = rows[n]!;
  if (!entry) return;
  const isDirectory = entry.kind === 'directory' && !model.isFlat;
  const isOpen = isDirectory && model.expanded.has(entry.path);
  switch (event.key) {
    case 'ArrowDown':
      model.onGo(n + 1);
      break;
    case 'ArrowUp':
      model.onGo(n - 1);
      break;
    case 'PageDown':
      model.onGo(Math.min(n + PAGE, rows.length - 1));
      break;
    case 'PageUp':
      model.onGo(Math.max(n - PAGE, 0));
      break;
    case 'Escape':
      model.onSelect(undefined);
      break;
    case 'Home':
      model.onGo(0);
      break;
    case 'End':
      model.onGo(rows.findLastIndex((row) => row.entry));
      break;
    case 'ArrowRight':
      if (isDirectory && !isOpen) model.onToggle(entry.path);
      else if (isOpen) model.onGo(n + 1);
      break;
    case 'ArrowLeft':
      if (isOpen) model.onToggle(entry.path);
      else model.onGo(rows.findLastIndex((row, other) => other < n && row.level < level));
      break;
    case 'Enter':
    case ' ':
      model.onSelect(entry);
      if (isDirectory) model.onToggle(entry.path);
      break;
    case 'F2':
      model.onRename(entry);
      break;
    case 'Delete':
      model.onRemove(entry);
      break;
    default: {
      if (event.key.length !== 1 || event.ctrlKey || event.metaKey || event.altKey) return;
      const key = event.key.toLowerCase();
      const isFound = (row: TreeRow) => row.entry?.name.toLowerCase().startsWith(key) ?? false;
      const next = rows.findIndex((row, other) => other > n && isFound(row));
      model.onGo(next < 0 ? rows.findIndex(isFound) : next);
    }
  }
  event.preventDefault();
}

export const treeStyles = css`
  .row, .tree-head { display: grid; grid-template-columns: minmax(0, 1fr) 62px 78px; align-items: center; gap: 8px; padding: 0 10px; }
  .row .mode, .tree-head .mode, .row .owner, .row .ino, .tree-head .owner, .tree-head .ino { display: none; }
  .tree-head { position: sticky; top: 0; z-index: 1; min-height: 30px; background: var(--surface); color: var(--muted); font-size: 12px; border-bottom: 1px solid var(--border); }
  .tree-head button { justify-content: flex-start; min-height: 26px; padding: 0 4px; margin-left: -4px; font-size: 12px; color: var(--muted); }
  .tree-head button.size { justify-content: flex-end; margin: 0 -4px 0 0; }
  .tree-head button[aria-pressed=true] { background: none; color: var(--text); border-color: transparent; }
  .tree { position: relative; }
  .row, .more { position: absolute; inset-inline: 0; height: 28px; }
  .row { cursor: pointer; user-select: none; }
  .row:hover { background: var(--hover); }
  .row[aria-selected=true] { background: var(--accent-soft); }
  .row:focus-visible { outline-offset: -2px; }
  .row[data-drop] { outline: 2px dashed var(--accent); outline-offset: -2px; }
  .row .name { display: flex; align-items: center; gap: 6px; min-width: 0; padding-left: calc((var(--level) - 1) * 16px); }
  .row .text { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .row svg { color: var(--muted); flex: none; }
  .unsaved { flex: none; width: 8px; height: 8px; border-radius: 50%; background: var(--accent); }
  .twisty { width: 14px; display: inline-flex; flex: none; }
  .twisty svg { width: 14px; height: 14px; transition: transform .12s; }
  .twisty[data-open] svg { transform: rotate(90deg); }
  .size, .ino { text-align: right; font-variant-numeric: tabular-nums; }
  .row .size, .row .time, .row .mode, .row .owner, .row .ino { color: var(--muted); font-size: 12px; white-space: nowrap; }
  .more { padding: 4px 10px 4px calc(var(--level) * 16px + 30px); }
  @container (min-width: 440px) {
    .row, .tree-head { grid-template-columns: minmax(0, 1fr) 62px 78px 88px; }
    .row .mode, .tree-head .mode { display: inline; }
  }
  @container (min-width: 600px) {
    .row, .tree-head { grid-template-columns: minmax(0, 1fr) 62px 78px 88px 60px 56px; }
    .row .owner, .row .ino, .tree-head .owner, .tree-head .ino { display: inline; }
  }
  @media (pointer: coarse) { .row, .more { height: 44px; } }
`;
